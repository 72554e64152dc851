"""All closed trades, as sums up to a horizon and one by one after it.

Statistics such as streaks and drawdowns depend on the order of the trades, and a trade may come late, change or be
undone. So the newest `keep` trades are held one by one, ordered by exit, and everything before them only as figures
of each session and strategy. What concerns a held trade is exact at once: the figures it touches are made anew, when
somebody asks, from those of the horizon and the trades after it. What concerns an older one cannot be done here:
`apply` says so, and the owner makes the history anew from the stream.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import OrderedDict
from itertools import chain
from typing import TYPE_CHECKING, Literal

from botobs.performance.figures import Figures

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from botobs.performance.closed import Closed
    from botobs.performance.sessions import SessionCalendar
    from botobs.performance.summary import Session

__all__ = ["KEEP", "OTHER", "Applied", "Group", "History", "Span"]

KEEP = 2_048
OTHER = "other"  # the strategies beyond the limit, together
MOST_STRATEGIES = 64
LEAST_HEARD = 4_096  # more than the records that are read again after a restart
_MOST_REVISED = 10_000
_MOST_SESSIONS = {"day": 1_500, "week": 520, "month": 600}

Applied = Literal["counted", "known", "too old"]


class Group:
    """The figures of one strategy (or all) in one session (or all).

    Attributes:
        base: Of the trades up to the horizon; as text where no more are expected.
        live: Of all of its trades; `None`: to be made anew.
    """

    __slots__ = ("base", "live")

    def __init__(self, base: Figures | bytes | None = None) -> None:
        self.base = base
        self.live: Figures | None = None

    def settled(self) -> Figures:
        """The figures up to the horizon, to be changed by the caller."""
        base = self.base
        if base is None or isinstance(base, bytes):
            self.base = base = Figures() if base is None else Figures.unpacked(base)
        return base

    def copy_settled(self) -> Figures:
        """A copy of them."""
        base = self.base
        if base is None:
            return Figures()
        return Figures.unpacked(base) if isinstance(base, bytes) else base.copy()

    def freeze(self) -> None:
        """Be small: no more trades are expected."""
        self.live = None
        if isinstance(self.base, Figures):
            self.base = self.base.packed()


class Span:
    """A session, or with `None` all time, and the figures of each strategy in it; `None` is all of them."""

    __slots__ = ("groups", "session")

    def __init__(self, session: Session | None) -> None:
        self.session = session
        self.groups: dict[str | None, Group] = {}

    def group(self, strategy: str | None) -> Group:
        """The figures of a strategy; made when it is new."""
        found = self.groups.get(strategy)
        if found is None:
            found = self.groups[strategy] = Group()
        return found


class History:
    """The closed trades. Not locked: its owner does that.

    Args:
        calendar: Tells the sessions.
        keep: How many trades are held one by one.
        window: How many of the newest trades of each strategy have to be at hand.
        names: Strategies that have a name of their own already.

    Attributes:
        kept: The newest trades, by exit.
        horizon: The last trade that is only in the figures.
        touched: The earliest exit that was changed since somebody set this to `None`.
        short: Too many were undone to know the newest ones of some strategy: it has to be made anew.
    """

    def __init__(
        self, calendar: SessionCalendar, *, keep: int = KEEP, window: int = 20, names: Iterable[str] = ()
    ) -> None:
        self.calendar = calendar
        self.keep = max(1, keep)
        self.window = max(1, window)
        self.kept: list[Closed] = []
        self.horizon: Closed | None = None
        self.overall = Span(None)
        self.spans: dict[str, dict[str, Span]] = {kind: {} for kind in _MOST_SESSIONS}
        self.names: dict[str, None] = dict.fromkeys(names)
        self.recent: dict[str, list[Closed]] = {}
        self.short = False
        self.touched: str | None = None
        self.held: dict[str, Closed] = {}
        self.heard: OrderedDict[str, int] = OrderedDict()  # revisions of the trades heard of last
        self.revised: OrderedDict[str, tuple[int, bool]] = OrderedDict()  # of those revised: and whether undone

    # --- in

    def apply(self, trade: Closed) -> Applied:
        """Count a trade, in the place of its earlier revision if there was one."""
        name = trade.trade_id
        revision, undone = self.revised.get(name, (0, False))
        before = self.held.get(name)
        revision = max(revision, self.heard.get(name, 0), 0 if before is None else before.revision)
        if revision >= trade.revision:
            return "known"
        if self.horizon is not None:
            somewhere = before is None and not undone and (revision > 0 or trade.revision > 1)
            if somewhere or (not trade.undone and trade[:3] <= self.horizon[:3]):
                return "too old"
        self.note(trade)
        if before is not None:
            self._remove(before)
        if not trade.undone:
            self._insert(trade)
        return "counted"

    def knows(self, trade: Closed) -> bool:
        """Whether this revision, or a later one, was heard of lately."""
        return max(self.heard.get(trade.trade_id, 0), self.revised.get(trade.trade_id, (0,))[0]) >= trade.revision

    def admit(self, trade: Closed) -> Applied:
        """Count a trade of which no earlier revision was counted, as its owner knows."""
        before = self.held.get(trade.trade_id)
        if max(self.heard.get(trade.trade_id, 0), 0 if before is None else before.revision) >= trade.revision:
            return "known"
        if not trade.undone and self.horizon is not None and trade[:3] <= self.horizon[:3]:
            return "too old"
        self.note(trade)
        if not trade.undone:
            self._insert(trade)
        return "counted"

    def note(self, trade: Closed) -> None:
        """Remember that this revision was heard of."""
        name = trade.trade_id
        self.heard[name] = max(trade.revision, self.heard.get(name, 0))
        self.heard.move_to_end(name)
        if len(self.heard) > max(2 * self.keep, LEAST_HEARD):
            self.heard.popitem(last=False)
        if trade.revision > 1:
            self.revised[name] = trade.revision, trade.undone
            self.revised.move_to_end(name)
            if len(self.revised) > _MOST_REVISED:
                self.revised.popitem(last=False)

    def _insert(self, trade: Closed) -> None:
        self._touch(trade)
        if trade.strategy not in self.names:
            if len(self.names) < MOST_STRATEGIES:
                self.names[trade.strategy] = None
            else:
                trade = trade._replace(strategy=OTHER)
        self.held[trade.trade_id] = trade
        last = not self.kept or trade > self.kept[-1]
        if last:
            self.kept.append(trade)
        else:
            insort(self.kept, trade)
        outcome = trade.outcome
        for group in self._groups(trade):
            if not last:
                group.live = None
            elif group.live is not None:
                group.live.add(trade, outcome)
        self._remember(trade)
        if len(self.kept) > self.keep:
            self._settle()

    def _remember(self, trade: Closed) -> None:
        recent = self.recent.setdefault(trade.strategy, [])
        if recent and trade < recent[0] and self.count(trade.strategy) > len(recent) + 1:
            return  # there are newer ones that are not at hand
        insort(recent, trade)
        if len(recent) > 2 * self.window:
            del recent[0]

    def _touch(self, trade: Closed) -> None:
        if self.touched is None or trade.exit_ts < self.touched:
            self.touched = trade.exit_ts

    def _remove(self, trade: Closed) -> None:
        self._touch(trade)
        del self.held[trade.trade_id]
        del self.kept[bisect_left(self.kept, trade)]
        for group in self._groups(trade):
            group.live = None
        recent = self.recent.get(trade.strategy, [])
        at = bisect_left(recent, trade)
        if at < len(recent) and recent[at] == trade:
            del recent[at]
        settled = self.horizon is not None
        self.short = self.short or (
            settled
            and (
                len(recent) < min(self.window, self.count(trade.strategy))
                or len(self.kept) < max(self.window, self.keep // 2)
            )
        )

    def _settle(self) -> None:
        """Let the oldest trade go into the figures."""
        trade = self.kept.pop(0)
        del self.held[trade.trade_id]
        self.horizon = trade
        outcome = trade.outcome
        for group in self._groups(trade):
            group.settled().add(trade, outcome)
        after = self.kept[0].exit_ts
        for session in self.calendar.of(trade.exit_ts):
            if after >= session.end and session.key in self.spans[session.kind]:
                for group in self.spans[session.kind][session.key].groups.values():
                    group.freeze()

    def _groups(self, trade: Closed) -> Iterator[Group]:
        """The eight that a trade belongs to."""
        for span in chain((self.overall,), map(self._span, self.calendar.of(trade.exit_ts))):
            yield span.group(None)
            yield span.group(trade.strategy)

    def _span(self, session: Session) -> Span:
        spans = self.spans[session.kind]
        found = spans.get(session.key)
        if found is None:
            found = spans[session.key] = Span(session)
            if len(spans) > _MOST_SESSIONS[session.kind]:
                spans.pop(min(spans))  # it may be this one; then it is counted in the whole alone
        return found

    # --- out

    def called(self, strategy: str) -> str:
        """The name that the trades of a strategy are counted under."""
        return strategy if strategy in self.names else OTHER

    def count(self, strategy: str | None) -> int:
        """How many trades a strategy has, or all."""
        group = self.overall.groups.get(strategy)
        if group is None:
            return 0
        if group.live is not None:
            return group.live.trades
        settled = group.settled().trades if group.base is not None else 0
        if strategy is None:
            return settled + len(self.kept)
        return settled + sum(trade.strategy == strategy for trade in self.kept)

    def strategies(self) -> list[str]:
        """Those that have trades, by name."""
        return sorted(name for name in self.overall.groups if name is not None and self.count(name))

    def figures(self, span: Span, strategy: str | None) -> Figures | None:
        """The figures of a strategy, or all, in a session; `None`: it has no trades. Not to be changed."""
        group = span.groups.get(strategy)
        if group is None:
            return None
        if group.live is None:
            trades = self.kept
            if span.session is not None:
                trades = self._between(span.session.start, span.session.end)
                if not trades:  # nothing to be held twice
                    found = group.copy_settled()
                    return found if found.trades else None
            live = group.copy_settled()
            for trade in trades:
                if strategy is None or trade.strategy == strategy:
                    live.add(trade, trade.outcome)
            group.live = live
        return group.live if group.live.trades else None

    def last(self, count: int, strategy: str | None) -> list[Closed] | None:
        """The newest trades, by exit; `None`: not all of them are at hand."""
        if strategy is None:
            found = self.kept
        else:
            found = self.recent.get(strategy, [])
            if len(found) < count:
                found = [trade for trade in self.kept if trade.strategy == strategy]
        if len(found) >= count or len(found) == self.count(strategy):
            return found[-count:]
        return None

    def since(self, start: str | None, strategy: str | None) -> list[Closed] | None:
        """The trades closed since `start`; `None`: not all of them are at hand."""
        if self.horizon is not None and (start is None or start <= self.horizon.exit_ts):
            return None
        found = self._between(start or "", "~")
        return found if strategy is None else [trade for trade in found if trade.strategy == strategy]

    def _between(self, start: str, end: str) -> list[Closed]:
        # a tuple with the time alone comes before every trade of that time
        low, high = bisect_left(self.kept, (start,)), bisect_left(self.kept, (end,))
        return self.kept[low:high]
