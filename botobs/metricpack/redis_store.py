"""The state in Redis: one hash and the checkpoint, changed together by one script that looks at the lease first."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeAlias

from botobs.metricpack.store import Fenced, State, StoreTrouble
from botobs.sinks.redis.link import Link, LinkTrouble, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["RedisStore"]

_Beat: TypeAlias = "tuple[bytes, bytes, bytes]"

# Takes the lease for ARGV[1]: at once where nobody has it or it is ours already, else if the beat seen is still the
# last one. ARGV[2..4]: the owner, fence and beat seen; ARGV[5]: take a new fence though the lease is ours.
_LEASE: Final = """
local seen = redis.call('HMGET', KEYS[1], 'owner', 'fence', 'beat')
local owner, fence, beat = seen[1] or '', tonumber(seen[2] or '0'), seen[3] or '0'
if owner == ARGV[1] and ARGV[5] == '0' then
  redis.call('HINCRBY', KEYS[1], 'beat', 1)
  return {owner, tostring(fence), ''}
end
if owner == '' or owner == ARGV[1] or (owner == ARGV[2] and tostring(fence) == ARGV[3] and beat == ARGV[4]) then
  redis.call('HSET', KEYS[1], 'owner', ARGV[1], 'fence', fence + 1, 'beat', '0')
  return {ARGV[1], tostring(fence + 1), ''}
end
return {owner, tostring(fence), beat}
"""

# What every change begins with: the lease is held by ARGV[1] with the fence ARGV[2], and the keys are ours.
_OWNED: Final = """
local held = redis.call('HMGET', KEYS[1], 'owner', 'fence')
if (held[1] or '') ~= ARGV[1] or (held[2] or '') ~= ARGV[2] then return 'owner' end
local state, place = redis.call('TYPE', KEYS[2]).ok, redis.call('TYPE', KEYS[3]).ok
if (state ~= 'hash' and state ~= 'none') or (place ~= 'string' and place ~= 'none') then return 'damaged' end
local known = redis.call('HMGET', KEYS[2], '.turn', '.at')
local turn, at = known[1] or '0', known[2] or ''
"""

# Nothing was saved since the turn that this process knows (ARGV[3], or ARGV[4] where nobody knows whether that one came
# through), and nothing of it has gone. Then ARGV[5]: the turn from now on; [6]: the position; [7]: how many keys go;
# those, then keys and values in turns. A server that is full refuses the first write, and none after that.
_COMMIT: Final = (
    _OWNED
    + """
if turn ~= ARGV[3] and turn ~= ARGV[4] then return 'turn' end
if (redis.call('GET', KEYS[3]) or '') ~= at then return 'damaged' end
redis.call('HSET', KEYS[2], '.turn', ARGV[5], '.at', ARGV[6])
if ARGV[6] == '' then redis.call('DEL', KEYS[3]) else redis.call('SET', KEYS[3], ARGV[6]) end
local first, gone = 8, tonumber(ARGV[7])
for from = first, first + gone - 1, 1000 do
  redis.call('HDEL', KEYS[2], unpack(ARGV, from, math.min(from + 999, first + gone - 1)))
end
for from = first + gone, #ARGV, 1000 do
  redis.call('HSET', KEYS[2], unpack(ARGV, from, math.min(from + 999, #ARGV)))
end
return 'done'
"""
)

_CLEAR: Final = (
    _OWNED
    + """
redis.call('DEL', KEYS[2], KEYS[3])
redis.call('HSET', KEYS[2], '.turn', tonumber(turn) + 1, '.at', '')
return 'done'
"""
)

_RELEASE: Final = """
if redis.call('HGET', KEYS[1], 'owner') == ARGV[1] then redis.call('HDEL', KEYS[1], 'owner') end
return 'done'
"""


class RedisStore:
    """A `Store` on a Redis server, for processes on any machine.

    It survives what the server survives: with `appendonly yes`, the death of the server's process; with
    `appendfsync always`, the machine's. A server that comes back with less than it had (a replica that had not got
    everything) is found out by the count of commits: `Fenced`, and whoever works loads anew what there is.

    Args:
        url: The server.
        prefix: What the keys begin with: `<prefix>:last_id` is the checkpoint, `<prefix>:state` the state,
            `<prefix>:lease` who works.
        steady: Tells seconds that never run backwards.

    Raises:
        ConfigError: The extra `redis` is not installed, or the URL is none.
    """

    def __init__(
        self, url: str, prefix: str = "quantum:metricpack", *, steady: Callable[[], float] = time.monotonic
    ) -> None:
        self._link = Link(url)
        self._prefix = prefix
        self._lease_key, self._state_key, self._place_key = (
            f"{prefix}:{part}".encode() for part in ("lease", "state", "last_id")
        )
        self._steady = steady
        self._seen: _Beat | None = None
        self._seen_at = 0.0
        self._owner = ""
        self._turn = 0
        self._unsure = False  # whether the last commit came through
        self._anew = False  # take a new fence: what this process knew is void

    @property
    def name(self) -> str:
        """The server and the keys' prefix."""
        return f"{self._link.name} {self._prefix}"

    # --- the lease

    def lease(self, owner: str, ttl_s: float) -> int | None:
        """Take the lease, or keep it. See `Store.lease`."""
        seen = self._seen
        outlived = seen is not None and self._steady() - self._seen_at >= ttl_s
        known = seen if seen is not None and outlived else (b"", b"", b"")
        answer = self._run(_LEASE, (self._lease_key,), owner, *known, "1" if self._anew else "0")
        holder, fence, beat = answer
        if holder == owner.encode():
            self._owner, self._seen, self._anew = owner, None, False
            return int(fence)
        if (holder, fence, beat) != seen:
            self._seen, self._seen_at = (holder, fence, beat), self._steady()
        return None

    def release(self, owner: str) -> None:
        """Let another process take over at once; never raises."""
        try:
            self._run(_RELEASE, (self._lease_key,), owner)
        except StoreTrouble:  # it is taken over when the beats are missed
            return

    # --- the state

    def load(self, fence: int) -> State:
        """What was saved last. See `Store.load`."""
        try:
            held, position, state = self._link.atomic([
                ("HMGET", self._lease_key, "owner", "fence"),
                ("GET", self._place_key),
                ("HGETALL", self._state_key),
            ])  # fmt: skip
        except LinkTrouble as trouble:
            raise StoreTrouble(str(trouble)) from None
        for answer in (held, position, state):
            if isinstance(answer, Refusal):
                raise self._damaged(str(answer))
        if held != [self._owner.encode(), b"%d" % fence]:
            self._refused("owner")
        values = dict(zip(state[::2], state[1::2], strict=True))
        turn, at = values.pop(b".turn", b"0"), values.pop(b".at", b"")
        if (position or b"") != at or (values and turn == b"0"):
            raise self._damaged("the checkpoint and the state do not belong together; were they evicted, or deleted?")
        try:
            self._turn, self._unsure = int(turn), False
            return State({key.decode(): value for key, value in values.items()}, at.decode() or None)
        except ValueError as error:
            raise self._damaged(str(error)) from None

    def commit(self, changes: Mapping[str, bytes | None], position: str | None, fence: int) -> None:
        """Save changes and position together. See `Store.commit`."""
        gone = [key for key, value in changes.items() if value is None]
        put = [part for key, value in changes.items() if value is not None for part in (key, value)]
        turn = self._turn
        maybe = turn + 1 if self._unsure else turn
        self._unsure = True  # until there is an answer
        self._done(self._change(_COMMIT, fence, turn, maybe, turn + 1, position or "", len(gone), *gone, *put))
        self._turn, self._unsure = turn + 1, False

    def clear(self, fence: int) -> None:
        """Forget everything that was saved. See `Store.clear`."""
        self._done(self._change(_CLEAR, fence))

    def close(self) -> None:
        """Give back the connection."""
        self._link.drop()

    # --- inside

    def _change(self, script: str, fence: int, *told: bytes | str | int) -> bytes:
        keys = (self._lease_key, self._state_key, self._place_key)
        answer: bytes = self._run(script, keys, self._owner, fence, *told)
        return answer

    def _done(self, answer: bytes) -> None:
        if answer == b"damaged":
            self._unsure = False
            raise self._damaged("something else is under its keys, or one of them has gone")
        if answer != b"done":
            self._refused(answer.decode())

    def _damaged(self, why: str) -> StoreTrouble:
        return StoreTrouble(f"{self.name} is damaged: {why}; --from beginning builds it anew")

    def _refused(self, why: str) -> NoReturn:
        self._anew, self._unsure = True, False
        if why == "turn":
            raise Fenced(f"{self.name} does not have what was saved last: the server came back with less than it had")
        raise Fenced(f"another process works with {self.name}")

    def _run(self, script: str, keys: tuple[bytes, ...], *told: bytes | str | int) -> Any:
        try:
            return self._link.call("EVAL", script, len(keys), *keys, *told)
        except LinkTrouble as trouble:
            raise StoreTrouble(str(trouble)) from None
