"""JSON lines as a source: across rotation, compressed or not, and whatever becomes of the file."""

from __future__ import annotations

import gzip
import json
import zlib

import pytest

from botobs.metricpack import SourceTrouble
from botobs.metricpack.jsonl import JsonlSource


def write(path, first, count, end="\n"):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(
            "".join(json.dumps({"ts": 1_700_000_000 + n, "n": n}) + "\n" for n in range(first, first + count - 1))
        )
        file.write(json.dumps({"ts": 1_700_000_000 + first + count - 1, "n": first + count - 1}) + end)


def numbers(source, most=3):
    found = []
    while True:
        batch = source.take(most, 0)
        found += [raw.fields.get("n") for raw in batch.events]
        if not batch.events:
            return found, batch.position


def archive(data_dir, number, *, squeeze):
    live = data_dir / "logs" / "apply_result.jsonl"
    name = data_dir / "logs" / "archive" / f"apply_result-20260102T0304{number:02d}.000000Z.jsonl"
    name.parent.mkdir(exist_ok=True)
    if squeeze:
        name.with_name(name.name + ".gz").write_bytes(gzip.compress(live.read_bytes()))
        live.unlink()
    else:
        live.rename(name)


@pytest.fixture
def source(tmp_path):
    found = JsonlSource.of_stream(tmp_path, "apply.result")
    yield found
    found.close()


def test_a_stream_with_its_archives_from_any_position(tmp_path, source):
    live = tmp_path / "logs" / "apply_result.jsonl"
    for number, first in enumerate((0, 10, 20)):
        write(live, first, 10)
        if first < 20:
            archive(tmp_path, number, squeeze=first == 0)
    source.begin(None)
    assert numbers(source)[0] == list(range(30))
    for most in (1, 7, 100):
        source.begin(None)
        places = [raw.position for raw in source.take(most, 0).events]
        source.begin(places[-1])
        assert numbers(source)[0] == list(range(len(places), 30))
    source.begin(None, end=True)
    assert numbers(source)[0] == []


def test_a_damaged_archive_is_read_up_to_the_damage_and_said(tmp_path, source):
    live = tmp_path / "logs" / "apply_result.jsonl"
    write(live, 0, 20_000)
    squeeze = zlib.compressobj(wbits=31)
    whole = squeeze.compress(live.read_bytes()) + squeeze.flush(zlib.Z_FULL_FLUSH)
    archive(tmp_path, 0, squeeze=True)
    write(live, 20_000, 1)
    (packed,) = (tmp_path / "logs" / "archive").iterdir()
    packed.write_bytes(whole + b"\xff" * 1_000)  # not cut off: no block begins like that
    source.begin(None)
    found, lost = [], set()
    while (batch := source.take(5_000, 0)).events or batch.lost:
        found += [raw.fields.get("n") for raw in batch.events]
        lost.add(batch.lost)
    assert found[:5_000] == list(range(5_000)) and found[-1] == 20_000
    assert any("an archive is damaged" in (why or "") for why in lost)


@pytest.mark.parametrize("squeeze", [True, False])
def test_it_follows_over_rotations(tmp_path, source, squeeze):
    live = tmp_path / "logs" / "apply_result.jsonl"
    source.begin(None)
    assert numbers(source) == ([], None)
    seen, position = [], None
    for number in range(4):
        write(live, number * 10, 6)
        if number % 2:
            found, position = numbers(source)
            seen += found
        write(live, number * 10 + 6, 4)
        archive(tmp_path, number, squeeze=squeeze)
    write(live, 40, 1)
    found, position = numbers(source)
    assert seen + found == list(range(41))
    source.begin(position)
    write(live, 41, 2)
    assert numbers(source)[0] == [41, 42]


def test_half_a_line_waits_for_its_end(tmp_path):
    path = tmp_path / "events.jsonl"
    source = JsonlSource(path)
    source.begin(None)
    write(path, 0, 2, end="")
    assert numbers(source)[0] == [0]
    with path.open("a") as file:
        file.write("\n\n")
    assert numbers(source)[0] == [1]
    source.close()


def test_what_is_no_object_is_passed_on_and_long_lines_too(tmp_path):
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"x" * 9_000 + b"\n[1]\n" + json.dumps({"pad": "y" * 400_000}).encode() + b'\n{"n":1.10}\n')
    source = JsonlSource(path)
    source.begin(None)
    found = source.take(10, 0)
    assert [set(raw.fields) for raw in found.events] == [{"line"}, {"line"}, {"pad"}, {"n"}]
    assert str(found.events[3].fields["n"]) == "1.10"
    source.begin(found.events[0].position)
    assert len(source.take(10, 0).events) == 3
    source.close()


def test_what_is_gone_or_cut_off_is_told(tmp_path, source):
    live = tmp_path / "logs" / "apply_result.jsonl"
    write(live, 0, 10)
    source.begin(None)
    position = source.take(5, 0).position
    live.unlink()
    write(live, 20, 2)
    source.begin(position)
    assert "gone" in (batch := source.take(5, 0)).lost
    assert [raw.fields["n"] for raw in batch.events] == [20, 21]
    first = live.read_text().splitlines()[0]
    live.write_text(first + "\n")
    assert "cut off" in source.take(5, 0).lost
    with pytest.raises(SourceTrouble, match="another stream"):
        source.begin("12-0")
    (tmp_path / "dir").mkdir()
    folder = JsonlSource(tmp_path / "dir")
    folder.begin(None)
    with pytest.raises(SourceTrouble, match="dir"):
        folder.take(1, 0)
