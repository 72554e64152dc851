"""Alerts at the end of a run, through a running observer: they have no part in what else goes wrong there."""

from __future__ import annotations

import botobs
from botobs.streams import StreamReader
from tests.alerts.slack_server import SlackServer, refused_url


def told(folder, fate):
    return [record["title"] for record in StreamReader(folder).read("alerts") if record["fate"] == fate]


def begun(folder, slack):
    """A bot whose collector is dead, whose trace waits for it, and of whose eight alerts three wait for a digest."""
    obs = botobs.start("bot", data_dir=folder, slack_webhook_url=slack, otlp_endpoint=refused_url(), durability="os")
    with botobs.tick("BTC-USD"):
        botobs.order("BTC-USD", "buy", 1, decision_px=100)
    for n in range(8):
        obs.alerts.send("warning", f"warning {n}")
    return obs


def test_a_dead_collector_takes_no_time_from_alerts_that_wait_for_a_digest(tmp_path):
    with SlackServer() as slack:
        report = begun(tmp_path, slack.url).shutdown(1.5)
        assert (
            not report.delivered and report.spans.dropped and (report.alerts.delivered, report.alerts.dropped) == (8, 0)
        )
    assert told(tmp_path, "delivered")[-1] == "3 alerts at once" and not told(tmp_path, "failed")


def test_nor_does_it_in_a_flush(tmp_path):
    with SlackServer() as slack:
        obs = begun(tmp_path, slack.url)
        assert not obs.flush(1.5)
        assert told(tmp_path, "delivered")[-1:] == ["3 alerts at once"]
        obs.shutdown(0)


def test_what_is_left_is_in_the_log_for_whoever_sees_no_report(tmp_path, caplog):
    obs = botobs.start("bot", data_dir=tmp_path, slack_webhook_url=refused_url(), durability="os")
    obs.alerts.send("critical", "The exchange is down")
    obs.alerts.send("warning", "Spread is wide")
    report = obs.shutdown(0.2)
    assert (report.alerts.pending, report.alerts.dropped) == (1, 1)
    assert caplog.messages[-1] == (
        f"botobs: the run ended before everything was delivered: {report}; pending alerts go out at the next start"
    )
    assert "botobs: 'Spread is wide' was not delivered to slack: the bot ended before" in caplog.messages
    caplog.clear()
    with botobs.start("bot", data_dir=tmp_path, durability="os") as obs:
        told = []
        obs.alerts.to(told.append)
    assert [alert.title for alert in told] == ["The exchange is down"] and not caplog.messages
