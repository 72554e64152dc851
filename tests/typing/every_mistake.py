"""What a type checker has to refuse; each line names the error it must give."""

from __future__ import annotations

import botobs
import botobs.explainability
import botobs.testing


@botobs.feature
def bare(x: int) -> str:
    return str(x)


bare("text")  # expect: arg-type
bare(1) + 1  # expect: operator
botobs.feature(nam="x")  # expect: call-overload
botobs.execution(reduce=True)  # expect: call-overload
botobs.stage()  # expect: call-overload
botobs.explain_model(bare, evry=2)  # expect: call-overload
botobs.explain_model(bare)("text")  # expect: arg-type
botobs.start("x", prometheus_prt=1)  # expect: call-arg
botobs.start("x", keep_traces="some")  # expect: arg-type

obs = botobs.start("x")
botobs.order("BTC-USD", "buy", 1)  # expect: call-arg
botobs.order("BTC-USD", "buy", decision_px=100)  # expect: call-arg
botobs.order("BTC-USD", "buy", 1, 100)  # expect: call-arg
botobs.order("BTC-USD", "buy", 1, decision_px=100, strategy=7)  # expect: arg-type
botobs.order("BTC-USD", "buy", 1, decision_px=100).fill_id  # expect: attr-defined
botobs.fill("o-1", price=1)  # expect: call-arg
botobs.fill("o-1", qty=1)  # expect: call-arg
botobs.fill("o-1", 100, 1)  # expect: call-arg
botobs.fill("o-1", price=1, qty=1, kind=None)  # expect: arg-type
botobs.fill("o-1", price=1, qty=1).slippage_bps + 1  # expect: operator
botobs.fill("o-1", price=1, qty=1).booked = True  # expect: misc
botobs.afill("o-1", price=1, qty=1).booked  # expect: attr-defined
botobs.void("f-1")  # expect: call-arg
botobs.reject("o-1", -2010)  # expect: call-arg
botobs.reject("o-1", -2010, "no", error="timeout")  # expect: arg-type
botobs.mark("BTC-USD", prize=1)  # expect: call-arg
botobs.position("BTC-USD", 1)  # expect: call-arg
botobs.funding("BTC-USD", 1, rte=1)  # expect: call-arg
botobs.instrument("BTCUSD", 100)  # expect: call-arg
botobs.sent("o-1", price=1)  # expect: call-arg
obs.totals().pnl  # expect: attr-defined
obs.totals(window="6h", kind="live")  # expect: call-arg
obs.totals().equity + 1  # expect: operator
obs.positions["BTC-USD"]  # expect: call-overload
obs.slippage.stats("broker")  # expect: arg-type
obs.fill("o-1", price=1)  # expect: call-arg
botobs.heartbeat()  # expect: call-arg
botobs.fil("o-1", price=1, qty=1)  # expect: attr-defined
botobs.totals()  # expect: attr-defined
botobs.testing.Clok()  # expect: attr-defined
botobs.explainability.Explaned  # expect: attr-defined
botobs.funding_rate("BTC-USD")  # expect: call-arg
obs.kill_switch.trip()  # expect: call-arg
obs.kill_switch.reset(by="ann")  # expect: call-arg
obs.alerts.send("warning")  # expect: call-arg
