"""Who may put the switch back, and what another process makes of it."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Final

import attrs

from botobs.events.switch import KillSwitchFound, KillSwitchReset, KillSwitchResetRefused, KillSwitchTrippedAgain
from botobs.safety import requests
from botobs.safety.core import Core
from botobs.safety.latch import ACTIVE, Standing
from botobs.safety.said import Answer, lacking, line

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Arming"]

_SETTLING_S: Final = 1.0


class Arming(Core):
    """Resets, and trips and resets from outside."""

    # -- arming again ------------------------------------------------------------------------------------------------

    def reset(self, by: str, reason: str) -> Answer:
        """Arm it again; counts and drawdowns begin anew.

        Args:
            by: Who.
            reason: Why it is safe to go on.

        Returns:
            Whether it was done, and why not; refused if either is empty.
        """
        who, why = line(by, 100), line(reason)
        refused = lacking(who, why)
        if refused is not None:
            self._refuse_reset(who, why, refused)
            return Answer(ok=False, reason=refused)
        with self._changing:
            before = self._standing
            now = Standing(seq=before.seq + 1, state=ACTIVE, reason=why, since=self._pace.text(), by=who)
            durable = self._latch.write(now)
            self._arm(now)
        durable = durable and self._latch.sync()
        self._tell_reset(before, now, durable=durable)
        broken = [name for limits in tuple(self._series) for name in limits.broken()]
        said = [] if durable else ["the disk did not take it: a restart finds it tripped"]
        said += [f"{name} is still broken: the next equity trips it again" for name in dict.fromkeys(broken)]
        return Answer(ok=True, reason="; ".join(said))

    def _arm(self, now: Standing) -> None:
        """Where it stands is `now`, active; limits count anew. Whoever calls holds `_changing`."""
        self._standing = now
        self._epoch += 1
        for limits in self._series:
            limits.rearm()
        self._look_at_orders()

    def _tell_reset(self, before: Standing, now: Standing, *, durable: bool, source: str = "bot") -> None:
        self.settle(time.monotonic() + _SETTLING_S)  # a callback that resets: the trip comes first, the reset holds
        self._faults.say("kill_switch", f"reset {now.seq}", f"the kill switch is armed again by {now.by}: {now.reason}")
        self._say(
            KillSwitchReset(
                ts_ns=self._pace.wall(), state=ACTIVE, previous=before.state, reason=now.reason, by=now.by,
                source=source, durable=durable,
            )
        )  # fmt: skip

    def _refuse_reset(self, by: str, reason: str, refused: str, source: str = "bot") -> None:
        self._faults.say("kill_switch", "reset refused", f"reset of the kill switch refused: {refused}")
        self._say(
            KillSwitchResetRefused(
                ts_ns=self._pace.wall(), state=self.state, by=by, reason=reason, refused=refused, source=source
            )
        )

    # -- from outside ------------------------------------------------------------------------------------------------

    def poll(self, *, thorough: bool = True) -> None:
        """See what another process has made of the state file, and act on it.

        Args:
            thorough: Do not rely on the times of files.
        """
        found = self._latch.changed(has_fills=self._has_fills, now=self._pace.text(), thorough=thorough)
        if found is None:
            self._retry()
            return
        current = self._standing
        if found.level > current.level:
            self._latch.adopt(found)
            source = "outside" if found.damage is None else "state file"
            self._trip(
                found.reason, found.state, trigger=found.trigger, inputs=found.inputs, source=source, by=found.by,
                written=found,
            )  # fmt: skip
        elif found.level < current.level and found.state == ACTIVE and found.by and found.over == current.seq:
            with self._changing:
                self._latch.adopt(found)
                self._arm(found)
            self._tell_reset(current, found, durable=True, source="outside")
        else:
            self._keep(current, found)

    def look(self, *, thorough: bool = True) -> None:
        """Whether somebody outside wants something."""
        self.poll(thorough=thorough)
        if self._folder is not None and not self._drilling and requests.asked(self._folder):
            self._drilling = True
            # callbacks may take long, and a trip from outside has to be seen meanwhile
            threading.Thread(target=self._drilled, args=(self._folder,), name="botobs-drill", daemon=True).start()

    def _as_seen(self) -> tuple[tuple[bytes, tuple[int, int, int] | None], ...] | None:
        """The files that somebody outside writes, and how they were seen last; `None`: they have to be looked at."""
        seen = self._latch.seen()
        if seen is None or self._folder is None:
            return None
        return seen, (requests.question(self._folder), None)

    def _drilled(self, folder: Path) -> None:
        """Drill as somebody outside has asked."""
        try:
            requests.answer(folder, lambda: self.drill("drill from outside", source="outside").record())
        except Exception as error:
            with contextlib.suppress(Exception):  # strict: nobody is here to raise it to
                self._faults.error("kill_switch", error)
        finally:
            self._drilling = False

    def _keep(self, current: Standing, found: Standing) -> None:
        """Somebody else wrote, and it changes nothing: what we are is what the file has to say."""
        with self._changing:
            current = self._standing
            now = attrs.evolve(current, seq=max(current.seq, found.seq) + 1)
            self._standing = now
            self._latch.write(now)
        self._retry()
        if found.level < current.level:
            refused = "it was tripped again meanwhile"
            self._refuse_reset(found.by or "", found.reason, refused, "outside")
        elif found.level:
            self._say(
                KillSwitchTrippedAgain(
                    ts_ns=self._pace.wall(), state=now.state, reason=found.reason, trigger=found.trigger,
                    inputs=found.inputs, source="outside" if found.damage is None else "state file",
                )
            )  # fmt: skip

    def _found(self) -> None:
        """Say how the run begins."""
        standing = self._standing
        if standing.level:
            text = f"the kill switch is {standing.state} since {standing.since}: {standing.reason}"
            self._faults.say("kill_switch", "found", text)
            self._say(
                KillSwitchFound(
                    ts_ns=self._pace.wall(), state=standing.state, previous=standing.state, reason=standing.reason,
                    trigger=standing.trigger, inputs=standing.inputs, by=standing.by, since=standing.since,
                    damage=standing.damage,
                )
            )  # fmt: skip
