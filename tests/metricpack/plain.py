"""The pack written out plainly: fractions, whole lists, no memory that is bounded; and streams to try it with."""

from __future__ import annotations

from collections import defaultdict
from fractions import Fraction

from hypothesis import strategies as st

from botobs.metricpack import Raw

ACTIONS = (None, "PARTIAL_25", "PARTIAL_50", "FULL_CLOSE", "stop loss")


def event(side="buy", qty="1", price="100", *, n=0, **more):
    """An event as a stream has it."""
    said = {"symbol": "BTCUSDT", "side": side, "qty": qty, "price": price, "executed": True, "reduceOnly": False,
            "ts": 1_767_323_045 + n}  # fmt: skip
    return {**said, **more}


def raws(events):
    return [Raw(str(at), said, 1_767_000_000 * 10**9 + at) for at, said in enumerate(events)]


@st.composite
def streams(draw):
    """Sequences of trades with duplicates, gaps and reordering."""
    found = []
    for n in range(draw(st.integers(1, 30))):
        said = event(
            draw(st.sampled_from(("buy", "sell"))), draw(st.sampled_from(("0.5", "1", "1.0005", "2", "3.25"))),
            draw(st.sampled_from(("90", "100", "101.5", "117"))), n=n,
            fee=draw(st.sampled_from(("0", "0.1", "-0.02"))), reduceOnly=draw(st.booleans()),
            symbol=draw(st.sampled_from(("BTCUSDT", "ETHUSDT"))), plan_id=f"p{n}", order_id=f"o{n}",
        )  # fmt: skip
        action = draw(st.sampled_from(ACTIONS))
        if action is not None:
            said["action"] = action
        if draw(st.integers(0, 9)) == 0:
            said["executed"] = "false"
        if draw(st.integers(0, 9)) == 0:
            said["positionSide"] = draw(st.sampled_from(("LONG", "SHORT")))
        if draw(st.integers(0, 12)) == 0:
            del said["price"]
        found.append(said)
    for _ in range(draw(st.integers(0, 4))):  # told again, lost, or told too late
        at, to = draw(st.integers(0, len(found) - 1)), draw(st.integers(0, len(found)))
        sort = draw(st.sampled_from(("again", "lost", "moved")))
        said = found[at]
        if sort != "again":
            del found[at]
        if sort != "lost":
            found.insert(min(to, len(found)), said)
        if not found:
            break
    return found


class Plain:
    """What a person with a pencil would make of a stream."""

    def __init__(self, events, dust=Fraction(1, 1000)):
        self.dust = dust
        self.pnl = defaultdict(Fraction)
        self.exits = defaultdict(lambda: [0, 0, 0])
        self.trades = defaultdict(lambda: [0, 0, 0])
        self.nets = defaultdict(list)
        self.counts = defaultdict(int)
        self.sure = True  # no outcome hangs on the last digit of a division
        self._held = {}  # place -> [quantity, average price]
        self._open = {}
        self._seen = set()
        for said in events:
            self._one(said)

    def _one(self, said):
        self.counts["events"] += 1
        if "price" not in said and said["executed"] is True:
            self.counts["unreadable"] += 1
            return
        if said["executed"] is not True:
            self.counts["not_executed"] += 1
            return
        leg = {"LONG": 1, "SHORT": -1}.get(said.get("positionSide"))
        place = (said["symbol"], leg)
        action = said.get("action")
        action = None if action is None else action.upper().replace(" ", "_")
        key = (*place, said.get("plan_id"), said.get("order_id"), action)
        if said.get("plan_id") is not None:
            if key in self._seen:
                self.counts["duplicates"] += 1
                return
            self._seen.add(key)
        sign = 1 if said["side"] == "buy" else -1
        qty, price, fee = (Fraction(said.get(name, "0")) for name in ("qty", "price", "fee"))
        held = self._held.setdefault(place, [Fraction(0), Fraction(0)])
        reduces = said["reduceOnly"]
        if leg is not None:
            if reduces and sign == leg:
                self.counts["exit_on_the_wrong_side"] += 1
                return
            reduces = sign != leg
        if reduces:
            if not held[0]:
                self.counts["exit_before_any_entry"] += 1
                return
            if (held[0] > 0) == (sign > 0):
                self.counts["exit_on_the_wrong_side"] += 1
                return
            qty = min(qty, abs(held[0]))
        self._move(place, held, sign, qty, price, fee, action)

    def _move(self, place, held, sign, qty, price, fee, action):
        closes = min(qty, abs(held[0])) if held[0] * sign < 0 else Fraction(0)
        opens = qty - closes
        trade = self._open.get(place)
        if closes:
            crosses = opens > self.dust
            part = fee * closes / qty if crosses else fee
            gross = closes * (price - held[1]) * (1 if held[0] > 0 else -1)
            name = action or "EXIT"
            self.pnl[place[0], name] += gross - part
            held[0] += sign * closes
            if trade is None:
                self.counts["exit_of_dust"] += 1
            else:
                trade["net"] += gross - part
                self._sure(gross - part)
                trade["exits"].append((name, _outcome(gross - part)))
                if abs(held[0] - trade["carried"]) <= self.dust or opens:
                    self._close(place, trade, name)
                    trade = None
            if opens:
                held[0], held[1] = sign * opens, price
            if not crosses:
                return
            fee -= part
        else:
            held[1] = (held[1] * abs(held[0]) + price * opens) / (abs(held[0]) + opens)
            held[0] += sign * opens
        if trade is None:
            trade = self._open[place] = {"net": Fraction(0), "exits": [], "carried": held[0] - sign * opens}
        trade["net"] -= fee
        if fee:
            self.pnl[place[0], action or "ENTRY"] -= fee

    def _close(self, place, trade, name):
        for exit_name, outcome in trade["exits"]:
            self.exits[place[0], exit_name][outcome] += 1
        self._sure(trade["net"])
        self.trades[place[0], name][_outcome(trade["net"])] += 1
        self.nets[place[0]].append(trade["net"])
        del self._open[place]

    @property
    def open_trades(self):
        return len(self._open)

    def _sure(self, net):
        if abs(net) < Fraction(1, 10**20):
            self.sure = False


def _outcome(net):
    return 0 if net > 0 else 1 if net < 0 else 2
