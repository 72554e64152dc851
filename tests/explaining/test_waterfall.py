"""The steps add up to the net result exactly, and each is what it is called, whatever was traded and known."""

from __future__ import annotations

import itertools
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import botobs
from botobs.accounting.instruments import guess
from botobs.explaining.waterfall import Decided, Leg, Result, waterfall
from botobs.testing import Clock
from tests.explaining import plain

D = Decimal
SERIAL = itertools.count()
T0 = 1_767_323_045_000


@pytest.fixture(scope="module", params=["average", "fifo"])
def bot(request):
    from botobs.stages.engine import ENGINES

    clock = Clock()
    obs = botobs.start(
        "bot", mode="backtest", data_dir=None, clock=clock, cost_basis=request.param, strict=True, currency="USD"
    )
    ENGINES.remove(obs._own)
    yield obs, clock
    ENGINES.append(obs._own)
    obs.shutdown()


@pytest.fixture(autouse=True)
def _running(bot):
    """The observer is shared by all tests here, and runs only within each."""
    from botobs.stages.engine import ENGINES

    ENGINES.append(bot[0]._own)
    yield
    ENGINES.remove(bot[0]._own)


prices = st.integers(9_000, 11_000).map(lambda cents: f"{cents / 100:.2f}")
maybe = lambda what: st.none() | what  # noqa: E731


@st.composite
def orders(draw):
    bid = draw(maybe(prices))
    return plain.Order(
        decision=draw(maybe(prices)), sent=draw(maybe(prices)), bid=bid,
        pred=draw(maybe(st.integers(-500, 500).map(lambda tenths: f"{tenths / 10}"))),
        ask=None if bid is None else f"{float(bid) + draw(st.integers(0, 50)) / 100:.2f}",
    )  # fmt: skip


@st.composite
def traded(draw):
    """Fills of one market, some of one order, some late, some taken back."""
    found, order = [], None
    times = draw(st.lists(st.integers(0, 5_000), min_size=1, max_size=9, unique=True))
    for at in times:
        side = draw(st.sampled_from(("buy", "sell")))
        if order is None or found[-1].side != side or draw(st.booleans()):
            order = draw(maybe(orders()))
        found.append(
            plain.Fill(
                at=at, side=side, qty=str(draw(st.integers(1, 6))), price=draw(prices), order=order,
                fee=str(draw(st.sampled_from(("0", "0.1", "-0.07", "1")))), maker=draw(st.booleans()),
            )
        )  # fmt: skip
    return found


def report(obs, symbol, fills, *, voided=(), **more):
    """Tell all of it to the bot's observer, as a bot does."""
    told = {}
    for number, fill in enumerate(fills):
        order = fill.order
        if order is not None and id(order) not in told:
            told[id(order)] = oid = obs.order(
                symbol, fill.side, fill.qty, decision_px=order.decision, pred_bps=order.pred,
                order_id=f"{symbol}-{number}", **({} if order.bid is None else {"bid": order.bid, "ask": order.ask}),
            )  # fmt: skip
            if order.sent is not None:
                obs.sent(oid, px=order.sent)
        booked = obs.fill(
            None if order is None else told[id(order)], symbol=symbol, side=fill.side, price=fill.price, qty=fill.qty,
            fee=fill.fee, role="maker" if fill.maker else "taker", fill_id=f"{symbol}.{number}", ts=T0 + fill.at,
            **more,
        )  # fmt: skip
        assert booked.booked, booked
    for number in voided:
        obs.void(f"{symbol}.{number}", "taken back", symbol=symbol)


@settings(
    max_examples=35, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], phases=[Phase.generate]
)
@given(
    fills=traded(), multiplier=st.sampled_from(("1", "0.001", "10")), inverse=st.booleans(), hedged=st.booleans(),
    voided=st.sets(st.integers(0, 8), max_size=2), paid=st.sampled_from(("0", "-0.3", "0.1")),
)  # fmt: skip
def test_the_steps_are_those_of_a_plain_model_and_add_up_exactly(bot, fills, multiplier, inverse, hedged, voided, paid):
    obs, clock = bot
    symbol = f"M{next(SERIAL)}X-USD"
    obs.instrument(symbol, multiplier=multiplier, inverse=inverse, base="BTC" if inverse else "X", quote="USD")
    voided = {number for number in voided if number < len(fills)}
    report(obs, symbol, fills, voided=voided, **({"position_side": "long"} if hedged else {}))
    market = plain.Market(Fraction(multiplier), inverse)
    meant = plain.trades([fill for number, fill in enumerate(fills) if number not in voided])
    if meant and meant[-1].held:
        obs.funding(symbol, paid, ts=T0 + 6_000, **({"position_side": "long"} if hedged else {}))
    clock.advance(7)
    records = {one["trade_id"]: one for one in obs.trades.closed(30) if one["symbol"] == symbol}
    ids = sorted(records, key=lambda name: records[name]["entry_ts"])
    [*still] = [one.trade_id for one in obs.trades.open if one.symbol == symbol]
    assert len(ids) == sum(not trade.held for trade in meant)
    for name, trade in zip(ids + still, meant, strict=True):
        found = obs.explain(name)
        assert found.total == found.net
        amounts = {part.name: part.amount for part in found.parts}
        for part in found.parts:
            assert (part.amount is None) <= (not part.known) == (part.reason is not None)
        if name in records:
            record = records[name]
            assert (found.status, found.net) == ("closed", record["net_pnl_usd"])
            assert (found.gross, found.fees, found.funding) == (
                record["realized_pnl_usd"], record["fees_usd"], record["funding_usd"],
            )  # fmt: skip
            for step, amount in plain.steps(trade, market).items():
                assert same(amounts[step], amount, inverse=inverse), (step, amounts[step], amount)
        else:
            [held] = [one for one in obs.positions if one.symbol == symbol]
            assert (found.status, found.held, found.mark) == ("open", abs(held.qty), held.mark)
            assert found.unrealized == held.unrealized_pnl
            assert found.part("fees").amount.copy_negate() == found.fees
            assert same(found.fees, trade.fees, inverse=True)
            assert found.part("funding").amount == D(paid)
            for step, amount in plain.steps(trade, market).items():
                if step != "market":
                    assert same(amounts[step], amount, inverse=inverse)


def same(amount, meant, *, inverse):
    """To the last digit; a division that does not come out even, to the 34 digits that it is made with."""
    if amount is None or meant is None:
        return amount is meant
    return abs(Fraction(amount) - meant) <= (Fraction(1, 10**28) if inverse else 0)


def test_what_is_open_and_whole_has_moved_since_its_decision(bot):
    obs, _ = bot
    symbol = f"M{next(SERIAL)}X-USD"
    fills = [plain.Fill(1, "sell", "3", "99.90", order=plain.Order("100", "100", "-8", "99.95", "100.05"))]
    report(obs, symbol, fills)
    obs.mark(symbol, "99.5")
    [trade] = [one for one in obs.trades.open if one.symbol == symbol]
    found = obs.explain(trade.trade_id)
    amounts = {part.name: part.amount for part in found.parts}
    assert amounts["predicted"] == D("0.24")
    assert amounts["market"] == 0
    assert amounts["open"] == 3 * (D(100) - D("99.5")) - D("0.24")
    assert (amounts["entry_delay"], amounts["entry_spread"], amounts["entry_impact"]) == (0, D("-0.15"), D("-0.15"))
    assert found.net == found.unrealized == D("1.2") == found.total
    assert found.exit is None
    assert found.part("exit_spread").reason == "nothing was closed"


@pytest.mark.parametrize(
    ("buys", "makes", "decision", "spread"),
    [
        (True, False, "100", "-0.05"),  # from the middle to the ask
        (True, False, "100.05", "0"),  # it was decided at the ask
        (True, False, "99.95", "-0.10"),  # or at the bid
        (True, False, "90", "-0.10"),  # by a price that is out of date: no more than the spread
        (True, False, "110", "0"),
        (True, True, "100", "0.05"),  # it rested, and earned it
        (False, False, "100", "-0.05"),
        (False, True, "100", "0.05"),
    ],
)
def test_the_spread_is_what_was_crossed_of_it(buys, makes, decision, spread):
    qty = D(1) if buys else D(-1)
    leg = Leg(1, "", True, qty, qty * 100, D(100))
    said = Decided(decision_px=D(decision), bid=D("99.95"), ask=D("100.05"), makes=makes)
    result = Result(long=buys, fees=D(0), funding=D(0), net=D(0), value=D(100))
    found = {part.name: part.amount for part in waterfall([leg], {1: said}, guess("BTCUSD"), result)}
    assert found["entry_spread"] == D(spread)


@pytest.mark.parametrize("quote", [("101", "100"), ("0", "1"), (None, "100"), ("-1", "1")])
def test_what_is_no_quote_makes_no_spread(quote):
    bid, ask = (None if one is None else D(one) for one in quote)
    leg = Leg(1, "", True, D(1), D(100), D(100))
    said = Decided(decision_px=D(100), bid=bid, ask=ask)
    result = Result(long=True, fees=D(0), funding=D(0), net=D(0), value=D(100))
    found = {part.name: part for part in waterfall([leg], {1: said}, guess("BTCUSD"), result)}
    assert found["entry_spread"].amount is None
    assert "impact" in found["entry_spread"].reason


def test_a_part_of_the_fills_is_told_as_such():
    legs = [Leg(1, "", True, D(1), D(101), D(101)), Leg(2, "", True, D(1), D(102), D(102))]
    known = {1: Decided(decision_px=D(100)), 2: Decided(reasons={"decision_px": "the fill named no order"})}
    result = Result(long=True, fees=D(0), funding=D(0), net=D(7), value=D(203))
    found = {part.name: part for part in waterfall(legs, known, guess("BTCUSD"), result)}
    assert (found["entry_impact"].amount, found["entry_impact"].known) == (-1, False)
    assert found["entry_impact"].reason == "of 1 of 2 fills; of the others: the fill named no order"
    assert found["market"].amount == 8
