"""The ledger of a bot as a source: what it says, across archives, restarts and replaced files."""

from __future__ import annotations

import json
import shutil
from decimal import Decimal

import pytest

import botobs
from botobs.accounting.ledger import Ledger
from botobs.metricpack import Builder, SourceTrouble
from botobs.clock import rfc3339
from botobs.metricpack.ledger import LedgerSource
from botobs.metricpack.orders import Orders
from botobs.streams.reader import StreamReader
from botobs.testing import Clock
from tests.metricpack.test_builder import Bars, merged


def drain(source, most=1_000):
    found = []
    while True:
        batch = source.take(most, 0)
        found += batch.events
        assert batch.lost is None, batch.lost
        if not batch.events and not batch.behind:
            return found, batch.position


def trade(data_dir, first=0, count=8, **more):
    """A bot that takes positions apart in plans; what its own room of trades makes of it."""
    clock = Clock("2026-01-02T03:04:05Z")
    clock.advance(first * 600)
    settings = {"durability": "os", "starting_equity": 1_000, "rotate_bytes": 3_000, **more}
    with botobs.start("bot", data_dir=data_dir, clock=clock, **settings) as obs:
        for n in range(first, first + count):
            up = n % 3 != 2
            steps = (
                ("ENTRY", "4", 100),
                ("PARTIAL_25", "1", 103 + n),
                ("PARTIAL_50", "1", 98),
                ("FULL_CLOSE", "2", 101 - n),
            )
            for action, qty, price in steps:
                entry = action == "ENTRY"
                side = "buy" if up is entry else "sell"
                oid = obs.order(
                    "BTC-USD", side, qty, decision_px=price, plan_id=f"p{n}", action=action, reduces=not entry
                )
                clock.advance(30)
                obs.fill(oid, price=price, qty=qty, fee="0.01", role="taker", fill_id=f"{n}-{action}")
                if action == "PARTIAL_25":
                    obs.funding("BTC-USD", "-0.05", funding_id=f"f{n}")
        obs.fill(symbol="ETH-USD", side="buy", qty="1", price="10", fee="0.001", fee_asset="ETH", role="taker")
        obs.fill(symbol="SIM", side="buy", qty="1", price="10", kind="hedger_sim")
        assert obs.flush(10)
        return obs.totals()


@pytest.fixture(scope="module")
def traded(tmp_path_factory):
    path = tmp_path_factory.mktemp("bot") / "data"
    return path, trade(path)


def test_what_the_pack_makes_of_a_ledger_is_what_the_bot_s_own_rooms_make_of_it(traded):
    path, totals = traded
    assert list((path / "metrics" / "archive").glob("fills-*"))
    source, builder = LedgerSource(path), Builder()
    source.begin(None)
    events, position = drain(source)
    for raw in events:
        builder.take(raw)
    assert sum(tally.pnl for tally in builder.by_action.values()) == totals.realized_pnl
    closed = list(StreamReader(path).read("trade_lifecycle"))
    stats = builder.by_regime["BTC-USD", "unknown"].stats
    assert stats.trades == len(closed) == 8
    assert stats.net == sum(Decimal(record["net_pnl_usd"]) for record in closed)
    assert stats.gross == sum(Decimal(record["realized_pnl_usd"]) for record in closed)
    assert {action for symbol, _, action in builder.by_action if symbol == "BTC-USD"} == {
        "ENTRY", "PARTIAL_25", "PARTIAL_50", "FULL_CLOSE", "FUNDING",
    }  # fmt: skip
    assert all(tally.exits != [0, 0, 0] for (_, _, action), tally in builder.by_action.items()
               if action not in ("ENTRY", "FUNDING"))  # fmt: skip
    assert builder.memory.ignored == {}
    assert "unreadable" not in builder.memory.counts
    assert position.startswith(f"{source.progress().done}:")
    source.close()


def test_it_goes_on_behind_any_position_however_it_is_split(traded):
    path, _ = traded
    source = LedgerSource(path)
    source.begin(None)
    whole, end = drain(source)
    source.begin(None)
    assert drain(source, 3) == (whole, end)
    for at in range(0, len(whole), 5):
        source.begin(whole[at].position)
        assert drain(source)[0] == whole[at + 1 :]
    source.begin(None, end=True)
    assert source.take(10, 0).position == end
    source.close()


def test_it_follows_a_ledger_that_grows_and_rotates(tmp_path):
    source = LedgerSource(tmp_path)
    source.begin(None)
    assert source.take(10, 0).events == []
    ledger = Ledger(tmp_path, durability="os", rotate_bytes=1_000)
    seen = []

    def add(n):
        with ledger.lock:
            ticket = ledger.add({"type": "fill", "ts": f"2026-01-02T03:04:{n % 60:02d}.000000Z", "symbol": "X", "side": "buy",
                                 "size": "1", "price": str(n + 1)})  # fmt: skip
        ledger.settle(ticket)

    for n in range(40):
        add(n)
        if n % 3 == 0:
            seen += source.take(100, 0).events
    seen += drain(source)[0]
    assert [raw.fields["price"] for raw in seen] == [str(n + 1) for n in range(40)]
    with (tmp_path / "metrics" / "fills.jsonl").open("ab") as file:  # half a line is none
        file.write(b'{"seq":41,"type":"fi')
    assert source.take(100, 0).events == []
    source.close()


def test_a_ledger_that_was_replaced_is_noticed(traded, tmp_path):
    path, _ = traded
    source = LedgerSource(path)
    source.begin(None)
    position = source.take(10, 0).position
    _, end = drain(source)
    source.close()
    trade(tmp_path / "other", first=20, count=3)
    other = LedgerSource(tmp_path / "other")
    other.begin(position)
    assert "is not the one of the checkpoint" in other.take(10, 0).lost
    other.begin(end)
    assert "it was replaced" in (batch := other.take(100, 0)).lost
    assert len(batch.events) > 15  # and it begins anew
    other.close()
    with pytest.raises(SourceTrouble, match="another stream"):
        source.begin("1700000-0")


def test_lines_that_are_gone_are_told(traded, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(traded[0], copy)
    archived = sorted((copy / "metrics" / "archive").glob("fills-*"))
    source = LedgerSource(copy)
    source.begin(None)
    first = source.take(1, 0)
    archived[1].unlink()
    source.close()
    source.begin(first.position)
    lost = []
    while (batch := source.take(5, 0)).events or batch.behind:
        lost += [batch.lost] if batch.lost else []
    assert len(lost) == 1
    assert "no readable lines from" in lost[0]
    source.close()


def test_a_void_takes_the_fill_back(tmp_path):
    with botobs.start("bot", data_dir=tmp_path, durability="os") as obs:
        for symbol in ("X", "Y"):
            obs.fill(symbol=symbol, side="buy", qty=2, price=10, fee="0.1", fill_id="a")
            obs.fill(symbol=symbol, side="buy", qty=1, price=13, fee="0.1", fill_id="b")
            obs.fill(symbol=symbol, side="sell", qty=1, price=12, fee="0.1", fill_id="c")
            assert obs.void("b", "taken back", symbol=symbol).booked
        obs.fill(symbol="X", side="sell", qty=1, price=11, fill_id="d")
        obs.void("not there yet", "taken back", symbol="X")
        obs.fill(symbol="X", side="sell", qty=1, price=11, fill_id="not there yet")
        totals = obs.totals()
    source, builder = LedgerSource(tmp_path), Builder(market=Bars())
    source.begin(None)
    for raw in drain(source)[0]:
        builder.take(raw)
    assert builder.memory.counts["voids"] == 2
    assert builder.memory.ignored == {}  # the one that waited: its fill never came
    assert sum(tally.pnl for tally in builder.by_action.values()) == totals.realized_pnl
    assert sum(each.stats.trades for each in builder.by_regime.values()) == 1
    assert builder.open_trades == 1
    assert merged({}, builder)
    source.close()


def test_of_a_long_history_no_order_is_forgotten_before_its_fills(tmp_path):
    (tmp_path / "logs").mkdir()
    start = 1_767_323_045
    with (tmp_path / "logs" / "execution.jsonl").open("w") as file:
        for n in range(60):
            said = {"ts": rfc3339((start + n * 100) * 10**9), "event": "order", "order_id": f"o{n}", "plan_id": f"p{n}"}
            file.write(json.dumps({**said, "action": "FIRST"}) + "\n")
            file.write(json.dumps({**said, "action": "AMENDED"}) + "\n")
    orders = Orders(tmp_path, most=10)
    for n in range(60):
        if n % 7 == 0:
            assert orders.of("unheard of") is None
        orders.reach((start + n * 100 + 5) * 10**9)
        assert orders.of(f"o{n}") == (f"p{n}", "FIRST", False)
    assert orders.of("o3") is None
    assert orders.of(None) is None
