"""A fill on its straight path: read, written and found again as the plain way of doing it would have it."""

from __future__ import annotations

import time
from decimal import Decimal

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from botobs.accounting.account import Account, Terms
from botobs.accounting.book import Book
from botobs.accounting.calendar import Calendar
from botobs.accounting.entries import moment, read_fill, stamp
from botobs.accounting.instruments import Instrument
from botobs.accounting.ledger import FillIndex, Ledger
from botobs.accounting.lines import content_of, identity_of
from botobs.accounting.numbers import exact, number, text
from botobs.accounting.replay import entries_of
from botobs.accounting.routes import WORDS, Refused, Route, name, route_of
from botobs.accounting.sampling import CurveSampler
from botobs.trackers.order import Order
from botobs.trackers.slippage import _slipped_exactly, slipped

NOW = 1_790_000_000_123_456_789
ODD = st.text(st.sampled_from('aZ9-_"\\/\0\n\té€𝄞 {},:\ud800'), max_size=6)
IDS = st.one_of(st.none(), ODD, st.from_regex(r"[a-z0-9-]{1,12}", fullmatch=True))
NUMBERS = ["1", "0.10", "1E-7", "1e3", "2.5", "33333.333", "0.00000001", "1e39", "1e41", "7" * 45]
FEES = [None, "0", "-0.05", "0.1", "1E-9", "0e-7", "12e2"]


def account(**terms) -> Account:
    return Account(Ledger(None), Terms(starting_equity=Decimal(1000), run_id='r"1', **terms), lambda: NOW)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["BTCUSDT", 'B"T\\C\0', "é/USDT"]), st.sampled_from(["buy", "sell"]),
            st.sampled_from([None, "USDT", "BTC", "BNB", 'U"'], ), st.sampled_from([None, "maker", "t"]),
            ODD, IDS, IDS, st.sampled_from(NUMBERS), st.sampled_from(NUMBERS), st.sampled_from(FEES),
            st.sampled_from([None, 1_780_000_000_001, "2026-05-01T00:00:00Z"]),
            st.sampled_from([None, {"note": 'a"b', "n": Decimal("1E+2")}]),
        ),
        max_size=8,
    )
)  # fmt: skip
def test_a_line_is_what_a_plain_dict_says(fills):
    books = account()
    books.mark("BNBUSDT", Decimal(500), "x")
    for symbol, side, asset, role, venue, order_id, fill_id, qty, price, fee, ts, more in fills:
        words = (symbol, side, asset, role, venue, None, None, None, "live")
        entry = read_fill(words, price, qty, fee, fill_id, ts, NOW, name(order_id), "f" * 32, more)
        booking = books.fill(entry)
        if booking.ticket is None:
            assert booking.duplicate or booking.conflict
            continue
        line = books.ledger.find(booking.seq)
        route, amount = entry.route, None if fee is None else text(number(fee))
        said = {
            "type": "fill", "ts": entry.ts, "received": stamp(NOW), "schema": "v1", "bot": "bot", "run_id": 'r"1',
            "size": text(number(qty)), "price": text(number(price)), "fee": amount, "order_id": name(order_id),
            "fill_id": name(fill_id), "timed": True if ts is not None else None, "trace_id": "f" * 32,
            **{word: getattr(route, word) for word in WORDS},
        }  # fmt: skip
        assert {field: line.get(field) for field in said} == said
        assert line["inventory"] == text(booking.change.inventory) and line["trade_id"] == booking.change.trade_id
        assert Decimal(line["equity"]) == books.curve.equity and line["peak"] == text(books.curve.peak)
        assert ("more" in line) == (more is not None) and "E" not in line["equity"] + line["quote_delta"]
        if entry.fill_id is not None:
            assert books.index.get(identity_of(line)) == (content_of(line), booking.seq)
            assert books.fill(entry).duplicate


@settings(max_examples=150, deadline=None)
@given(st.tuples(*[st.text(st.sampled_from("a\0,"), max_size=3)] * 6))
def test_a_fill_is_known_by_the_same_key_however_it_is_made(parts):
    venue, place, symbol, side, order_id, fill_id = parts
    route = Route(symbol, side, None, None, venue, place)
    line = {"venue": venue, "account": place, "symbol": symbol, "side": side, "order_id": order_id, "fill_id": fill_id}
    assert route.identity(order_id, fill_id) == identity_of(line) == FillIndex.key(*parts)


SPELT = st.one_of(
    st.sampled_from([*NUMBERS, "0", "-1", "nan", "inf", "-Infinity", "1e-41", "1e-999999", "x", "", " 7 ", "1_0", "٣"]),
    st.floats(), st.decimals(), st.integers(-5, 10**50), st.booleans(), st.none(),
)  # fmt: skip


def read(value):
    try:
        return number(value)
    except ValueError:
        return None


@settings(max_examples=150, deadline=None)
@example("1e-999999", "1", None)
@example("1", "1e-999999", None)
@example("1", "1", "1e-999999")
@example("1e999999", "1", "0")
@example("1", "1", "-1E-999999")
@given(SPELT, SPELT, SPELT)
def test_numbers_are_read_as_number_reads_them(price, qty, fee):
    words = ("BTCUSDT", "buy", None, None, None, None, None, None, "live")
    cost, size, paid = read(price), read(qty), None if fee is None else read(fee)
    good = cost is not None and size is not None and cost > 0 and size > 0 and (fee is None or paid is not None)
    try:
        entry = read_fill(words, price, qty, fee, None, None, NOW)
    except Refused:
        assert not good
    else:
        found = [None if value is None else str(value) for value in (entry.price, entry.qty, entry.fee)]
        assert good and found == [str(cost), str(size), None if paid is None else str(paid)]


@settings(max_examples=150, deadline=None)
@given(st.integers(10**11, 10**14 - 1), st.integers(0, 999_999))
def test_milliseconds_are_told_as_every_other_time(ms, rest):
    words = ("BTCUSDT", "buy", None, None, None, None, None, None, "live")
    entry = read_fill(words, 1, 1, None, None, ms, NOW)
    assert entry.ts == moment("ts", ms) == stamp(ms * 10**6 + rest)[:23] + "000Z"


class Symbol(str):  # noqa: SLOT000 - text that shows itself otherwise
    value = "ETHUSDT"


def test_a_route_is_kept_for_plain_text_only():
    words = ("BTCUSDT", "buy", "USDT", "maker", None, None, None, None, "live")
    assert route_of(words).buys and read_fill(words, 1, 1, None, None, None, NOW).route.buys
    odd = (Symbol("BTCUSDT"), *words[1:])
    assert read_fill(odd, 1, 1, None, None, None, NOW).route.symbol == "ETHUSDT"
    assert read_fill(words, 1, 1, None, None, None, NOW).route is read_fill(words, 2, 3, 1, "x", 5, NOW).route


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["due", "overdue", "taken"]), st.integers(-70, 4_000), st.integers(1, 4))))
def test_what_spares_a_question_never_hides_a_sample(steps):
    sampler, asked, now = CurveSampler(Calendar()), CurveSampler(Calendar()), 10**18
    for what, seconds, equity in steps:
        now += seconds * 10**9 // 3
        asked.since = asked.until = -1  # spares nothing
        args = (now,) if what == "overdue" else (now, Decimal(equity * 10_000))
        assert getattr(sampler, what)(*args) == getattr(asked, what)(*args)
        if sampler.since <= now < sampler.until:
            assert asked.overdue(now) is None
        assert sampler.pending == asked.pending


def plain_worth(books):
    found = {}
    for (_, venue, symbol, _, _), book in books.books.items():
        worth = book.cash + book.inventory * books.marks.get(venue, symbol)
        found.setdefault(book.settles, []).append(worth)
    if len(found) == 1:
        return sum(next(iter(found.values())))
    rates = {currency: books.marks.rate(currency, "USD") for currency in found}
    return sum(worth * rates[currency] for currency, all_of in found.items() for worth in all_of if rates[currency])


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["BTCUSDT", "BTCEUR", "ETHBTC"]), st.integers(-3, 3), st.integers(1, 9))))
def test_worth_is_that_of_all_books_through_every_change_of_currencies(steps):
    books = account()
    for symbol, qty, price in steps:
        books.mark(symbol, Decimal(price))
        if qty:
            words = (symbol, "buy" if qty > 0 else "sell", None, None, None, None, None, None, "live")
            books.fill(read_fill(words, price, abs(qty), "0", None, None, NOW))
        assert exact(books.valuation.pnl)() == exact(plain_worth)(books)


PRICES = st.decimals("1e-200", "1e200", allow_nan=False, allow_infinity=False)


@settings(max_examples=150, deadline=None)
@given(PRICES, PRICES, st.decimals("0.001", "1000"), st.sampled_from(["buy", "sell"]), st.booleans(), st.integers(1, 2))
def test_slippage_is_reckoned_alike_on_the_short_way(decision, price, qty, side, inverse, multiplier):
    order = Order("o", 0)
    order.decide(decision)
    instrument = Instrument("X", inverse=inverse) if multiplier == 1 else Instrument("X", Decimal(multiplier), inverse)
    assert slipped(order, instrument, price, qty, side) == _slipped_exactly(
        order, instrument, price, qty, 1 if side == "buy" else -1
    )


@pytest.mark.parametrize("ts", ["2026-05-01T00:00:00Z", "x" * 27, 7, None, "é" * 26 + "Z"])
def test_the_head_has_no_time_that_is_none(tmp_path, ts):
    ledger = Ledger(tmp_path, durability="os")
    with ledger.lock:
        ledger.add({"type": "fill", "ts": ts})
        first = (ledger._vault.file.lowest, ledger._vault.file.highest)
        for when in ("2026-05-01T00:00:00.000000Z", "2026-04-01T00:00:00.000000Z", "2026-06-01T00:00:00.000000Z"):
            ledger.add({"type": "fill", "ts": when})
    file = ledger._vault.file
    assert first == ("-" * 27, "-" * 27) and (file.lowest[5:7], file.highest[5:7]) == ("04", "06")
    assert [orjson.loads(raw)["seq"] for _, raw in ledger.lines()] == [1, 2, 3, 4]
    assert ledger.close(time.monotonic() + 60)


def minute(n: int) -> str:
    return stamp((1_780_000_000 + 60 * n) * 10**9)


def bought(n: int, *, side: str, price: int, symbol: str = "BTCUSDT"):
    words = (symbol, side, None, None, "x", None, None, None, "live")
    return read_fill(words, str(price), "1", "0.01", f"f{symbol}{n}", minute(n), NOW)


@settings(max_examples=8, deadline=None)
@given(st.data())
def test_what_is_much_too_late_is_as_if_it_had_come_in_time(data):
    books = account(cost_basis=data.draw(st.sampled_from(["average", "fifo"])))
    for n in range(0, 1_200, 2):
        books.fill(bought(n, side="buy" if n % 8 < 4 else "sell", price=100 + n % 13))
    told = data.draw(st.lists(st.integers(0, 499), min_size=3, max_size=6, unique=True))
    for at in told:
        n = 2 * at + 1
        if data.draw(st.booleans()):
            change = books.fill(bought(n, side=data.draw(st.sampled_from(["buy", "sell"])), price=90)).change
        else:
            known = (0, [line for line in books.ledger.latest(1_300) if line.get("fill_id") == f"fBTCUSDT{n - 1}"])
            change = books.void(
                f"fBTCUSDT{n - 1}", "busted", order_id=None, symbol=None, account=None, known=known
            ).change
        assert change is None or change.late
    for key, book in books.books.items():
        afresh = exact(Book.rebuilt)(book.instrument, book.cost_basis, entries_of(books, key))
        assert book.state() == afresh.state()


def test_a_fill_of_three_hours_ago_is_booked_from_the_turn_of_its_hour():
    books, since = account(), []
    for n in range(1_200):
        books.fill(bought(n, side="buy" if n % 4 < 2 else "sell", price=100))
    lines = books.ledger.lines
    books.ledger.lines = lambda first=1, last=None: (since.append(first), lines(first, last))[1]
    late = books.fill(bought(1_010, side="sell", price=90, symbol="BTCUSDT")._replace(fill_id="late"))
    books.ledger.lines = lines
    assert late.change.late and since and min(since) > 900
    key, book = next(iter(books.books.items()))
    assert book.state() == exact(Book.rebuilt)(book.instrument, "average", entries_of(books, key)).state()
