"""The proof: a real bot, a real Prometheus with the shipped files, and every query of every panel and rule shows data.

Alerts go on to a real Alertmanager with the shipped routes, and from there to a server that behaves as Slack; traces go to
a real OTLP receiver.
"""

from __future__ import annotations

import base64
import contextlib
import re
import time
from types import SimpleNamespace

from tests.alerts.slack_server import SlackServer
from tests.dashboards.asked import boards, filled, metrics, of_panels, of_traces, rules, selectors
from tests.dashboards.running import Alertmanager, Bot, Prometheus, until
from tests.servers.otlp import OtlpReceiver

# What shows nothing in the seconds of this test, and why that is right.
EMPTY = {
    "metrics_sharpe": "a ratio of hourly returns needs hours",
    "bot_signal_half_life_seconds": "a half-life needs many decisions",
}
# Recorded figures that look at what was before the last hour. Here there is none: they are asked without that offset.
RECORDED, ALERTS = rules("record"), rules("alert")
NORMS = {name: re.sub(r" offset \d+\w", "", expr) for name, expr in RECORDED.items() if name.endswith("_1d")}


@contextlib.contextmanager
def watched(folder):
    """Some seconds of a bot's life."""
    with OtlpReceiver("http") as receiver, SlackServer() as slack, Alertmanager(folder, slack.url) as alertmanager:
        with Bot(folder / "data", receiver.endpoint) as bot:
            with Prometheus(folder, bot.address, alertmanager.address) as prometheus:
                start = until(lambda: prometheus.now("up == 1"))[0]["value"][0]
                until(lambda: prometheus.now("max_over_time(bot_session_trades{session='day'}[10s]) >= 10"))
                bot.tell("trip")
                until(lambda: prometheus.now('ALERTS{alertname="BotKillSwitch",alertstate="firing"}'))
                firing = prometheus.get("alerts")["alerts"]
                until(lambda: len(slack.requests) > 0)
                bot.tell("go on")
                until(lambda: prometheus.now("bot_kill_switch_state == 0"))
                until(lambda: prometheus.now("botobs_traces_kept_total{reason='slow'}"))
                until(lambda: prometheus.now("count_over_time(up[1m]) >= 20"))
                bot.stop()  # in good order: its last traces are sent
                yield SimpleNamespace(
                    prometheus=prometheus, start=start, end=time.time(), firing=firing, posts=list(slack.requests),
                    spans=list(spans_of(receiver.contents())),
                )  # fmt: skip


def spans_of(contents):
    for request in contents["traces"]:
        for resource in request["resource_spans"]:
            for scope in resource["scope_spans"]:
                yield from scope["spans"]


def written_out(expr):
    """With norms replaced by what they are made of."""
    for name, norm in NORMS.items():
        expr = re.sub(rf"{re.escape(name)}(?:\{{[^}}]*\}})?", lambda _, norm=norm: f"({norm})", expr)
    return expr


def every_panel_shows_data(proof):
    dark = []
    for asked in of_panels():
        expr = written_out(filled(asked.expr))
        found = proof.prometheus.now(expr, proof.end - 1) if asked.instant else None
        found = found or proof.prometheus.over(expr, proof.start, proof.end)
        if bool(found) == any(name in EMPTY for name in metrics(asked.expr)):
            dark.append((asked.place, expr, found))
    assert dark == []


def every_recorded_figure_has_data(proof):
    recorded = {name: proof.prometheus.over(name, proof.start, proof.end) for name in RECORDED if name not in NORMS}
    assert [name for name, found in recorded.items() if not found] == []
    norms = {name: proof.prometheus.over(expr, proof.start, proof.end) for name, expr in NORMS.items()}
    assert [name for name, found in norms.items() if not found] == []


def every_alert_reads_what_is_there(proof):
    """An alert that must not fire has no result; what it reads has."""
    blind = []
    for name, expr in ALERTS.items():
        for selector in selectors(written_out(expr)):
            if not proof.prometheus.over(selector, proof.start, proof.end):
                blind.append((name, selector))
    assert blind == []


def every_variable_has_values(proof):
    for name, board in boards().items():
        found = {each["name"]: each for each in board["templating"]["list"]}
        assert list(found) == ["datasource", "tempo", "job", "instance", "symbol"], name
        for variable in ("job", "instance", "symbol"):
            series, label = re.fullmatch(r"label_values\((.*), (\w+)\)", found[variable]["query"]).groups()
            values = proof.prometheus.ask("series", **{"match[]": filled(series)})
            assert {each[label] for each in values} - {""}, (name, variable)
        for each in board["annotations"]["list"]:
            assert proof.prometheus.over(filled(each["expr"]), proof.start, proof.end), (name, each["name"])


def rules_evaluate_without_complaint(proof):
    groups = proof.prometheus.get("rules")["groups"]
    assert [rule for group in groups for rule in group["rules"] if rule["health"] != "ok"] == []
    assert sum(len(group["rules"]) for group in groups) == len(RECORDED) + len(ALERTS)


def from_a_dot_to_its_trace(proof):
    """Every panel that promises dots has some, and they lead to traces that were sent."""
    sent = {span["trace_id"] for span in proof.spans}
    asked = [each for each in of_panels() if each.exemplars]
    assert len(asked) >= 6
    for each in asked:
        words = {"query": filled(each.expr), "start": proof.start, "end": proof.end}
        series = proof.prometheus.ask("query_exemplars", **words)
        found = {one["labels"]["trace_id"] for one_series in series for one in one_series["exemplars"]}
        assert found, each.place
        assert {hexed(name) for name in found} & {hexed(name) for name in sent}, each.place


def from_a_table_or_a_line_to_traces(proof):
    asked = of_traces()
    assert len(asked) >= 5
    for place, query in asked.items():
        assert any(matches(query, span) for span in proof.spans), (place, query)


def an_alert_reaches_slack(proof):
    told = {each["labels"]["alertname"]: each["annotations"] for each in proof.firing}
    assert told["BotKillSwitch"]["summary"].endswith("is tripped")
    posted = [one for post in proof.posts for one in post["attachments"]]
    (kill,) = [one for one in posted if one["title"].startswith("BotKillSwitch ")]
    assert kill["text"].startswith("The kill switch of 127.0.0.1:")
    assert "botobs kill status" in kill["text"]
    assert kill["color"] == "danger"


def hexed(trace_id):
    """As exemplars have it; protobuf's JSON has bytes in base64."""
    return trace_id if len(trace_id) == 32 else base64.b64decode(trace_id).hex()


def matches(query, span):
    """TraceQL as far as it is used here: one span, conditions that all hold."""
    inner = re.fullmatch(r"\{ (.*) \}", query)[1]
    labels = {
        "${__field.labels.stage}": "lgbm",
        "${__field.labels.symbol}": "BTC-USD",
        "${__value.raw}": "0.0",
        "$symbol": ".*",
    }
    for name, value in labels.items():
        inner = inner.replace(name, value)
    attributes = {each["key"]: next(iter(each["value"].values())) for each in span["attributes"]}
    for condition in inner.split(" && "):
        field, how, value = condition.split(" ", 2)
        if field == "duration":
            assert how == ">="
            assert re.fullmatch(r"[\d.]+s", value)
            continue
        found = span["name"] if field == "name" else attributes.get(field.removeprefix("span."))
        value = value.strip('"')
        if not isinstance(found, str) or not (found == value if how == "=" else re.fullmatch(value, found)):
            return False
    return True


CHECKS = (
    every_panel_shows_data,
    every_recorded_figure_has_data,
    every_alert_reads_what_is_there,
    every_variable_has_values,
    rules_evaluate_without_complaint,
    from_a_dot_to_its_trace,
    from_a_table_or_a_line_to_traces,
    an_alert_reaches_slack,
)


def test_the_proof(tmp_path):
    """One life for all checks; each of them is made, whatever the others say."""
    found = []
    with watched(tmp_path) as proof:
        for check in CHECKS:
            try:
                check(proof)
            except AssertionError as error:
                error.add_note(check.__name__)
                found.append(error)
    if found:
        raise ExceptionGroup("not all of it can be seen", found)
