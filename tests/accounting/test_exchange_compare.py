"""A comparison names exactly what differs, and what it names explains the totals to the last digit."""

import decimal
import json
import os
import random
from collections import Counter
from decimal import Decimal

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from botobs.accounting.entries import stamp
from botobs.accounting.exchange import Bad, ExchangeFill, compare, compare_summary, read_statement, read_summary
from botobs.accounting.exchange.markets import Markets, market
from botobs.errors import BotobsError

D = Decimal
MORE = int(os.environ.get("SOAK_FACTOR", "1"))  # `make soak` asks for more examples
T0 = 1_767_323_045_000_000_000


def fill(n, **more):
    given_ = {
        "ts": stamp(T0 + n * 10_000_000_000), "symbol": "BTC/USDT", "side": "buy", "qty": D(2), "price": D(100) + n,
        "fee": D("0.1"), "fee_asset": "USDT", "order_id": f"o{n}", "fill_id": str(n), "line": n + 1, **more,
    }  # fmt: skip
    return ExchangeFill(**given_)


def line(row, seq, **more):
    said = {
        "seq": seq, "type": "fill", "ts": row.ts, "symbol": row.symbol, "side": row.side, "size": str(row.qty),
        "price": str(row.price), "fee": None if row.fee is None else str(row.fee), "fee_asset": row.fee_asset,
        "order_id": row.order_id, "fill_id": row.fill_id, "account": row.account, "venue": row.venue, **more,
    }  # fmt: skip
    return {key: value for key, value in said.items() if value is not None}


def lines(rows):
    return [line(row, seq) for seq, row in enumerate(rows, 1)]


def rows_of(found):
    return {(row.name, row.of): row for row in found.rows}


def test_equal_sides():
    rows = [fill(n, side="buy" if n % 2 else "sell") for n in range(6)]
    found = compare(lines(rows), rows)
    assert found.ok
    assert (found.matched, found.ours, found.theirs) == (6, 6, 6)
    totals = rows_of(found)
    assert totals["volume", "BTC/USDT"].ours == sum(row.qty * row.price for row in rows)
    assert totals["fees", "USDT"].theirs == D("0.6")
    assert totals["cash", "USDT"].ours == sum((-1 if r.side == "buy" else 1) * r.qty * r.price for r in rows) - D("0.6")
    assert totals["quantity", "BTC/USDT"].ours == 0
    assert totals["pnl", "USDT"].ours == totals["cash", "USDT"].ours  # nothing is left open


def test_missing_extra_differing():
    rows = [fill(n) for n in range(8)]
    theirs = [row for row in rows if row.fill_id != "3"]
    theirs[1] = attrs.evolve(theirs[1], price=D(500), fee=D("0.2"))
    ours = [row for row in rows if row.fill_id != "5"]
    found = compare(lines(ours), theirs)
    assert not found.ok
    assert [entry.fill.fill_id for entry in found.extra] == ["3"]
    assert [entry.fill.fill_id for entry in found.missing] == ["5"]
    (different,) = found.differing
    assert [(one.field, one.ours, one.theirs) for one in different.fields] == [
        ("price", "101", "500"),
        ("fee", "0.1 USDT", "0.2 USDT"),
    ]
    assert different.explains["cash", "USDT"] == 2 * (500 - 101) + D("0.1")
    assert found.missing[0].explains["quantity", "BTC/USDT"] == -2
    cash = rows_of(found)["cash", "USDT"]
    assert cash.difference == sum(cash.explained.values())
    assert cash.unexplained == 0
    assert json.loads(json.dumps(found.plain()))["ok"] is False


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"qty": D(3)}, "qty"), ({"price": D("100.0000000000000000000000000000000001")}, "price"), ({"side": "sell"}, "side"),
        ({"fee": D("0.1000000000000000000000000000000000001")}, "fee"), ({"fee_asset": "BNB"}, "fee_asset"),
        ({"ts": stamp(T0 + 60_000_000_000)}, "time"), ({"fee": D(0)}, "fee"),
    ],
)  # fmt: skip
def test_each_field(change, field):
    rows = [fill(n) for n in range(3)]
    theirs = [attrs.evolve(rows[0], **change), *rows[1:]]
    found = compare(lines(rows), theirs)
    assert [one.field for one in found.differing[0].fields] == [field]
    assert not found.ok
    assert all(row.ok for row in found.rows)


def test_spellings_of_a_market():
    rows = [fill(0, symbol="BTC/USDT:USDT"), fill(1, symbol="BTC/USDT:USDT")]
    for symbol in ("BTCUSDT", "btc-usdt", "BTC-USDT-SWAP", "XBT/USDT"):
        assert compare(lines(rows), [attrs.evolve(row, symbol=symbol) for row in rows]).ok


def test_spot_and_swap_stay_apart_where_the_statement_does():
    rows = [fill(0), fill(1, symbol="BTC/USDT:USDT"), fill(2)]
    found = compare(lines([rows[0], rows[2]]), rows)
    assert [entry.fill.symbol for entry in found.missing] == ["BTC/USDT:USDT"]
    assert ("quantity", "BTC/USDT:USDT") in rows_of(found)
    assert Markets(["BTC/USDT", "BTC/USDT:USDT"]).of("BTC-USDT-SWAP") == "BTC/USDT:USDT"
    assert len({market(s) for s in ("PF_XBTUSD", "PF_ETHUSD", "BTCUSDT_260327", "BTCUSDT", "AAPL", "A-B-C-D")}) == 6


def test_without_ids():
    rows = [fill(n, qty=D(1), price=D(5), order_id=None, fill_id=None) for n in range(4)]
    late = [attrs.evolve(row, ts=row.ts.replace(".000000", ".900000")) for row in rows]
    assert compare(lines(late), rows).ok
    found = compare(lines(late[:2] + late[3:]), rows)
    assert (found.matched, len(found.missing), len(found.extra)) == (3, 1, 0)
    assert found.missing[0].fill.ts == rows[2].ts
    far = [attrs.evolve(row, ts=stamp(T0 + 5_000_000_000 + n * 10_000_000_000)) for n, row in enumerate(rows)]
    assert len(compare(lines(far), rows).missing) == 4
    assert compare(lines(far), rows, time_tolerance=6).ok


def test_only_one_side_has_ids_or_orders():
    rows = [fill(n) for n in range(3)]
    assert compare(lines([attrs.evolve(row, fill_id=None) for row in rows]), rows).ok
    assert compare(lines([attrs.evolve(row, order_id=f"client-{n}") for n, row in enumerate(rows)]), rows).ok
    own = [attrs.evolve(row, fill_id=f"uuid-{n}") for n, row in enumerate(rows)]
    found = compare(lines(own), rows)
    assert len(found.missing) == len(found.extra) == 3
    assert any("ids=False" in note for note in found.notes)
    assert compare(lines(own), rows, ids=False).ok
    nameless = [attrs.evolve(row, fill_id=None, price=row.price + 1) for row in rows]
    assert [one.fields[0].field for one in compare(lines(nameless), rows).differing] == ["price"] * 3


def test_fill_ids_that_begin_anew_with_each_order():
    rows = [fill(n, order_id=f"o{n // 2}", fill_id=str(n % 2)) for n in range(6)]
    found = compare(lines(rows[1:]), rows)
    assert (found.matched, [entry.fill.price for entry in found.missing]) == (5, [D(100)])
    assert not found.duplicates
    assert not found.conflicts


def test_a_trade_with_oneself_has_one_id_on_both_sides():
    rows = [fill(0, order_id="a"), fill(0, order_id="b", side="sell")]
    assert compare(lines(rows), rows).ok
    found = compare(lines(rows[:1]), rows)
    assert [entry.fill.side for entry in found.missing] == ["sell"]
    assert not found.differing


def test_duplicates_and_conflicts_in_the_statement():
    rows = [fill(n) for n in range(3)]
    found = compare(lines(rows), [*rows, attrs.evolve(rows[1], line=9)])
    assert found.ok
    assert [row.line for row in found.duplicates] == [9]
    found = compare(lines(rows), [*rows, attrs.evolve(rows[1], price=D(1))])
    assert not found.ok
    assert [second.price for _, second in found.conflicts] == [1]


def test_voids():
    rows = [fill(n) for n in range(4)]
    theirs = [row for row in rows if row.fill_id != "2"]
    late = {"seq": 9, "type": "void", "fill_id": "2", "voids": 3, "symbol": "BTC/USDT", "reason": "busted"}
    early = {"seq": 0, "type": "void", "fill_id": "2", "order_id": "o2", "symbol": "BTC/USDT", "reason": "busted"}
    assert compare([*lines(rows), late], theirs).ok
    assert compare([early, *lines(rows)], theirs).ok
    for ours in ([*lines(rows), late], [early, *lines(rows)]):
        found = compare(ours, rows)
        assert [entry.note for entry in found.missing] == ["voided in the ledger: busted"]
        assert all(row.ok for row in found.rows)
        assert rows_of(found)["volume", "BTC/USDT"].ours == sum(row.qty * row.price for row in theirs)
    again = line(attrs.evolve(rows[2], order_id=None, fill_id=None), 10)  # booked anew after the void
    assert compare([*lines(rows), late, again], rows).ok


def test_a_voided_fill_that_differed_or_was_rounded_leaves_nothing_behind():
    rows = [fill(n) for n in range(3)]
    for fee in (D("0.1001"), D(7)):
        ours = [attrs.evolve(rows[1], fee=fee) if row is rows[1] else row for row in rows]
        void = {"seq": 9, "type": "void", "fill_id": "1", "voids": 2}
        found = compare([*lines(ours), void], rows, fee_tolerance="0.001")
        assert (len(found.missing), len(found.differing)) == (1, 0)
        assert all(row.ok for row in found.rows)


def test_fees_within_a_tolerance_are_rounding():
    rows = [fill(n, fee=D("0.12345678")) for n in range(3)]
    theirs = [attrs.evolve(row, fee=D("0.1234")) for row in rows]
    assert len(compare(lines(rows), theirs).differing) == 3
    found = compare(lines(rows), theirs, fee_tolerance="0.0001")
    assert found.ok
    assert rows_of(found)["fees", "USDT"].explained == {"rounding": D("0.00017034")}


def test_fees_that_the_statement_does_not_tell():
    rows = [fill(n) for n in range(3)]
    found = compare(lines(rows), [attrs.evolve(row, fee=None, fee_asset=None) for row in rows])
    assert found.ok
    assert ("fees", "USDT") not in rows_of(found)
    assert "does not tell fees" in found.notes[0]
    some = [attrs.evolve(rows[0], fee=None), *rows[1:]]
    assert compare(lines(rows), some).ok
    nameless = [attrs.evolve(row, fee_asset=None) for row in rows]
    assert compare(lines([attrs.evolve(row, fee_asset="BNB") for row in rows]), nameless).ok


def test_only_what_the_statement_covers():
    rows = [fill(n) for n in range(10)] + [fill(4, symbol="ETH/USDT", fill_id="e")]
    found = compare(lines(rows), rows[3:7])
    assert found.ok
    assert found.ours == 4
    assert any("1 fills of markets" in note and "ETH/USDT" in note for note in found.notes)
    assert len(compare(lines(rows), rows[3:7], whole=True).extra) == 7
    assert len(compare(lines(rows), rows[3:7], start=rows[2].ts, end=rows[9].ts).extra) == 4
    assert compare(lines(rows[:5]), rows, end=rows[4].ts, symbols=["BTCUSDT"]).ok
    assert compare(lines(rows), []).ok
    assert compare([], []).ok
    with pytest.raises(BotobsError):
        compare([], [], start="soon")


def test_venue_account_kind():
    rows = [fill(n) for n in range(3)]
    ours = lines(rows) + [
        line(fill(1, fill_id="s"), 8, kind="hedger_sim"),
        line(fill(1, fill_id="z"), 9, venue="kraken"),
    ]
    assert len(compare(ours, rows).extra) == 1
    assert compare(ours, rows, venue="Binance").ok
    assert compare(ours, [attrs.evolve(row, venue="binance", account="Main") for row in rows]).ok
    assert len(compare(ours, rows, venue="Binance", kinds=("live", "hedger_sim")).extra) == 1


def test_base_fees_inverse_and_multiplier():
    rows = [fill(n, fee=D("0.002"), fee_asset="BTC") for n in range(3)]
    found = compare(lines(rows), rows)
    assert rows_of(found)["quantity", "BTC/USDT"].ours == D("5.994")
    assert rows_of(found)["cash", "USDT"].ours == -2 * (100 + 101 + 102)
    perp = [fill(n, symbol="BTC/USD:BTC", fee_asset="BTC", price=D(3) + n) for n in range(3)]
    ours = [{**each, "inverse": True, "multiplier": "100"} for each in lines(perp)]
    found = compare(ours, [attrs.evolve(perp[0], qty=D(7)), *perp[1:]])
    assert ("cash", "BTC") in rows_of(found)
    assert all(row.ok for row in found.rows)
    assert compare(ours, perp).ok


def test_bad_rows_and_bad_lines_are_left_over():
    rows = [fill(n) for n in range(2)]
    assert not compare(lines(rows), [*rows, Bad.of(7, "no qty", "x")]).ok
    assert compare(lines(rows), [*rows, Bad.of(7, "no qty", "Total", harmless=True)]).ok
    for wrong in (
        b"{torn",
        {"type": "fill", "seq": 7},
        5,
        None,
        line(rows[0], 7, size="NaN"),
        line(rows[0], 7, side="up"),
        line(rows[0], 7, ts=5),
        line(rows[0], 7, order_id=[1]),
        line(rows[0], 7, price="0"),
        line(rows[0], 7, symbol=5),
        line(rows[0], 7, symbol="NEW", fee_asset="NEW", multiplier="x"),
    ):
        found = compare([*lines(rows), wrong], rows, whole=True)
        assert len(found.unreadable) == 1, wrong
        assert not found.ok
    raw = [(each["seq"], json.dumps(each).encode()) for each in lines(rows)]
    assert compare(raw, rows).ok


def test_another_timezone_is_guessed_at():
    rows = [fill(n) for n in range(6)]
    found = compare(lines(rows), [attrs.evolve(row, ts=row.ts.replace("T03", "T04")) for row in rows])
    assert len(found.differing) == 6
    assert any("timezone" in note for note in found.notes)


def test_the_bots_own_decimal_context_changes_nothing():
    rows = [fill(n, price=D("100.123456789012345678901234567890123")) for n in range(3)]
    with decimal.localcontext(decimal.Context(prec=3)):
        found = compare(lines(rows), rows)
    assert found.ok
    assert rows_of(found)["volume", "BTC/USDT"].ours == D("600.740740734074074073407407407340738")


def generated(rng, count):
    rows = []
    for n in range(count):
        asset = rng.choice(["USDT", "BNB", "BTC", None])
        rows.append(fill(
            n, symbol=rng.choice(["BTC/USDT", "ETH/USDT"]), side=rng.choice(["buy", "sell"]),
            qty=D(rng.randint(1, 10**12)) / 10**6, price=D(rng.randint(1, 10**12)) / 10**6,
            fee=D(rng.randint(-(10**6), 10**8)) / 10**8, fee_asset=asset, fill_id=rng.choice([str(n), str(n), None]),
            order_id=rng.choice([f"o{n}", f"o{n}", None]),
        ))  # fmt: skip
    return rows


@settings(max_examples=60 * MORE, deadline=None)
@given(st.integers(0, 2**32), st.integers(3, 30))
def test_exactly_the_injected_differences_are_found(seed, count):
    rng = random.Random(seed)
    rows = generated(rng, count)
    ends = {0, count - 1}
    rows[0].symbol, rows[-1].symbol = "BTC/USDT", "ETH/USDT"  # what a statement does not name is not compared
    ours, theirs, said = [], [], Counter()
    gone, new, changed = set(), set(), {}
    for n, row in enumerate(rows):
        what = rng.choice(["same"] * 6 + ["drop", "add", "change"]) if n not in ends else "same"
        if what != "add":
            ours.append(row)
        else:
            gone.add(n)
        if what == "drop":
            new.add(n)
            continue
        if what == "change" and row.fill_id is not None:
            field = rng.choice(["qty", "price", "fee", "side"])
            value = ("sell" if row.side == "buy" else "buy") if field == "side" else getattr(row, field) + 1
            row = attrs.evolve(row, **{field: value})
            changed[n] = field
        theirs.append(attrs.evolve(row))
        said[what] += 1
    order = list(theirs)
    rng.shuffle(order)
    found = compare(iter(lines(ours)), iter(order))
    assert {entry.fill.line - 1 for entry in found.missing} == gone
    assert {rows.index(next(r for r in rows if r.ts == entry.fill.ts)) for entry in found.extra} == new
    assert {one.theirs.line - 1: one.fields[0].field for one in found.differing} == changed
    assert found.ok == (not gone and not new and not changed)
    assert all(row.unexplained == 0 for row in found.rows)
    quantity = {symbol: D(0) for symbol in ("BTC/USDT", "ETH/USDT")}
    for row in ours:
        quantity[row.symbol] += row.qty if row.side == "buy" else -row.qty
        if row.fee_asset == row.symbol[:3]:
            quantity[row.symbol] -= row.fee
    for (name, of), row in rows_of(found).items():
        if name == "quantity":
            assert row.ours == quantity[of]


@settings(max_examples=40 * MORE, deadline=None)
@given(st.integers(0, 2**32), st.integers(3, 20), st.booleans())
def test_voids_are_as_if_the_fill_had_never_been(seed, count, ids):
    rng = random.Random(seed)
    rows = generated(rng, count)
    theirs = [row if rng.random() < 0.8 else attrs.evolve(row, price=row.price + 1) for row in rows]
    book, plain = [], []
    for seq, row in enumerate(rows, 1):
        book.append(line(row, seq))
        if rng.random() < 0.3:
            book.append({"type": "void", "seq": 100 + seq, "voids": seq, "symbol": row.symbol, "fill_id": row.fill_id})
        else:
            plain.append(line(row, seq))
    late = [each for each in book if each["type"] == "void"] if rng.random() < 0.5 else []
    book = [each for each in book if each not in late] + late
    with_voids = compare(book, [attrs.evolve(row) for row in theirs], ids=ids, whole=True).plain()
    without = compare(plain, [attrs.evolve(row) for row in theirs], ids=ids, whole=True).plain()
    for found in (with_voids, without):
        found["missing"] = [{**each, "note": None} for each in found["missing"]]
        found["totals"] = [each for each in found["totals"] if each["ours"] != "0" or each["theirs"] != "0"]
        assert all(each["unexplained"] == "0" for each in found["totals"])
    for key in ("missing", "extra", "differing", "matched"):
        assert with_voids[key] == without[key]
    if any(each["ours"] == "0" for each in without["totals"]):
        return
    assert [each["difference"] for each in with_voids["totals"]] == [each["difference"] for each in without["totals"]]


# summaries

TOTALS = {"gross_pnl": "12.3042", "fees": "0.4", "funding": "-1.1", "realized_pnl": "10.8042", "volume": "1234.56789", "fills": 7,
          "unrealized_pnl": None, "equity": None, "currency": "USD"}  # fmt: skip


@pytest.mark.parametrize(
    ("summary", "ok"),
    [
        ({"realizedPnl": "12.30", "commission": "0.4", "funding": "-1.1", "volume": "1234.57", "netProfit": "10.80"}, True),
        ({"realizedPnl": "12.3042"}, True), ({"realizedPnl": "12.3043"}, False), ({"realizedPnl": 12.3}, True),
        ({"realizedPnl": "12.31"}, False), ({"realizedPnl": "12.2"}, False), ({"netProfit": "10.80"}, True),
        ({"netProfit": "10.81"}, False), ({"commission": "-0.4"}, False), ({"fills": 7}, True), ({"fills": 8}, False),
        ({"unrealizedPnl": "1"}, False), ({"realised_pnl": "12.30"}, True), ({"volume": 1234.5678899999999}, True),
        ({"realizedPnl": "12.30", "commission": "-0.4", "netProfit": "11.90"}, True),
        ({"realizedPnl": "12.30", "commission": "-0.4", "netProfit": "12.90"}, False), ({"realized_pnl": "12.30"}, False),
    ],
)  # fmt: skip
def test_summaries(summary, ok):
    found = compare_summary(TOTALS, summary)
    assert found.ok is ok, found.rows
    json.dumps(found.plain())


@pytest.mark.parametrize("said", ["1.2.3", "12.3042 approx 2"])
def test_a_known_total_that_cannot_be_read_is_left_over(said, tmp_path):
    found = compare_summary(TOTALS, {"commission": "0.4", "realizedPnl": said})
    assert not found.ok and all(row.ok for row in found.rows)
    assert found.bad[0].line == 2 and found.bad[0].raw == said and found.plain()["bad_count"] == 1
    assert not compare_summary(TOTALS, {"realizedPnl": said}).ok


@pytest.mark.parametrize("said", [None, "", "-", "n/a", True, [{"qty": 1}], {"qty": 1}])
def test_a_known_total_that_says_nothing_is_a_note(said):
    found = compare_summary(TOTALS, {"commission": "0.4", "realizedPnl": said})
    assert found.ok and not found.bad and found.notes[-1].startswith("not compared: realizedPnl")


def test_summary_options():
    assert compare_summary(TOTALS, {"realizedPnl": "12.31"}, tolerance="0.01").ok
    assert compare_summary(TOTALS, {"commission": "-0.4"}, fee_sign=-1).ok
    assert "fee_sign" in compare_summary(TOTALS, {"commission": "-0.4"}).rows[0].note
    assert not compare_summary({"gross_pnl": "0.40123"}, {"realizedPnl": "0.40"}, currency="BTC").ok
    assert compare_summary({"gross_pnl": "0.40123"}, {"realizedPnl": "0.40"}, currency="USDT").ok
    with pytest.raises(BotobsError):
        compare_summary(TOTALS, {"colour": "1"})


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ('{"realizedPnl": "12.3", "commission": 0.4, "colour": "x"}', {"realizedPnl": "12.3", "commission": "0.4"}),
        ('{"code": 0, "data": [{"netProfit": "1", "uid": 5}]}', {"netProfit": "1"}),
        ("key,value\nrealizedPnl,12.3\ncommission,0.4\n", {"realizedPnl": "12.3", "commission": "0.4"}),
        ("Realized PnL;Trading Fees;Volume\n1,5;0,25;9\n", {"Realized PnL": "1.5", "Trading Fees": "0.25", "Volume": "9"}),
        ('[{"incomeType":"REALIZED_PNL","income":"1.5"},{"incomeType":"COMMISSION","income":"-0.5"},'
         '{"incomeType":"REALIZED_PNL","income":"1"},{"incomeType":"TRANSFER","income":"9"}]', {"realizedPnl": "2.5", "commission": "0.5"}),
    ],
)  # fmt: skip
def test_read_statement_tells_summaries_from_trades(text, values, tmp_path):
    path = tmp_path / "s"
    path.write_text(text)
    assert read_statement(path).values == {name: D(value) for name, value in values.items()}
    assert read_summary(path).values == read_statement(path).values
    trade = {"id": "1", "timestamp": 1767323045123, "symbol": "A/B", "side": "buy", "price": 1, "amount": 1, "fee": 0.1}
    for trades in (json.dumps([trade]), json.dumps(trade), json.dumps({"trades": [trade], "fees": "1"}),
                   "ts,symbol,side,qty,price,fee\n2026-01-02,A/B,buy,1,1,0.1\n"):  # fmt: skip
        path.write_text(trades)
        (one,) = read_statement(path)
        assert one.price == 1
        with pytest.raises(BotobsError, match="no summary"):
            read_summary(path)
