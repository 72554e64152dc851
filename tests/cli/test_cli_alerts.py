"""`alerts test`: one alert to a server that behaves as Slack, and what it answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.alerts.slack_server import SECRET, SlackServer, refused_url
from tests.cli.world import ROOT, ask, ask_json, botobs_process, snapshot, trade


@pytest.fixture(autouse=True)
def _no_slack(monkeypatch):
    for name in ("SLACK_WEBHOOK_URL", "SLACK_BOT_TOKEN"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def slack():
    with SlackServer() as server:
        yield server


def test_it_arrives(capsys, slack, monkeypatch):
    monkeypatch.setenv("SLACK_WEBHOOK_URL", slack.url)
    status, out, err = ask(capsys, "alerts", "test")
    assert (status, err) == (0, "")
    assert out.startswith("delivered: ok (")
    assert slack.paths == [SECRET]
    assert "A test" in slack.titles[0]


@pytest.mark.parametrize("name", ["SLACK_WEBHOOK_URL", "BOTOBS_SLACK_WEBHOOK_URL"])
def test_where_to_is_read_as_start_reads_it(capsys, slack, monkeypatch, name):
    Path("botobs.toml").write_text(f'slack_webhook_url = "{refused_url()}"\n')
    assert ask(capsys, "alerts", "test")[0] == 1
    monkeypatch.setenv(name, slack.url)
    assert ask(capsys, "alerts", "test")[0] == 0
    monkeypatch.delenv(name)
    Path("botobs.toml").write_text(f'[botobs]\nslack_webhook_url = "{slack.url}"\n')
    assert ask(capsys, "alerts", "test", "--data-dir", "anywhere")[0] == 0
    assert len(slack.requests) == 2
    assert not Path("anywhere").exists()


@pytest.mark.parametrize(
    ("answer", "told", "code"),
    [
        ("429:7", "ratelimited", 429), ("500", "HTTP 500", 500), ("404", "no_service", 404), ("cut", "broke", None),
        ("redirect", "a redirect, which is not followed", 302), ("html", "not Slack", 200),
    ],
)  # fmt: skip
def test_what_slack_answered_is_told_and_the_address_is_not(capsys, slack, monkeypatch, answer, told, code):
    monkeypatch.setenv("SLACK_WEBHOOK_URL", slack.url)
    slack.always(answer)
    status, out, err = ask(capsys, "alerts", "test")
    assert (status, err) == (1, "")
    assert told in out
    status, said = ask_json(capsys, "alerts", "test")
    assert (status, said["delivered"], said["status"]) == (1, False, code)
    assert told in said["why"]
    for text in (out, str(said)):
        assert SECRET not in text
        assert "127.0.0.1" not in text
    assert len(slack.requests) == 2  # once each: a person waits for it


def test_nobody_listens(capsys, monkeypatch):
    monkeypatch.setenv("SLACK_WEBHOOK_URL", refused_url())
    status, out, err = ask(capsys, "alerts", "test")
    assert (status, err) == (1, "")
    assert out.startswith("not delivered now: ")
    assert SECRET not in out


def test_no_slack_is_configured(capsys):
    status, out, _ = ask(capsys, "alerts", "test")
    assert status == 1
    page = (ROOT / "docs" / "command-line.md").read_text("utf-8")
    assert f"$ botobs alerts test\n{out.rpartition(' (')[0]}" in page
    assert ask_json(capsys, "alerts", "test")[1] == {
        "delivered": False, "outcome": "refused", "why": out[len("not delivered: ") :].rpartition(" (")[0], "status": None,
        "took_s": 0.0,
    }  # fmt: skip


def test_a_wrong_setting_is_told_without_its_value(capsys, monkeypatch):
    monkeypatch.setenv("SLACK_WEBHOOK_URL", "ftp://hooks.example" + SECRET)
    status, out, err = ask(capsys, "alerts", "test")
    assert (status, out) == (2, "")
    assert "slack_webhook_url = ***" in err
    assert SECRET not in err
    assert ask(capsys, "alerts")[0] == 2
    assert ask(capsys, "alerts", "tset")[0] == 2


def test_nothing_is_recorded(capsys, slack, monkeypatch):
    trade()
    before = snapshot()
    monkeypatch.setenv("SLACK_WEBHOOK_URL", slack.url)
    assert ask(capsys, "alerts", "test")[0] == 0
    assert snapshot() == before


def test_as_a_process(tmp_path, slack):
    (tmp_path / "botobs.toml").write_text(f'slack_webhook_url = "{slack.url}"\n')
    done = botobs_process("alerts", "test", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("delivered: ok")
