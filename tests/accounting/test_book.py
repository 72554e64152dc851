"""The position engine agrees with plain fractions, in any order of arrival, and comes out even to the last digit."""

from __future__ import annotations

import dataclasses
import decimal
import json
import os
import random
from decimal import Decimal as D
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from botobs.accounting import book as book_module
from botobs.accounting.book import Book, Entry, TooOld
from botobs.accounting.instruments import Instrument
from botobs.accounting.lots import Lots
from botobs.accounting.numbers import EXACT, ZERO
from botobs.accounting.trade import difference
from tests.accounting.reference import Reference, near, order

EXAMPLES = 10 * int(os.environ.get("SOAK_FACTOR", "1"))  # `make soak` asks for more examples
some = settings(max_examples=EXAMPLES, deadline=None)

LINEAR = Instrument("BTCUSDT")
MARKETS = [
    LINEAR,
    Instrument("CONTRACT", multiplier=D("0.01")),
    Instrument("THIRD", multiplier=D(3)),  # a base fee does not come out even in contracts
    Instrument("BTCUSD", inverse=True, multiplier=D(100), base="BTC", quote="USD"),
    Instrument("DUSTY", dust=D("0.3")),
    Instrument("DUSTYINVERSE", inverse=True, dust=D(1)),
]


@pytest.fixture(autouse=True)
def exactly():
    with decimal.localcontext(EXACT):
        yield


@pytest.fixture
def small(monkeypatch):
    """Savepoints every three entries, all of them kept: a whole history, and many places to go back to."""
    monkeypatch.setattr(book_module, "_EVERY", 3)
    monkeypatch.setattr(book_module, "_KEPT", 10**9)


def ts(second, micro=0):
    return f"2026-03-01T{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}.{micro:06}Z"


qtys = st.builds(
    lambda sign, digits, places: D(sign * digits).scaleb(-places),
    st.sampled_from((1, -1)),
    st.one_of(st.integers(1, 9), st.integers(1, 10**6)),
    st.integers(0, 3),
)
prices = st.builds(lambda digits, places: D(digits).scaleb(-places), st.integers(1, 10**8), st.integers(0, 6))
fees = st.builds(lambda digits, places: D(digits).scaleb(-places), st.integers(-(10**4), 10**5), st.integers(0, 8))
ids = st.one_of(st.none(), st.sampled_from(("2", "10", "07", "7", "1a", "x", "#", "²")))


@st.composite
def histories(draw, most=40):
    """Entries as they happened, sizes that meet again so that positions close, flip and leave dust."""
    sizes = draw(st.lists(qtys, min_size=1, max_size=3))
    size = st.one_of(st.sampled_from(sizes), st.sampled_from([-one for one in sizes]), qtys)
    found = []
    for seq in range(1, draw(st.integers(1, most)) + 1):
        at = ts(draw(st.integers(0, 20)))
        kind = draw(st.sampled_from(("quote",) * 5 + ("base", "unpriced", "funding", "position", "close")))
        if kind == "funding":
            found.append(Entry(at, seq, None, kind, draw(fees)))
        elif kind == "position":
            found.append(Entry(at, seq, None, kind, draw(size), draw(prices)))
        else:
            qty, fee, fill_id = draw(size), draw(fees), draw(ids)
            if kind == "base":
                fee = draw(st.sampled_from((qty, fee, qty / 8, -qty / 8)))
            role = draw(st.sampled_from(("maker", "taker", None)))
            asset = draw(st.sampled_from(("BNB", "XYZ"))) if kind == "unpriced" else None
            found.append(
                Entry(at, seq, fill_id, "quote" if kind == "close" else kind, qty, draw(prices), fee, role, asset)
            )
    return found


def plainly(entries, instrument, basis):
    reference = Reference(basis)
    reference.instrument("b", multiplier=instrument.multiplier, inverse=instrument.inverse, dust=instrument.dust)
    for entry in entries:
        report(reference, entry)
    return reference


def report(reference, entry):
    if entry.kind == "funding":
        reference.fund("b", entry.ts, entry.seq, entry.qty)
    elif entry.kind == "position":
        reference.hold("b", entry.ts, entry.seq, entry.qty, entry.price)
    else:
        reference.fill(
            "b", entry.ts, entry.seq, entry.fill_id, entry.qty, entry.price, entry.fee, entry.role,
            fee_kind=entry.kind, fee_asset=entry.asset,
        )  # fmt: skip


def in_order(entries, instrument=LINEAR, basis="average", trips=None):
    return Book.rebuilt(instrument, basis, sorted(entries, key=Book.order), trips=trips)


def comes_out_even(book, trips, mark=D("123.456")):
    """Every identity, to the last digit."""
    held = book.instrument.worth(book.inventory, mark)
    assert book.realized + book.unrealized(mark) == book.cash + book.funding + held
    everything = [*trips, *([book.trade] if book.trade else [])]
    for name in ("gross", "fees", "funding"):
        of_trades = sum((getattr(trip, name) for trip in everything), ZERO)
        assert of_trades + getattr(book, f"loose_{name}") == getattr(book, name), name
    if book.cost_basis == "fifo":
        assert sum((lot[0] for lot in book.lots), ZERO) == book.inventory
        assert sum((lot[1] for lot in book.lots), ZERO) == book.basis
    assert (book.trade is None) == (abs(book.inventory) <= book.instrument.dust)


def agrees(book, trips, plain):
    scale = sum((abs(one["quote_delta"]) + abs(one["fees"]) for one in plain.per_entry.values()), Fraction(0))
    for name in ("inventory", "basis", "gross", "fees", "funding", "turn", "volume", "maker_volume", "taker_volume"):
        assert near(getattr(book, name), getattr(plain, name), scale), name
    for name in ("loose_gross", "loose_fees", "loose_funding"):
        assert near(getattr(book, name), getattr(plain, name), scale), name
    assert (book.fills, book.last_price) == (plain.fills, plain.last_price)
    assert near(book.cash, plain.cash_flow, scale)
    assert near(book.realized, plain.realized, scale)
    assert near(book.unrealized(D("9.75")), plain.unrealized(D("9.75")), scale)
    assert {asset: Fraction(amount) for asset, amount in book.unpriced.items()} == dict(plain.unpriced)
    assert len(trips) == len(plain.trades)
    pairs = [*zip(trips, plain.trades, strict=True), *([(book.trade, plain.trade)] if book.trade else [])]
    assert (book.trade is None) == (plain.trade is None)
    for trip, other in pairs:
        for field in dataclasses.fields(other):
            value, expected = getattr(trip, field.name), getattr(other, field.name)
            if isinstance(expected, Fraction):
                assert near(value, expected, scale), field.name
            else:
                assert value == expected, field.name
        assert trip.trade_id == other.trade_id


# --- with the reference ---


@pytest.mark.parametrize("basis", ["average", "fifo"])
@pytest.mark.parametrize("instrument", MARKETS, ids=lambda market: market.symbol)
@some
@given(entries=histories())
def test_it_agrees_with_plain_fractions_and_comes_out_even(instrument, basis, entries):
    reference = plainly(entries, instrument, basis)
    book, trips = Book(instrument, basis), []
    for entry in sorted(entries, key=Book.order):
        change = book.put(entry)
        trips.extend(change.closed)
        comes_out_even(book, trips)
    plain = reference.book("b")
    agrees(book, trips, plain)
    assert [entry["seq"] for entry in reference.in_order("b")] == [row[1] for row in sorted(entries, key=Book.order)]


@pytest.mark.parametrize("basis", ["average", "fifo"])
@pytest.mark.parametrize("instrument", MARKETS, ids=lambda market: market.symbol)
@some
@given(entries=histories(most=15))
def test_each_change_says_what_the_entry_did(instrument, basis, entries):
    plain = plainly(entries, instrument, basis).book("b")
    book = Book(instrument, basis)
    for entry in sorted(entries, key=Book.order):
        gross, fees_before, open_before, turn = book.gross, book.fees, book.trade_id, book.turn
        change = book.put(entry)
        assert (book.gross - gross, book.fees - fees_before, book.inventory) == change[2:4] + (change.inventory,)
        assert book.turn - turn == change.quote_delta
        assert not change.late
        assert not change.revised
        assert not change.undone
        touched = {key for key in (open_before, book.trade_id, *(trip.trade_id for trip in change.closed)) if key}
        assert {key for key in (change.trade_id, change.next_trade_id) if key} == touched
        if change.closed and open_before:
            assert change.trade_id == open_before
        if entry.kind == "funding":
            assert change.quote_delta == change.gross == change.closed_qty == 0
            continue
        told = plain.per_entry[entry.seq]
        scale = sum((abs(one["quote_delta"]) for one in plain.per_entry.values()), Fraction(0))
        for name, expected in told.items():
            assert near(getattr(change, name), expected, scale), name


@some
@given(entries=histories())
def test_fifo_of_linear_contracts_has_no_rounding_at_all(entries):
    entries = [entry for entry in entries if entry.kind != "base"]
    plain = plainly(entries, MARKETS[1], "fifo").book("b")
    book = in_order(entries, MARKETS[1], "fifo")
    for name in ("inventory", "basis", "gross", "fees", "turn", "volume"):
        assert Fraction(getattr(book, name)) == getattr(plain, name), name


def test_fifo_splits_a_lot_exactly_beyond_34_digits():
    book = Book(LINEAR, "fifo")
    qty, price = D("1." + "3" * 60), D("7." + "1" * 60)
    book.fill(ts(1), 1, "1", qty, price, ZERO, None)
    part = D("0." + "7" * 59)
    change = book.fill(ts(2), 2, "2", -part, D(9), ZERO, None)
    assert change.gross == part * (9 - price)


# --- in any order ---


def keep_in_step(trades, change):
    for key in change.undone:
        del trades[key]
    for trip in change.revised:
        assert trades[trip.trade_id] != trip
        trades[trip.trade_id] = trip
    for trip in change.closed:
        assert trip.trade_id not in trades
        trades[trip.trade_id] = trip


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("basis", ["average", "fifo"])
@pytest.mark.parametrize("instrument", MARKETS, ids=lambda market: market.symbol)
@some
@given(entries=histories(most=24), data=st.data())
def test_any_order_of_arrival_with_voids_gives_the_same_state(instrument, basis, entries, data):
    arrivals = data.draw(st.permutations(entries))
    doomed = data.draw(st.sets(st.sampled_from([entry.seq for entry in entries])))
    book, trades, waiting = Book(instrument, basis), {}, set()
    for entry in arrivals:
        before = book.inventory
        change = book.put(entry)
        keep_in_step(trades, change)
        if not change.late:
            assert change.inventory == book.inventory
        elif entry.kind in ("quote", "unpriced", "position"):
            assert book.inventory == before + entry.qty
        if entry.seq in doomed:
            waiting.add(entry.seq)
        if waiting and data.draw(st.booleans()):
            keep_in_step(trades, book.remove(waiting.pop()))
        comes_out_even(book, trades.values())
    for seq in waiting:
        turn, fee, gross = book.turn, book.fees, book.gross
        change = book.remove(seq)
        keep_in_step(trades, change)
        assert change.late
        assert (change.quote_delta, change.fees, change.gross) == (
            book.turn - turn,
            book.fees - fee,
            book.gross - gross,
        )
    trips = []
    ordered = in_order([entry for entry in entries if entry.seq not in doomed], instrument, basis, trips)
    assert book.state() == ordered.state()
    assert trades == {trip.trade_id: trip for trip in trips}
    plain = plainly(arrivals, instrument, basis)
    for seq in doomed:
        plain.void(seq)
    agrees(book, trips, plain.book("b"))


@pytest.mark.usefixtures("small")
@some
@given(entries=histories(most=16), data=st.data())
def test_a_late_change_says_what_it_would_have_said_in_order(entries, data):
    book = Book(LINEAR)
    *others, last = data.draw(st.permutations(entries))
    for entry in others:
        book.put(entry)
    change = book.put(last)
    expected = Book(LINEAR)
    for entry in sorted(entries, key=Book.order):
        told = expected.put(entry)
        if entry is last:
            assert change[:7] == told[:7]
            break


@pytest.mark.parametrize("basis", ["average", "fifo"])
def test_a_long_history_shuffled_nearby_never_is_too_old(basis):
    rng = random.Random(7)
    entries = [
        Entry(
            ts(n // 3),
            n,
            str(n),
            "quote",
            D(rng.choice((1, 1, 2)) * (-1) ** n),
            D(rng.randint(50, 150)),
            D(rng.randint(-5, 9)) / 8,
        )
        for n in range(1, 1500)
    ]
    arrivals = sorted(entries, key=lambda entry: entry.seq + rng.uniform(0, 60))
    book, trades = Book(LINEAR, basis), {}
    for n, entry in enumerate(arrivals):
        keep_in_step(trades, book.put(entry))
        if n % 7 == 0 and n > 20:
            again = arrivals[n - rng.randint(0, 8)]
            keep_in_step(trades, book.remove(again.seq))
            keep_in_step(trades, book.put(again))
    trips = []
    assert book.state() == in_order(entries, LINEAR, basis, trips).state()
    assert trades == {trip.trade_id: trip for trip in trips}
    assert len(trades) > 50


@pytest.mark.parametrize("basis", ["average", "fifo"])
@settings(max_examples=EXAMPLES, deadline=None)
@given(data=st.data())
def test_what_is_too_old_is_mended_by_rebuilding(basis, data):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(book_module, "_EVERY", 2)
        entries = data.draw(histories(most=30))
        arrivals = data.draw(st.permutations(entries))
        book, known, trades = Book(LINEAR, basis), [], {}

        def rebuild():
            trips = []
            fresh = in_order(known, LINEAR, basis, trips)
            closed, revised, undone = difference(trades.values(), trips)
            for key in undone:
                del trades[key]
            trades.update({trip.trade_id: trip for trip in (*closed, *revised)})
            return fresh

        for entry in arrivals:
            known.append(entry)
            before = book.state()
            try:
                keep_in_step(trades, book.put(entry))
            except TooOld:
                assert book.state() == before
                book = rebuild()
            if data.draw(st.integers(0, 5)) == 0:
                gone = data.draw(st.sampled_from(known))
                known.remove(gone)
                try:
                    keep_in_step(trades, book.remove(gone.seq))
                except TooOld:
                    book = rebuild()
        trips = []
        assert book.state() == in_order(known, LINEAR, basis, trips).state()
        assert trades == {trip.trade_id: trip for trip in trips}


@given(names=st.lists(st.one_of(ids, st.text(max_size=3), st.integers(0, 10**30).map(str)), min_size=1, max_size=12))
def test_the_order_of_ties_is_one_order(names):
    entries = [Entry(ts(0), seq, name, "quote", D(1), D(1)) for seq, name in enumerate(names)]
    plain = [{"ts": entry.ts, "fill_id": entry.fill_id, "seq": entry.seq} for entry in entries]
    assert [entry.seq for entry in sorted(entries, key=Book.order)] == [
        entry["seq"] for entry in sorted(plain, key=order)
    ]


def test_ties_go_by_number_where_both_are_numbers():
    for seq in (1, 2):
        book = Book(LINEAR)
        book.fill(ts(1), 3 - seq, "10", D(-1), D(20), ZERO, None)
        change = book.fill(ts(1), seq, "9", D(1), D(10), ZERO, None)
        assert change.late
        assert change.closed[0].side == "long"
        assert book.gross == 10
    assert not book.fill(ts(1), 9, "11", D(1), D(10), ZERO, None).late
    assert not book.fill(ts(1), 10, "11", D(1), D(10), ZERO, None).late
    assert book.fill(ts(1), 11, None, D(1), D(10), ZERO, None).late
    huge = "9" * 100_000
    assert not book.fill(ts(1), 12, huge, D(1), D(10), ZERO, None).late


# --- what is remembered ---


def test_the_memory_is_bounded_and_reaches_back_64_entries():
    book = Book(LINEAR, "fifo")
    for n in range(1, 20_001):
        book.fill(ts(n), n, str(n), D(1 if n % 2 else -1), D(100), ZERO, "taker")
        assert len(book._rows) <= 96
        assert len(book._closed) <= 96
        assert len(book._saves) <= 3
        assert len(book._lots._items) <= 300
        if n > 100 and n % 37 == 0:
            assert book.remove(n - 63).late
            book.fill(ts(n - 63), n - 63, str(n - 63), D(1 if n % 2 == 0 else -1), D(100), ZERO, "taker")
    with pytest.raises(TooOld):
        book.fill(ts(1), 30_000, "x", D(1), D(100), ZERO, None)


def test_many_late_entries_do_not_make_it_grow():
    book = Book(LINEAR)
    book.fill(ts(0), 0, "0", D(1), D(100), ZERO, None)
    book.fill(ts(80_000), 1, "1", D(1), D(100), ZERO, None)
    for n in range(2, 3_000):
        assert book.fill(ts(n), n, str(n), D(1), D(100), ZERO, None).late
        assert len(book._rows) <= 128
        assert len(book._saves) <= 3
    assert book.inventory == 3_000


def test_a_savepoint_costs_the_same_with_many_lots_open():
    book = Book(LINEAR, "fifo")
    for n in range(1, 5_000):
        book.fill(ts(n), n, str(n), D(1), D(100 + n % 7), ZERO, None)
    assert all(len(save.lots) == 3 for save in book._saves)
    assert len(book.lots) == 4_999
    change = book.fill(ts(9_000), 9_000, "x", D("-3.5"), D(200), ZERO, None)
    assert change.gross == 3 * 200 - (101 + 102 + 103) + D("0.5") * (200 - 104)
    assert len(book.lots) == 4_996


def test_voids_of_what_is_not_there():
    book = Book(LINEAR)
    with pytest.raises(KeyError):
        book.remove(1)
    for n in range(1, 300):
        book.fill(ts(n), 2 * n, str(n), D(1), D(100), ZERO, None)
    with pytest.raises(TooOld):
        book.remove(4)
    with pytest.raises(TooOld):
        book.remove(5)  # between: it could have been
    with pytest.raises(KeyError):
        book.remove(1_000)
    book.remove(2 * 299)
    with pytest.raises(KeyError):
        book.remove(2 * 299)
    again = Book.of_state(book.state())
    with pytest.raises(TooOld):
        again.remove(1_000)  # it cannot know


def test_after_the_last_void_the_book_is_empty_again():
    book = Book(LINEAR)
    empty = book.state()
    book.fill(ts(5), 1, "1", D(1), D(100), D(1), "maker")
    book.fill(ts(6), 2, "2", D(1), D(100), D(1), "maker", fee_kind="unpriced", fee_asset="BNB")
    book.remove(1)
    book.remove(2)
    assert book.state() == empty
    assert not book.fill(ts(1), 3, "3", D(1), D(100), ZERO, None).late


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("basis", ["average", "fifo"])
@pytest.mark.parametrize("instrument", MARKETS, ids=lambda market: market.symbol)
@settings(max_examples=EXAMPLES, deadline=None)
@given(entries=histories(most=24), data=st.data())
def test_what_fails_leaves_the_book_as_it_was(instrument, basis, entries, data):
    entries = data.draw(st.permutations(entries))
    cut = data.draw(st.integers(0, len(entries)))
    book, same = Book(instrument, basis), Book(instrument, basis)
    for entry in entries[:cut]:
        book.put(entry)
        same.put(entry)
    wrong = data.draw(
        st.sampled_from(
            (
                ("quote", D("sNaN"), D(1), ZERO),
                ("quote", D(1), D(1), D("sNaN")),
                ("quote", D("1" + "0" * 7_000 + "1"), D(1), ZERO),
                ("base", None, D(1), ZERO),
                ("nonsense", D(1), D(1), ZERO),
                ("position", D(1), "1", ZERO),
                ("funding", "x", ZERO, ZERO),
            )
        )
    )
    bad = Entry(ts(data.draw(st.integers(0, 22))), 999, "5", *wrong)
    before = book.state()
    with pytest.raises((decimal.DecimalException, TypeError, ValueError)):
        book.put(bad)
    assert book.state() == before
    for entry in entries[cut:]:
        assert book.put(entry) == same.put(entry)
    assert book.state() == same.state()


@pytest.mark.parametrize("seq", [7, 2], ids=["in order", "late"])
def test_an_interruption_half_way_leaves_the_book_as_it_was(seq):
    class Interrupted(Book):
        __slots__ = ()

        def _fund(self, amount):
            super()._fund(amount)
            raise KeyboardInterrupt

    book = Interrupted(LINEAR)
    for n in (1, 3, 5):
        book.fill(ts(n), n, str(n), D(1), D(100), D("0.1"), None)
    before = book.state()
    with pytest.raises(KeyboardInterrupt):
        book.fund(ts(seq), seq, D(1))
    assert book.state() == before
    assert book.funding == 0
    assert not book.fill(ts(6), 6, "6", D(1), D(100), ZERO, None).late


# --- state ---


@pytest.mark.parametrize("basis", ["average", "fifo"])
@pytest.mark.parametrize("instrument", MARKETS, ids=lambda market: market.symbol)
@some
@given(entries=histories(), data=st.data())
def test_state_goes_there_and_back_exactly(instrument, basis, entries, data):
    entries = sorted(entries, key=Book.order)
    cut = data.draw(st.integers(0, len(entries)))
    book = Book(instrument, basis, "long")
    for entry in entries[:cut]:
        book.put(entry)
    state = json.loads(json.dumps(book.state()))
    again = Book.of_state(state)
    assert again.state() == state == book.state()
    assert (again.instrument, again.cost_basis, again.position_side) == (instrument, basis, "long")
    assert (again.trade, again.lots, again.unpriced) == (book.trade, book.lots, book.unpriced)
    for entry in entries[cut:]:
        assert again.put(entry) == book.put(entry)
    assert again.state() == book.state()


def test_what_is_older_than_a_state_is_too_old_for_it():
    book = Book(LINEAR)
    book.fill(ts(5), 5, "5", D(1), D(100), ZERO, None)
    again = Book.of_state(book.state())
    with pytest.raises(TooOld):
        again.fill(ts(4), 6, "6", D(1), D(100), ZERO, None)
    with pytest.raises(TooOld):
        again.fund(ts(5), 6, D(1))  # the same time, but no identifier comes first
    with pytest.raises(TooOld):
        again.remove(5)
    assert not again.fill(ts(5), 6, "6", D(1), D(100), ZERO, None).late
    assert again.fill(ts(5), 7, "5", D(1), D(100), ZERO, None).late  # after 5, before 6
    assert again.remove(6).inventory == 2


@pytest.mark.parametrize("basis", ["average", "fifo"])
def test_a_copy_goes_its_own_way(basis):
    book = Book(LINEAR, basis)
    for n in range(1, 200):
        book.fill(ts(n), n, str(n), D(n % 5 - 2) or D(1), D(100 + n % 9), D("0.1"), None)
    state, other = book.state(), book.copy()
    other.fill(ts(190), 500, "500", D(-3), D(90), ZERO, None)
    other.remove(170)
    other.fill(ts(300), 501, "501", D(-30), D(90), ZERO, None, fee_kind="unpriced", fee_asset="BNB")
    assert book.state() == state
    book.fill(ts(190), 500, "500", D(-3), D(90), ZERO, None)
    book.remove(170)
    book.fill(ts(300), 501, "501", D(-30), D(90), ZERO, None, fee_kind="unpriced", fee_asset="BNB")
    assert book.state() == other.state()
    assert book.state() != state


# --- by hand, as a trader would ---


def trader(instrument=LINEAR, basis="average"):
    book, clock = Book(instrument, basis), iter(range(1, 10_000))

    def trade(qty, price, fee=0, role="taker", **more):
        n = next(clock)
        return book.fill(ts(n), n, str(n), D(str(qty)), D(str(price)), D(str(fee)), role, **more)

    return book, trade


def test_scaling_in_and_out_average_and_fifo():
    results = {}
    for basis in ("average", "fifo"):
        book, trade = trader(LINEAR, basis)
        trade(1, 100)
        trade(1, 110)
        results[basis] = (trade(-1, 120).gross, book.avg_price, trade(-1, 120).gross)
    assert results == {"average": (15, 105, 15), "fifo": (20, 110, 10)}


def test_a_flip_splits_the_fee_in_proportion():
    book, trade = trader()
    trade(2, 100, "0.2")
    change = trade(-3, 110, "0.33")
    (trip,) = change.closed
    assert (trip.gross, trip.fees, trip.fills, trip.exit_px, trip.side) == (20, D("0.42"), 2, 110, "long")
    assert (change.trade_id, change.next_trade_id, change.closed_qty) == ("t1", "t2", 2)
    assert (book.trade.fees, book.trade.side, book.trade.entry_qty, book.trade.fills) == (D("0.11"), "short", 1, 1)
    assert trip.net == D("19.58")


def test_a_fee_that_does_not_split_evenly_is_whole_in_sum():
    book, trade = trader()
    trade(1, 100)
    (trip,) = trade(-3, 110, 1).closed
    assert trip.fees == D("0." + "3" * 34)
    assert trip.fees + book.trade.fees == 1


def test_rebates_and_unpriced_fees():
    book, trade = trader()
    trade(1, 100, "-0.01", "maker")
    trade(-1, 101, "0.002", fee_kind="unpriced", fee_asset="BNB")
    trade(1, 101, "0.001", fee_kind="unpriced", fee_asset="BNB")
    assert (book.fees, book.unpriced) == (D("-0.01"), {"BNB": D("0.003")})
    assert (book.maker_volume, book.taker_volume, book.volume) == (100, 202, 302)


def test_a_base_fee_changes_the_inventory_and_cash_stays_true():
    book, trade = trader()
    change = trade(1, 100, "0.001", fee_kind="base")
    assert (book.inventory, book.fees, change.quote_delta) == (D("0.999"), D("0.1"), D("-99.9"))
    assert (book.cash, book.volume) == (-100, 100)
    contracts, buy = trader(Instrument("X", multiplier=D("0.01")))
    buy(100, 50, "0.02", fee_kind="base")
    assert (contracts.inventory, contracts.fees, contracts.cash, contracts.volume) == (98, 1, -50, 50)
    # an inverse contract settles in the base: the coin paid moves no contracts
    inverse, trade = trader(Instrument("BTCUSD", inverse=True))
    trade(100, 50, "0.02", fee_kind="base")
    assert (inverse.inventory, inverse.fees) == (100, D("0.02"))


def test_a_base_fee_that_eats_the_whole_fill():
    book, trade = trader()
    assert trade(1, 100, 1, fee_kind="base").trade_id is None
    assert (book.inventory, book.loose_fees, book.fills, book.trade) == (0, 100, 1, None)
    trade(5, 100)
    assert trade(1, 100, 1, fee_kind="base").trade_id == "t2"
    assert (book.inventory, book.trade.fees, book.trade.fills) == (5, 100, 2)
    trade(1, 100, 7, fee_kind="base")
    assert book.inventory == -1


def test_inverse_contracts_average_harmonically_and_pay_in_coin():
    book, trade = trader(Instrument("BTCUSD", inverse=True, multiplier=D(100)))
    trade(1, 10_000)
    trade(1, 40_000)
    assert book.avg_price == 16_000
    assert book.unrealized(D(16_000)) == 0
    change = trade(-2, 20_000)
    assert change.gross == D("0.0125") - D("0.01")
    assert book.volume == D("0.0225")
    (trip,) = change.closed
    assert (trip.entry_px, trip.exit_px, trip.entry_worth, trip.gross) == (16_000, 20_000, D("0.0125"), D("0.0025"))
    trade(-1, 20_000)
    assert trade(1, 25_000).gross == D("-0.001")  # a short loses as the price rises


def test_an_inverse_flip_comes_out_even_where_no_worth_does():
    book, trade = trader(Instrument("BTCUSD", inverse=True))
    trips, delta = [], ZERO
    for n, price in enumerate((3, 7, 9, 11, 13, 17, 19, 23)):
        change = trade((2 + n) * (-1) ** n, price, "0.01")
        trips.extend(change.closed)
        comes_out_even(book, trips, D(29))
        delta += change.quote_delta
        assert book.turn == delta
    assert len(trips) == 7


def test_a_short_inverse_position_gains_when_the_price_falls():
    book, trade = trader(Instrument("BTCUSD", inverse=True))
    trade(-100, 100)
    assert book.unrealized(D(50)) == 1
    assert trade(100, 50).gross == 1


def test_dust_closes_the_trade_and_stays():
    book, trade = trader(Instrument("D", dust=D("0.001")))
    trade(1, 100, 1)
    change = trade("-0.9995", 110, 1)
    (trip,) = change.closed
    assert (book.inventory, book.basis, book.trade) == (D("0.0005"), D("0.05"), None)
    assert (trip.exit_qty, trip.fees) == (D("0.9995"), 2)
    # the next trade sits on top of it, and selling it is part of that trade
    trade(1, 120, 1)
    (trip,) = trade("-1.0005", 130, 1).closed
    assert (trip.entry_qty, trip.exit_qty, trip.max_qty) == (1, D("1.0005"), D("1.0005"))
    assert trip.gross == 10 + D("0.0005") * 30
    assert (book.loose_gross, book.loose_fees) == (0, 0)


def test_a_remainder_of_just_the_dust_closes_and_a_little_more_does_not():
    for left, closes in (("0.001", True), ("0.0011", False)):
        book, trade = trader(Instrument("D", dust=D("0.001")))
        trade(-1, 100)
        assert bool(trade(1 - D(left), 100).closed) is closes
        assert bool(trade(-1, 100).trade_id == "t3") is closes


def test_dust_sold_alone_is_in_no_trade():
    book, trade = trader(Instrument("D", dust=D("0.001")))
    trade(1, 100)
    trade("-0.9995", 110)
    change = trade("-0.0005", 110, "0.3")
    assert (change.trade_id, change.closed, change.gross) == (None, (), D("0.005"))
    assert (book.loose_gross, book.loose_fees, book.inventory) == (D("0.005"), D("0.3"), 0)
    assert trade("0.001", 100, "0.1").trade_id is None  # as little as that counts as flat
    assert book.loose_fees == D("0.4")


def test_dust_under_a_flip():
    book, trade = trader(Instrument("D", dust=D("0.001")))
    trade(1, 100)
    trade("-0.9995", 110)
    change = trade("-1.0005", 120, 3)  # through the dust into a short: that trade bears the fee
    assert (change.trade_id, change.next_trade_id, change.closed_qty) == ("t3", None, D("0.0005"))
    assert (book.trade.entry_qty, book.trade.fees, book.trade.gross) == (1, 3, 0)
    assert (book.loose_gross, book.loose_fees) == (D("0.01"), 0)
    change = trade("1.0009", 120, 5)  # overshoots by dust: the trade that ends bears the fee
    assert (change.closed[0].fees, change.closed[0].exit_qty, change.next_trade_id) == (8, 1, None)
    assert (book.inventory, book.trade) == (D("0.0009"), None)


def test_funding_belongs_to_the_trade_that_is_open():
    book, trade = trader()
    book.fund(ts(0), 100, D(-1))
    trade(1, 100)
    late = book.fund(ts(1, 5), 101, D(-2))
    trade(-1, 100)
    book.fund(ts(3), 102, D(-4))
    assert late.trade_id == "t1"
    assert (book.funding, book.loose_funding) == (-7, -5)
    change = book.fund(ts(1, 6), 103, D("-0.5"))
    assert change.late
    assert change.trade_id == "t1"
    assert [trip.funding for trip in change.revised] == [D("-2.5")]
    assert change.undone == change.closed == ()


def test_what_was_held_before_is_no_fill():
    book = Book(LINEAR)
    book.hold(ts(1), 1, D(2), D(100))
    assert (book.fills, book.volume, book.fees, book.inventory, book.turn) == (0, 0, 0, 2, -200)
    assert (book.avg_price, book.last_price, book.trade.fills) == (100, None, 0)
    change = book.fill(ts(2), 2, "2", D(-2), D(110), ZERO, None)
    assert (change.gross, change.closed[0].entry_px, change.closed[0].fills) == (20, 100, 1)


def test_long_and_short_of_one_symbol_at_once():
    long, short = Book(LINEAR, "average", "long"), Book(LINEAR, "average", "short")
    long.fill(ts(1), 1, "1", D(1), D(100), ZERO, None)
    short.fill(ts(2), 2, "2", D(-1), D(100), ZERO, None)
    long.fill(ts(3), 3, "3", D(-1), D(110), ZERO, None)
    short.fill(ts(4), 4, "4", D(1), D(110), ZERO, None)
    assert (long.gross, short.gross) == (10, -10)
    assert (long.position_side, short.position_side) == ("long", "short")


def test_a_void_reopens_a_trade_and_a_late_fill_revises_one():
    book, trade = trader()
    trade(1, 100)
    trade(-1, 110)
    trade(1, 100)
    trade(-1, 90)
    change = book.remove(2)  # 1 in, 1 in, 1 out: one trade, open
    assert (change.undone, change.closed, change.revised) == (("t1", "t3"), (), ())
    assert (change.inventory, change.quote_delta, change.gross) == (1, -110, -10)
    change = book.fill(ts(2), 9, "2", D(-1), D(120), ZERO, None)
    assert change.late
    assert [(trip.trade_id, trip.gross) for trip in change.closed] == [("t1", 20), ("t3", -10)]
    assert (change.trade_id, change.gross, change.inventory, book.inventory) == ("t1", 20, 0, 0)
    change = book.fill(ts(2, 5), 10, "2a", D(1), D(95), ZERO, None)  # between the two: the second begins earlier
    assert (change.undone, change.revised) == (("t3",), ())
    assert (change.trade_id, book.trade.entry_px, book.gross) == ("t10", D("97.5"), 20 - D("7.5"))
    change = book.fund(ts(1, 5), 11, D(-1))
    assert [(trip.trade_id, trip.funding) for trip in change.revised] == [("t1", -1)]


def test_all_digits_are_kept_however_many():
    book, trade = trader()
    small, large = D("1e-400"), D("9" * 300 + "e100")
    trade(large, large, small)
    trade(-large + small, small, large)
    trade(-small, large, small)
    assert book.turn == -large * large + (large - small) * small + small * large
    assert book.gross == book.turn
    extremes = [D("9.87e-400"), D("7" * 300 + "e-400"), D("3e400"), D("1." + "9" * 299), D(1)]
    for inverse in (False, True):
        for basis in ("average", "fifo"):
            rng = random.Random(3)
            book, trade = trader(Instrument("X", inverse=inverse, multiplier=rng.choice(extremes)), basis)
            for _ in range(300):
                trade(rng.choice((1, -1)) * rng.choice(extremes), rng.choice(extremes), rng.choice(extremes))
            assert book.gross - book.basis == book.turn


def test_wrong_settings_are_refused():
    with pytest.raises(ValueError, match="cost_basis"):
        Book(LINEAR, "lifo")


def test_trips_can_be_read_under_any_context():
    book, trade = trader()
    trade("1." + "1" * 40, "3." + "1" * 40, "0." + "1" * 50)
    trip = book.trade
    with decimal.localcontext(decimal.Context(prec=3)):
        assert trip.net == D("-0." + "1" * 50)
        assert trip.entry_px == D("3." + "1" * 33)


def test_lots_go_back_to_their_mark():
    lots = Lots()
    for n in range(1, 301):
        lots.add(D(n), D(n) * 2, D(2))
    lots.release(D(sum(range(1, 200))) + 50, LINEAR)
    first = lots.mark()
    lots.forget(first)
    assert len(lots._items) == 101
    before = lots.open()
    lots.release(D(500), LINEAR)
    lots.clear()
    lots.add(D(-1), D(-2), D(2))
    lots.back(first)
    assert lots.open() == before
    assert before[0] == (150, 300, 2, 0)


def test_the_reference_itself_by_hand():
    reference = Reference()
    reference.instrument("perp", inverse=True)
    reference.void(3)  # before it comes
    reference.fill("spot", ts(2), 2, "2", -3, 110, D("0.33"), "taker")
    reference.fill("spot", ts(1), 1, "1", 2, 100, D("0.2"), "maker")
    reference.fill("spot", ts(3), 3, "3", 50, 1)
    reference.fill("perp", ts(1), 4, "4", 100, 50, fee_kind="unpriced", fee_asset="BNB", fee=1)
    reference.fund("spot", ts(4), 5, -1)
    reference.transfer(ts(5), 1000)
    totals = reference.totals({"spot": 120, "perp": 100}, starting_equity=10)
    assert (totals.gross, totals.fees, totals.funding) == (20, Fraction(53, 100), -1)
    assert (totals.realized, totals.unrealized) == (20 - 1 - Fraction(53, 100), -10 + 1)
    assert totals.total == totals.realized + totals.unrealized
    assert totals.cash_flow == -200 + 330 + 2 - Fraction(53, 100)
    assert (totals.volume, totals.maker_volume, totals.taker_volume, totals.fills) == (532, 200, 330, 3)
    assert [(trip.gross, trip.fees) for trip in totals.trades] == [(20, Fraction(42, 100))]
    assert totals.unpriced == {"BNB": 1}
    assert totals.equity == 10 + totals.total + 1000
    assert reference.totals(books=["perp"]).unrealized == 0
