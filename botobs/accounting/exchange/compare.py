"""Compare the ledger with an exchange's statement: fill by fill, then the totals, until nothing is left over."""

from __future__ import annotations

import bisect
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

from botobs.accounting.entries import moment
from botobs.accounting.exchange.balance import best, rows_of, shifted, shown, within
from botobs.accounting.exchange.comparison import Comparison, Difference, Entry, FieldDifference
from botobs.accounting.exchange.effects import Effect, Sums, add, difference, effect, fees_of
from botobs.accounting.exchange.markets import market
from botobs.accounting.exchange.ours import Waiting, fill_of, instrument_of, line_of
from botobs.accounting.exchange.statement import FREE, Statement, fits
from botobs.accounting.instruments import Instrument, guess
from botobs.accounting.numbers import ZERO, exact, number, text
from botobs.accounting.routes import Refused
from botobs.errors import BotobsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from decimal import Decimal

    from botobs.accounting.exchange.fills import Bad, ExchangeFill

__all__ = ["compare"]


@exact
def compare(
    ours: Iterable[Any],
    theirs: Iterable[ExchangeFill | Bad],
    *,
    venue: str | None = None,
    account: str | None = None,
    symbols: Iterable[str] | None = None,
    start: str | None = None,
    end: str | None = None,
    whole: bool = False,
    ids: bool = True,
    kinds: Iterable[str] = ("live", "import"),
    fee_tolerance: Decimal | str = ZERO,
    time_tolerance: float = 2.0,
) -> Comparison:
    r"""Compare the ledger with a statement.

    Fills are matched by market, order id and fill id, then by fill id alone, then, where one side has no fill id, by
    side, quantity, price and time within `time_tolerance`. Voids of ours count. Compared are the markets that the
    statement names, from its first to its last fill, unless told otherwise. Then the totals: each difference is taken
    apart into what the named fills explain, and what is left over, which is 0 unless something is wrong here.

    The totals: `volume` and `quantity` by market, `fees` by asset, `cash` (what was received less what was paid, fees
    of the same currency included) by currency, and `pnl`: cash and what was left open, valued at the statement's last
    price. Fees that the statement does not tell are compared nowhere.

    Args:
        ours: Ledger lines in their order: mappings, bytes, or pairs of seq and bytes. Read once, not kept.
        theirs: The statement, as `read_trades` gives it. Kept in memory.
        venue: Only our fills of this venue, and of none.
        account: Only our fills of this account, and of none.
        symbols: Only these.
        start: From when the statement covers (RFC 3339), if not from its first fill.
        end: Until when, inclusive.
        whole: Compare all fills of ours, whatever the statement covers.
        ids: Match by ids; `False` where the bot made up ids of its own.
        kinds: Kinds of our fills that count.
        fee_tolerance: By how much a fee may be off, where the statement rounds fees; counted as rounding.
        time_tolerance: By how many seconds times may be off.

    Example:
        >>> import io
        >>> from botobs.accounting.exchange.trades import read_trades
        >>> theirs = read_trades(io.StringIO(
        ...     "ts,symbol,side,qty,price,fee,fill_id\n2026-01-02T03:04:05Z,BTCUSDT,buy,2,100,0.1,7\n"))
        >>> ours = [{"seq": 1, "type": "fill", "ts": "2026-01-02T03:04:05.000000Z", "symbol": "BTC/USDT",
        ...          "side": "buy", "size": "2", "price": "100.5", "fee": "0.1", "fill_id": "7"}]
        >>> found = compare(ours, theirs)
        >>> found.ok, found.differing[0].fields[0].field, found.differing[0].explains["cash", "USDT"]
        (False, 'price', Decimal('-1.0'))
    """
    found = Comparison()
    only = None if symbols is None else {market(symbol) for symbol in symbols}
    start, end = _moment(start, "start"), _moment(end, "end")

    def wanted(fill: ExchangeFill) -> bool:
        inside = (start is None or fill.ts >= start) and (end is None or fill.ts <= end)
        return inside and (only is None or market(fill.symbol) in only)

    statement = Statement(theirs, found, wanted)
    found.start, found.end = start or statement.start, end or statement.end
    work = _Comparing(statement, found, whole, ids, only, number(fee_tolerance), time_tolerance)
    work.venue, work.account = (name.casefold() if name else None for name in (venue, account))
    kept = frozenset(kinds)
    for given in ours:
        work.line(given, kept)
    work.settle()
    return found


def _moment(given: str | None, what: str) -> str | None:
    if given is None:
        return None
    try:
        return moment(what, given)
    except Refused as refused:
        raise BotobsError(f"{refused}; it takes a time such as 2026-01-31T23:59:59Z") from None


class _Comparing:
    """One comparison under way."""

    def __init__(  # noqa: PLR0917  # private, one caller
        self,
        statement: Statement,
        found: Comparison,
        whole: bool,
        ids: bool,
        only: set[str] | None,
        fee_tolerance: Decimal,
        time_tolerance: float,
    ) -> None:
        self.venue: str | None = None
        self.account: str | None = None
        self._statement, self._found = statement, found
        self._whole, self._ids, self._only = whole, ids, only
        self._fee_tolerance, self._time_tolerance = fee_tolerance, time_tolerance
        self._named = set(statement.names)
        self._pending: dict[int, tuple[str, ExchangeFill]] = {}
        self._different: dict[int, Difference] = {}  # by our seq
        self._index_of: dict[int, int] | None = None  # our seq to their row; made at the first void
        self._waiting = Waiting()
        self._voided: dict[tuple[str, str], str] = {}
        self._instruments: dict[str, Instrument] = {}
        self._marks = dict(statement.last)
        self._ours: Sums = defaultdict(lambda: ZERO)
        self._rounded: dict[int, tuple[ExchangeFill, Effect]] = {}  # by our seq
        self._left_out: Counter[str] = Counter()
        self._early = shifted(found.start, -time_tolerance)
        self._late = shifted(found.end, time_tolerance)

    # our side, line by line

    def line(self, given: Any, kinds: frozenset[str]) -> None:
        """Take a line of the ledger."""
        seq, line = line_of(given)
        kind = None if line is None else line.get("type", "fill")
        try:
            if line is None:
                raise ValueError("not a ledger line")
            if kind == "void":
                self._void(line)
            elif kind == "fill" and line.get("kind", "live") in kinds:
                self._fill(line, fill_of(line, seq))
        except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError):
            self._found.unreadable.append(seq)

    def _fill(self, line: Mapping[str, Any], fill: ExchangeFill) -> None:
        void = self._waiting.take(fill)
        name = self._statement.markets.of(fill.symbol)
        if void is not None:
            self._note_void(name, fill.fill_id, void)
            return
        if not self._concerned(fill) or self._unnamed(name, fill):
            return
        if name not in self._instruments:
            self._instruments[name] = instrument_of(line)
            self._marks.setdefault(name, fill.price)
        index = self._by_ids(name, fill) if self._ids else None
        if index is not None:
            self._claim(index, name, fill)
        elif self._whole or (name in self._named and self._near(fill.ts)):
            self._pending[fill.line] = name, fill

    def _unnamed(self, name: str, fill: ExchangeFill) -> bool:
        """Whether a fill is of a market that the statement leaves out, in the time it covers."""
        if self._whole or name in self._named or self._only is not None or not self._covered(fill.ts):
            return False
        self._left_out[name] += 1
        return True

    def _concerned(self, fill: ExchangeFill) -> bool:
        venue, account = (fill.venue or "").casefold(), (fill.account or "").casefold()
        if (self.venue and venue and venue != self.venue) or (self.account and account and account != self.account):
            return False
        if self._only is not None and market(fill.symbol) not in self._only:
            return False
        if self._whole:
            return True
        told = self._statement
        if venue and told.venues is not None and venue not in told.venues:
            return False
        return not (account and told.accounts is not None and account not in told.accounts)

    def _near(self, ts: str) -> bool:
        return (self._early is None or ts >= self._early) and (self._late is None or ts <= self._late)

    def _covered(self, ts: str) -> bool:
        start, end = self._found.start, self._found.end
        return self._whole or ((start is None or ts >= start) and (end is None or ts <= end))

    def _void(self, void: Mapping[str, Any]) -> None:
        seq = void.get("voids")
        if seq is None:
            self._waiting.put(void)
            return
        seq = int(seq)
        waiting = self._pending.pop(seq, None)
        if waiting is not None:
            self._note_void(waiting[0], waiting[1].fill_id, void)
            return
        if self._index_of is None:
            self._index_of = {claim: index for index, claim in enumerate(self._statement.claimed) if claim != FREE}
        index = self._index_of.pop(seq, None)
        if index is not None:
            self._release(index, seq)
            self._note_void(self._statement.names[index], self._statement.fills[index].fill_id, void)

    def _note_void(self, name: str, fill_id: str | None, void: Mapping[str, Any]) -> None:
        if fill_id is not None:
            self._voided[name, fill_id] = f"voided in the ledger: {void.get('reason') or 'no reason given'}"

    # matching

    def _by_ids(self, name: str, fill: ExchangeFill) -> int | None:
        """The row with the same ids; one whose order id is another must wait for what else may fit it."""
        rows = self._statement.fills
        free = self._statement.free_with_id(name, fill)
        same = [at for at in free if rows[at].order_id == fill.order_id and fill.order_id is not None]
        return best(fill, same or [at for at in free if None in (rows[at].order_id, fill.order_id)], rows)

    def settle(self) -> None:
        """Match what had to wait, and draw the balance."""
        if self._ids:
            self._match_by_fill_id()
        self._match_by_content()
        self._match_by_order()
        self._balance()

    def _match_by_fill_id(self) -> None:
        rows = self._statement.fills
        for alike in (True, False):
            for seq, (name, fill) in list(self._pending.items()):
                free = [at for at in self._statement.free_with_id(name, fill) if rows[at].side == fill.side]
                equal = [at for at in free if (rows[at].qty, rows[at].price) == (fill.qty, fill.price)]
                found = equal[0] if equal else free[0] if len(free) == 1 and not alike else None
                if found is not None:
                    del self._pending[seq]
                    self._claim(found, name, fill)

    def _match_by_content(self) -> None:
        for same_order in (True, False):
            groups: dict[tuple[Any, ...], list[tuple[str, int]]] = defaultdict(list)
            for index in self._statement.free():
                row = self._statement.fills[index]
                groups[self._content(self._statement.names[index], row, same_order)].append((row.ts, index))
            for group in groups.values():
                group.sort()
            for seq, (name, fill) in sorted(self._pending.items(), key=lambda item: (item[1][1].ts, item[0])):
                group = groups.get(self._content(name, fill, same_order), [])
                nearest = self._nearest(fill, group) if group and (fill.order_id or not same_order) else None
                if nearest is not None:
                    del self._pending[seq]
                    self._claim(nearest, name, fill)

    @staticmethod
    def _content(name: str, fill: ExchangeFill, same_order: bool) -> tuple[Any, ...]:
        return name, fill.side, fill.qty, fill.price, fill.order_id if same_order else None

    def _nearest(self, fill: ExchangeFill, group: list[tuple[str, int]]) -> int | None:
        """The earliest row near enough in time: taken in turn, that leaves the fewest without a partner."""
        early, late = shifted(fill.ts, -self._time_tolerance), shifted(fill.ts, self._time_tolerance)
        at = bisect.bisect_left(group, (early or "", FREE))
        while at < len(group) and (late is None or group[at][0] <= late):
            row = self._statement.fills[group[at][1]]
            if self._may_be(fill, row):
                return group.pop(at)[1]
            at += 1
        return None

    def _may_be(self, fill: ExchangeFill, row: ExchangeFill) -> bool:
        if self._ids and fill.fill_id is not None and row.fill_id is not None:
            return False  # ids of their own: two fills, however alike
        return fits(fill, row)

    def _match_by_order(self) -> None:
        """One fill left on each side of an order: the same, told differently."""
        theirs: dict[tuple[str, str], list[int]] = defaultdict(list)
        for index in self._statement.free():
            row = self._statement.fills[index]
            if row.order_id is not None:
                theirs[self._statement.names[index], row.order_id].append(index)
        count = Counter((name, fill.order_id) for name, fill in self._pending.values())
        for seq, (name, fill) in list(self._pending.items()):
            rows = theirs.get((name, fill.order_id or ""), [])
            if (
                len(rows) == 1
                and count[name, fill.order_id] == 1
                and self._may_be(fill, self._statement.fills[rows[0]])
            ):
                del self._pending[seq]
                self._claim(rows[0], name, fill)

    # what follows from it

    def _claim(self, index: int, name: str, fill: ExchangeFill) -> None:
        statement = self._statement
        row = statement.fills[index]
        statement.claimed[index] = fill.line
        if self._index_of is not None:
            self._index_of[fill.line] = index
        if row.fee is not None and row.fee_asset is None:
            row.fee_asset = fill.fee_asset  # the statement leaves it to the reader
        mine, their = self._effects(name, fill, row)
        add(self._ours, mine)
        fields, rounded = self._fields(name, fill, row)
        if fields:
            self._different[fill.line] = Difference(
                ours=fill, theirs=row, fields=tuple(fields), explains=difference(mine, their)
            )
        elif rounded:
            self._rounded[fill.line] = fill, difference(mine, their)

    def _release(self, index: int, seq: int) -> None:
        """Our fill was voided: undo what claiming the row has done."""
        row, name = self._statement.fills[index], self._statement.names[index]
        self._statement.claimed[index] = FREE
        different, rounded = self._different.pop(seq, None), self._rounded.pop(seq, None)
        fill = different.ours if different is not None else rounded[0] if rounded is not None else row
        add(self._ours, self._effect(name, fill, fees=row.fee is not None), less=True)

    def _effects(self, name: str, fill: ExchangeFill, row: ExchangeFill) -> tuple[Effect, Effect]:
        told = row.fee is not None
        return self._effect(name, fill, fees=told), self._effect(name, row, fees=told)

    def _effect(self, name: str, fill: ExchangeFill, *, fees: bool) -> Effect:
        instrument = self._instruments.get(name)
        if instrument is None:
            instrument = self._instruments[name] = guess(name.partition(" ")[0])
        return effect(fill, name, instrument, self._marks[name], fees=fees)

    def _fields(self, name: str, fill: ExchangeFill, row: ExchangeFill) -> tuple[list[FieldDifference], bool]:
        """In which fields both differ, and whether fees differ by a rounding."""
        out = [
            FieldDifference(field=field, ours=text(mine), theirs=text(their))
            for field, mine, their in (("qty", fill.qty, row.qty), ("price", fill.price, row.price))
            if mine != their
        ]
        if fill.side != row.side:
            out.insert(0, FieldDifference(field="side", ours=fill.side, theirs=row.side))
        if not within(fill.ts, row.ts, self._time_tolerance):
            out.append(FieldDifference(field="time", ours=fill.ts, theirs=row.ts))
        if row.fee is None or (fill.fee == row.fee and fill.fee_asset == row.fee_asset and not row.extra_fees):
            return out, False
        instrument = self._instruments[name]
        mine, their = fees_of(fill, instrument), fees_of(row, instrument)
        if mine == their:
            return out, False
        if mine.keys() == their.keys() and all(abs(mine[key] - their[key]) <= self._fee_tolerance for key in mine):
            return out, True
        if mine.keys() != their.keys() and mine and their:
            out.append(FieldDifference(field="fee_asset", ours=", ".join(mine), theirs=", ".join(their)))
        if sorted(mine.values()) != sorted(their.values()):
            out.append(FieldDifference(field="fee", ours=shown(mine), theirs=shown(their)))
        return out, False

    def _balance(self) -> None:
        found, statement = self._found, self._statement
        fees = statement.tells_fees
        causes: dict[str, Sums] = {}
        theirs: Sums = defaultdict(lambda: ZERO)
        for _, (name, fill) in sorted(self._pending.items()):
            if self._covered(fill.ts):
                mine = self._effect(name, fill, fees=fees)
                add(self._ours, mine)
                found.extra.append(Entry(fill=fill, explains=difference(mine, {})))
        for index, (name, row) in enumerate(zip(statement.names, statement.fills, strict=True)):
            their = self._effect(name, row, fees=row.fee is not None)
            add(theirs, their)
            if statement.claimed[index] == FREE:
                note = self._voided.get((name, row.fill_id or ""))
                found.missing.append(Entry(fill=row, explains=difference({}, their), note=note))
        found.differing.extend(self._different[seq] for seq in sorted(self._different))
        for cause in ("missing", "extra", "differing"):
            causes[cause] = defaultdict(lambda: ZERO)
            for entry in getattr(found, cause):
                add(causes[cause], entry.explains)
        causes["rounding"] = defaultdict(lambda: ZERO)
        for _, explains in self._rounded.values():
            add(causes["rounding"], explains)
        found.theirs = len(statement.fills)
        found.matched = found.theirs - len(found.missing) - len(found.differing)
        found.ours = found.matched + len(found.differing) + len(found.extra)
        found.rows.extend(rows_of(self._ours, theirs, causes))
        self._explain_ways()

    def _explain_ways(self) -> None:
        found, notes = self._found, self._found.notes
        if not self._statement.fills:
            notes.append("the statement has no fills in what is compared")
        elif not self._statement.tells_fees:
            notes.append("the statement does not tell fees; they are not compared")
        else:
            silent = sum(row.fee is None for row in self._statement.fills)
            if silent:
                notes.append(f"of {silent} fills the statement does not tell the fee; those fees are not compared")
        if self._left_out:
            names = ", ".join(sorted(self._left_out)[:20])
            notes.append(
                f"not compared: {self._left_out.total()} fills of markets the statement does not name: {names}"
            )
        if self._ids and found.missing and found.extra and not found.matched and not found.differing:
            notes.append("no id of the ledger is in the statement; ids=False matches by quantity, price and time")
        late = sum(any(field.field == "time" for field in each.fields) for each in found.differing)
        if late > 3 and late > found.matched:
            notes.append("most times differ: is the statement in another timezone? timezone= says which")
