"""Hours, days, weeks and months in a timezone, against a plain walk over every quarter of an hour."""

from __future__ import annotations

import datetime as dt
import itertools
import zoneinfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from botobs.accounting.calendar import Calendar

NS = 10**9
# (zone, from, until): stretches with changes of the clocks of every kind
STRETCHES = [
    ("UTC", "2023-12-20", "2024-03-10"),
    ("America/New_York", "2025-09-01", "2026-12-31"),
    ("Europe/Berlin", "2024-01-15", "2025-12-31"),
    ("Australia/Lord_Howe", "2024-02-01", "2025-11-15"),  # half an hour
    ("America/Sao_Paulo", "2017-09-01", "2019-03-10"),  # no midnight in spring, two in autumn
    ("Asia/Kolkata", "2024-01-01", "2024-03-15"),
    ("Asia/Kathmandu", "1985-12-01", "1986-02-15"),  # once from 5:30 to 5:45
    ("Pacific/Apia", "2011-11-15", "2012-04-20"),  # a date left out
    ("Africa/Casablanca", "2025-01-15", "2025-05-15"),  # changes a month apart
    ("America/Havana", "2024-02-15", "2024-12-01"),  # midnight twice
    ("America/Nuuk", "2023-02-15", "2024-12-01"),
]


def utc(text):
    return int(dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC).timestamp())


class Walk:
    """Steps through time by quarters of an hour; a bucket is a run of steps that look alike."""

    def __init__(self, tz, begin, end):
        zone = zoneinfo.ZoneInfo(tz)
        self.times = range(utc(begin), utc(end), 900)
        reached = dt.date.min
        self.keys = {"hour": [], "day": [], "week": [], "month": []}
        for at in self.times:
            local = dt.datetime.fromtimestamp(at, zone)
            reached = max(reached, local.date())
            self.keys["hour"].append((local.date(), local.hour, local.utcoffset()))
            self.keys["day"].append(reached)
            self.keys["week"].append(reached.isocalendar()[:2])
            self.keys["month"].append((reached.year, reached.month))

    def begins(self, unit):
        keys = self.keys[unit]
        return [at for at, before, now in zip(self.times[1:], keys, keys[1:], strict=False) if before != now]


@pytest.fixture(scope="module", params=STRETCHES, ids=lambda stretch: stretch[0])
def walk(request):
    return request.param[0], Walk(*request.param)


@pytest.mark.parametrize("unit", ["hour", "day", "week", "month"])
def test_buckets_are_those_of_a_walk(walk, unit):
    tz, plain = walk
    begins = plain.begins(unit)
    assert len(begins) >= 2
    fresh = Calendar(tz)
    for start, end in itertools.pairwise(begins):
        for at in (start * NS, start * NS + 1, (start + end) // 2 * NS, end * NS - 1):
            assert fresh.bucket(at, unit) == (start * NS, end * NS), dt.datetime.fromtimestamp(at // NS, dt.UTC)
        assert fresh.next_boundary(start * NS, unit) == end * NS == fresh.first_from(start * NS + 1, unit)
        assert fresh.first_from(start * NS, unit) == start * NS


@pytest.mark.parametrize("unit", ["hour", "day", "week", "month"])
def test_the_count_between_two_is_that_of_a_walk(walk, unit):
    tz, plain = walk
    begins = plain.begins(unit)
    calendar = Calendar(tz)
    few = list(range(0, len(begins), max(len(begins) // 97, 1)))
    for one, other in itertools.chain(itertools.pairwise(few), ((0, place) for place in few), [(3, 1), (0, 0)]):
        if max(one, other) < len(begins):
            found = calendar.count(begins[one] * NS, begins[other] * NS, unit)
            assert found == max(other - one, 0), (begins[one], begins[other])


@pytest.mark.parametrize("unit", ["hour", "day", "week", "month"])
def test_each_bucket_has_a_label_of_its_own(walk, unit):
    tz, plain = walk
    calendar = Calendar(tz)
    begins = plain.begins(unit)
    assert len({calendar.label(start * NS, unit) for start in begins}) == len(begins)
    for start, end in itertools.pairwise(begins):
        assert calendar.label(start * NS, unit) == calendar.label(end * NS - 1, unit)


@settings(max_examples=300, deadline=None)
@given(
    tz=st.sampled_from(sorted({stretch[0] for stretch in STRETCHES} | {"America/St_Johns", "Pacific/Kiritimati"})),
    at=st.integers(utc("1971-01-01"), utc("2099-01-01")),
    further=st.integers(0, 4 * 365 * 86_400),
    unit=st.sampled_from(["hour", "day", "week", "month"]),
)
def test_buckets_leave_no_gap_and_count_adds_up(tz, at, further, unit):
    calendar = Calendar(tz)
    start, end = calendar.bucket(at * NS, unit)
    assert start <= at * NS < end
    assert Calendar(tz).bucket(end - 1, unit) == (start, end)
    following = calendar.bucket(end, unit)
    assert following[0] == end
    assert calendar.count(start, end, unit) == 1
    later = calendar.bucket((at + further) * NS, unit)[0]
    assert (
        calendar.count(start, later, unit) == calendar.count(start, end, unit) + calendar.count(end, later, unit)
        or later == start
    )
    if unit == "hour":
        assert calendar.bucket(start, "day")[0] <= start
        assert end <= calendar.bucket(start, "day")[1], "an hour never reaches into the next day"


def test_days_have_23_24_and_25_hours():
    berlin = Calendar("Europe/Berlin")
    lengths = []
    for date in ("2026-03-28", "2026-03-29", "2026-10-25"):
        start, end = berlin.bucket(utc(date + "T12:00") * NS, "day")
        lengths.append((end - start) // (3600 * NS))
        assert berlin.count(start, end, "hour") == lengths[-1]
    assert lengths == [24, 23, 25]


def test_a_day_that_has_begun_is_not_left_when_the_clocks_go_back_over_midnight():
    begun = utc("2010-11-07T02:30") * NS
    for minutes in (0, 2, 45, 61, 600):
        fresh = Calendar("America/St_Johns")  # at 00:01 back to 23:01
        assert fresh.bucket(begun + minutes * 60 * NS, "day")[0] == begun


def test_labels_are_iso():
    calendar = Calendar("Europe/Berlin")
    at = utc("2026-12-31T23:30") * NS  # already the new year there
    assert [calendar.label(at, unit) for unit in ("hour", "day", "week", "month")] == [
        "2027-01-01T00+01:00",
        "2027-01-01",
        "2026-W53",
        "2027-01",
    ]
    assert Calendar("UTC").label(at, "hour") == "2026-12-31T23Z"
    assert Calendar("America/St_Johns").label(at, "hour") == "2026-12-31T20-03:30"


@pytest.mark.parametrize("tz", ["UTC", "Europe/Berlin", "Asia/Kolkata"])
@pytest.mark.parametrize("at", [-(10**30), 10**30, -(2**63), 2**63, 0, -1])
@pytest.mark.parametrize("unit", ["hour", "day", "week", "month"])
def test_a_clock_gone_mad_raises_nothing(tz, at, unit):
    calendar = Calendar(tz)
    start, end = calendar.bucket(at, unit)
    assert start < end
    assert calendar.label(at, unit)
    assert calendar.count(0, at, unit) >= 0
    assert calendar.first_from(at, unit) >= start


@pytest.mark.parametrize("tz", ["Europe/Atlantis", "", "../etc/passwd", "utc+2"])
def test_an_unknown_zone_is_refused_at_once(tz):
    with pytest.raises(ValueError, match="timezone"):
        Calendar(tz)


def test_memory_stays_bounded():
    calendar = Calendar("Europe/Berlin")
    for year in range(3, 3_000):
        calendar.bucket((dt.date(year, 6, 1).toordinal() - 719_163) * 86_400 * NS, "day")
    assert len(calendar._chunks) <= 1_024
