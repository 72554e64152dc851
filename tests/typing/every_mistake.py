"""What a type checker has to refuse; each line names the error it must give."""

from __future__ import annotations

import botobs


@botobs.feature
def bare(x: int) -> str:
    return str(x)


bare("text")  # expect: arg-type
bare(1) + 1  # expect: operator
botobs.feature(nam="x")  # expect: call-overload
botobs.execution(reduce=True)  # expect: call-overload
botobs.stage()  # expect: call-overload
botobs.start("x", prometheus_prt=1)  # expect: call-arg
botobs.start("x", keep_traces="some")  # expect: arg-type
