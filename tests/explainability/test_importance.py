"""Which features count over a window: against a plain list of all there was."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from botobs.explainability import Explainability
from botobs.explainability.importance import Window
from botobs.faults import Faults
from botobs.testing import Clock

S = 1_000_000_000
H = 3600 * S

names = st.sampled_from(["rsi", "trend", "other", "volume"])
turns = st.lists(
    st.tuples(st.integers(-5, 30), st.dictionaries(names, st.floats(-1e3, 1e3), max_size=4)), min_size=1, max_size=40
)


@settings(max_examples=30, deadline=None)
@given(turns, st.sampled_from([None, 30, 96, 50]))
def test_it_is_the_mean_of_what_there_was(turns, back):
    """Pieces of one second, so that a window of whole seconds is met exactly, whatever the clock does."""
    window, now, kept = Window(96 * S), 1_000, []
    for passed, contributions in turns:
        now += passed
        kept = [(min(at, now), each) for at, each in kept]  # a clock set back: nothing lies in the future
        kept.append((now, contributions))
        kept = [(at, each) for at, each in kept if at + 1 > now - 96]  # what was forgotten once stays so
        window.add(contributions, now * S)
    far = 96 if back is None else back
    taken = [each for at, each in kept if at + 1 > now - far]
    rows = {row.feature: row for row in window.features("m", now * S, None if back is None else back * S)}
    every = {name for each in taken for name in each}
    assert every <= set(rows)
    for name, row in rows.items():
        values = [each.get(name, 0.0) for each in taken]
        assert row.n == len(taken)
        assert row.mean_abs == pytest.approx(math.fsum(map(abs, values)) / len(taken))
        assert row.mean == pytest.approx(math.fsum(values) / len(taken), abs=1e-9)
    total = sum(row.mean_abs for row in rows.values())
    assert all(row.share == (pytest.approx(row.mean_abs / total) if total else None) for row in rows.values())
    again = Window.restored(json.loads(json.dumps(window.state())))
    assert again.features("m", now * S, None) == window.features("m", now * S, None)


def test_what_is_older_than_the_window_is_forgotten():
    clock = Clock()
    explainability = Explainability(clock=clock)
    explainability.learn("m", {"old": 1.0}, window="1h")
    clock.advance("30m")
    explainability.learn("m", {"new": -3.0}, window="1h")
    assert [(row.feature, row.share, row.n) for row in explainability.importance()] == [
        ("new", 0.75, 2),
        ("old", 0.25, 2),
    ]
    assert [(row.feature, row.mean) for row in explainability.importance("m", window="10m")][0] == ("new", -3.0)
    clock.advance("45m")
    assert explainability.importance("m", "1d")[0].n == 1
    clock.advance("2h")
    assert explainability.importance() == ()
    assert explainability.models == ("m",)
    assert explainability.importance("nobody") == ()
    with pytest.raises(ValueError):
        explainability.importance(window="-1s")


def test_it_is_bounded():
    window = Window(96 * S)
    for n in range(3_000):
        window.add({f"f{n}": 1.0}, n * S // 10)
    state = window.state()
    assert len(state["features"]) == 1_001  # and `other`
    assert len(state["pieces"]) <= 98
    assert window.features("m", 300 * S)[0].feature == "other"
    for n in range(1_000):  # a clock that cannot make up its mind
        window.add({"f1": 1.0}, (400 if n % 2 else 350) * S)
    assert len(window.state()["pieces"]) <= 192
    window.add({"f1": 1.0}, 1 << 62)
    window.add({"f1": 1.0}, 0)
    assert window.features("m", 0)[0].n > 0
    window.add({"f1": 1.0}, 300 * S)
    assert window.features("m", 300 * S)[0].n == 1  # what lay in the future has passed like the rest
    explainability = Explainability()
    for n in range(60):
        explainability.learn(f"m{n}", {"a": 1.0})
    assert len(explainability.models) == 50


def test_nothing_but_zeros_has_no_share():
    explainability = Explainability()
    explainability.learn("m", {"a": 0.0})
    [row] = explainability.importance()
    assert (row.share, row.mean_abs, row.n) == (None, 0.0, 1)


@pytest.mark.parametrize(
    "damage",
    [None, 3, {}, {"models": 3}, {"models": {"m": None}}, {"models": {"m": {"length_ns": 0, "features": [], "pieces": []}}},
     {"models": {"m": {"length_ns": H, "features": ["a"], "pieces": [[0, 0, [], []]]}}},
     {"models": {"m": {"length_ns": H, "features": ["a"], "pieces": [[0, 1, [1.0, 2.0], [1.0, 2.0]]]}}},
     {"models": {"m": {"length_ns": H, "features": ["a"], "pieces": [[0, 1, ["x"], [1.0]]]}}},
     {"models": {"m": {"length_ns": H, "features": ["a"], "pieces": [[0, 1, [1e999], [1.0]]]}}}],
)  # fmt: skip
def test_a_damaged_state_is_left_out_and_named(damage):
    explainability = Explainability(faults=Faults())
    assert explainability.restore(damage) != []
    assert explainability.importance() == ()
    explainability.learn("m", {"a": 1.0})
    assert explainability.importance()[0].n == 1


class Odd:
    """Has no text, and no place in a mapping."""

    def __str__(self):
        raise RuntimeError("no text")

    __hash__ = None


@pytest.mark.parametrize(
    "odd", [{"rsi": math.nan}, {"rsi": math.inf}, {"rsi": -1e308}, {"rsi": "much"}, [1.0], None, Odd()]
)
def test_what_is_no_number_is_left_out_and_leaves_the_rest(odd):
    faults = Faults()
    explainability = Explainability(faults=faults)
    for contributions in ({"rsi": 2.0}, odd, {"rsi": -4.0}):
        explainability.learn("m", contributions)
    explainability.learn(Odd(), {"rsi": 1.0})
    [row] = explainability.importance()
    assert (row.mean_abs, row.mean, row.share, row.n) == (3.0, -1.0, 1.0, 2)
    assert explainability.importance(Odd()) == explainability.importance([]) == ()
    assert Explainability().restore(json.loads(json.dumps(explainability.state()))) == []
