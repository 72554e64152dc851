"""The latch: what the switch's state is, so that kill -9, a full disk and a torn write cannot undo a trip.

Whatever is wrong with the file means halted. So where even the write in place fails, the file is emptied, which takes
no room: that is damage, and damage is halted.
"""

from __future__ import annotations

import contextlib
import os
import threading
from typing import TYPE_CHECKING, Any, Final

import attrs

from botobs.safety.slots import Found, SlotFile, TooLong

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["ACTIVE", "FILE", "HALTED", "LEVELS", "REDUCE_ONLY", "SLOT", "STATES", "Latch", "Standing"]

ACTIVE: Final = "active"
REDUCE_ONLY: Final = "reduce_only"
HALTED: Final = "halted"
STATES: Final = (ACTIVE, REDUCE_ONLY, HALTED)
LEVELS: Final = {state: level for level, state in enumerate(STATES)}
FILE: Final = "kill_switch.json"
SLOT: Final = 1024
_REASON = 300


@attrs.define(
    on_setattr=attrs.setters.NO_OP
)  # made in the microseconds of a trip, when `frozen` would take two of them; nobody changes one
class Standing:
    """Where the switch stands.

    Attributes:
        seq: Counts the changes.
        state: `active`, `reduce_only` or `halted`.
        reason: Why.
        since: Since when (RFC 3339).
        trigger: What tripped it.
        inputs: The figures that decided it.
        by: Who did it, if a person did.
        over: The change that whoever wrote this from outside had seen.
        damage: What is wrong with the file, if that is why.
    """

    seq: int
    state: str
    reason: str
    since: str
    trigger: str | None = None
    inputs: dict[str, Any] | None = None
    by: str | None = None
    over: int | None = None
    damage: str | None = None

    @property
    def level(self) -> int:
        """0, 1 or 2."""
        return LEVELS[self.state]

    def record(self) -> dict[str, Any]:
        """As it is written."""
        said = {
            "v": 1, "seq": self.seq, "state": self.state, "reason": self.reason[:_REASON], "since": self.since,
            "trigger": self.trigger, "inputs": self.inputs, "by": self.by, "over": self.over, "damage": self.damage,
        }  # fmt: skip
        return {key: value for key, value in said.items() if value is not None}

    @classmethod
    def of(cls, found: Found, *, now: str) -> Standing:
        """What a file says; whatever is wrong with it says halted."""
        record = found.record or {}
        damage = found.damage
        if damage is None and not found.missing and not _sound(record):
            damage = "it says nothing known"
        if damage is not None:
            before = f"; before that {record['state']}: {record['reason']}" if _sound(record) else ""
            seq = record["seq"] + 1 if record else 1
            return cls(
                seq=seq, state=HALTED, reason=f"the state file is damaged: {damage}{before}", since=now, damage=damage
            )
        known = {field.name for field in attrs.fields(cls)}
        return cls(**{key: value for key, value in record.items() if key in known})


def _sound(record: dict[str, Any]) -> bool:
    texts = all(isinstance(record.get(key), str) for key in ("state", "reason", "since"))
    inputs = record.get("inputs")
    return texts and record["state"] in LEVELS and (inputs is None or isinstance(inputs, dict))


def fitting(standing: Standing) -> Iterator[dict[str, Any]]:
    """What to write, from the whole to the least: the first that fits is it."""
    whole = standing.record()
    yield whole
    bare = {key: value for key, value in whole.items() if key != "inputs"}
    yield bare
    yield {key: str(value)[:40] if isinstance(value, str) else value for key, value in bare.items()}


class Latch:
    """Keeps a `Standing` in `state/kill_switch.json`.

    Args:
        folder: `data_dir/state`; `None`: in memory only.

    Attributes:
        unsaved: The disk refused; it is tried again.
        trouble: What it said last; `None`: nothing is wrong.
    """

    def __init__(self, folder: Path | None) -> None:
        self._file = None if folder is None else SlotFile(folder / FILE, SLOT)
        self._lock = threading.RLock()
        self._latest: Standing | None = None
        self.unsaved = False
        self.trouble: str | None = None
        self._emptied = False

    def load(self, *, has_fills: bool, now: str) -> Standing:
        """What the last run left; the file is there and whole afterwards.

        Raises:
            OSError: There is no file, and none can be made.
        """
        fresh = Standing(seq=1, state=ACTIVE, reason="armed", since=now)
        with self._lock:
            if self._file is None:
                self._latest = fresh
                return fresh
            found = self._file.open()
            if not found.missing:
                standing = Standing.of(found, now=now)
            elif has_fills:
                standing = attrs.evolve(
                    fresh, state=HALTED, reason="the state file is missing beside a ledger with fills",
                    damage="it is missing",
                )  # fmt: skip
            else:
                standing = fresh
            self._latest = standing
            if found.damage is not None or standing.damage is not None:
                self._set_aside(found)
                with contextlib.suppress(OSError):  # as it is, it says halted at the next start too
                    self._lay_out(standing)
            elif found.missing:
                self._lay_out(standing)
            return standing

    def write(self, standing: Standing) -> bool:
        """Bring `standing` to the operating system, unless a newer one is there; whether it has it."""
        with self._lock:
            if self._latest is not None and standing.seq < self._latest.seq:
                return not self.unsaved
            self._latest = standing
            if self._file is None:
                return True
            try:
                if self._file.image:
                    self._put(standing)
                else:  # damaged, or emptied: there is nothing to write over
                    self._lay_out(standing)
            except OSError as error:
                self.unsaved, self.trouble = True, str(error)
                if standing.level:
                    with contextlib.suppress(OSError):
                        self._file.empty()
                        self._emptied = True
                return False
            self._saved()
            return True

    def _saved(self) -> None:
        self.unsaved, self.trouble, self._emptied = False, None, False

    def lacking(self) -> str | None:
        """What the next start will not know, in words; `None`: nothing."""
        with self._lock:
            standing = self._latest
            if not self.unsaved or self._file is None or standing is None:
                return None
            if not standing.level:
                then = "the next start finds the switch tripped still"
            elif self._emptied:
                then = "it was emptied, so that the next start finds the switch halted, for another reason"
            else:
                then = (
                    "THE NEXT START FINDS THE SWITCH AS IT WAS BEFORE: until then see to it that nobody starts the bot"
                )
            return f"{self._file.path} does not say that the switch is {standing.state} ({self.trouble}); {then}"

    def retry(self) -> bool:
        """Write what could not be written; whether the disk has it now."""
        with self._lock:
            if not self.unsaved or self._latest is None:
                return True
            if not self.write(self._latest):
                try:
                    self._lay_out(self._latest)
                except OSError as error:
                    self.trouble = str(error)
            return not self.unsaved

    def rehearse(self) -> bool:
        """Write what is there already, for a drill; whether the disk took it."""
        with self._lock:
            if self._file is None or self.unsaved or self._latest is None:
                return self._file is None
            try:
                self._file.again(self._latest.seq)
            except OSError:
                return False
            return True

    def sync(self) -> bool:
        """Wait for the disk; whether it has it."""
        if self._file is None:
            return True
        try:
            self._file.sync()
        except OSError as error:
            self.trouble = str(error)
            return False
        return not self.unsaved

    def seen(self) -> tuple[bytes, tuple[int, int, int]] | None:
        """The file's path, and how it was seen last; `None`: it has to be looked at."""
        file = self._file
        if file is None or self.unsaved or file.seen is None:
            return None
        return os.fsencode(file.path), file.seen

    def changed(self, *, has_fills: bool, now: str, thorough: bool = True) -> Standing | None:
        """What somebody else has made of the file since; `None`: nothing."""
        with self._lock:
            if self._file is None or self.unsaved or self._latest is None:
                return None
            if not self._file.changed(thorough=thorough):
                return None
            latest, found = self._latest, self._file.open()
            if found.missing and not has_fills:
                with contextlib.suppress(OSError):
                    self._lay_out(latest)
                return None
            if found.missing:
                found = Found(None, "it is gone")
            standing = Standing.of(found, now=now)
            if standing.damage is not None:
                self._set_aside(found)
                self._file.image, self.unsaved = b"", True  # whatever it becomes has to be laid out anew
                return attrs.evolve(standing, seq=max(standing.seq, latest.seq + 1))
            return None if standing == latest else standing

    def adopt(self, standing: Standing) -> None:
        """What somebody else wrote holds."""
        with self._lock:
            self._latest = standing

    def close(self) -> None:
        """Give the descriptor back."""
        with self._lock:
            if self._file is not None:
                self._file.close()

    def abandon(self) -> None:
        """In a forked child: the file is the parent's."""
        self._lock = threading.RLock()
        if self._file is not None:
            self._file.close()
        self._file = None

    def _put(self, standing: Standing) -> None:
        assert self._file is not None
        for record in fitting(standing):
            try:
                self._file.write(record)
            except TooLong:
                continue
            return
        raise OSError("it does not fit")

    def _lay_out(self, standing: Standing) -> None:
        assert self._file is not None
        for record in fitting(standing):
            try:
                self._file.size = SLOT
                self._file.lay_out(record)
            except TooLong:
                continue
            self._saved()
            return

    def _set_aside(self, found: Found) -> None:
        """Keep what is damaged, for whoever wants to know what happened."""
        if self._file is not None and found.image:
            with contextlib.suppress(OSError):
                self._file.path.with_name(f"{FILE}.damaged").write_bytes(found.image[:65_536])
