"""An explanation for people: a table of 80 columns, with a bar for each step from where the one before it ended."""

from __future__ import annotations

import math
import textwrap
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from botobs.accounting.numbers import ROUGH

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from botobs.explaining.parts import Behind, Explained

__all__ = ["table"]

_WIDTH: Final = 80
_BAR: Final = 28
_DIGITS: Final = 8


def table(found: Explained, *, solid: str = "█", line: str = "─") -> list[str]:
    """The lines of it.

    Args:
        found: What to tell.
        solid: What bars are made of.
        line: What the line above the sum is made of.
    """
    places = _places(part.amount for part in found.parts)
    rows = [(part.label, _money(part.amount, places), _bps(part.bps)) for part in found.parts]
    rows.append(("net" if found.status == "closed" else "net, if closed now", _money(found.net, places),
                 _bps(found.net_bps)))  # fmt: skip
    widths = [max(len(row[at]) for row in rows) for at in range(3)]
    head = f"{'':<{widths[0]}}  {found.currency:>{widths[1]}}  {'bps':>{widths[2]}}"
    drawn = [f"{row[0]:<{widths[0]}}  {row[1]:>{widths[1]}}  {row[2]:>{widths[2]}}" for row in rows]
    room = max(min(_BAR, _WIDTH - 4 - len(head)), 0)
    bars = list(_bars(found, room, solid))
    lines = [*_said(found), "", f"  {head}".rstrip()]
    for at, (row, bar) in enumerate(zip(drawn, bars, strict=True)):
        if at == len(drawn) - 1:
            lines.append(f"  {line * len(head)}")
        lines.append(f"  {row}  {bar}".rstrip())
    lines.extend(_behind(found))
    lines.extend(_unknown(found))
    return lines


def _said(found: Explained) -> Iterator[str]:
    where = "".join(f", {name} {_plain(value)}" for name, value in (
        ("at", found.venue), ("account", found.account), ("in", found.position_side), ("by", found.strategy),
    ) if value is not None)  # fmt: skip
    yield from _wrapped(f"{found.trade_id}: {found.side} {_plain(found.symbol)}{where}, {found.status}", "", "  ")
    until = f"to {_when(found.closed_ts)}" if found.closed_ts is not None else "and still open"
    lasted = "" if found.duration_s is None else f", {_lasted(found.duration_s)}"
    yield f"  {_when(found.opened_ts)} {until}{lasted}"
    entered = f"  entry {_exact(found.entry_qty)} at {_exact(found.entry_px)}"
    left = f", exit {_exact(found.exit_qty)} at {_exact(found.exit_px)}" if found.exit_qty else ""
    held = f", {_exact(found.held)} held, now {_exact(found.mark)}" if found.status == "open" else ""
    yield from _wrapped(f"{entered.strip()}{left}{held}", "  ", "  ")
    if found.mfe_bps is not None or found.mae_bps is not None or found.exit_reason not in (None, "unknown"):
        ways = [f"{value:,.1f} bps {said} it" for said, value in (("for", found.mfe_bps), ("against", found.mae_bps))
                if value is not None]  # fmt: skip
        why = [] if found.exit_reason in (None, "unknown") else [f"closed for: {_plain(found.exit_reason)}"]
        went = [f"the price went {' and '.join(ways)}"] if ways else []
        yield from _wrapped("; ".join([*went, *why]), "  ", "  ")


def _bars(found: Explained, room: int, solid: str) -> Iterator[str]:
    """Each step as a bar that begins where the one before it ended; the last one is the sum, from zero."""
    if room < 4:
        yield from [""] * (len(found.parts) + 1)
        return
    at, ends = 0.0, [0.0]
    steps: list[tuple[float, float]] = []
    for part in found.parts:
        then = at + float(part.amount or 0)
        steps.append((at, then))
        ends.append(then)
        at = then
    steps.append((0.0, float(found.net)))
    if not all(map(math.isfinite, ends)) or not math.isfinite(max(ends) - min(ends)):
        yield from [""] * (len(found.parts) + 1)
        return
    low, high = min(*ends, 0.0), max(*ends, 0.0)
    scale = (room - 1) / (high - low) if high > low else 0.0
    zero = round(-low * scale)
    untold = [part.amount is None for part in found.parts]
    for is_untold, (begin, end) in zip([*untold, False], steps, strict=True):
        if is_untold:
            yield f"{' ' * zero}?"
            continue
        first, last = sorted((round((begin - low) * scale), round((end - low) * scale)))
        yield f"{' ' * first}{solid * (last - first + 1)}" if begin != end else f"{' ' * first}|"


def _behind(found: Explained) -> Iterator[str]:
    for name, side in (("entry", found.entry), ("exit", found.exit)):
        if side is not None:
            yield ""
            yield f"  {name}"
            for fact in _facts(side):
                yield from _wrapped(fact, "    ", "      ")


def _facts(side: Behind) -> Iterator[str]:
    several = f" and {side.orders - 1} more" if side.orders > 1 else ""
    kind = "" if side.order_type is None else f"{_plain(side.order_type)} "
    what = "no order was named" if side.order_id is None else f"{kind}order {_plain(side.order_id)}{several}"
    source = "" if side.source is None else f" from {_plain(side.source)}"
    reason = "" if side.reason is None else f" ({_plain(side.reason)})"
    several = "" if side.fills == 1 else "s"
    yield f"{what}{source}{reason}, {side.fills:,} fill{several}"
    if side.decision_px is not None:
        quote = "" if side.bid is None else f" between {_exact(side.bid)} and {_exact(side.ask)}"
        yield f"decided at {_exact(side.decision_px)}{quote}"
    times = [f"{_ms(ms)} {what}" for ms, what in (
        (side.decision_to_sent_ms, "to the exchange"), (side.sent_to_fill_ms, "from there to the first fill"),
    ) if ms is not None]  # fmt: skip
    if not times and side.decision_to_fill_ms is not None:
        times = [f"{_ms(side.decision_to_fill_ms)} to the first fill"]
    if times:
        yield ", ".join(times)
    if side.latency:
        stages = [
            f"{name.removesuffix('_ms').replace('_', ' ')} {_ms(ms)}"
            for name, ms in side.latency.items() if ms and name != "total_latency_ms"
        ]  # fmt: skip
        whole = side.latency.get("total_latency_ms")
        yield f"stages {'' if whole is None else _ms(whole)}" + (f": {', '.join(stages)}" if stages else "")
    if side.features:
        oldest = [f"{_plain(name)} {_lasted(age)}" for name, age in list(side.features.items())[:4]]
        yield f"age of {len(side.features)} feature{'' if len(side.features) == 1 else 's'}: {', '.join(oldest)}" + (
            ", …" if len(side.features) > 4 else ""
        )
    if side.regime is not None:
        yield f"regime {_plain(side.regime)}"
    if side.impact_bps is not None:
        yield f"the book made one expect an impact of {side.impact_bps:,.1f} bps"


def _unknown(found: Explained) -> Iterator[str]:
    said: dict[str, list[str]] = {}
    for part in found.parts:
        if part.reason is not None:
            said.setdefault(part.reason, []).append(part.label)
    for why in found.reasons.values():
        said.setdefault(why, [])
    if said:
        yield ""
    for why, labels in said.items():
        yield from _wrapped(f"{', '.join(labels)}: {_plain(why)}" if labels else _plain(why), "  ", "    ")


def _wrapped(said: str, begin: str, then: str) -> list[str]:
    return textwrap.wrap(
        said, _WIDTH, initial_indent=begin, subsequent_indent=then, break_on_hyphens=False
    )  # fmt: skip


def _plain(value: object) -> str:
    """Text of a bot's on one line: nothing in it moves the cursor."""
    said = "".join(char if char.isprintable() else " " for char in str(value))
    return said if len(said) <= 200 else f"{said[:197]}..."


def _places(amounts: Iterable[Decimal | None]) -> int:
    """So many places that the smallest step shows two digits, and at least two."""
    most = 2
    for amount in amounts:
        if amount:
            exponent = amount.as_tuple().exponent
            there = -exponent if isinstance(exponent, int) else 0
            most = max(most, min(there, 1 - amount.adjusted(), _DIGITS))
    return most


def _money(amount: Decimal | None, places: int) -> str:
    if amount is None:
        return "-"
    found = amount.quantize(Decimal(1).scaleb(-places, ROUGH), context=ROUGH)
    return format(found or found.copy_abs(), ",f")


def _exact(value: Decimal | None) -> str:
    """A price or a quantity, with no more digits than anybody reads."""
    if value is None:
        return "-"
    found = value
    exponent = found.as_tuple().exponent
    if isinstance(exponent, int) and -exponent > _DIGITS:
        found = found.quantize(Decimal(1).scaleb(min(-_DIGITS, found.adjusted() - 4), ROUGH), context=ROUGH)
    whole, _, rest = format(found, ",f").partition(".")
    return f"{whole}.{rest.rstrip('0')}".rstrip(".")


def _bps(value: float | None) -> str:
    return "-" if value is None else f"{value:,.2f}"


def _when(ts: str | None) -> str:
    return "-" if ts is None else f"{ts[:10]} {ts[11:19]}"


def _ms(ms: float) -> str:
    if ms >= 10_000:
        return _lasted(ms / 1_000)
    return f"{ms:.3g} ms" if ms < 999.5 else f"{ms:,.0f} ms"  # three digits of 1,000 are 1e+03


def _lasted(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.3g}s"
    left, parts = int(seconds), list[str]()
    for name, size in (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
        if left >= size:
            parts.append(f"{left // size}{name}")
            left %= size
    return " ".join(parts[:2])
