"""The dashboards as files: up to date, whole, and laid out so that nothing hides anything."""

from __future__ import annotations

import itertools
import re

import pytest

from botobs.dashboards import Stack
from botobs.sinks.metrics import CATALOGUE
from tests.dashboards.asked import boards, metrics, of_panels, panels, rules

BOARDS = boards()
PANELS = [
    pytest.param(board, panel, id=f"{name}:{panel['title']}")
    for name, board in BOARDS.items()
    for panel in panels(board)
]
RECORDED = rules("record")


def test_the_files_are_what_their_source_makes():
    """Else: `make dashboards`."""
    from botobs.dashboards.source.built import built

    shipped = Stack().files()
    assert {f"grafana/dashboards/{name}": text for name, text in built().items()} == {
        path: text for path, text in shipped.items() if path.startswith("grafana/dashboards/")
    }


@pytest.mark.parametrize("name", BOARDS)
def test_nothing_overlaps(name):
    taken = {}
    for each in BOARDS[name]["panels"]:
        place = each["gridPos"]
        assert place["w"] > 0
        assert 0 <= place["x"] <= 24 - place["w"]
        columns = range(place["x"], place["x"] + place["w"])
        for cell in itertools.product(columns, range(place["y"], place["y"] + place["h"])):
            assert taken.setdefault(cell, each["title"]) == each["title"], cell
    assert len(taken) == 24 * (1 + max(y for _, y in taken))  # and there are no holes
    numbers = [each["id"] for each in BOARDS[name]["panels"]]
    assert len(set(numbers)) == len(numbers)


@pytest.mark.parametrize(("board", "panel"), PANELS)
def test_a_panel_says_what_it_is(board, panel):
    defaults = panel["fieldConfig"]["defaults"]
    assert panel["title"]
    assert len(panel["description"]) > 10
    assert defaults["unit"]
    assert defaults["noValue"]
    assert panel["targets"]
    for target in panel["targets"]:
        kind = "prometheus" if "expr" in target else "tempo"
        assert target["datasource"] == {"type": kind, "uid": "${datasource}" if kind == "prometheus" else "${tempo}"}
        for label in re.findall(r"\{\{(\w+)\}\}", target.get("legendFormat", "")):
            assert label in ("instance", "le") or label in known_labels(target["expr"]), label


def known_labels(expr):
    """Labels that the rows of the catalogue have for what is asked."""
    found = set()
    for name in metrics(expr):
        source = RECORDED.get(name, "")
        for each in metrics(source) if source else {name}:
            found |= set() if each == "up" else set(row(each).labels)
    return found


def row(name):
    plain = re.sub(r"_(bucket|count|sum)$", "", name)
    (found,) = [each for each in CATALOGUE if each.name in (name, plain)]
    return found


def test_what_is_asked_for_exists_and_what_exists_of_the_bot_is_shown():
    asked = {name for each in of_panels() for name in metrics(each.expr)}
    for name in (*RECORDED.values(), *rules("alert").values()):
        asked |= metrics(name)
    own = {name for name in asked if ":" not in name and name != "up" and not name.startswith("scrape_")}
    assert {name for name in asked if ":" in name} <= set(RECORDED)
    names = {row(name).name for name in own}
    assert [each.name for each in CATALOGUE if each.name in names and each.source == "later"] == []
    expected = {
        each.name
        for each in CATALOGUE
        if each.source != "later" and not each.why_later and each.name.startswith("bot_")
    }
    assert expected - names == set()


def test_every_recorded_figure_is_used():
    asked = {name for each in of_panels() for name in metrics(each.expr)}
    asked |= {name for expr in rules("alert").values() for name in metrics(expr)}
    assert set(RECORDED) - asked == set()


def test_sums_of_histograms_that_know_no_sum_are_not_asked_for():
    for each in of_panels():
        for name in metrics(each.expr):
            if name.endswith(("_sum", "_count")) and ":" not in name:
                assert not row(name).below_zero, each


def test_percentiles_and_links_are_where_they_should_be():
    text = Stack().files()["grafana/dashboards/execution.json"]
    assert {"Stages: p50", "Stages: p99", "Stages: p99.9"} <= {
        each["title"] for each in panels(BOARDS["execution.json"])
    }
    assert text.count('"exemplar": true') >= 5
    uids = {board["uid"] for board in BOARDS.values()}
    assert uids == {"botobs-overview", "botobs-execution", "botobs-strategies", "botobs-itself"}
    for board in BOARDS.values():
        assert board["tags"] == ["botobs"]
        assert [(link["type"], link["tags"]) for link in board["links"]] == [("dashboards", ["botobs"])]
