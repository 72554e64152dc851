"""Alerts to a real server that behaves as Slack, well and badly."""

from __future__ import annotations

import email.utils
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from botobs.alerts.slack import _retry_after
from botobs.clock import SystemClock
from botobs.testing import Clock
from tests.alerts.parlour import Parlour, until
from tests.alerts.slack_server import SECRET, TOKEN, SlackServer, can_tls, refused_url
from tests.slack import SLACK_S

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def slack():
    with SlackServer() as server:
        yield server


@pytest.fixture
def p(slack):
    with Parlour(threaded=True, webhook_url=slack.url) as parlour:
        yield parlour
        slack.released.set()


def advance(p, by):
    """Let time pass; the thread notices by itself."""
    p.clock.advance(by)
    p.alerts.poll()


def test_what_slack_gets(p, slack):
    p.alerts.send("warning", "Spread *wide* on BTC_USDT", "by 12 bps", {"spread": 12.5, "sym": "BTC_USDT", "ok": True})
    p.alerts.send("critical", "c")
    p.alerts.send("info", "i")
    assert p.flush()
    assert slack.paths == [SECRET] * 3
    warning = next(request for request in slack.requests if "wide" in request["text"])
    (attachment,) = warning["attachments"]
    assert warning["text"] == "[WARNING] Spread *wide* on BTC_USDT"
    assert warning["mrkdwn"] is False
    assert attachment["text"] == "by 12 bps"
    assert attachment["fields"] == [
        {"title": "spread", "value": "12.5", "short": True},
        {"title": "sym", "value": "BTC_USDT", "short": True},
        {"title": "ok", "value": "yes", "short": True},
    ]
    assert attachment["footer"] == "mybot · run1 · 2026-01-02T03:04:05.000000Z"
    assert attachment["ts"] == 1767323045
    assert len({request["attachments"][0]["color"] for request in slack.requests}) == 3


@pytest.mark.parametrize("call", ["<!channel>", "<!here|x>", "<@U123>", "@here", "@Channel", "@everyone", "<http://evil|ok>", "&lt;!channel&gt;"])  # fmt: skip
def test_nobody_is_mentioned(p, slack, call):
    p.alerts.send("critical", f"t {call}", f"m {call}", {call: call, "nested": [call]}, key=call)
    assert p.flush()
    text = json.dumps(slack.requests[0], ensure_ascii=False)
    assert "<" not in text
    assert ">" not in text
    for word in ("@here", "@Channel", "@everyone"):
        assert word not in text


def test_long_texts_are_cut_where_no_entity_breaks(p, slack):
    p.alerts.send("info", "&" * 500, "<" * 20_000, {f"f{n}": "&" * 5_000 for n in range(100)})
    assert p.flush()
    (request,) = slack.requests
    (attachment,) = request["attachments"]
    assert len(json.dumps(request)) < 30_000
    assert len(attachment["fields"]) == 20
    for text in (request["text"], attachment["text"], attachment["fields"][0]["value"]):
        rest = text.removeprefix("[INFO] ").replace("&amp;", "").replace("&lt;", "")
        assert rest.strip("…") == ""


def test_an_answer_cut_short_after_its_status_is_a_delivery(p, slack):
    slack.answers("short")
    p.alerts.send("info", "a")
    assert p.flush()
    assert len(slack.requests) == 1


def test_429_waits_as_long_as_slack_says(p, slack):
    slack.answers("429:30", "ok")
    p.alerts.send("warning", "a")
    (line,) = p.lines.wait("retrying")
    assert line["retry_in_s"] == 30
    assert line["error"] == "HTTP 429: ratelimited"
    advance(p, 29)
    p.alerts.send("critical", "b")  # waits as well: it is Slack that rests
    assert not p.flush(0.05)
    assert len(slack.requests) == 1
    advance(p, 1.01)
    assert p.flush()
    assert slack.titles[1:] == ["[CRITICAL] b", "[WARNING] a"]


def test_429_is_capped_and_without_a_header_backs_off(p, slack):
    slack.answers("429:86400", "429", "429:0", "429:nonsense", "ok")
    p.alerts.send("critical", "a")
    p.lines.wait("retrying", 1)
    for count in range(2, 5):
        advance(p, 60)
        p.lines.wait("retrying", count)
    advance(p, 60)
    assert p.flush()
    waits = [line["retry_in_s"] for line in p.lines.wait("retrying", 4)]
    assert waits[0] == 60
    assert all(0 < wait <= 8 for wait in waits[1:])


def test_retry_after_as_a_date():
    now = 1_767_323_045
    date = email.utils.formatdate(now + 17, usegmt=True)
    assert _retry_after({"Retry-After": date}, now) == 17
    server = email.utils.formatdate(now + 10, usegmt=True)
    assert _retry_after({"Retry-After": date, "Date": server}, now + 10**9) == 7  # by the server's clock
    assert _retry_after({"retry-after": email.utils.formatdate(now - 10**6, usegmt=True)}, now) is None
    for nonsense in ("", "soon", "-3", "nan", "inf", "Wed, 99 Foo 2026", "1e999"):
        assert _retry_after({"Retry-After": nonsense}, now) is None


@pytest.mark.parametrize(("answer", "why"), [("500", "HTTP 500: Internal Server Error"), ("503", "HTTP 503: Service Unavailable"),
    ("cut", "the connection broke")])  # fmt: skip
def test_what_may_pass_is_tried_again(p, slack, answer, why):
    slack.answers(answer, "ok")
    p.alerts.send("info", "a")
    (line,) = p.lines.wait("retrying")
    assert line["error"] == why
    advance(p, 1)
    assert p.flush()
    assert p.lines.fates() == ["retrying", "delivered"]
    assert p.lines[-1]["attempt"] == 2


def test_backoff_grows_with_jitter_and_a_warning_is_given_up_after_five_minutes(p, slack):
    slack.always("500")
    p.alerts.send("warning", "w")
    p.alerts.send("critical", "c", key="c")
    for count in range(1, 30):
        until(lambda count=count: len(p.lines) >= count + ("failed" in p.lines.fates()))
        if "failed" in p.lines.fates():
            break
        advance(p, p.lines[-1]["retry_in_s"] + 0.01)
    waits = [line["retry_in_s"] for line in p.lines if line["fate"] == "retrying" and line["title"] == "c"]
    assert all(
        low <= wait <= high for wait, low, high in zip(waits, (0.5, 1, 2, 4, 8, 16), (1, 2, 4, 8, 16, 32), strict=False)
    )
    assert max(waits) <= 60
    assert p.lines.fates("w")[-1] == "failed"
    assert "failed" not in p.lines.fates("c")  # never given up
    assert p.faults.drops == {"alerts": 1}
    slack.always("ok")
    advance(p, 60)
    p.lines.wait("delivered", title="c")
    assert p.alerts.counts == type(p.alerts.counts)(1, 0, 1)


@pytest.mark.parametrize(("answer", "why"), [("404", "HTTP 404: no_service"), ("400", "HTTP 400: invalid_payload"),
    ("410", "HTTP 410: channel_is_archived"), ("redirect", "HTTP 302: a redirect, which is not followed"),
    ("html", "HTTP 200: a web page answered, not Slack"), ("api:invalid_token", "HTTP 200: invalid_token")])  # fmt: skip
def test_what_will_not_pass_fails_and_says_why(p, slack, answer, why):
    slack.answers(answer)
    p.alerts.send("warning", "a")
    (line,) = p.lines.wait("failed")
    assert line["error"] == why
    assert not p.flush()
    assert len(slack.requests) == 1  # neither again nor elsewhere
    assert p.faults.drops == {"alerts": 1}
    p.alerts.send("warning", "b")
    p.lines.wait("delivered")


def test_nobody_listens():
    with Parlour(threaded=True, webhook_url=refused_url()) as p:
        p.alerts.send("warning", "a")
        (line,) = p.lines.wait("retrying")
        assert line["error"] == "connection refused"


@pytest.mark.skipif(not can_tls(), reason="no openssl")
def test_a_certificate_that_is_not_trusted(tmp_path):
    with SlackServer(tls=True, folder=tmp_path) as slack, Parlour(threaded=True, webhook_url=slack.url) as p:
        p.alerts.send("critical", "a")
        (line,) = p.lines.wait("retrying")
        assert line["error"].startswith("TLS: the certificate is not trusted (self")
        assert not slack.requests


def test_a_host_that_is_none():
    with Parlour(threaded=True, webhook_url=f"http://no-such-host.invalid{SECRET}") as p:
        assert "not reachable" in p.alerts.test().why


@pytest.mark.parametrize(
    "url", ["http://exa mple/services/T1/B1/secret-secret", "ftp://h/services/T1/B1/secret-secret", "nonsense-nonsense"]
)
def test_an_address_that_is_none(url):
    with Parlour(threaded=True, webhook_url=url) as p:
        answer = p.alerts.test()
        assert answer.outcome == "refused"
        assert "secret" not in repr(answer) + repr(p.alerts)


def test_slow_slack_holds_up_nobody(monkeypatch, slack):
    slack.answers("slow")
    with Parlour(threaded=True, webhook_url=slack.url).listen() as p:
        begun = time.perf_counter()
        p.alerts.send("critical", "a")
        p.alerts.send("critical", "b")
        assert time.perf_counter() - begun < SLACK_S
        until(lambda: p.titles == ["a", "b"])  # the pager rings meanwhile
        assert not p.flush(0.05)
        slack.released.set()
        assert p.flush()


def test_an_answer_that_drips_for_ever_is_given_up(monkeypatch, slack):
    monkeypatch.setattr("botobs.alerts.receivers._SLACK_LIMIT_S", 0.2)
    slack.answers("drip")
    with Parlour(threaded=True, webhook_url=slack.url) as p:
        p.alerts.send("critical", "a")
        (line,) = p.lines.wait("retrying")
        assert line["error"] == "no answer in time"
        advance(p, 2)
        assert p.flush()


def test_a_timeout_is_tried_again(monkeypatch, slack):
    monkeypatch.setattr("botobs.alerts.slack._TIMEOUT_S", 1)
    slack.answers("slow")
    with Parlour(threaded=True, webhook_url=slack.url) as p:
        p.alerts._slack._client.timeout = 0.1
        p.alerts.send("info", "a")
        (line,) = p.lines.wait("retrying")
        assert line["error"] == "no answer in time"


def test_critical_alerts_go_first(p, slack):
    slack.answers("slow")
    p.alerts.send("info", "first")
    slack.wait(1)
    for number in range(3):
        p.alerts.send("info", f"i{number}")
        p.alerts.send("critical", f"c{number}")
    until(lambda: p.alerts.counts.pending == 7)
    slack.released.set()
    assert p.flush()
    assert slack.titles == [
        "[INFO] first",
        *(f"[CRITICAL] c{n}" for n in range(3)),
        *(f"[INFO] i{n}" for n in range(3)),
    ]


# -- the bot token -----------------------------------------------------------------------------------------------------


@pytest.fixture
def bot(slack):
    with Parlour(threaded=True, bot_token=TOKEN, channel="#alerts", api_url=slack.api_url) as parlour:
        yield parlour


def test_the_recovery_answers_in_the_thread(bot, slack):
    bot.alerts.send("critical", "Feed silent", key="ws")
    bot.alerts.resolve("ws")  # before the alert has its place
    assert bot.flush()
    first, second = slack.requests
    assert slack.paths == ["/api/chat.postMessage"] * 2
    assert slack.headers[0]["Authorization"] == f"Bearer {TOKEN}"
    assert first["channel"] == "#alerts"
    assert "thread_ts" not in first
    assert second["thread_ts"] == "1700000000.000001"
    assert second["text"] == "[RESOLVED] Feed silent"


def test_the_thread_is_known_after_a_restart(slack, tmp_path):
    more = {"bot_token": TOKEN, "channel": "C1", "api_url": slack.api_url, "folder": tmp_path, "threaded": True}
    with Parlour(**more) as p:
        p.alerts.send("warning", "a", key="k")
        assert p.flush()
    with Parlour(**more) as p:
        p.alerts.resolve("k")
        assert p.flush()
    assert slack.requests[1]["thread_ts"] == "1700000000.000001"


@pytest.mark.parametrize(("answer", "fate", "why"), [
    ("api:channel_not_found", "failed", "HTTP 200: channel_not_found"),
    ("api:invalid_auth", "failed", "HTTP 200: invalid_auth"),
    ("api:internal_error", "retrying", "HTTP 200: internal_error"),
    ("429:5", "retrying", "HTTP 429: ratelimited"),
    ("500", "retrying", "HTTP 500: Internal Server Error"),
    ("redirect", "failed", "HTTP 302: a redirect, which is not followed"),
    ("html", "failed", "HTTP 200: OK"),
    ("cut", "retrying", "the connection broke"),
])  # fmt: skip
def test_what_the_web_api_refuses(bot, slack, answer, fate, why):
    slack.answers(answer)
    bot.alerts.send("warning", "a")
    (line,) = bot.lines.wait(fate)
    assert line["error"] == why
    assert len(slack.requests) == 1


# -- the end of a run --------------------------------------------------------------------------------------------------


def test_a_critical_alert_is_tried_again_after_a_restart(slack, tmp_path):
    slack.answers("404")
    with Parlour(threaded=True, webhook_url=slack.url, folder=tmp_path) as p:
        p.alerts.send("critical", "Position lost", "m", key="k")
        p.alerts.send("warning", "w")
        assert not p.flush()
        assert p.alerts.counts.pending == 1
    assert p.lines.fates("Position lost") == ["failed", "pending"]
    with Parlour(threaded=True, webhook_url=slack.url, folder=tmp_path, run_id="run2") as p:
        assert p.flush()
        assert p.lines.fates() == ["delivered"]
    assert "run1" in slack.requests[-1]["attachments"][0]["footer"]
    assert "earlier run" in slack.requests[-1]["attachments"][0]["text"]
    with Parlour(threaded=True, webhook_url=slack.url, folder=tmp_path, run_id="run3") as p:
        assert p.flush()
        assert not p.lines


def test_the_end_tries_once_more_and_waits_for_nothing_hopeless(slack, tmp_path):
    slack.always("429:50")
    with Parlour(threaded=True, webhook_url=slack.url, folder=tmp_path) as p:
        p.alerts.send("critical", "c")
        p.alerts.send("warning", "w")
        p.lines.wait("retrying")
        begun = time.monotonic()
        assert not p.close(8)
        assert time.monotonic() - begun < 2 + SLACK_S
        assert (p.lines.fates("c")[-1], p.lines.fates("w")) == ("pending", ["failed"])


def test_a_rest_of_ours_is_cut_short_at_the_end(slack):
    slack.answers("500", "500", "500", "ok")
    with Parlour(threaded=True, webhook_url=slack.url, clock=Clock()) as p:
        p.alerts.send("critical", "c")
        for count in range(1, 3):
            p.lines.wait("retrying", count)
            advance(p, 10)
        p.lines.wait("retrying", 3)
        assert p.close()
        assert p.lines.fates()[-1] == "delivered"


def test_the_real_clock(slack):
    slack.answers("429:0.2", "ok")
    with Parlour(threaded=True, webhook_url=slack.url, clock=SystemClock()) as p:
        p.alerts.send("critical", "c")
        assert p.flush()
        (line,) = p.lines.wait("retrying")
        assert line["retry_in_s"] == 0.2


KILLED = """
import sys, time, random
from pathlib import Path
from botobs.alerts import Alerts
from botobs.clock import SystemClock
from botobs.faults import Faults
url, folder, mode = sys.argv[1:]
alerts = Alerts(write=lambda line: print(line["fate"], line["title"], flush=True), faults=Faults(), clock=SystemClock(),
                webhook_url=url, folder=Path(folder), run_id="killed", bot="b", subscribe=None)
if mode == "send":
    alerts.send("critical", "Naked position", "flatten by hand", {"qty": "1.5"}, key="naked")
    alerts.send("critical", "second", key="second")
print("ready", flush=True)
if mode == "send":
    time.sleep(30)
print(alerts.flush(time.monotonic() + 10), flush=True)
"""


@pytest.mark.parametrize("answer", ["slow", "503"])
def test_kill_9_with_a_pending_critical_alert(slack, tmp_path, answer):
    def run(mode):
        return subprocess.Popen([sys.executable, "-c", KILLED, slack.url, str(tmp_path), mode], cwd=ROOT,
                                stdout=subprocess.PIPE, text=True)  # fmt: skip

    slack.answers(answer)
    first = run("send")
    slack.wait(1)  # it is on its way: so it is on disk
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    arrived = len(slack.requests)
    second = run("wait")
    out, _ = second.communicate(timeout=30)
    assert out.splitlines()[-1] == "True"
    assert sorted(slack.titles[arrived:]) == ["[CRITICAL] Naked position", "[CRITICAL] second"]
    third = run("wait")
    assert third.communicate(timeout=30)[0].split() == ["ready", "True"]


# -- test() ------------------------------------------------------------------------------------------------------------


def test_the_test_says_what_slack_answered(p, slack):
    answer = p.alerts.test()
    assert answer
    assert (answer.status, answer.why) == (200, "ok")
    slack.answers("404", "429:7")
    answer = p.alerts.test()
    assert not answer
    assert str(answer).startswith("not delivered: HTTP 404: no_service (")
    assert p.alerts.test().after_s == 7
    assert slack.titles == ["[INFO] A test"] * 3
    assert p.lines.fates() == ["delivered", "failed", "failed"]


def test_the_test_without_slack():
    with Parlour(threaded=True) as p:
        assert "slack_webhook_url" in p.alerts.test().why
        p.alerts.to(p.got.append)
        assert p.alerts.test()
        assert p.titles == ["A test"]
        p.alerts.to(lambda alert: 1 / 0)
        assert not p.alerts.test()


# -- secrets -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answers", [["ok"], ["404"], ["500", "ok"], ["429:1", "ok"], ["redirect"], ["cut", "ok"], ["api:no"]]
)
@pytest.mark.parametrize("by", ["webhook", "bot"])
def test_no_secret_is_ever_read_anywhere(slack, tmp_path, answers, by, capfd):
    words = [SECRET.rsplit("/", 1)[1], "sEcReT", TOKEN, "SeCrEt"]
    heard = []

    class Everything(logging.Handler):
        def emit(self, record):
            heard.append(self.format(record))

    handler, root = Everything(), logging.getLogger()
    level, loggers = (
        root.level,
        [logging.getLogger(name) for name in ("slack_sdk", "slack_sdk.webhook.client", "botobs")],
    )
    root.addHandler(handler)
    for logger in (root, *loggers):
        logger.setLevel(logging.DEBUG)
    how = (
        {"webhook_url": slack.url}
        if by == "webhook"
        else {"bot_token": TOKEN, "channel": "C1", "api_url": slack.api_url}
    )
    slack.answers(*answers)
    try:
        with Parlour(threaded=True, folder=tmp_path, **how).listen() as p:
            p.alerts.to(lambda alert: (_ for _ in ()).throw(RuntimeError(f"{slack.url} {TOKEN}")))
            p.alerts.send("critical", f"t {slack.url} {TOKEN}", f"m {slack.url} {TOKEN}",
                          {"u": slack.url, "deep": [{"x": SECRET, slack.url: TOKEN}]}, key=f"{slack.url} {TOKEN}")  # fmt: skip
            p.alerts.send("info", "b", key=SECRET)
            p.alerts.resolve(f"{slack.url} {TOKEN}")
            p.lines.wait("retrying" if len(answers) > 1 else "delivered" if answers == ["ok"] else "failed")
            advance(p, 5)
            p.alerts.test()
            p.flush()
            seen = [*heard, repr(p.lines), repr(p.got), repr(p.alerts), str(p.faults.last_error), repr(vars(p.alerts))]
            seen += [repr(thing) for thing in (p.alerts._slack, p.alerts._room, p.alerts._desk, p.alerts._scrub)]
        seen += [file.read_text() for file in tmp_path.rglob("*") if file.is_file()]
        seen += [json.dumps(request) for request in slack.requests]
        seen += [*capfd.readouterr()]
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
        for logger in loggers:
            logger.setLevel(logging.NOTSET)
    assert p.faults.errors["alerts.to"] > 0
    assert len(p.lines) > 2
    for text in seen:
        for word in words:
            assert word not in text


# -- what it costs -----------------------------------------------------------------------------------------------------


def test_send_costs_the_bot_microseconds(slack):
    slack.always("slow")
    with Parlour(threaded=True, webhook_url=slack.url) as p:
        p.alerts.send("critical", "first")
        slack.wait(1)
        took = []
        for number in range(2_000):
            begun = time.perf_counter_ns()
            p.alerts.send("warning", "Spread", "is wide", {"n": number}, key="spread")
            took.append(time.perf_counter_ns() - begun)
        slack.released.set()
    assert sorted(took)[1_000] < 20_000


def test_many_threads_lose_nothing(slack):
    with Parlour(threaded=True, webhook_url=slack.url).listen() as p:
        threads = [
            threading.Thread(target=lambda t=t: [p.alerts.send("critical", f"{t}-{n}") for n in range(50)])
            for t in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert p.flush()
        assert len(slack.requests) == len(p.got) == 200
        assert p.alerts.counts.delivered == 200
