"""Every alert fires when it should and is quiet when it should be: the shipped rules under `promtool test rules`."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
FILES = ROOT / "botobs" / "dashboards" / "files"
RULES = {
    rule["alert"]: rule
    for group in yaml.safe_load((FILES / "prometheus/rules/alerts.yml").read_text())["groups"]
    for rule in group["rules"]
}
BOT = 'job="bots",instance="b:1"'
ME = {"job": "bots", "instance": "b:1"}
WATCHED = f"up{{{BOT}}} 1x2000"


_HOURS, _ALL_THE_TIME = 40, 2000


def need(tool):
    found = shutil.which(tool)
    if found is None:
        pytest.skip(f"{tool} is not installed")
    return found


def slippage(then):
    """Hours with ten fills every five minutes, most within 1 bps; then an hour as `then` has it, by bucket."""
    return [
        f'bot_slippage_bps_bucket{{{BOT},symbol="X",le="{le}"}} 0+{each}x40 {40 * each + then[le]}+{then[le]}x11'
        for le, each in DAY.items()
    ]


DAY = {"-1": 1, "0": 3, "1": 7, "2": 9, "5": 10, "10": 10, "+Inf": 10}
BAD = {"-1": 0, "0": 0, "1": 0, "2": 0, "5": 0, "10": 10, "+Inf": 10}

# alert: what fires it (samples are a minute apart; five minutes, where there are hours of them), its labels beside job, instance and severity, its summary
FIRING = {
    "BotDown": ([f"up{{{BOT}}} 1x10 0x10"], {}, "The bot at b:1 does not answer"),
    "BotMissing": (['up{job="other",instance="b:1"} 1x20'], {"instance": None}, "No bot is watched"),
    "BotSilent": ([f"bot_silent{{{BOT}}} 0x10 1x3"], {}, "The loop of b:1 stands still"),
    "BotTickOverdue": ([f"bot_tick_age_seconds{{{BOT}}} 30x40 400x5"], {}, "No tick at b:1 for 6m 40s"),
    "BotFeedStale": (
        [f'bot_ws_staleness_ms{{{BOT},symbol="ws"}} 900x40 45000x5'], {"symbol": "ws"}, "Feed ws of b:1 is silent",
    ),
    "BotFundingStale": (
        [f'bot_funding_stale{{{BOT},symbol="X"}} 0x5 1x20'], {"symbol": "X"}, "The funding rate of X at b:1 is old",
    ),
    "BotDrawdown": (
        [f'bot_drawdown_current{{{BOT},symbol="all"}} 0x5 0.15x5'], {"symbol": "all"},
        "Equity of b:1 is 15% below its peak",
    ),
    "BotDrawdownDeep": (
        [f'bot_drawdown_current{{{BOT},symbol="all"}} 0x5 0.25x5'], {"symbol": "all"},
        "Equity of b:1 is 25% below its peak",
    ),
    "BotRejections": (
        [WATCHED, *(f'bot_order_rejections_total{{{BOT},symbol="X",reason="{code}"}} {counts}'
                    for code, counts in (("margin", "0x30 1 2 3x3"), ("price", "_x30 3x5")))],
        {}, "Orders of b:1 are refused",
    ),
    "BotSlippage": (slippage(BAD), {"symbol": "X"}, "Slippage of X at b:1 is out of its norm"),
    "BotEdge": (
        [f'bot_edge_alarm{{{BOT},what="edge",strategy="bma"}} 0x5 1x2'], {"what": "edge", "strategy": "bma"},
        "The edge of bma at b:1 is worse than its norm",
    ),
    "BotKillSwitch": ([f"bot_kill_switch_state{{{BOT}}} 0x5 1x2"], {}, "The kill switch of b:1 is tripped"),
    "BotKillSwitchTripping": (
        [WATCHED, f'bot_kill_switch_trips_total{{{BOT},trigger="Drawdown"}} _x30 1 2x3'], {},
        "The kill switch of b:1 trips again and again",
    ),
    "BotobsLedgerPending": (
        [f"botobs_ledger_pending{{{BOT}}} 0x5 3x5"], {}, "Fills of b:1 are not on the disk",
    ),
    "BotobsDrops": (
        [WATCHED, f'botobs_events_dropped_total{{{BOT},stream="signals"}} _x30 2x5'], {"stream": "signals"},
        "botobs at b:1 drops signals",
    ),
    "BotobsErrors": (
        [WATCHED, f'botobs_internal_errors_total{{{BOT},where="verbs.fill"}} _x30 1x5'], {"where": "verbs.fill"},
        "botobs at b:1 fails in verbs.fill",
    ),
    "BotAlertsLost": (
        [WATCHED, f'botobs_alerts_total{{{BOT},level="info",fate="delivered"}} 1x35',
         f'botobs_alerts_total{{{BOT},level="critical",fate="failed"}} _x30 1x5'], {},
        "Alerts of b:1 reach nobody",
    ),
}  # fmt: skip

# alert: series, one set a case, that come near and do not fire it
QUIET = {
    "BotDown": [[f"up{{{BOT}}} 1x19 0"]],  # one scrape that failed
    "BotMissing": [[f"up{{{BOT}}} 0x20"]],  # watched, though down
    "BotSilent": [[f"bot_silent{{{BOT}}} 1x5 0x5"]],
    "BotTickOverdue": [
        [f"bot_tick_age_seconds{{{BOT}}} 100x40 400x5"],  # a slow bot
        [f"bot_tick_age_seconds{{{BOT}}} 1x40 50x5"],  # a fast one that paused
        [f"bot_tick_age_seconds{{{BOT}}} 3000x30"],  # nothing is known of it yet
    ],
    "BotFeedStale": [
        [f'bot_ws_staleness_ms{{{BOT},symbol="ws"}} 20000x40 60000x5'],
        [f'bot_ws_staleness_ms{{{BOT},symbol="ws"}} 100x40 20000x5'],
        [f'bot_ws_staleness_ms{{{BOT},symbol="ws"}} 500000x30'],
    ],
    "BotFundingStale": [[f'bot_funding_stale{{{BOT},symbol="X"}} 0x20 1x5']],
    "BotDrawdown": [[f'bot_drawdown_current{{{BOT},symbol="all"}} 0x5 0.1x5']],
    "BotDrawdownDeep": [[f'bot_drawdown_current{{{BOT},symbol="all"}} 0x5 0.2x5']],
    "BotRejections": [
        [WATCHED, f'bot_order_rejections_total{{{BOT},symbol="X",reason="margin"}} _x30 4x5'],
        # a bot that has run for long, and that is watched only now; and one whose page was away for a while
        [f'bot_order_rejections_total{{{BOT},symbol="X",reason="margin"}} 500x30', f"up{{{BOT}}} 1x30"],
        [WATCHED, f'bot_order_rejections_total{{{BOT},symbol="X",reason="margin"}} 500x30 _x20 500x5'],
    ],
    "BotSlippage": [
        slippage(DAY),
        slippage({le: count / 100 for le, count in BAD.items()}),  # three fills in half an hour
        slippage({"-1": 0, "0": 0, "1": 5, "2": 10, "5": 10, "10": 10, "+Inf": 10}),  # somewhat worse
    ],
    "BotEdge": [[f'bot_edge_alarm{{{BOT},what="edge",strategy="bma"}} 1x5 0x5']],
    "BotKillSwitch": [[f"bot_kill_switch_state{{{BOT}}} 2x5 0x5"]],
    "BotKillSwitchTripping": [
        [WATCHED, f'bot_kill_switch_trips_total{{{BOT},trigger="Drawdown"}} _x30 1x5'],
        [WATCHED, f'bot_kill_switch_trips_total{{{BOT},trigger="Drawdown"}} 1x30 2x5'],
    ],
    "BotobsLedgerPending": [[f"botobs_ledger_pending{{{BOT}}} 0x9 1x0 0x0"]],
    "BotobsDrops": [[WATCHED, f'botobs_events_dropped_total{{{BOT},stream="signals"}} 9x30']],
    "BotobsErrors": [[WATCHED, f'botobs_internal_errors_total{{{BOT},where="verbs.fill"}} 9x30']],
    "BotAlertsLost": [
        [WATCHED, f'botobs_alerts_total{{{BOT},level="critical",fate="delivered"}} _x30 1x5'],
        [
            WATCHED,
            f'botobs_alerts_total{{{BOT},level="info",fate="delivered"}} 1x35',
            f'botobs_alerts_total{{{BOT},level="critical",fate="failed"}} 2x35',
        ],
        [
            WATCHED,
            f'botobs_alerts_total{{{BOT},level="info",fate="delivered"}} 0x35',  # it has no Slack of its own
            f'botobs_alerts_total{{{BOT},level="critical",fate="failed"}} _x30 1x5',
        ],
    ],
}


def length(series):
    """Minutes until the last of the samples that are written out as `x<count>` or alone."""
    values = series.partition("} ")[2].split()
    return sum(int(value.rpartition("x")[2]) + 1 if "x" in value else 1 for value in values) - 1


def case(alert, series, expected):
    step = 5 if any(_HOURS <= length(each) < _ALL_THE_TIME for each in series) else 1
    shortest = step * min(map(length, series))
    return {
        "interval": f"{step}m",
        "input_series": [
            {"series": each.partition("} ")[0] + "}", "values": each.partition("} ")[2]} for each in series
        ],
        "alert_rule_test": [{"eval_time": f"{shortest}m", "alertname": alert, "exp_alerts": expected}],
    }


def fires(alert):
    series, labels, summary = FIRING[alert]
    rule = RULES[alert]
    found = {name: value for name, value in {**ME, **rule["labels"], **labels}.items() if value is not None}
    said = {"summary": summary, "description": rule["annotations"]["description"]}
    return case(alert, series, [{"exp_labels": found, "exp_annotations": said}])


def test_every_alert_is_tried_both_ways():
    assert set(FIRING) == set(QUIET) == set(RULES)


@pytest.mark.parametrize("alert", RULES)
def test_an_alert_says_what_to_do(alert):
    rule = RULES[alert]
    assert f"`{alert}`" in (ROOT / "docs" / "dashboards.md").read_text()
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert set(rule["annotations"]) == {"summary", "description"}
    assert len(rule["annotations"]["description"]) > 40


def test_alerts_fire_and_are_quiet(tmp_path):
    promtool = need("promtool")
    shutil.copytree(FILES / "prometheus" / "rules", tmp_path / "rules")
    tests = [fires(alert) for alert in RULES]
    tests += [case(alert, series, []) for alert, each in QUIET.items() for series in each]
    for step in ("1m", "5m"):
        chosen = [each for each in tests if each["interval"] == step]
        said = {"rule_files": ["rules/*.yml"], "evaluation_interval": step, "tests": chosen}
        (tmp_path / f"{step}.yml").write_text(yaml.safe_dump(said, sort_keys=False))
    words = [promtool, "test", "rules", "1m.yml", "5m.yml"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("promtool", "check", "config", "prometheus/prometheus.yml"),
        ("promtool", "check", "rules", "prometheus/rules/alerts.yml", "prometheus/rules/recording.yml"),
        ("amtool", "check-config", "alertmanager/alertmanager.yml"),
    ],
    ids=lambda words: " ".join(words[:3]),
)
def test_the_tools_find_nothing_to_say(words):
    done = subprocess.run([need(words[0]), *words[1:]], cwd=FILES, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("severity", ["critical", "warning"])
def test_every_alert_goes_to_slack(severity):
    words = ["config", "routes", "test", "--config.file=alertmanager/alertmanager.yml", "--verify.receivers=slack"]
    done = subprocess.run(
        [need("amtool"), *words, f"severity={severity}"], cwd=FILES, capture_output=True, text=True, timeout=30
    )
    assert (done.returncode, done.stdout.strip()) == (0, "slack")
