/* What is done at every stage, turn, record and fill in their usual case, without the interpreter.

   The Python functions that these stand in for say what is meant: `Stage.__enter__` and `__exit__`, `root_of`,
   `told_at_once`, `Tick._begun`, `familiar` and `SpanEncoder`; of fills `read_fill`, `Route.identity`, `content`,
   `FillIndex.get` and `enter`, `said_of_fill`, `sealed`, `Filled` and `tuple.__new__`. Each function here does the same
   for the case that nearly all are, and leaves every other to the Python one, before anything was touched. So there is
   one meaning, and this file may be left out altogether. Of money it carries text: no amount is added, compared or rounded
   here, and every hash is made by the objects that Python makes it with.

   It knows the Python classes by the places of their slots, which it looks up when it is told of them, and keeps nothing
   of a running stage. It runs under the interpreter's lock, and calls no Python code between reading a figure and
   writing it. Whatever the garbage collector looks after may start it when made, and with it the bot's code: what was
   taken out of a slot before that is held. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <errno.h>
#include <poll.h>
#include <structmember.h>
#include <sys/stat.h>
#include <time.h>

#if PY_VERSION_HEX < 0x030B0000 || defined(Py_GIL_DISABLED) || defined(PYPY_VERSION)
#error "written for CPython from 3.11 on, with its lock"
#endif

#define MOST_BOUNDS 64

typedef struct {
    const char *name;
    Py_ssize_t at;
} Slot;

/* What is known of the Python side; `bound` is set last. */
static struct {
    int bound;
    int direct; /* the clock may be read without a call */
    PyObject *variable, *clock, *engines;
    PyObject *zero, *one, *nothing;
    PyTypeObject *context, *live, *tick, *engine, *cells, *cell, *ids;
    Py_ssize_t most_spans;
    Py_ssize_t count;
    long long bounds[MOST_BOUNDS];
} the;

/* Of stages. */
static struct {
    PyTypeObject *type;
    PyObject *enter, *leave, *settle;
} stages;

/* Of a turn's latency. */
static struct {
    PyObject *nothing, *unseen, *total;
} latency;

/* Of turns. */
static struct {
    PyObject *root_of;
} turns;

/* Of encoded spans. */
static struct {
    PyTypeObject *template;
} spans_of;

/* Of the ledger's chain: the hash that it is made with, and three of its methods. */
static struct {
    PyTypeObject *type;
    PyObject *empty, *copy, *update, *digest, *sealed;
} chain;

/* Of the index of fills. */
static struct {
    PyTypeObject *type;
    PyObject *get, *enter;
} index_of;

/* Of what fills say in words. */
static struct {
    PyTypeObject *type;
    PyObject *identity;
} routes;

/* Of fills as they are reported. */
static struct {
    PyTypeObject *entry, *decimal;
    PyObject *read, *known_route, *to_the_second, *name;
    PyObject *routes; /* by their words */
} fills;

/* Of a fill's line. */
static struct {
    PyTypeObject *entry, *change, *decimal;
    PyObject *content, *said, *crc32;
} lines;

/* Of what follows from a fill. */
static struct {
    PyTypeObject *type, *booking;
} tail;

#define MOST_ROUTES 4096
#define SHORT 40 /* so many digits are above 1e-40 and below 1e40, if they are above zero */

/* The fields of a `FillEntry`, in their order. */
enum {
    ENTRY_ROUTE, ENTRY_QTY, ENTRY_PRICE, ENTRY_TS, ENTRY_TIMED, ENTRY_RECEIVED, ENTRY_FEE, ENTRY_ORDER, ENTRY_FILL,
    ENTRY_TRACE, ENTRY_MORE, ENTRY_FIELDS,
};

/* Those of a `Change`. */
enum {
    CHANGE_DELTA, CHANGE_INVENTORY, CHANGE_GROSS, CHANGE_FEES, CHANGE_CLOSED_QTY, CHANGE_TRADE, CHANGE_NEXT,
    CHANGE_CLOSED, CHANGE_LATE, CHANGE_REVISED, CHANGE_UNDONE, CHANGE_FIELDS,
};

/* Those of a `Booking`. */
enum {
    BOOKING_SEQ, BOOKING_TICKET, BOOKING_CHANGE, BOOKING_BOOK, BOOKING_FEE, BOOKING_FEE_VALUE, BOOKING_LINE,
    BOOKING_DUPLICATE, BOOKING_CONFLICT, BOOKING_WAITING, BOOKING_REASON, BOOKING_DIFFERS, BOOKING_REMOVED,
    BOOKING_TRADE, BOOKING_ACCRUAL, BOOKING_KEY, BOOKING_ALSO, BOOKING_FIELDS,
};

enum { LIVE_MORE, LIVE_PARENT, LIVE_SID, LIVE_STAGE, LIVE_T0, LIVE_T1, LIVE_TICK };
static Slot live_slots[] = {
    {"more", 0}, {"parent", 0}, {"sid", 0}, {"stage", 0}, {"t0", 0}, {"t1", 0}, {"tick", 0}, {NULL, 0},
};
enum {
    TICK_ERROR, TICK_BAR, TICK_CELLS, TICK_CUT, TICK_DONE, TICK_ENGINE, TICK_FOLDED, TICK_KEEPS, TICK_KEPT, TICK_NOW,
    TICK_OFFSET, TICK_QUICK, TICK_ROOT, TICK_SHARED, TICK_SIGNALS, TICK_SPANS, TICK_SPECIAL, TICK_SYMBOL, TICK_TRACE,
    TICK_UPSTREAM, TICK_WHY,
};
static Slot tick_slots[] = {
    {"_error", 0}, {"bar_id", 0}, {"cells", 0}, {"cut", 0}, {"done", 0}, {"engine", 0}, {"folded", 0}, {"keeps", 0},
    {"kept", 0}, {"now", 0}, {"offset", 0}, {"quick", 0}, {"root", 0}, {"shared", 0}, {"signals", 0}, {"spans", 0},
    {"special", 0}, {"symbol", 0}, {"trace_id", 0}, {"upstream", 0}, {"why", 0}, {NULL, 0},
};
enum { STAGE_KEY, STAGE_LABEL, STAGE_SPECIAL, STAGE_TEMPLATE };
static Slot stage_slots[] = {{"latency_key", 0}, {"label", 0}, {"special", 0}, {"template", 0}, {NULL, 0}};
enum { CELL_COUNTS, CELL_LEFT, CELL_SLOW, CELL_TOTAL };
static Slot cell_slots[] = {{"counts", 0}, {"left", 0}, {"slow_ns", 0}, {"total_ns", 0}, {NULL, 0}};
enum { ENGINE_AMBIENT, ENGINE_HEAD, ENGINE_IDS, ENGINE_KEEPS, ENGINE_NOW, ENGINE_SECOND, ENGINE_WALL };
static Slot engine_slots[] = {
    {"ambient", 0}, {"head", 0}, {"ids", 0}, {"keeps", 0}, {"now", 0}, {"second", 0}, {"wall", 0}, {NULL, 0},
};
enum { CELLS_SYMBOL, CELLS_RAW };
static Slot cells_slots[] = {{"json_symbol", 0}, {"raw", 0}, {NULL, 0}};
enum { IDS_BITS };
static Slot ids_slots[] = {{"bits", 0}, {NULL, 0}};
enum { ENGINES_NEWEST };
static Slot engines_slots[] = {{"newest", 0}, {NULL, 0}};
enum { TEMPLATE_HEAD };
static Slot template_slots[] = {{"head", 0}, {NULL, 0}};
enum { ROUTE_BEGUN, ROUTE_SAID };
static Slot route_slots[] = {{"_begun", 0}, {"said", 0}, {NULL, 0}};
enum {
    WORK_BOOK, WORK_CHANGE, WORK_DESK, WORK_DURABLE, WORK_ENTRY, WORK_FEE, WORK_FEE_VALUE, WORK_NOW, WORK_ORDER,
    WORK_PLACE, WORK_READY, WORK_SEQ, WORK_TRADE,
};
static Slot work_slots[] = {
    {"book", 0}, {"change", 0}, {"desk", 0}, {"durable", 0}, {"entry", 0}, {"fee", 0}, {"fee_value", 0}, {"now", 0},
    {"order", 0}, {"place", 0}, {"ready", 0}, {"seq", 0}, {"trade", 0}, {NULL, 0},
};
enum { INDEX_COUNT, INDEX_SHELVES };
static Slot index_slots[] = {{"_count", 0}, {"_shelves", 0}, {NULL, 0}};

#define AT(object, slots, which) (*(PyObject **)((char *)(object) + (slots)[which].at))

/* Put a new value into a slot; takes over the reference. */
#define PUT(object, slots, which, value) \
    do { \
        PyObject *before_ = AT(object, slots, which); \
        AT(object, slots, which) = (value); \
        Py_XDECREF(before_); \
    } while (0)

static inline int
read_clock(long long *found)
{
    if (the.direct) {
        struct timespec now;
        if (clock_gettime(CLOCK_MONOTONIC, &now) != 0)
            return -1;
        *found = (long long)now.tv_sec * 1000000000LL + now.tv_nsec;
        return 0;
    }
    PyObject *said = PyObject_CallNoArgs(the.clock);
    if (said == NULL)
        return -1;
    *found = PyLong_AsLongLong(said);
    Py_DECREF(said);
    return *found == -1 && PyErr_Occurred() ? -1 : 0;
}

static PyObject *
enter(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    PyObject *parent = NULL, *tick, *spans = NULL, *live = NULL, *token;
    long long now;

    if (PyContextVar_Get(the.variable, NULL, &parent) < 0)
        return NULL;
    if (parent == NULL || AT(self, stage_slots, STAGE_SPECIAL) != Py_False)
        goto python;
    if (Py_IS_TYPE(parent, the.live)) {
        tick = AT(parent, live_slots, LIVE_TICK);
        if (tick == NULL || !Py_IS_TYPE(tick, the.tick) || AT(tick, tick_slots, TICK_DONE) != Py_False)
            goto python;
        spans = AT(tick, tick_slots, TICK_SPANS);
        if (spans == NULL || !PyList_CheckExact(spans) || PyList_GET_SIZE(spans) >= the.most_spans)
            goto python;
    }
    else { /* outside of any turn, and of any span of others */
        if (!Py_IS_TYPE(parent, the.context) || PyDict_GET_SIZE(parent) != 0)
            goto python;
        PyObject *engine = AT(the.engines, engines_slots, ENGINES_NEWEST);
        if (engine == NULL || !Py_IS_TYPE(engine, the.engine))
            goto python;
        tick = AT(engine, engine_slots, ENGINE_AMBIENT);
        if (tick == NULL || !Py_IS_TYPE(tick, the.tick))
            goto python;
    }
    if (AT(tick, tick_slots, TICK_NOW) != the.clock)
        goto python;
    Py_INCREF(tick);
    Py_XINCREF(spans);
    live = the.live->tp_new(the.live, the.nothing, NULL);
    if (live == NULL)
        goto failed;
    AT(live, live_slots, LIVE_STAGE) = Py_NewRef(self);
    AT(live, live_slots, LIVE_PARENT) = Py_NewRef(parent);
    AT(live, live_slots, LIVE_TICK) = Py_NewRef(tick);
    AT(live, live_slots, LIVE_T1) = Py_NewRef(the.zero);
    AT(live, live_slots, LIVE_MORE) = Py_NewRef(Py_None);
    if (spans != NULL && PyList_Append(spans, live) < 0)
        goto failed;
    token = PyContextVar_Set(the.variable, live);
    if (token == NULL)
        goto failed;
    Py_DECREF(token);
    if (read_clock(&now) < 0)
        goto failed;
    AT(live, live_slots, LIVE_T0) = PyLong_FromLongLong(now); /* nobody has put anything there yet */
    if (AT(live, live_slots, LIVE_T0) == NULL)
        goto failed;
    Py_DECREF(parent);
    Py_DECREF(tick);
    Py_XDECREF(spans);
    return live;

failed:
    Py_DECREF(parent);
    Py_DECREF(tick);
    Py_XDECREF(spans);
    Py_XDECREF(live);
    return NULL;

python:
    Py_XDECREF(parent);
    return PyObject_CallOneArg(stages.enter, self);
}

/* Count one duration; whether that could be done. */
static int
count(PyObject *counts, PyObject *cell, long long took, PyObject *said)
{
    Py_ssize_t low = 0, high = the.count;
    if (took <= the.bounds[0])
        high = 0;
    while (low < high) { /* the first bound that is not below it */
        Py_ssize_t middle = (low + high) / 2;
        if (the.bounds[middle] < took)
            low = middle + 1;
        else
            high = middle;
    }
    PyObject *more = PyNumber_Add(PyList_GET_ITEM(counts, low), the.one);
    if (more == NULL)
        return -1;
    if (PyList_SetItem(counts, low, more) < 0)
        return -1;
    more = PyNumber_Add(AT(cell, cell_slots, CELL_TOTAL), said);
    if (more == NULL)
        return -1;
    PUT(cell, cell_slots, CELL_TOTAL, more);
    return 0;
}

/* The usual case of what an ending stage does beside counting itself; 0: it was not that. */
static int
usual(PyObject *tick, PyObject *cell, long long took)
{
    PyObject *left = AT(cell, cell_slots, CELL_LEFT), *slow = AT(cell, cell_slots, CELL_SLOW);
    if (AT(tick, tick_slots, TICK_QUICK) != Py_True || left == NULL || slow == NULL)
        return 0;
    if (!PyLong_CheckExact(left) || !PyFloat_CheckExact(slow) || (double)took >= PyFloat_AS_DOUBLE(slow))
        return 0;
    long long rest = PyLong_AsLongLong(left);
    if (rest == -1 && PyErr_Occurred()) {
        PyErr_Clear();
        return 0;
    }
    if (rest <= 1)
        return 0;
    PyObject *less = PyLong_FromLongLong(rest - 1);
    if (less == NULL)
        return -1;
    PUT(cell, cell_slots, CELL_LEFT, less);
    return 1;
}

static PyObject *
leave(PyObject *self, PyObject *const *args, Py_ssize_t given)
{
    PyObject *live = NULL, *tick, *cells, *cell, *label, *counts, *total, *begun, *parent, *token, *said;
    long long now, took;
    int done;

    if (given != 3 || args[1] != Py_None)
        goto python;
    if (PyContextVar_Get(the.variable, NULL, &live) < 0)
        return NULL;
    if (live == NULL || !Py_IS_TYPE(live, the.live) || AT(live, live_slots, LIVE_STAGE) != self)
        goto python;
    tick = AT(live, live_slots, LIVE_TICK);
    parent = AT(live, live_slots, LIVE_PARENT);
    begun = AT(live, live_slots, LIVE_T0);
    if (tick == NULL || !Py_IS_TYPE(tick, the.tick) || parent == NULL || begun == NULL || !PyLong_CheckExact(begun))
        goto python;
    if (AT(tick, tick_slots, TICK_NOW) != the.clock)
        goto python;
    cells = AT(tick, tick_slots, TICK_CELLS);
    label = AT(self, stage_slots, STAGE_LABEL);
    if (cells == NULL || !Py_IS_TYPE(cells, the.cells) || label == NULL || !PyUnicode_CheckExact(label))
        goto python;
    cell = PyDict_GetItemWithError(cells, label);
    if (cell == NULL && PyErr_Occurred())
        PyErr_Clear();
    if (cell == NULL || !Py_IS_TYPE(cell, the.cell))
        goto python;
    counts = AT(cell, cell_slots, CELL_COUNTS);
    total = AT(cell, cell_slots, CELL_TOTAL);
    if (counts == NULL || !PyList_CheckExact(counts) || PyList_GET_SIZE(counts) != the.count + 1 || total == NULL)
        goto python;
    if (read_clock(&now) < 0)
        goto lost;
    took = PyLong_AsLongLong(begun);
    if (took == -1 && PyErr_Occurred())
        goto lost;
    took = now - took;
    said = PyLong_FromLongLong(now);
    if (said == NULL)
        goto lost;
    Py_INCREF(tick);
    Py_INCREF(cell);
    Py_INCREF(counts);
    Py_INCREF(parent); /* a collection while the context is made may end a generator's stage, and unhang it here */
    PUT(live, live_slots, LIVE_T1, said);
    token = PyContextVar_Set(the.variable, parent);
    Py_DECREF(parent);
    said = NULL;
    done = -1;
    if (token != NULL) {
        Py_DECREF(token);
        said = PyLong_FromLongLong(took);
        if (said != NULL && count(counts, cell, took, said) == 0) {
            done = 1;
            if (AT(tick, tick_slots, TICK_SPECIAL) != Py_False) {
                done = usual(tick, cell, took);
                if (done == 0) {
                    PyObject *all[] = {self, tick, live, cell, said};
                    PyObject *found = PyObject_Vectorcall(stages.settle, all, 5, NULL);
                    done = found == NULL ? -1 : 1;
                    Py_XDECREF(found);
                }
            }
        }
    }
    Py_XDECREF(said);
    Py_DECREF(counts);
    Py_DECREF(cell);
    Py_DECREF(tick);
    Py_DECREF(live);
    if (done < 0)
        return NULL;
    Py_RETURN_NONE;

lost:
    Py_DECREF(live);
    return NULL;

python:
    Py_XDECREF(live);
    {
        PyObject *all[5];
        if (given > 4) {
            PyErr_SetString(PyExc_TypeError, "__exit__ takes three arguments");
            return NULL;
        }
        all[0] = self;
        for (Py_ssize_t n = 0; n < given; n++)
            all[n + 1] = args[n];
        return PyObject_Vectorcall(stages.leave, all, (size_t)given + 1, NULL);
    }
}

/* -- turns ------------------------------------------------------------------------------------------------------- */

static int
whole(PyObject *number, long long *found)
{
    if (number == NULL || !PyLong_CheckExact(number))
        return 0;
    *found = PyLong_AsLongLong(number);
    if (*found == -1 && PyErr_Occurred()) {
        PyErr_Clear();
        return 0;
    }
    return 1;
}

/* As `roots.root_of`: a turn with its root stage, where it begins in no span of anybody's. */
static PyObject *
root(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given)
{
    PyObject *site, *engine, *parent, *cells, *tick = NULL, *live = NULL, *list, *unix_now, *raw;
    long long now;

    if (turns.root_of == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "nothing is known of turns");
        return NULL;
    }
    if (given != 5)
        goto python;
    site = args[0], engine = args[1], parent = args[2], cells = args[4];
    if (args[3] != Py_None || !Py_IS_TYPE(parent, the.context) || PyDict_GET_SIZE(parent) != 0)
        goto python;
    if (!Py_IS_TYPE(engine, the.engine) || AT(engine, engine_slots, ENGINE_NOW) != the.clock)
        goto python;
    if (!Py_IS_TYPE(cells, the.cells) || AT(cells, cells_slots, CELLS_RAW) == NULL)
        goto python;
    if (AT(engine, engine_slots, ENGINE_WALL) == NULL || AT(engine, engine_slots, ENGINE_KEEPS) == NULL)
        goto python;
    tick = the.tick->tp_new(the.tick, the.nothing, NULL);
    live = tick == NULL ? NULL : the.live->tp_new(the.live, the.nothing, NULL);
    list = live == NULL ? NULL : PyList_New(1);
    if (list == NULL)
        goto failed;
    PyList_SET_ITEM(list, 0, Py_NewRef(live));
    AT(tick, tick_slots, TICK_SPANS) = list;
    AT(live, live_slots, LIVE_STAGE) = Py_NewRef(site);
    AT(live, live_slots, LIVE_PARENT) = Py_NewRef(parent);
    AT(live, live_slots, LIVE_TICK) = Py_NewRef(tick);
    AT(live, live_slots, LIVE_T1) = Py_NewRef(the.zero);
    AT(live, live_slots, LIVE_MORE) = Py_NewRef(Py_None);
    AT(tick, tick_slots, TICK_ROOT) = Py_NewRef(live);
    AT(tick, tick_slots, TICK_ENGINE) = Py_NewRef(engine);
    AT(tick, tick_slots, TICK_CELLS) = Py_NewRef(cells);
    raw = AT(cells, cells_slots, CELLS_RAW);
    AT(tick, tick_slots, TICK_SPECIAL) = Py_NewRef(raw);
    AT(tick, tick_slots, TICK_NOW) = Py_NewRef(the.clock);
    AT(tick, tick_slots, TICK_KEEPS) = Py_NewRef(AT(engine, engine_slots, ENGINE_KEEPS));
    static const int nones[] = {TICK_ERROR, TICK_BAR, TICK_FOLDED, TICK_SIGNALS, TICK_SYMBOL, TICK_UPSTREAM, TICK_WHY};
    for (size_t n = 0; n < sizeof nones / sizeof *nones; n++)
        AT(tick, tick_slots, nones[n]) = Py_NewRef(Py_None);
    static const int falses[] = {TICK_DONE, TICK_KEPT, TICK_QUICK, TICK_SHARED};
    for (size_t n = 0; n < sizeof falses / sizeof *falses; n++)
        AT(tick, tick_slots, falses[n]) = Py_NewRef(Py_False);
    AT(tick, tick_slots, TICK_CUT) = Py_NewRef(the.zero);
    AT(tick, tick_slots, TICK_TRACE) = Py_NewRef(the.zero);
    unix_now = PyObject_CallNoArgs(AT(engine, engine_slots, ENGINE_WALL));
    if (unix_now == NULL)
        goto failed;
    AT(live, live_slots, LIVE_T0) = read_clock(&now) < 0 ? NULL : PyLong_FromLongLong(now);
    if (AT(live, live_slots, LIVE_T0) != NULL) /* a clock gone mad may tell any number */
        AT(tick, tick_slots, TICK_OFFSET) = PyNumber_Subtract(unix_now, AT(live, live_slots, LIVE_T0));
    Py_DECREF(unix_now);
    if (AT(tick, tick_slots, TICK_OFFSET) == NULL)
        goto failed;
    Py_DECREF(tick);
    return live;

failed:
    if (tick != NULL) /* it and its root hold each other */
        PUT(tick, tick_slots, TICK_ROOT, NULL);
    if (tick != NULL)
        PUT(tick, tick_slots, TICK_SPANS, NULL);
    Py_XDECREF(tick);
    Py_XDECREF(live);
    return NULL;

python:
    return PyObject_Vectorcall(turns.root_of, args, (size_t)given, NULL);
}

/* As `latency.told_at_once`; `None` where a kind ran twice, or is the bot's own, or anything else is unusual. */
static PyObject *
told(PyObject *Py_UNUSED(module), PyObject *tick)
{
    PyObject *list, *root_, *found, *said;
    double total = 0.0;

    if (latency.nothing == NULL || !Py_IS_TYPE(tick, the.tick) || AT(tick, tick_slots, TICK_FOLDED) != Py_None)
        Py_RETURN_NONE;
    list = AT(tick, tick_slots, TICK_SPANS);
    root_ = AT(tick, tick_slots, TICK_ROOT);
    if (list == NULL || root_ == NULL || !PyList_CheckExact(list))
        Py_RETURN_NONE;
    Py_INCREF(list); /* a collection while the copy is made may change the tick */
    Py_INCREF(root_);
    found = PyDict_Copy(latency.nothing);
    if (found == NULL)
        goto done;
    for (Py_ssize_t n = 0; n < PyList_GET_SIZE(list); n++) {
        PyObject *live = PyList_GET_ITEM(list, n), *stage, *key;
        long long begun, ended;
        if (!Py_IS_TYPE(live, the.live) || AT(live, live_slots, LIVE_MORE) != Py_None)
            goto unusual;
        if (AT(live, live_slots, LIVE_PARENT) != root_)
            continue;
        stage = AT(live, live_slots, LIVE_STAGE);
        if (stage == NULL || !PyObject_TypeCheck(stage, stages.type))
            goto unusual;
        key = AT(stage, stage_slots, STAGE_KEY);
        if (key == NULL || !PyUnicode_CheckExact(key) || PyDict_GetItemWithError(found, key) != latency.unseen)
            goto unusual;
        if (!whole(AT(live, live_slots, LIVE_T0), &begun) || !whole(AT(live, live_slots, LIVE_T1), &ended))
            goto unusual;
        /* a multiple of 1/1024 ms: such numbers add up exactly */
        volatile double rounded = (double)(ended - begun) * 1e-6 + 6597069766656.0;
        double ms = rounded - 6597069766656.0;
        if (ms < 0.0) /* it still runs */
            goto unusual;
        total += ms;
        said = PyFloat_FromDouble(ms);
        if (said == NULL || PyDict_SetItem(found, key, said) < 0) {
            Py_XDECREF(said);
            Py_CLEAR(found);
            goto done;
        }
        Py_DECREF(said);
    }
    said = PyFloat_FromDouble(total);
    if (said == NULL || PyDict_SetItem(found, latency.total, said) < 0)
        Py_CLEAR(found);
    Py_XDECREF(said);
    goto done;

unusual:
    if (PyErr_Occurred())
        PyErr_Clear();
    Py_SETREF(found, Py_NewRef(Py_None));
done:
    Py_DECREF(root_);
    Py_DECREF(list);
    return found;
}

/* Put a number's decimal digits, at least so many of them. */
static char *
put_digits(char *at, unsigned long long number, int least)
{
    char digits[24];
    int count_ = 0;
    do
        digits[count_++] = (char)('0' + number % 10);
    while ((number /= 10) != 0 || count_ < least);
    while (count_ > 0)
        *at++ = digits[--count_];
    return at;
}

static char *
put_bytes(char *at, const char *from, Py_ssize_t size)
{
    memcpy(at, from, (size_t)size);
    return at + size;
}

/* As `Tick._begun` where a record's bar is a whole number: the line up to its fields; `None` where it is not that. */
static PyObject *
begun(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given)
{
    static const char ts[] = "{\"ts\":\"", symbol_[] = ",\"symbol\":", bar_[] = ",\"bar_id\":",
                      trace_[] = ",\"trace_id\":\"";
    long long offset, now, began, bar;

    if (!the.bound || given != 3 || !Py_IS_TYPE(args[0], the.tick) || !Py_IS_TYPE(args[1], the.engine) ||
        !PyBytes_CheckExact(args[2]))
        Py_RETURN_NONE;
    PyObject *tick = args[0], *engine = args[1];
    PyObject *head = AT(engine, engine_slots, ENGINE_HEAD), *second = AT(engine, engine_slots, ENGINE_SECOND);
    PyObject *ids = AT(engine, engine_slots, ENGINE_IDS), *cells = AT(tick, tick_slots, TICK_CELLS), *symbol;
    if (AT(tick, tick_slots, TICK_NOW) != the.clock || AT(tick, tick_slots, TICK_KEEPS) != Py_True ||
        AT(tick, tick_slots, TICK_SYMBOL) == Py_None || !whole(AT(tick, tick_slots, TICK_BAR), &bar) ||
        !whole(AT(tick, tick_slots, TICK_OFFSET), &offset) || head == NULL || !PyBytes_CheckExact(head) ||
        cells == NULL || !Py_IS_TYPE(cells, the.cells) || ids == NULL || !Py_IS_TYPE(ids, the.ids) || second == NULL ||
        !PyTuple_CheckExact(second) || PyTuple_GET_SIZE(second) != 2 ||
        !whole(PyTuple_GET_ITEM(second, 0), &began) || !PyBytes_CheckExact(PyTuple_GET_ITEM(second, 1)))
        Py_RETURN_NONE;
    symbol = AT(cells, cells_slots, CELLS_SYMBOL);
    if (symbol == NULL || !PyBytes_CheckExact(symbol))
        Py_RETURN_NONE;
    if (read_clock(&now) < 0)
        return NULL;
    now = (long long)((unsigned long long)now + (unsigned long long)offset);
    if (now < began || (unsigned long long)now - (unsigned long long)began >= 1000000000ULL)
        Py_RETURN_NONE;
    PyObject *trace = AT(tick, tick_slots, TICK_TRACE);
    if (trace == NULL || !PyLong_CheckExact(trace))
        Py_RETURN_NONE;
    PyObject *places = PyLong_FromLong(64), *bits = PyLong_FromLong(128), *high = NULL, *line = NULL;
    Py_INCREF(head); /* whatever is done to make an id */
    Py_INCREF(symbol);
    Py_INCREF(second);
    Py_INCREF(trace);
    if (places == NULL || bits == NULL)
        goto done;
    if (!PyObject_IsTrue(trace)) {
        Py_DECREF(trace);
        trace = PyObject_CallOneArg(AT(ids, ids_slots, IDS_BITS), bits);
        if (trace == NULL || !PyLong_CheckExact(trace))
            goto done;
        if (!PyObject_IsTrue(trace)) {
            Py_DECREF(trace);
            trace = Py_NewRef(the.one);
        }
        PUT(tick, tick_slots, TICK_TRACE, Py_NewRef(trace));
    }
    high = PyNumber_Rshift(trace, places);
    if (high != NULL) {
        unsigned long long upper = PyLong_AsUnsignedLongLongMask(high), lower = PyLong_AsUnsignedLongLongMask(trace);
        PyObject *stamp = PyTuple_GET_ITEM(second, 1);
        Py_ssize_t size = (Py_ssize_t)(sizeof ts + sizeof symbol_ + sizeof bar_ + sizeof trace_ - 4) + 6 + 3 + 32 + 1;
        char digits[24], *end = digits;
        if (bar < 0)
            *end++ = '-';
        end = put_digits(end, bar < 0 ? 0ULL - (unsigned long long)bar : (unsigned long long)bar, 1);
        size += PyBytes_GET_SIZE(stamp) + PyBytes_GET_SIZE(head) + PyBytes_GET_SIZE(symbol) + (end - digits) +
                PyBytes_GET_SIZE(args[2]);
        line = PyBytes_FromStringAndSize(NULL, size);
        if (line != NULL) {
            char *at = PyBytes_AS_STRING(line);
            at = put_bytes(at, ts, sizeof ts - 1);
            at = put_bytes(at, PyBytes_AS_STRING(stamp), PyBytes_GET_SIZE(stamp));
            at = put_digits(at, (unsigned long long)(now - began) / 1000, 6);
            at = put_bytes(at, "Z\",", 3);
            at = put_bytes(at, PyBytes_AS_STRING(head), PyBytes_GET_SIZE(head));
            at = put_bytes(at, symbol_, sizeof symbol_ - 1);
            at = put_bytes(at, PyBytes_AS_STRING(symbol), PyBytes_GET_SIZE(symbol));
            at = put_bytes(at, bar_, sizeof bar_ - 1);
            at = put_bytes(at, digits, end - digits);
            at = put_bytes(at, trace_, sizeof trace_ - 1);
            for (int n = 0; n < 32; n++)
                *at++ = "0123456789abcdef"[((n < 16 ? upper : lower) >> (60 - 4 * (n % 16))) & 15];
            *at++ = '"';
            at = put_bytes(at, PyBytes_AS_STRING(args[2]), PyBytes_GET_SIZE(args[2]));
            assert(at == PyBytes_AS_STRING(line) + size);
        }
    }

done:
    Py_XDECREF(high);
    Py_XDECREF(bits);
    Py_XDECREF(places);
    Py_XDECREF(trace);
    Py_DECREF(second);
    Py_DECREF(symbol);
    Py_DECREF(head);
    if (line == NULL && !PyErr_Occurred())
        Py_RETURN_NONE;
    return line;
}

/* -- records ----------------------------------------------------------------------------------------------------- */

/* Whether all keys are among the known ones; only plain text is looked for, so none of the bot's code runs. */
static int
all_known(PyObject *known, PyObject *mapping)
{
    PyObject *key;
    Py_ssize_t at = 0;
    while (PyDict_Next(mapping, &at, &key, NULL)) {
        if (!PyUnicode_CheckExact(key))
            return 0;
        int found = PySet_Contains(known, key);
        if (found <= 0)
            return found;
    }
    return 1;
}

/* As `redact.familiar`. */
static PyObject *
familiar(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given)
{
    if (given != 4 || !PySet_CheckExact(args[0]) || !PyTuple_CheckExact(args[1]) || !PyBytes_CheckExact(args[3])) {
        PyErr_SetString(PyExc_TypeError, "familiar takes a set, a tuple, a mapping and bytes");
        return NULL;
    }
    PyObject *known = args[0], *nests = args[1], *value = args[2];
    if (!PyDict_CheckExact(value))
        Py_RETURN_FALSE;
    int found = all_known(known, value);
    Py_ssize_t seen = 1;
    for (Py_ssize_t n = 0; found == 1 && n < PyTuple_GET_SIZE(nests); n++) {
        PyObject *child = PyDict_GetItemWithError(value, PyTuple_GET_ITEM(nests, n));
        if (child == NULL) {
            if (PyErr_Occurred())
                return NULL;
        }
        else if (PyDict_CheckExact(child)) {
            found = all_known(known, child);
            seen++;
        }
    }
    if (found < 0)
        return NULL;
    if (found == 0)
        Py_RETURN_FALSE;
    const char *text = PyBytes_AS_STRING(args[3]);
    const char *end = text + PyBytes_GET_SIZE(args[3]);
    while (seen >= 0 && (text = memchr(text, '{', (size_t)(end - text))) != NULL) {
        text++;
        seen--;
    }
    return PyBool_FromLong(seen == 0);
}

/* -- traces ------------------------------------------------------------------------------------------------------ */

static inline char *
put_number(char *at, unsigned long long number)
{
    for (int n = 0; n < 8; n++)
        *at++ = (char)(number >> 8 * n);
    return at;
}

/* The spans of a turn behind its root as bytes, as `SpanEncoder` packs them; `None` where one of them is unusual.

   Takes the stages, the turn's offset, random bytes of which the first eight are the root's id, the field of the trace's
   id, and the fields of the parent's id and of a span's own, without their values. */
static PyObject *
children(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given)
{
    enum { TRACE = 18, TAG = 2, ID = 8, AROUND = TRACE + TAG + ID + TAG };
    long long offset, begun, ended;

    if (spans_of.template == NULL || given != 6 || !PyList_CheckExact(args[0]) || !whole(args[1], &offset))
        Py_RETURN_NONE;
    for (int n = 2; n < 6; n++)
        if (!PyBytes_CheckExact(args[n]))
            Py_RETURN_NONE;
    PyObject *list = args[0];
    Py_ssize_t count_ = PyList_GET_SIZE(list), size = 0;
    if (count_ < 1 || PyBytes_GET_SIZE(args[2]) != ID * count_ || PyBytes_GET_SIZE(args[3]) != TRACE ||
        PyBytes_GET_SIZE(args[4]) != TAG || PyBytes_GET_SIZE(args[5]) != TAG)
        Py_RETURN_NONE;
    const char *ids = PyBytes_AS_STRING(args[2]);
    for (Py_ssize_t n = 0; n < count_; n++) {
        PyObject *live = PyList_GET_ITEM(list, n), *stage, *template, *head, *parent;
        if (!Py_IS_TYPE(live, the.live) || AT(live, live_slots, LIVE_MORE) != Py_None)
            Py_RETURN_NONE;
        if (n == 0)
            continue;
        stage = AT(live, live_slots, LIVE_STAGE);
        if (stage == NULL || !PyObject_TypeCheck(stage, stages.type))
            Py_RETURN_NONE;
        template = AT(stage, stage_slots, STAGE_TEMPLATE);
        if (template == NULL || !Py_IS_TYPE(template, spans_of.template))
            Py_RETURN_NONE;
        head = AT(template, template_slots, TEMPLATE_HEAD);
        if (head == NULL || !PyBytes_CheckExact(head))
            Py_RETURN_NONE;
        if (!whole(AT(live, live_slots, LIVE_T0), &begun) || !whole(AT(live, live_slots, LIVE_T1), &ended))
            Py_RETURN_NONE;
        /* a parent stands before its children; one that does not was left out of the trace */
        parent = AT(live, live_slots, LIVE_PARENT);
        Py_ssize_t before = 0;
        while (before < n && PyList_GET_ITEM(list, before) != parent)
            before++;
        if (before == n)
            Py_RETURN_NONE;
        size += PyBytes_GET_SIZE(head) + 8 + 1 + 8 + AROUND + ID;
    }
    PyObject *packed = PyBytes_FromStringAndSize(NULL, size);
    if (packed == NULL)
        return NULL;
    char *at = PyBytes_AS_STRING(packed);
    for (Py_ssize_t n = 0; n < count_; n++) {
        PyObject *live = PyList_GET_ITEM(list, n), *parent, *head;
        PyObject *sid = PyBytes_FromStringAndSize(ids + ID * n, ID);
        if (sid == NULL) {
            Py_DECREF(packed);
            return NULL;
        }
        PUT(live, live_slots, LIVE_SID, sid);
        if (n == 0)
            continue;
        head = AT(AT(AT(live, live_slots, LIVE_STAGE), stage_slots, STAGE_TEMPLATE), template_slots, TEMPLATE_HEAD);
        whole(AT(live, live_slots, LIVE_T0), &begun);
        whole(AT(live, live_slots, LIVE_T1), &ended);
        parent = AT(live, live_slots, LIVE_PARENT);
        memcpy(at, PyBytes_AS_STRING(head), (size_t)PyBytes_GET_SIZE(head));
        at = put_number(at + PyBytes_GET_SIZE(head), (unsigned long long)begun + (unsigned long long)offset);
        *at++ = 0x41; /* the end */
        at = put_number(at, (unsigned long long)ended + (unsigned long long)offset);
        memcpy(at, PyBytes_AS_STRING(args[3]), TRACE);
        memcpy(at + TRACE, PyBytes_AS_STRING(args[4]), TAG);
        memcpy(at + TRACE + TAG, PyBytes_AS_STRING(AT(parent, live_slots, LIVE_SID)), ID);
        memcpy(at + TRACE + TAG + ID, PyBytes_AS_STRING(args[5]), TAG);
        memcpy(at + AROUND, ids + ID * n, ID);
        at += AROUND + ID;
    }
    return packed;
}

/* -- files that somebody else may write -------------------------------------------------------------------------- */

#define MOST_FILES 4

typedef struct {
    char *path;
    int there; /* whether it was */
    unsigned long long node, written, size; /* as far as 64 bits tell: some file systems use all of a node's */
} Seen;

static int
is_as_seen(const Seen *seen)
{
    struct stat now;
    if (stat(seen->path, &now) != 0)
        return errno == ENOENT && !seen->there;
#ifdef __APPLE__
    const struct timespec *last = &now.st_mtimespec;
#else
    const struct timespec *last = &now.st_mtim;
#endif
    unsigned long long written = (unsigned long long)last->tv_sec * 1000000000ULL + (unsigned long long)last->tv_nsec;
    return seen->there && (unsigned long long)now.st_ino == seen->node && written == seen->written &&
           (unsigned long long)now.st_size == seen->size;
}

/* Wait, and look at files now and then; whether one of them is not as it was. No lock is held meanwhile, so a bot that
   never lets go of the interpreter does not wait for this. It ends early when something can be read from `bell`. */
static PyObject *
watched(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *files;
    int bell, changed = 0, most_ms, every_ms;
    Seen seen[MOST_FILES];

    if (!PyArg_ParseTuple(args, "O!iii:watched", &PyTuple_Type, &files, &bell, &every_ms, &most_ms))
        return NULL;
    Py_ssize_t size = PyTuple_GET_SIZE(files);
    if (size > MOST_FILES || every_ms < 1) {
        PyErr_SetString(PyExc_ValueError, "that many files, or that often, is not looked");
        return NULL;
    }
    for (Py_ssize_t n = 0; n < size; n++) {
        PyObject *file = PyTuple_GET_ITEM(files, n), *was = NULL;
        if (PyTuple_Check(file) && !PyArg_ParseTuple(file, "yO", &seen[n].path, &was))
            return NULL;
        if (was == NULL || (was != Py_None && !PyTuple_Check(was))) {
            PyErr_SetString(PyExc_TypeError, "a file is its path, and how it was");
            return NULL;
        }
        seen[n].there = was != Py_None;
        if (seen[n].there && !PyArg_ParseTuple(was, "KKK", &seen[n].node, &seen[n].written, &seen[n].size))
            return NULL;
    }
    Py_BEGIN_ALLOW_THREADS /* the caller keeps `files`, and with them the paths */
    struct pollfd asked = {.fd = bell, .events = POLLIN};
    int rung = 0;
    while (most_ms > 0 && !changed && rung == 0) {
        int step = every_ms < most_ms ? every_ms : most_ms;
        rung = poll(&asked, 1, step);
        if (rung > 0 && !(asked.revents & POLLIN)) { /* somebody closed it: it would answer at once, for ever */
            asked.fd = -1;
            rung = 0;
            continue;
        }
        most_ms -= step;
        for (Py_ssize_t n = 0; n < size; n++)
            changed |= !is_as_seen(&seen[n]);
    }
    Py_END_ALLOW_THREADS
    return PyBool_FromLong(changed);
}

/* -- fills -------------------------------------------------------------------------------------------------------- */

/* Plain text, byte for byte what it is in UTF-8. */
static inline int
ascii(PyObject *text)
{
    return text != NULL && PyUnicode_CheckExact(text) && PyUnicode_IS_COMPACT_ASCII(text);
}

/* The same, that stands in JSON as it is. */
static int
quotable(PyObject *text)
{
    if (!ascii(text))
        return 0;
    const unsigned char *at = PyUnicode_1BYTE_DATA(text), *end = at + PyUnicode_GET_LENGTH(text);
    for (; at < end; at++)
        if (*at < ' ' || *at > '~' || *at == '"' || *at == '\\')
            return 0;
    return 1;
}

static inline char *
put_text(char *at, PyObject *text)
{
    return put_bytes(at, (const char *)PyUnicode_1BYTE_DATA(text), PyUnicode_GET_LENGTH(text));
}

/* Whether what failed may be tried in Python: it was no wish to stop, of a signal handler's. */
static int
excused(void)
{
    if (!PyErr_ExceptionMatches(PyExc_Exception))
        return 0;
    PyErr_Clear();
    return 1;
}

/* The digest of what `begun` was given, with `more` behind it. */
static PyObject *
hashed(PyObject *begun, PyObject *more)
{
    PyObject *digest = NULL, *done, *all[] = {NULL, more};
    PyObject *hash = PyObject_Vectorcall(chain.copy, &begun, 1, NULL);
    if (hash == NULL)
        return NULL;
    all[0] = hash;
    done = PyObject_Vectorcall(chain.update, all, 2, NULL);
    if (done != NULL) {
        Py_DECREF(done);
        digest = PyObject_Vectorcall(chain.digest, &hash, 1, NULL);
    }
    Py_DECREF(hash);
    return digest;
}

/* As `chain.sealed`. */
static PyObject *
sealed(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given)
{
    static const char seq_[] = "{\"seq\":", hash_[] = ",\"hash\":\"", end_[] = "\"}\n";
    long long seq;

    if (chain.sealed == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "nothing is known of chains");
        return NULL;
    }
    if (given != 3 || !PyBytes_CheckExact(args[0]) || !whole(args[1], &seq) || seq < 0 ||
        !PyBytes_CheckExact(args[2]) || PyBytes_GET_SIZE(args[2]) == 0)
        return PyObject_Vectorcall(chain.sealed, args, (size_t)given, NULL);
    char digits[24];
    Py_ssize_t before = PyBytes_GET_SIZE(args[0]), count_ = put_digits(digits, (unsigned long long)seq, 1) - digits;
    Py_ssize_t size = (Py_ssize_t)sizeof seq_ - 1 + count_ + 1 + PyBytes_GET_SIZE(args[2]);
    PyObject *covered = PyBytes_FromStringAndSize(NULL, before + size), *digest, *line, *found = NULL;
    if (covered == NULL)
        return NULL;
    char *at = put_bytes(PyBytes_AS_STRING(covered), PyBytes_AS_STRING(args[0]), before);
    at = put_bytes(at, seq_, sizeof seq_ - 1);
    at = put_bytes(at, digits, count_);
    *at++ = ',';
    put_bytes(at, PyBytes_AS_STRING(args[2]), PyBytes_GET_SIZE(args[2]));
    digest = hashed(chain.empty, covered);
    if (digest != NULL) {
        Py_ssize_t width = PyBytes_GET_SIZE(digest);
        line = PyBytes_FromStringAndSize(NULL, size + (Py_ssize_t)(sizeof hash_ + sizeof end_ - 2) + 2 * width);
        if (line != NULL) {
            at = put_bytes(PyBytes_AS_STRING(line), PyBytes_AS_STRING(covered) + before, size);
            at = put_bytes(at, hash_, sizeof hash_ - 1);
            for (Py_ssize_t n = 0; n < width; n++) {
                unsigned char byte = (unsigned char)PyBytes_AS_STRING(digest)[n];
                *at++ = "0123456789abcdef"[byte >> 4];
                *at++ = "0123456789abcdef"[byte & 15];
            }
            put_bytes(at, end_, sizeof end_ - 1);
            found = PyTuple_Pack(2, line, digest);
            Py_DECREF(line);
        }
        Py_DECREF(digest);
    }
    Py_DECREF(covered);
    return found;
}

/* As `Route.identity`. */
static PyObject *
identity(PyObject *self, PyObject *const *args, Py_ssize_t given)
{
    PyObject *begun_ = AT(self, route_slots, ROUTE_BEGUN), *rest, *found;

    if (given != 2 || begun_ == NULL || !Py_IS_TYPE(begun_, chain.type) || !ascii(args[1]) ||
        (args[0] != Py_None && !ascii(args[0])))
        goto python;
    Py_ssize_t before = args[0] == Py_None ? 0 : PyUnicode_GET_LENGTH(args[0]), size = PyUnicode_GET_LENGTH(args[1]);
    if (memchr(PyUnicode_1BYTE_DATA(args[1]), 0, (size_t)size) != NULL ||
        (before && memchr(PyUnicode_1BYTE_DATA(args[0]), 0, (size_t)before) != NULL))
        goto python;
    rest = PyBytes_FromStringAndSize(NULL, before + 1 + size);
    if (rest == NULL)
        return NULL;
    char *at = PyBytes_AS_STRING(rest);
    if (before)
        at = put_text(at, args[0]);
    *at++ = 0;
    put_text(at, args[1]);
    Py_INCREF(begun_);
    found = hashed(begun_, rest);
    Py_DECREF(begun_);
    Py_DECREF(rest);
    return found;

python:
    if (given != 2) {
        PyErr_SetString(PyExc_TypeError, "identity takes an order's id and a fill's");
        return NULL;
    }
    PyObject *all[] = {self, args[0], args[1]};
    return PyObject_Vectorcall(routes.identity, all, 3, NULL);
}

enum { KEY = 8, ENTRY = 16 };

/* The place of the shelf that a key belongs on; -1: there is none. */
static Py_ssize_t
shelf_of(PyObject *index, PyObject *key, PyObject **shelves)
{
    *shelves = AT(index, index_slots, INDEX_SHELVES);
    if (*shelves == NULL || !PyList_CheckExact(*shelves) || !PyBytes_CheckExact(key) || PyBytes_GET_SIZE(key) != KEY)
        return -1;
    const unsigned char *at = (const unsigned char *)PyBytes_AS_STRING(key);
    Py_ssize_t number = (Py_ssize_t)at[0] << 8 | at[1];
    return number < PyList_GET_SIZE(*shelves) ? number : -1;
}

static inline unsigned long
read_word(const unsigned char *at)
{
    return (unsigned long)at[0] | (unsigned long)at[1] << 8 | (unsigned long)at[2] << 16 | (unsigned long)at[3] << 24;
}

static inline char *
put_word(char *at, unsigned long long number)
{
    for (int n = 0; n < 4; n++)
        *at++ = (char)(number >> 8 * n);
    return at;
}

/* As `FillIndex.get`. */
static PyObject *
index_get(PyObject *self, PyObject *key)
{
    PyObject *shelves;
    Py_ssize_t number = shelf_of(self, key, &shelves);
    PyObject *shelf = number < 0 ? NULL : PyList_GET_ITEM(shelves, number);

    if (shelf == Py_None)
        Py_RETURN_NONE;
    if (shelf == NULL || !PyByteArray_CheckExact(shelf)) {
        PyObject *all[] = {self, key};
        return PyObject_Vectorcall(index_of.get, all, 2, NULL);
    }
    const char *at = PyByteArray_AS_STRING(shelf);
    for (Py_ssize_t left = PyByteArray_GET_SIZE(shelf); left >= ENTRY; left -= ENTRY, at += ENTRY)
        if (memcmp(at, PyBytes_AS_STRING(key), KEY) == 0) {
            const unsigned char *said = (const unsigned char *)at + KEY;
            return Py_BuildValue("kk", read_word(said), read_word(said + 4));
        }
    Py_RETURN_NONE;
}

/* As `FillIndex.enter`. */
static PyObject *
index_enter(PyObject *self, PyObject *const *args, Py_ssize_t given)
{
    PyObject *shelves, *shelf = NULL, *more;
    Py_ssize_t number = given == 3 ? shelf_of(self, args[0], &shelves) : -1, size = 0;
    long long crc, seq, count_;

    if (given != 3) {
        PyErr_SetString(PyExc_TypeError, "enter takes a key, a checksum and a line's number");
        return NULL;
    }
    if (number >= 0)
        shelf = PyList_GET_ITEM(shelves, number);
    if (shelf == NULL || (shelf != Py_None && !PyByteArray_CheckExact(shelf)) || !whole(args[1], &crc) ||
        !whole(args[2], &seq) || crc < 0 || crc > 0xffffffffLL || seq < 0 || seq > 0xffffffffLL ||
        !whole(AT(self, index_slots, INDEX_COUNT), &count_) || count_ < 0 || count_ > 0xffffffffLL) {
        PyObject *all[] = {self, args[0], args[1], args[2]};
        return PyObject_Vectorcall(index_of.enter, all, 4, NULL);
    }
    more = PyLong_FromLongLong(count_ + 1);
    if (more == NULL)
        return NULL;
    if (shelf == Py_None) {
        shelf = PyByteArray_FromStringAndSize(NULL, ENTRY);
        if (shelf == NULL)
            goto failed;
        PyList_SetItem(shelves, number, shelf);
    }
    else {
        size = PyByteArray_GET_SIZE(shelf);
        if (PyByteArray_Resize(shelf, size + ENTRY) < 0)
            goto failed;
    }
    char *at = put_bytes(PyByteArray_AS_STRING(shelf) + size, PyBytes_AS_STRING(args[0]), KEY);
    put_word(put_word(at, (unsigned long long)crc), (unsigned long long)seq);
    PUT(self, index_slots, INDEX_COUNT, more);
    Py_RETURN_NONE;

failed:
    Py_DECREF(more);
    return NULL;
}

/* As `lines.content`. */
static PyObject *
content(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given)
{
    if (lines.content == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "nothing is known of lines");
        return NULL;
    }
    if (given != 5 || !ascii(args[0]) || !ascii(args[1]) || (args[2] != Py_None && !ascii(args[2])) ||
        (args[3] != Py_None && !ascii(args[3])) || (args[4] != Py_None && !ascii(args[4])))
        return PyObject_Vectorcall(lines.content, args, (size_t)given, NULL);
    Py_ssize_t size = PyUnicode_GET_LENGTH(args[0]) + 1 + PyUnicode_GET_LENGTH(args[1]);
    if (args[2] != Py_None)
        size += 2 + PyUnicode_GET_LENGTH(args[2]) + (args[3] == Py_None ? 4 : PyUnicode_GET_LENGTH(args[3]));
    if (args[4] != Py_None)
        size += 1 + PyUnicode_GET_LENGTH(args[4]);
    PyObject *said = PyBytes_FromStringAndSize(NULL, size), *found;
    if (said == NULL)
        return NULL;
    char *at = put_text(PyBytes_AS_STRING(said), args[0]);
    *at++ = ' ';
    at = put_text(at, args[1]);
    if (args[2] != Py_None) {
        *at++ = ' ';
        at = put_text(at, args[2]);
        *at++ = ' ';
        at = args[3] == Py_None ? put_bytes(at, "None", 4) : put_text(at, args[3]);
    }
    if (args[4] != Py_None) {
        *at++ = ' ';
        at = put_text(at, args[4]);
    }
    assert(at == PyBytes_AS_STRING(said) + size);
    found = PyObject_CallOneArg(lines.crc32, said);
    Py_DECREF(said);
    return found;
}

static inline int
has_exponent(PyObject *text)
{
    return memchr(PyUnicode_1BYTE_DATA(text), 'E', (size_t)PyUnicode_GET_LENGTH(text)) != NULL;
}

/* As `lines.said_of_fill`, where every piece is plain text, and nothing has to be quoted. */
static PyObject *
said_of_fill(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given)
{
    enum { OPENING, THE_ENTRY, SIZE, PRICE, FEES, CHANGE, ENDING, VOIDED_BY };
    enum { MOST = 40 };
    struct {
        const char *text;
        Py_ssize_t size;
    } pieces[MOST];
    int count_ = 0;

    if (lines.said == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "nothing is known of lines");
        return NULL;
    }
    if (given != 8 || !Py_IS_TYPE(args[THE_ENTRY], lines.entry) || PyTuple_GET_SIZE(args[THE_ENTRY]) != ENTRY_FIELDS ||
        args[VOIDED_BY] != Py_None || !ascii(args[OPENING]) || !ascii(args[SIZE]) || !ascii(args[PRICE]) ||
        !ascii(args[FEES]) || !ascii(args[ENDING]) || !Py_IS_TYPE(args[CHANGE], lines.change) ||
        PyTuple_GET_SIZE(args[CHANGE]) != CHANGE_FIELDS)
        goto python;
    PyObject **entry = ((PyTupleObject *)args[THE_ENTRY])->ob_item;
    if (!Py_IS_TYPE(entry[ENTRY_ROUTE], routes.type) || entry[ENTRY_MORE] != Py_None || !ascii(entry[ENTRY_TS]) ||
        !ascii(entry[ENTRY_RECEIVED]) || (entry[ENTRY_TIMED] != Py_True && entry[ENTRY_TIMED] != Py_False))
        goto python;
    PyObject *words = AT(entry[ENTRY_ROUTE], route_slots, ROUTE_SAID);
    PyObject *order = entry[ENTRY_ORDER], *fill = entry[ENTRY_FILL], *trace = entry[ENTRY_TRACE];
    if (!ascii(words) || (order != Py_None && !quotable(order)) || (fill != Py_None && !quotable(fill)) ||
        (trace != Py_None && !quotable(trace)))
        goto python;
    PyObject **change = ((PyTupleObject *)args[CHANGE])->ob_item;
    if (!Py_IS_TYPE(change[CHANGE_DELTA], lines.decimal) || !Py_IS_TYPE(change[CHANGE_INVENTORY], lines.decimal) ||
        !ascii(change[CHANGE_TRADE]) || has_exponent(change[CHANGE_TRADE]) || change[CHANGE_NEXT] != Py_None ||
        change[CHANGE_LATE] != Py_False)
        goto python;
    Py_INCREF(words); /* a thread's first look at a number makes a context for it, and that may start the collector */
    PyObject *delta = lines.decimal->tp_str(change[CHANGE_DELTA]), *said = NULL;
    PyObject *inventory = delta == NULL ? NULL : lines.decimal->tp_str(change[CHANGE_INVENTORY]);
    if (inventory == NULL)
        goto done;
    if (!ascii(delta) || !ascii(inventory) || has_exponent(delta) || has_exponent(inventory)) {
        Py_DECREF(words);
        Py_DECREF(delta);
        Py_DECREF(inventory);
        goto python;
    }

#define SAY(literal) (pieces[count_].text = (literal), pieces[count_++].size = (Py_ssize_t)sizeof(literal) - 1)
#define SAY_TEXT(object) \
    (pieces[count_].text = (const char *)PyUnicode_1BYTE_DATA(object), \
     pieces[count_++].size = PyUnicode_GET_LENGTH(object))
    int ids_first = order != Py_None && fill != Py_None;
    SAY("\"type\":\"fill\",\"ts\":\"");
    SAY_TEXT(entry[ENTRY_TS]);
    SAY("\",\"received\":\"");
    SAY_TEXT(entry[ENTRY_RECEIVED]);
    SAY("\",");
    SAY_TEXT(args[OPENING]);
    SAY(",");
    SAY_TEXT(words);
    if (ids_first) {
        SAY(",\"order_id\":\"");
        SAY_TEXT(order);
        SAY("\",\"fill_id\":\"");
        SAY_TEXT(fill);
        SAY("\"");
    }
    SAY(",\"size\":\"");
    SAY_TEXT(args[SIZE]);
    SAY("\",\"price\":\"");
    SAY_TEXT(args[PRICE]);
    SAY("\"");
    SAY_TEXT(args[FEES]);
    if (entry[ENTRY_TIMED] == Py_True)
        SAY(",\"timed\":true");
    SAY(",\"quote_delta\":\"");
    SAY_TEXT(delta);
    SAY("\",\"inventory\":\"");
    SAY_TEXT(inventory);
    SAY("\",\"trade_id\":\"");
    SAY_TEXT(change[CHANGE_TRADE]);
    SAY("\"");
    SAY_TEXT(args[ENDING]);
    if (!ids_first && order != Py_None) {
        SAY(",\"order_id\":\"");
        SAY_TEXT(order);
        SAY("\"");
    }
    if (!ids_first && fill != Py_None) {
        SAY(",\"fill_id\":\"");
        SAY_TEXT(fill);
        SAY("\"");
    }
    if (trace != Py_None) {
        SAY(",\"trace_id\":\"");
        SAY_TEXT(trace);
        SAY("\"");
    }
#undef SAY
#undef SAY_TEXT
    assert(count_ <= MOST);
    Py_ssize_t size = 0;
    for (int n = 0; n < count_; n++)
        size += pieces[n].size;
    said = PyBytes_FromStringAndSize(NULL, size);
    if (said != NULL) {
        char *at = PyBytes_AS_STRING(said);
        for (int n = 0; n < count_; n++)
            at = put_bytes(at, pieces[n].text, pieces[n].size);
    }

done:
    Py_DECREF(words);
    Py_XDECREF(delta);
    Py_XDECREF(inventory);
    return said;

python:
    return PyObject_Vectorcall(lines.said, args, (size_t)given, NULL);
}

/* A number that was said plainly: up to 40 digits, with a point among them or not, which are read without a look at
   what they come to. `NULL` without an error: it was said otherwise, or is not above zero and has to be. */
static PyObject *
plainly(PyObject *said, int above_zero)
{
    PyObject *text, *found = NULL;
    long long number;

    if (PyUnicode_CheckExact(said))
        text = Py_NewRef(said);
    else if (PyFloat_CheckExact(said))
        text = PyFloat_Type.tp_repr(said);
    else if (Py_IS_TYPE(said, fills.decimal))
        text = fills.decimal->tp_str(said);
    else if (whole(said, &number) && (number > 0 || !above_zero))
        return PyObject_CallOneArg((PyObject *)fills.decimal, said);
    else
        return NULL;
    if (text == NULL)
        return NULL;
    if (ascii(text) && PyUnicode_GET_LENGTH(text) <= SHORT) {
        const unsigned char *at = PyUnicode_1BYTE_DATA(text), *end = at + PyUnicode_GET_LENGTH(text);
        int digits = 0, points = 0, something = 0, below = at < end && *at == '-';
        if (at < end && (*at == '-' || *at == '+'))
            at++;
        for (; at < end; at++) {
            if (*at >= '0' && *at <= '9') {
                digits++;
                something |= *at != '0';
            }
            else if (*at == '.')
                points++;
            else
                break;
        }
        if (at == end && digits && points <= 1 && (!above_zero || (something && !below)))
            found = Py_IS_TYPE(said, fills.decimal) ? Py_NewRef(said)
                                                    : PyObject_CallOneArg((PyObject *)fills.decimal, text);
    }
    Py_DECREF(text);
    return found;
}

enum { DATED = 19, STAMPED = DATED + 8, SECONDS = 16 };

/* The seconds that were told last, as text: of our clock the first, of exchanges the others. */
typedef struct {
    int known;
    long long second;
    char text[DATED];
} Second;
static Second seconds[1 + SECONDS];

/* As `stamp`; `NULL` without an error: nobody can say. */
static PyObject *
stamped(Second *kept, long long second, int micros)
{
    if (!kept->known || kept->second != second) {
        PyObject *number = PyLong_FromLongLong(second);
        PyObject *said = number == NULL ? NULL : PyObject_CallOneArg(fills.to_the_second, number);
        Py_XDECREF(number);
        if (said == NULL)
            return NULL;
        if (!ascii(said) || PyUnicode_GET_LENGTH(said) != DATED) {
            Py_DECREF(said);
            return NULL;
        }
        kept->known = 1;
        kept->second = second;
        put_text(kept->text, said);
        Py_DECREF(said);
    }
    PyObject *found = PyUnicode_New(STAMPED, 127);
    if (found == NULL)
        return NULL;
    char *at = put_bytes((char *)PyUnicode_1BYTE_DATA(found), kept->text, DATED);
    *at++ = '.';
    at = put_digits(at, (unsigned long long)micros, 6);
    *at = 'Z';
    return found;
}

/* The route of words that are plain text; `NULL` without an error: they are not. */
static PyObject *
route_of(PyObject *words)
{
    if (!PyTuple_CheckExact(words))
        return NULL;
    for (Py_ssize_t n = 0; n < PyTuple_GET_SIZE(words); n++)
        if (PyTuple_GET_ITEM(words, n) != Py_None && !PyUnicode_CheckExact(PyTuple_GET_ITEM(words, n)))
            return NULL;
    PyObject *route = PyDict_GetItemWithError(fills.routes, words);
    if (route != NULL || PyErr_Occurred())
        return Py_XNewRef(route);
    route = PyObject_Call(fills.known_route, words, NULL);
    if (route == NULL)
        return NULL;
    if (PyDict_GET_SIZE(fills.routes) >= MOST_ROUTES)
        PyDict_Clear(fills.routes);
    if (PyDict_SetItem(fills.routes, words, route) < 0)
        Py_CLEAR(route);
    return route;
}

/* As `tuple.__new__` for a tuple with names, which `self` is. What no ring can be made of is not shown to the garbage
   collector: a fill leaves some of them, and they would be looked at until somebody has followed it. */
static PyObject *
tuple_of(PyObject *self, PyObject *items)
{
    PyTypeObject *type = (PyTypeObject *)self;
    if (!PyTuple_CheckExact(items)) {
        PyErr_SetString(PyExc_TypeError, "a tuple is made of a tuple");
        return NULL;
    }
    Py_ssize_t size = PyTuple_GET_SIZE(items);
    PyObject *found = type->tp_alloc(type, size);
    if (found == NULL)
        return NULL;
    int tracked = 0;
    for (Py_ssize_t n = 0; n < size; n++) {
        PyObject *item = PyTuple_GET_ITEM(items, n);
        tracked |= PyObject_IS_GC(item) && (!PyTuple_CheckExact(item) || PyObject_GC_IsTracked(item));
        PyTuple_SET_ITEM(found, n, Py_NewRef(item));
    }
    if (!tracked)
        PyObject_GC_UnTrack(found);
    return found;
}

/* As `Filled`, of the plain tuples that a fill comes as. */
static PyObject *
work(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given)
{
    enum { DESK, THE_ENTRY, BOOKING, ORDER, PLACE, THE_NOW, ALL };
    if (tail.type == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "nothing is known of what follows");
        return NULL;
    }
    if (given != ALL || !Py_IS_TYPE(args[BOOKING], tail.booking) || PyTuple_GET_SIZE(args[BOOKING]) != BOOKING_FIELDS)
        return PyObject_Vectorcall((PyObject *)tail.type, args, (size_t)given, NULL);
    PyObject **booking = ((PyTupleObject *)args[BOOKING])->ob_item, *found = tail.type->tp_alloc(tail.type, 0);
    if (found == NULL)
        return NULL;
    AT(found, work_slots, WORK_BOOK) = Py_NewRef(booking[BOOKING_BOOK]);
    AT(found, work_slots, WORK_CHANGE) = Py_NewRef(booking[BOOKING_CHANGE]);
    AT(found, work_slots, WORK_DESK) = Py_NewRef(args[DESK]);
    AT(found, work_slots, WORK_DURABLE) = Py_NewRef(Py_False);
    AT(found, work_slots, WORK_ENTRY) = Py_NewRef(args[THE_ENTRY]);
    AT(found, work_slots, WORK_FEE) = Py_NewRef(booking[BOOKING_FEE]);
    AT(found, work_slots, WORK_FEE_VALUE) = Py_NewRef(booking[BOOKING_FEE_VALUE]);
    AT(found, work_slots, WORK_NOW) = Py_NewRef(args[THE_NOW]);
    AT(found, work_slots, WORK_ORDER) = Py_NewRef(args[ORDER]);
    AT(found, work_slots, WORK_PLACE) = Py_NewRef(args[PLACE]);
    AT(found, work_slots, WORK_READY) = Py_NewRef(Py_False);
    AT(found, work_slots, WORK_SEQ) = Py_NewRef(booking[BOOKING_SEQ]);
    AT(found, work_slots, WORK_TRADE) = Py_NewRef(booking[BOOKING_TRADE]);
    return found;
}

/* As `entries.read_fill`, of plain text, plainly said numbers, and a time in milliseconds or none. */
static PyObject *
read_fill(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given, PyObject *names)
{
    enum { WORDS, THE_PRICE, QTY, FEE, FILL_ID, TS, NOW, ORDER_ID, TRACE_ID, MORE, ALL };
    PyObject *route = NULL, *price = NULL, *qty = NULL, *fee = NULL, *when = NULL, *received = NULL, *id = NULL, *entry;
    PyObject *order = given > ORDER_ID ? args[ORDER_ID] : Py_None;
    PyObject *trace = given > TRACE_ID ? args[TRACE_ID] : Py_None, *more = given > MORE ? args[MORE] : Py_None;
    long long now, ms = 0;

    if (fills.read == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "nothing is known of fills");
        return NULL;
    }
    if (names != NULL || given < ORDER_ID || given > ALL || !whole(args[NOW], &now) || now < 0 ||
        (more != Py_None && !PyDict_CheckExact(more)) ||
        (args[TS] != Py_None && (!whole(args[TS], &ms) || ms < 100000000000LL || ms >= 100000000000000LL)))
        goto python;
    if ((route = route_of(args[WORDS])) == NULL || (price = plainly(args[THE_PRICE], 1)) == NULL ||
        (qty = plainly(args[QTY], 1)) == NULL)
        goto otherwise;
    fee = args[FEE] == Py_None ? Py_NewRef(Py_None) : plainly(args[FEE], 0);
    if (fee == NULL)
        goto otherwise;
    received = stamped(seconds, now / 1000000000, (int)(now % 1000000000 / 1000));
    if (received == NULL)
        goto otherwise;
    when = args[TS] == Py_None ? Py_NewRef(received)
                                  : stamped(seconds + 1 + ms / 1000 % SECONDS, ms / 1000, (int)(ms % 1000) * 1000);
    if (when == NULL)
        goto otherwise;
    id = args[FILL_ID];
    if (id == Py_None || (ascii(id) && PyUnicode_GET_LENGTH(id) <= SHORT && PyUnicode_GET_LENGTH(id) > 0))
        Py_INCREF(id);
    else
        id = NULL;
    for (Py_ssize_t n = 0; id != NULL && id != Py_None && n < PyUnicode_GET_LENGTH(id); n++)
        if (!Py_ISALNUM(PyUnicode_1BYTE_DATA(id)[n]))
            Py_CLEAR(id);
    if (id == NULL && (id = PyObject_CallOneArg(fills.name, args[FILL_ID])) == NULL)
        goto otherwise;
    entry = fills.entry->tp_alloc(fills.entry, ENTRY_FIELDS);
    if (entry == NULL)
        goto otherwise;
    if (more == Py_None || PyDict_GET_SIZE(more) == 0) {
        more = Py_None;
        PyObject_GC_UnTrack(entry); /* it is in no ring, and the collector need not look at it */
    }
    PyTuple_SET_ITEM(entry, ENTRY_ROUTE, route);
    PyTuple_SET_ITEM(entry, ENTRY_QTY, qty);
    PyTuple_SET_ITEM(entry, ENTRY_PRICE, price);
    PyTuple_SET_ITEM(entry, ENTRY_TS, when);
    PyTuple_SET_ITEM(entry, ENTRY_TIMED, Py_NewRef(args[TS] == Py_None ? Py_False : Py_True));
    PyTuple_SET_ITEM(entry, ENTRY_RECEIVED, received);
    PyTuple_SET_ITEM(entry, ENTRY_FEE, fee);
    PyTuple_SET_ITEM(entry, ENTRY_ORDER, Py_NewRef(order));
    PyTuple_SET_ITEM(entry, ENTRY_FILL, id);
    PyTuple_SET_ITEM(entry, ENTRY_TRACE, Py_NewRef(trace));
    PyTuple_SET_ITEM(entry, ENTRY_MORE, Py_NewRef(more));
    return entry;

otherwise:
    Py_XDECREF(route);
    Py_XDECREF(price);
    Py_XDECREF(qty);
    Py_XDECREF(fee);
    Py_XDECREF(received);
    Py_XDECREF(when);
    Py_XDECREF(id);
    if (PyErr_Occurred() && !excused())
        return NULL;
python:
    return PyObject_Vectorcall(fills.read, args, (size_t)given, names);
}

/* -- being told of the Python side ------------------------------------------------------------------------------- */

static int
find_slots(PyTypeObject *type, Slot *slots)
{
    for (; slots->name != NULL; slots++) {
        PyObject *found = PyObject_GetAttrString((PyObject *)type, slots->name);
        if (found == NULL)
            return -1;
        int fits = Py_IS_TYPE(found, &PyMemberDescr_Type) && PyType_IsSubtype(type, PyDescr_TYPE(found)) &&
                   ((PyMemberDescrObject *)found)->d_member->type == T_OBJECT_EX;
        if (fits)
            slots->at = ((PyMemberDescrObject *)found)->d_member->offset;
        Py_DECREF(found);
        if (!fits) {
            PyErr_Format(PyExc_TypeError, "%s.%s is no slot", type->tp_name, slots->name);
            return -1;
        }
    }
    return 0;
}

static int
once(int again)
{
    if (again)
        PyErr_SetString(PyExc_RuntimeError, "that is known already");
    return again ? -1 : 0;
}

static PyObject *
know(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *variable, *clock, *engines, *bounds;
    PyTypeObject *context, *live, *tick, *engine, *cells, *cell, *ids;
    int direct;
    Py_ssize_t most_spans;

    if (!PyArg_ParseTuple(
            args, "O!OpOO!O!O!O!O!O!O!O!n:know", &PyContextVar_Type, &variable, &clock, &direct, &engines, &PyType_Type,
            &context, &PyType_Type, &live, &PyType_Type, &tick, &PyType_Type, &engine, &PyType_Type, &cells,
            &PyType_Type, &cell, &PyType_Type, &ids, &PyTuple_Type, &bounds, &most_spans) ||
        once(the.bound) < 0)
        return NULL;
    if (PyTuple_GET_SIZE(bounds) < 1 || PyTuple_GET_SIZE(bounds) > MOST_BOUNDS) {
        PyErr_SetString(PyExc_ValueError, "that many bounds do not fit");
        return NULL;
    }
    the.count = PyTuple_GET_SIZE(bounds);
    for (Py_ssize_t n = 0; n < the.count; n++) {
        the.bounds[n] = PyLong_AsLongLong(PyTuple_GET_ITEM(bounds, n));
        if (the.bounds[n] == -1 && PyErr_Occurred())
            return NULL;
    }
    if (!PyType_IsSubtype(live, &PyDict_Type) || !PyType_IsSubtype(cells, &PyDict_Type) ||
        !PyType_IsSubtype(context, &PyDict_Type)) {
        PyErr_SetString(PyExc_TypeError, "contexts and cells are dictionaries");
        return NULL;
    }
    if (find_slots(live, live_slots) < 0 || find_slots(tick, tick_slots) < 0 || find_slots(engine, engine_slots) < 0 ||
        find_slots(cells, cells_slots) < 0 || find_slots(cell, cell_slots) < 0 || find_slots(ids, ids_slots) < 0 ||
        find_slots(Py_TYPE(engines), engines_slots) < 0)
        return NULL;
    the.zero = PyLong_FromLong(0);
    the.one = PyLong_FromLong(1);
    the.nothing = PyTuple_New(0);
    if (the.zero == NULL || the.one == NULL || the.nothing == NULL)
        return NULL;
    the.variable = Py_NewRef(variable);
    the.clock = Py_NewRef(clock);
    the.direct = direct;
    the.engines = Py_NewRef(engines);
    the.context = (PyTypeObject *)Py_NewRef(context);
    the.live = (PyTypeObject *)Py_NewRef(live);
    the.tick = (PyTypeObject *)Py_NewRef(tick);
    the.engine = (PyTypeObject *)Py_NewRef(engine);
    the.cells = (PyTypeObject *)Py_NewRef(cells);
    the.cell = (PyTypeObject *)Py_NewRef(cell);
    the.ids = (PyTypeObject *)Py_NewRef(ids);
    the.most_spans = most_spans;
    the.bound = 1;
    Py_RETURN_NONE;
}

static PyMethodDef enter_def = {"__enter__", enter, METH_NOARGS, "Begin the stage."};
static PyMethodDef leave_def = {"__exit__", (PyCFunction)(void (*)(void))leave, METH_FASTCALL, "End the stage."};

static PyObject *
know_stages(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyTypeObject *type;
    PyObject *enter_, *leave_, *settle;
    if (!PyArg_ParseTuple(args, "O!OOO:know_stages", &PyType_Type, &type, &enter_, &leave_, &settle) ||
        once(!the.bound || stages.type != NULL) < 0 || find_slots(type, stage_slots) < 0)
        return NULL;
    PyObject *found = Py_BuildValue("NN", PyDescr_NewMethod(type, &enter_def), PyDescr_NewMethod(type, &leave_def));
    if (found == NULL)
        return NULL;
    stages.enter = Py_NewRef(enter_);
    stages.leave = Py_NewRef(leave_);
    stages.settle = Py_NewRef(settle);
    stages.type = (PyTypeObject *)Py_NewRef(type);
    return found;
}

static PyObject *
know_turns(PyObject *Py_UNUSED(module), PyObject *root_of)
{
    if (once(!the.bound || turns.root_of != NULL) < 0)
        return NULL;
    turns.root_of = Py_NewRef(root_of);
    Py_RETURN_NONE;
}

static PyObject *
know_latency(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *nothing, *unseen, *total;
    if (!PyArg_ParseTuple(args, "O!O!U:know_latency", &PyDict_Type, &nothing, &PyFloat_Type, &unseen, &total) ||
        once(!the.bound || stages.type == NULL || latency.nothing != NULL) < 0)
        return NULL;
    latency.unseen = Py_NewRef(unseen);
    latency.total = Py_NewRef(total);
    latency.nothing = Py_NewRef(nothing);
    Py_RETURN_NONE;
}

static PyObject *
know_spans(PyObject *Py_UNUSED(module), PyObject *type)
{
    if (!PyType_Check(type)) {
        PyErr_SetString(PyExc_TypeError, "that is no class");
        return NULL;
    }
    if (once(!the.bound || stages.type == NULL || spans_of.template != NULL) < 0 ||
        find_slots((PyTypeObject *)type, template_slots) < 0)
        return NULL;
    spans_of.template = (PyTypeObject *)Py_NewRef(type);
    Py_RETURN_NONE;
}

static PyObject *
know_chain(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *empty, *sealed_, *copy = NULL, *update = NULL, *digest = NULL;
    if (!PyArg_ParseTuple(args, "OO:know_chain", &empty, &sealed_) || once(chain.sealed != NULL) < 0)
        return NULL;
    PyObject *type = (PyObject *)Py_TYPE(empty);
    copy = PyObject_GetAttrString(type, "copy");
    update = copy == NULL ? NULL : PyObject_GetAttrString(type, "update");
    digest = update == NULL ? NULL : PyObject_GetAttrString(type, "digest");
    if (digest == NULL) {
        Py_XDECREF(copy);
        Py_XDECREF(update);
        return NULL;
    }
    if (!Py_IS_TYPE(copy, &PyMethodDescr_Type) || !Py_IS_TYPE(update, &PyMethodDescr_Type) ||
        !Py_IS_TYPE(digest, &PyMethodDescr_Type)) {
        Py_DECREF(copy);
        Py_DECREF(update);
        Py_DECREF(digest);
        PyErr_SetString(PyExc_TypeError, "that is no hash");
        return NULL;
    }
    chain.copy = copy;
    chain.update = update;
    chain.digest = digest;
    chain.empty = Py_NewRef(empty);
    chain.type = (PyTypeObject *)Py_NewRef(type);
    chain.sealed = Py_NewRef(sealed_);
    Py_RETURN_NONE;
}

static PyMethodDef get_def = {"get", index_get, METH_O, "Find a fill."};
static PyMethodDef enter_fill_def = {
    "enter", (PyCFunction)(void (*)(void))index_enter, METH_FASTCALL, "Enter a fill that was not found.",
};

static PyObject *
know_index(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyTypeObject *type;
    PyObject *get, *enter_;
    if (!PyArg_ParseTuple(args, "O!OO:know_index", &PyType_Type, &type, &get, &enter_) ||
        once(index_of.type != NULL) < 0 || find_slots(type, index_slots) < 0)
        return NULL;
    PyObject *found = Py_BuildValue("NN", PyDescr_NewMethod(type, &get_def), PyDescr_NewMethod(type, &enter_fill_def));
    if (found == NULL)
        return NULL;
    index_of.get = Py_NewRef(get);
    index_of.enter = Py_NewRef(enter_);
    index_of.type = (PyTypeObject *)Py_NewRef(type);
    return found;
}

static PyMethodDef identity_def = {
    "identity", (PyCFunction)(void (*)(void))identity, METH_FASTCALL, "The key of such a fill in the index.",
};

static PyObject *
know_routes(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyTypeObject *type;
    PyObject *identity_;
    if (!PyArg_ParseTuple(args, "O!O:know_routes", &PyType_Type, &type, &identity_) ||
        once(chain.sealed == NULL || routes.type != NULL) < 0 || find_slots(type, route_slots) < 0)
        return NULL;
    PyObject *found = PyDescr_NewMethod(type, &identity_def);
    if (found == NULL)
        return NULL;
    routes.identity = Py_NewRef(identity_);
    routes.type = (PyTypeObject *)Py_NewRef(type);
    return found;
}

/* Whether it is a tuple with names, and nothing beside; with these fields, if that matters. */
static int
is_named(PyTypeObject *type, const char *const *fields)
{
    PyObject *names = NULL;
    int fits = PyType_IsSubtype(type, &PyTuple_Type) && type->tp_basicsize == PyTuple_Type.tp_basicsize &&
               type->tp_dictoffset == 0 && type->tp_new != NULL &&
               (names = PyObject_GetAttrString((PyObject *)type, "_fields")) != NULL && PyTuple_CheckExact(names);
    Py_ssize_t n = 0;
    if (fits && fields != NULL) {
        while (fits && n < PyTuple_GET_SIZE(names) && fields[n] != NULL) {
            fits = PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(names, n), fields[n]) == 0;
            n++;
        }
        fits = fits && n == PyTuple_GET_SIZE(names) && fields[n] == NULL;
    }
    Py_XDECREF(names);
    if (!fits && !PyErr_Occurred())
        PyErr_Format(PyExc_TypeError, "%s is another tuple than is known here", type->tp_name);
    return fits;
}

static const char *const entry_fields[] = {
    "route", "qty", "price", "ts", "timed", "received", "fee", "order_id", "fill_id", "trace_id", "more", NULL,
};
static const char *const change_fields[] = {
    "quote_delta", "inventory", "gross", "fees", "closed_qty", "trade_id", "next_trade_id", "closed", "late",
    "revised", "undone", NULL,
};
static const char *const booking_fields[] = {
    "seq", "ticket", "change", "book", "fee", "fee_value", "line", "duplicate", "conflict", "waiting", "reason",
    "differs", "removed", "trade", "accrual", "key", "also", NULL,
};

static PyMethodDef tuple_def = {"made", tuple_of, METH_O, "Make one of its items."};

static PyObject *
maker(PyObject *Py_UNUSED(module), PyObject *type)
{
    if (!PyType_Check(type)) {
        PyErr_SetString(PyExc_TypeError, "that is no class");
        return NULL;
    }
    return is_named((PyTypeObject *)type, NULL) ? PyCFunction_New(&tuple_def, type) : NULL;
}

static PyObject *
know_work(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyTypeObject *type, *booking;
    if (!PyArg_ParseTuple(args, "O!O!:know_work", &PyType_Type, &type, &PyType_Type, &booking) ||
        once(tail.type != NULL) < 0 || !is_named(booking, booking_fields) || find_slots(type, work_slots) < 0)
        return NULL;
    tail.booking = (PyTypeObject *)Py_NewRef(booking);
    tail.type = (PyTypeObject *)Py_NewRef(type);
    Py_RETURN_NONE;
}

static PyObject *
know_fills(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyTypeObject *entry, *decimal;
    PyObject *read, *known_route, *to_the_second, *name;
    if (!PyArg_ParseTuple(args, "O!O!OOOO:know_fills", &PyType_Type, &entry, &PyType_Type, &decimal, &known_route,
                          &to_the_second, &name, &read) ||
        once(fills.read != NULL) < 0 || !is_named(entry, entry_fields))
        return NULL;
    fills.routes = PyDict_New();
    if (fills.routes == NULL)
        return NULL;
    fills.entry = (PyTypeObject *)Py_NewRef(entry);
    fills.decimal = (PyTypeObject *)Py_NewRef(decimal);
    fills.known_route = Py_NewRef(known_route);
    fills.to_the_second = Py_NewRef(to_the_second);
    fills.name = Py_NewRef(name);
    fills.read = Py_NewRef(read);
    Py_RETURN_NONE;
}

static PyObject *
know_lines(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyTypeObject *entry, *change, *decimal;
    PyObject *crc32, *content_, *said;
    if (!PyArg_ParseTuple(args, "O!O!O!OOO:know_lines", &PyType_Type, &entry, &PyType_Type, &change, &PyType_Type,
                          &decimal, &crc32, &content_, &said) ||
        once(routes.type == NULL || lines.said != NULL) < 0 || !is_named(entry, entry_fields) ||
        !is_named(change, change_fields))
        return NULL;
    lines.change = (PyTypeObject *)Py_NewRef(change);
    lines.decimal = (PyTypeObject *)Py_NewRef(decimal);
    lines.entry = (PyTypeObject *)Py_NewRef(entry);
    lines.crc32 = Py_NewRef(crc32);
    lines.content = Py_NewRef(content_);
    lines.said = Py_NewRef(said);
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"watched", watched, METH_VARARGS, "Wait, and look at files meanwhile, without the interpreter's lock."},
    {"know", know, METH_VARARGS, "Learn the classes of the hot path."},
    {"know_stages", know_stages, METH_VARARGS, "Learn what a stage is; gives `__enter__` and `__exit__` for it."},
    {"know_turns", know_turns, METH_O, "Learn `root_of`; `root` may be called then."},
    {"know_latency", know_latency, METH_VARARGS, "Learn what a latency is told as; `told` may be called then."},
    {"know_spans", know_spans, METH_O, "Learn what keeps a span's constants; `children` may be called then."},
    {"root", (PyCFunction)(void (*)(void))root, METH_FASTCALL, "As `root_of`."},
    {"told", told, METH_O, "As `told_at_once`."},
    {"begun", (PyCFunction)(void (*)(void))begun, METH_FASTCALL, "As `Tick._begun`, of a record with a bar's number."},
    {"familiar", (PyCFunction)(void (*)(void))familiar, METH_FASTCALL, "As `redact.familiar`."},
    {"children", (PyCFunction)(void (*)(void))children, METH_FASTCALL, "The spans of a turn behind its root."},
    {"know_chain", know_chain, METH_VARARGS, "Learn what lines are chained with; `sealed` may be called then."},
    {"know_index", know_index, METH_VARARGS, "Learn what the index is; gives `get` and `enter` for it."},
    {"know_routes", know_routes, METH_VARARGS, "Learn what a route is; gives `identity` for it."},
    {"know_fills", know_fills, METH_VARARGS, "Learn what a fill is read as; `read_fill` may be called then."},
    {"know_lines", know_lines, METH_VARARGS, "Learn what lines are made of; `content`, `said_of_fill` may be called then."},
    {"know_work", know_work, METH_VARARGS, "Learn what follows from a fill; `work` may be called then."},
    {"maker", maker, METH_O, "What makes a tuple with names, of a tuple."},
    {"work", (PyCFunction)(void (*)(void))work, METH_FASTCALL, "As `Filled`."},
    {"sealed", (PyCFunction)(void (*)(void))sealed, METH_FASTCALL, "As `chain.sealed`."},
    {"read_fill", (PyCFunction)(void (*)(void))read_fill, METH_FASTCALL | METH_KEYWORDS, "As `entries.read_fill`."},
    {"content", (PyCFunction)(void (*)(void))content, METH_FASTCALL, "As `lines.content`."},
    {"said_of_fill", (PyCFunction)(void (*)(void))said_of_fill, METH_FASTCALL, "As `lines.said_of_fill`."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, .m_name = "_quick", .m_doc = "The hot path without the interpreter.", .m_size = -1,
    .m_methods = methods,
};

PyMODINIT_FUNC
PyInit__quick(void)
{
    return PyModule_Create(&definition);
}
