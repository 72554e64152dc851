"""The table says everything in 80 columns, and its bars begin where the one before ended."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest

from botobs.explaining.parts import LABELS, Behind, Explained, Part
from botobs.explaining.table import table

D = Decimal


def explained(*amounts, net, **more):
    names = [name for name in LABELS if name != "open"]
    parts = tuple(
        Part(name, amount, None if amount is None else float(amount), known=amount is not None,
             reason=None if amount is not None else "nobody knows")
        for name, amount in zip(names, amounts, strict=False)
    )  # fmt: skip
    told = {
        "trade_id": "t1", "symbol": "BTC-USD", "side": "long", "status": "closed", "currency": "USD",
        "opened_ts": "2026-01-02T03:04:05.000000Z", "closed_ts": "2026-01-02T03:05:05.000000Z", "duration_s": 60.0,
        "fills": 2, "entry_qty": D(2), "entry_px": D(100), "entry_value": D(200), "exit_qty": D(2), "exit_px": D(101),
        "gross": D(2), "fees": D(0), "funding": D(0), "net": net, "net_bps": 1.0, "parts": parts,
    }  # fmt: skip
    return Explained(**{**told, **more})


def bars(lines):
    found = [re.search(r"(?:-?[\d,.]+|-)  ( *)([█?|]+)$", line) for line in lines]
    return [(len(one[1]), len(one[1]) + len(one[2])) for one in found if one]


def test_each_bar_begins_where_the_one_before_ended():
    lines = table(explained(D(4), D(-6), None, D(1), net=D(-1)))
    first, second, unknown, third, net = bars(lines)
    assert first[1] == second[1]  # up to 4, and down from there
    assert second[0] < first[0] == unknown[0]  # below zero
    assert third[0] == second[0]
    assert net == (third[1] - 1, first[0] + 1)  # from where it ended to zero
    assert "market, less predicted" in lines[6]
    assert "entry: decision delay: nobody knows" in lines[-1]


@pytest.mark.parametrize(
    "amount",
    [D("1E-30"), D("-1E+30"), D("0"), D("0.1") ** 40, D(10) ** 300, D("1E+900"), D("-0.000000004"), D("12345678.9")],
)
def test_it_stays_within_80_columns(amount):
    side = Behind(
        order_id="o" * 500, orders=3, fills=9, order_type="limit", source="\x1b[31mred\n" * 40, reason="r" * 300,
        decision_px=amount, bid=amount, ask=amount, latency={"model_ms": 1.0, "total_latency_ms": 2.0},
        features={f"feature {n}": n * 1000.0 for n in range(20)}, regime="trend", decision_to_sent_ms=0.00001,
        sent_to_fill_ms=1e9,
    )  # fmt: skip
    found = explained(
        amount, -amount, amount, net=amount, entry=side, exit=side, entry_px=amount, symbol="S" * 200,
        strategy="a strategy " * 30, exit_reason="take_profit " * 20, mfe_bps=1.0, reasons={"x": "why " * 60},
    )  # fmt: skip
    lines = str(found).splitlines()
    wide = abs(amount) > 10**20  # such numbers are shown all the same
    assert wide or max(map(len, lines)) <= 80
    assert "\x1b" not in str(found)
    assert all(line.isprintable() for line in lines)


@pytest.mark.parametrize(
    ("ms", "shown"), [(0.5, "0.5 ms"), (999.4, "999 ms"), (999.6, "1,000 ms"), (4321.0, "4,321 ms"), (12_000.0, "12s")]
)
def test_no_time_is_shown_with_an_exponent(ms, shown):
    side = Behind(order_id="o1", orders=1, fills=1, sent_to_fill_ms=ms)
    assert f" {shown} from there to the first fill" in str(explained(D(1), net=D(1), entry=side))


def test_without_unicode():
    found = explained(D(4), D(-6), D(1), net=D(-1))
    assert "\n".join(table(found, solid="#", line="-")).isascii()


def test_it_is_plain_for_programs():
    found = explained(D("4.50"), D(-6), None, net=D("-1.5"), reasons={"a": "b"})
    said = found.to_dict()
    assert (said["net"], said["parts"][0]["amount"], said["parts"][2]["amount"]) == ("-1.5", "4.50", None)
    assert said["parts"][0]["label"] == "predicted edge"
    assert found.total == found.net
    with pytest.raises(KeyError):
        found.part("nothing")
