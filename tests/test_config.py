"""Settings: every one, from every side, right and wrong."""

from __future__ import annotations

import datetime as dt
import enum
import subprocess
import sys
import zoneinfo
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings as hypothesis_settings, strategies as st

from botobs.config import SETTINGS, Settings, load, seconds, table_markdown
from botobs.errors import ConfigError

WEBHOOK = "https://hooks.slack.com/services/T0/B0/verysecret"


class Ticking:
    def time_ns(self) -> int:
        return 1

    def perf_ns(self) -> int:
        return 1


class Trigger:
    pass


class Provider:
    def get_tracer(self) -> None: ...
    def get_meter(self) -> None: ...


class Mode(enum.StrEnum):
    LIVE = "live"


class Hostile:
    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("hostile")

    def __repr__(self) -> str:
        raise RuntimeError("hostile")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("hostile")

    __hash__ = None  # type: ignore[assignment]


class HostileText(str):
    def lower(self) -> str:
        raise RuntimeError("hostile")

    def strip(self, *_: object) -> str:
        raise RuntimeError("hostile")

    def __repr__(self) -> str:
        raise RuntimeError("hostile")


def read(tmp_path: Path, env: dict[str, str] | None = None, **keywords: object) -> Settings:
    return load("b", keywords, env=env or {}, cwd=tmp_path)


def refused(tmp_path: Path, env: dict[str, str] | None = None, **keywords: object) -> str:
    try:
        read(tmp_path, env, **keywords)
    except ConfigError as error:
        message = str(error)
    else:
        pytest.fail(f"taken: {list(map(type, keywords.values()))}, {env}")
    assert "\n" not in message
    assert len(message) < 1000
    return message


# --- the table -----------------------------------------------------------------------------------------------

CONTRACT = """
    data_dir starting_equity timezone cost_basis durability rotate_bytes rotate_days keep_traces prometheus_port
    prometheus_host otlp_endpoint slack_webhook_url kill_switch health_every queue_size namespace bot_version redact
    strict ledger currency sharpe_bucket days_per_year equity_floor max_position_age clock
    redis_url redis_stream redis_prefix redis_field redis_maxlen redis_stream_maxlen
    tracer_provider meter_provider mode
    migrate_csv performance_rolling_window performance_store
    backup_url backup_every backup_keep
    slack_bot_token slack_channel alert_cooldown alert_drawdown
    alert_same_bar feed_silence funding_age accrue_funding feature_age stale_features
    prometheus_token prometheus_tls_cert prometheus_tls_key
"""


def test_the_table_has_every_setting_of_the_contract_and_no_other() -> None:
    assert sorted(row.name for row in SETTINGS) == sorted(CONTRACT.split())
    for row in SETTINGS:
        assert row.meaning.endswith(".")
        assert row.takes
        assert row.env == () or row.env[0] == f"BOTOBS_{row.name.upper()}"
    assert {row.name for row in SETTINGS if not row.env} == {
        "clock", "tracer_provider", "meter_provider", "kill_switch"
    }  # fmt: skip


def test_defaults(tmp_path: Path) -> None:
    found = read(tmp_path)
    assert {row.name: getattr(found, row.name) for row in SETTINGS} == {row.name: row.default for row in SETTINGS}
    assert (found.data_dir, found.rotate_bytes, found.rotate_days) == (Path("data"), 64_000_000, 1)
    assert (found.keep_traces, found.prometheus_port, found.prometheus_host) == ("tail", None, "127.0.0.1")
    assert (found.namespace, found.days_per_year, found.health_every) == ("bot", 365, 60)
    assert (found.cost_basis, found.durability, found.timezone, found.currency) == (
        "average",
        "fsync",
        "UTC",
        "USD",
    )
    assert found.ledger is True
    assert found.strict is False
    assert all(found.origin(row.name) == "default" for row in SETTINGS)
    assert found.warnings == ()


@pytest.mark.parametrize("row", SETTINGS, ids=lambda row: row.name)
def test_each_default_is_what_its_own_parser_would_make_of_it(row: Any) -> None:
    if row.default is not None and row.default != ():
        assert row.parse(row.default) == row.default


def test_settings_are_frozen(tmp_path: Path) -> None:
    with pytest.raises(AttributeError):
        read(tmp_path).strict = True  # type: ignore[misc]


def test_the_documentation_table_has_a_row_for_each_setting() -> None:
    lines = table_markdown().splitlines()
    assert len(lines) == len(SETTINGS) + 2
    for line, row in zip(lines[2:], SETTINGS, strict=True):
        assert line.startswith(f"| `{row.name}` |")
        assert line.count("|") - line.count("\\|") == 6
        assert all(name in line for name in row.env)
    assert "`'data'`" in table_markdown()


# --- right values --------------------------------------------------------------------------------------------

CLOCK, PROVIDER, TRIGGER = Ticking(), Provider(), Trigger()

RIGHT: list[tuple[str, object, object]] = [
    ("data_dir", "x/y", Path("x/y")),
    ("data_dir", Path("x"), Path("x")),
    ("mode", "LIVE", "live"),
    ("mode", Mode.LIVE, "live"),
    ("bot_version", " 1.2 ", "1.2"),
    ("namespace", "my_bot2", "my_bot2"),
    ("keep_traces", "none", "none"),
    ("keep_traces", "all", "all"),
    ("rotate_bytes", "64MB", 64_000_000),
    ("rotate_bytes", "64 MiB", 64 * 1024**2),
    ("rotate_bytes", "1.5 GB", 1_500_000_000),
    ("rotate_bytes", "2k", 2000),
    ("rotate_bytes", "1_000", 1000),
    ("rotate_bytes", "512 B", 512),
    ("rotate_bytes", 1e6, 1_000_000),
    ("rotate_bytes", 1, 1),
    ("rotate_days", 1, 1.0),
    ("rotate_days", "0.5", 0.5),
    ("rotate_days", np.float32(0.5), 0.5),
    ("rotate_days", Decimal("0.5"), 0.5),
    ("queue_size", "50_000", 50_000),
    ("queue_size", np.int64(5), 5),
    ("queue_size", Decimal(5), 5),
    ("prometheus_port", 0, 0),
    ("prometheus_port", " 9464 ", 9464),
    ("prometheus_host", "0.0.0.0", "0.0.0.0"),
    ("prometheus_host", "::1", "::1"),
    ("prometheus_host", "localhost", "localhost"),
    ("prometheus_token", " s3cret/+~._-== ", "s3cret/+~._-=="),
    ("prometheus_tls_cert", "x/cert.pem", Path("x/cert.pem")),
    ("prometheus_tls_key", Path("key.pem"), Path("key.pem")),
    ("otlp_endpoint", "http://localhost:4318", "http://localhost:4318"),
    ("otlp_endpoint", "https://u:p@collector/v1", "https://u:p@collector/v1"),
    ("redact", ["pin", "pin", "otp"], ("pin", "otp")),
    ("redact", {"b", "a"}, ("a", "b")),
    ("redact", "pin, otp,", ("pin", "otp")),
    ("redact", (), ()),
    ("strict", True, True),
    ("strict", "ON", True),
    ("strict", "no", False),
    ("ledger", "0", False),
    ("clock", CLOCK, CLOCK),
    ("tracer_provider", PROVIDER, PROVIDER),
    ("meter_provider", PROVIDER, PROVIDER),
    ("timezone", "Europe/Berlin", "Europe/Berlin"),
    ("timezone", "utc", "UTC"),
    ("timezone", dt.UTC, "UTC"),
    ("timezone", zoneinfo.ZoneInfo("Asia/Tokyo"), "Asia/Tokyo"),
    ("starting_equity", 10_000, Decimal(10_000)),
    ("starting_equity", 0.1, Decimal("0.1")),
    ("starting_equity", np.float64(0.1), Decimal("0.1")),
    ("starting_equity", np.int64(7), Decimal(7)),
    ("starting_equity", "10_000.50", Decimal("10000.50")),
    ("starting_equity", 0, Decimal(0)),
    ("equity_floor", Decimal("1e-8"), Decimal("1e-8")),
    ("currency", "usdt", "USDT"),
    ("cost_basis", "fifo", "fifo"),
    ("durability", "os", "os"),
    ("max_position_age", "6h", 21_600.0),
    ("max_position_age", dt.timedelta(days=1), 86_400.0),
    ("sharpe_bucket", "hour", "hour"),
    ("days_per_year", 252, 252.0),
    ("performance_rolling_window", "50", 50),
    ("performance_store", " s3://bucket/bot ", "s3://bucket/bot"),
    ("backup_url", " s3://bucket/bot ", "s3://bucket/bot"),
    ("backup_every", "15m", 900.0),
    ("backup_keep", "48", 48),
    ("migrate_csv", "old.csv", Path("old.csv")),
    ("kill_switch", [TRIGGER], (TRIGGER,)),
    ("kill_switch", [], ()),
    ("health_every", "90", 90),
    ("otlp_endpoint", "grpc://collector:4317", "grpc://collector:4317"),
    ("slack_webhook_url", WEBHOOK, WEBHOOK),
    ("slack_webhook_url", "http://127.0.0.1:5000/x", "http://127.0.0.1:5000/x"),
    ("slack_bot_token", " xoxb-1-2-three ", "xoxb-1-2-three"),
    ("slack_channel", "#alerts", "#alerts"),
    ("slack_channel", "C0123ABC", "C0123ABC"),
    ("alert_cooldown", "30m", 1800.0),
    ("alert_cooldown", dt.timedelta(hours=2), 7200.0),
    ("alert_cooldown", 90, 90.0),
    ("alert_drawdown", "0.1", 0.1),
    ("alert_drawdown", Decimal("0.02"), 0.02),
    ("alert_drawdown", 1, 1.0),
    ("alert_same_bar", "no", False),
    ("feed_silence", "1m", 60.0),
    ("funding_age", dt.timedelta(hours=8), 28_800.0),
    ("accrue_funding", "no", False),
    ("feature_age", 90, 90.0),
    ("stale_features", "0", 0),
    ("redis_url", "unix:///run/redis.sock", "unix:///run/redis.sock"),
    ("redis_url", "redis://:pw@localhost:6379/0", "redis://:pw@localhost:6379/0"),
    ("redis_stream", "trading:fills", "trading:fills"),
    ("redis_prefix", "desk", "desk"),
    ("redis_field", "data", "data"),
    ("redis_maxlen", "1000", 1000),
    ("redis_stream_maxlen", 5, 5),
]


@pytest.mark.parametrize(("name", "raw", "value"), RIGHT, ids=[f"{row[0]}{i}" for i, row in enumerate(RIGHT)])
def test_right_values(tmp_path: Path, name: str, raw: object, value: object) -> None:
    found = read(tmp_path, **{name: raw})
    assert getattr(found, name) == value
    assert type(getattr(found, name)) is type(value)
    assert found.origin(name) == "keyword"


@pytest.mark.parametrize("name", [row.name for row in SETTINGS])
def test_each_setting_has_a_right_value_in_these_tests(name: str) -> None:
    assert any(name == row[0] for row in RIGHT)


# --- wrong values --------------------------------------------------------------------------------------------

NAN, INF = float("nan"), float("inf")
ANYWHERE: list[object] = [object(), Hostile(), b"x", {"a": 1}, 3j, HostileText("x"), "", "  ", "a\nb", [None]]
WRONG: dict[str, list[object]] = {
    "data_dir": ["", "  ", 5, b"x", "a\0b", True, ["x"], "\ud800x", Hostile()],
    "mode": ["paper", 1, True, *ANYWHERE],
    "bot_version": [1.10, 5, "x" * 300, *ANYWHERE[:5], "a\nb"],
    "namespace": ["9bot", "bot-x", "bot_", "b ot", "x" * 65, "bót", 1, *ANYWHERE[:5]],
    "keep_traces": ["some", True, *ANYWHERE],
    "rotate_bytes": [0, -1, "64XB", "-5MB", "i", "5ib", NAN, INF, 1.5, True, "1e999MB", 10**30, Decimal("1e999999"),
                     Decimal("sNaN"), "9" * 5000, *ANYWHERE],
    "rotate_days": [0, -1, NAN, INF, "nan", "inf", True, 40_000, 10**400, *ANYWHERE],
    "queue_size": [0, -5, 1.5, NAN, True, "many", 10**9, "9" * 5000, 10**5000, *ANYWHERE],
    "prometheus_port": [-1, 65_536, True, False, "http", 80.5, NAN, "tcp://10.0.0.1:9090", *ANYWHERE],
    "prometheus_host": ["http://x", "x:9464", "a b", "-x", 127, True, *ANYWHERE[:5], "a\nb", ""],
    "prometheus_token": [5, "x" * 1001, "two words", "töken", True, *ANYWHERE[:5], "a\nb", ""],
    "prometheus_tls_cert": ["", "  ", 5, b"x", "a\0b", True, ["x"], Hostile()],
    "prometheus_tls_key": ["", "  ", 5, b"x", "a\0b", True, ["x"], Hostile()],
    "otlp_endpoint": ["localhost:4318", "ftp://x", "http://", "http:x", "http://x:99999", "http://x:y", "http://x:0",
                      "http://[", "http://a b", 4318, True, *ANYWHERE],
    "redact": [5, [5], [""], ["a\nb"], {"a": 1}, True, object(), Hostile(), b"x", ["x" * 300]],
    "strict": ["maybe", 2, 1.0, 1, *ANYWHERE],
    "ledger": ["maybe", 2, *ANYWHERE],
    "clock": [5, "now", Ticking, Hostile(), object(), True],
    "tracer_provider": [5, "x", Provider, Hostile(), object()],
    "meter_provider": [5, "x", Provider, Hostile(), object()],
    "timezone": ["Mars/Olympus", "Europe", "../etc/passwd", "/etc/passwd", "x" * 300, "\ud800", 1, True, *ANYWHERE],
    "starting_equity": [NAN, INF, -1, "-0.01", True, "10,000", "ten", Decimal("NaN"), Decimal("sNaN"), "nan",
                        Decimal("1e999999"), "1e-999", 10**40, np.float64("nan"), 1j, *ANYWHERE],
    "equity_floor": [NAN, -5, False, "low", *ANYWHERE],
    "currency": ["$", "U", "x" * 20, "a b", 840, True, *ANYWHERE[:5]],
    "cost_basis": ["lifo", True, *ANYWHERE],
    "durability": ["none", "sync", True, *ANYWHERE],
    "max_position_age": [0, -1, "0s", "6 parsecs", "h", NAN, INF, True, dt.timedelta(0), dt.timedelta(days=-1), 10**20,
                         "1" * 400, *ANYWHERE],
    "sharpe_bucket": ["week", 1, True, *ANYWHERE],
    "days_per_year": [0, -1, 367, NAN, True, "many", *ANYWHERE],
    "performance_rolling_window": [0, -1, 1.5, NAN, True, "many", 10**9, *ANYWHERE],
    "performance_store": [5, True, "x" * 3_000, *ANYWHERE[:5], "a\nb"],
    "backup_url": [5, True, "x" * 3_000, *ANYWHERE[:5], "a\nb"],
    "backup_every": [0, -1, "0s", "6 parsecs", NAN, INF, True, *ANYWHERE],
    "backup_keep": [0, -1, 1.5, NAN, INF, True, "many", *ANYWHERE],
    "migrate_csv": ["", "  ", 5, b"x", "a\0b", True, ["x"], Hostile()],
    "kill_switch": [Trigger(), "drawdown", [None], ["x"], [5], [Trigger], {}, True, 5, Hostile()],
    "health_every": [0, -60, "soon", NAN, True, *ANYWHERE],
    "slack_webhook_url": ["hooks.slack.com/x", "https://", "slack", 5, True, *ANYWHERE],
    "slack_bot_token": [5, "x" * 400, *ANYWHERE[:5], "a\nb", True],
    "slack_channel": [5, "x" * 300, *ANYWHERE[:5], "a\nb", True],
    "alert_cooldown": [0, -1, "0s", "6 parsecs", NAN, INF, True, dt.timedelta(0), "soon", *ANYWHERE],
    "alert_same_bar": ["maybe", 5, *ANYWHERE],
    "feed_silence": [0, -1, "0s", "6 parsecs", NAN, INF, True, *ANYWHERE],
    "funding_age": [0, -1, "0s", "6 parsecs", NAN, INF, True, *ANYWHERE],
    "accrue_funding": ["maybe", 5, *ANYWHERE],
    "feature_age": [0, -1, "0s", "6 parsecs", NAN, INF, True, *ANYWHERE],
    "stale_features": [-1, 1.5, 10_000, NAN, INF, True, "many", *ANYWHERE],
    "alert_drawdown": [0, -0.1, 1.1, NAN, INF, True, "5%", "much", *ANYWHERE],
    "redis_url": ["localhost", "http://localhost", "redis://", "unix://", 6379, True, *ANYWHERE],
    "redis_stream": [5, "x" * 300, *ANYWHERE[:5], "a\nb", True],
    "redis_prefix": [5, "x" * 300, *ANYWHERE[:5], "a\nb", True],
    "redis_field": [5, "x" * 300, *ANYWHERE[:5], "a\nb", True],
    "redis_stream_maxlen": [0, -1, 1.5, NAN, INF, True, "many", *ANYWHERE],
    "redis_maxlen": [0, -1, 1.5, NAN, INF, True, "many", *ANYWHERE],
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_values_name_the_setting_who_gave_it_and_what_is_right(tmp_path: Path, name: str) -> None:
    takes = next(row.takes for row in SETTINGS if row.name == name).replace("`", "")
    for nth, raw in enumerate(WRONG[name]):
        message = refused(tmp_path, **{name: raw})
        assert message.startswith(f"{name} = "), nth
        assert "(keyword)" in message, nth
        assert message.endswith(f"; it takes {takes}"), nth


def test_each_setting_has_wrong_values_in_these_tests() -> None:
    assert set(WRONG) == {row.name for row in SETTINGS}


def test_messages_show_the_value_and_the_reason(tmp_path: Path) -> None:
    assert refused(tmp_path, prometheus_port=70_000) == (
        "prometheus_port = 70000 (keyword) is wrong: it is out of range; "
        "it takes a port from 0 to 65535 (0: any free one) or None"
    )
    assert refused(tmp_path, queue_size=True).startswith(
        "queue_size = True (keyword) is wrong: true and false are no numbers; "
    )
    assert refused(tmp_path, kill_switch=["x"]).startswith(
        "kill_switch = a list (keyword) is wrong: an entry is a str, not a trigger; "
    )


# --- secrets -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "raw", "secret"),
    [
        ("slack_webhook_url", "hooks.slack.com/services/T0/B0/verysecret", "verysecret"),
        ("slack_webhook_url", "https://example.org:port/verysecret", "verysecret"),
        ("redis_url", "http://:verysecret@localhost", "verysecret"),
        ("namespace", WEBHOOK, "verysecret"),
        ("prometheus_port", "xoxb-verysecret", "verysecret"),
        ("prometheus_token", "verysecret with a space", "verysecret"),
        ("otlp_endpoint", "https://user:verysecret@host:port", "verysecret"),
        ("otlp_endpoint", "user:very/secret@host", "secret"),
        ("otlp_endpoint", "ftp://host?token=verysecret", "verysecret"),
        ("otlp_endpoint", "ftp://host#token=very\nsecret", "secret"),
        ("otlp_endpoint", {"authorization": "verysecret"}, "verysecret"),
        ("redact", [b"verysecret"], "verysecret"),
        ("slack_webhok_url", WEBHOOK, "verysecret"),
    ],
)
def test_no_message_shows_a_secret(tmp_path: Path, name: str, raw: object, secret: str) -> None:
    assert secret not in refused(tmp_path, **{name: raw})
    if isinstance(raw, str):
        assert secret not in refused(tmp_path, {f"BOTOBS_{name.upper()}": raw})


def test_repr_hides_secrets(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        slack_webhook_url=WEBHOOK,
        redis_url="redis://:hidden@h",
        prometheus_token="hidden",
        otlp_endpoint="http://u:hidden@h",
        clock=CLOCK,
        queue_size=7,
    )
    assert repr(found) == (
        "Settings(bot='b', queue_size=7, prometheus_token=***, otlp_endpoint='***@h', clock=a Ticking, "
        "slack_webhook_url=***, redis_url=***)"
    )
    assert found.slack_webhook_url == WEBHOOK


# --- where from ----------------------------------------------------------------------------------------------


def test_keywords_before_environment_before_file_before_defaults(tmp_path: Path) -> None:
    (tmp_path / "botobs.toml").write_text(
        'queue_size = 3\nnamespace = "f"\nrotate_days = 3\n[botobs]\nstrict = true\ncurrency = "EUR"\n'
    )
    env = {"BOTOBS_QUEUE_SIZE": "2", "BOTOBS_NAMESPACE": "e", "BOTOBS_STRICT": "off"}
    found = read(tmp_path, env, queue_size=1)
    file = f"file {tmp_path / 'botobs.toml'}"
    assert (found.queue_size, found.origin("queue_size")) == (1, "keyword")
    assert (found.namespace, found.origin("namespace")) == ("e", "environment variable BOTOBS_NAMESPACE")
    assert (found.strict, found.origin("strict")) == (False, "environment variable BOTOBS_STRICT")
    assert (found.rotate_days, found.origin("rotate_days")) == (3.0, file)
    assert (found.currency, found.origin("currency")) == ("EUR", file)
    assert (found.mode, found.origin("mode")) == ("live", "default")
    with pytest.raises(KeyError):
        found.origin("nonsense")


def test_a_wrong_value_that_nobody_uses_does_not_matter(tmp_path: Path) -> None:
    assert read(tmp_path, {"BOTOBS_QUEUE_SIZE": "many"}, queue_size=5).queue_size == 5


def test_wrong_values_of_environment_and_file_name_them(tmp_path: Path) -> None:
    assert "(environment variable BOTOBS_STRICT)" in refused(tmp_path, {"BOTOBS_STRICT": "maybe"})
    (tmp_path / "botobs.toml").write_text("health_every = nan\n")
    message = refused(tmp_path)
    assert message.startswith("health_every = nan (file ")
    assert "botobs.toml" in message


def test_none_means_the_default_over_environment_and_file(tmp_path: Path) -> None:
    (tmp_path / "botobs.toml").write_text('cost_basis = "fifo"\n')
    found = read(tmp_path, {"BOTOBS_PROMETHEUS_PORT": "9464"}, prometheus_port=None, cost_basis=None, queue_size=None)
    assert (found.prometheus_port, found.cost_basis, found.queue_size) == (None, "average", 50_000)
    assert found.origin("prometheus_port") == found.origin("cost_basis") == "default"


def test_text_none_switches_off_what_a_file_switched_on(tmp_path: Path) -> None:
    (tmp_path / "botobs.toml").write_text("prometheus_port = 9464\n")
    assert read(tmp_path, {"BOTOBS_PROMETHEUS_PORT": "None"}).prometheus_port is None
    assert read(tmp_path, {"BOTOBS_KEEP_TRACES": "none"}).keep_traces == "none"
    assert "queue_size" in refused(tmp_path, {"BOTOBS_QUEUE_SIZE": "none"})


@pytest.mark.parametrize("text", ["", "  "])
def test_an_empty_variable_counts_as_not_set(tmp_path: Path, text: str) -> None:
    found = read(tmp_path, {"BOTOBS_PROMETHEUS_PORT": text, "SLACK_WEBHOOK_URL": text, "BOTOBS_CONFIG": text})
    assert found.prometheus_port is None
    assert found.slack_webhook_url is None


def test_slack_variable_of_the_world_and_our_own(tmp_path: Path) -> None:
    other = WEBHOOK.replace("very", "less")
    assert read(tmp_path, {"SLACK_WEBHOOK_URL": WEBHOOK}).slack_webhook_url == WEBHOOK
    both = read(tmp_path, {"SLACK_WEBHOOK_URL": WEBHOOK, "BOTOBS_SLACK_WEBHOOK_URL": other})
    assert both.slack_webhook_url == other
    assert both.origin("slack_webhook_url") == "environment variable BOTOBS_SLACK_WEBHOOK_URL"


def test_the_name_given_in_code_wins(tmp_path: Path) -> None:
    assert read(tmp_path, {"OTEL_SERVICE_NAME": "other"}).bot == "b"


# --- unknown names -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("prometheus_prot", "prometheus_port"),
        ("DATA_DIR", "data_dir"),
        ("rotate_byte", "rotate_bytes"),
        ("modus", "mode"),
        ("port", "prometheus_port"),
        ("equity", "starting_equity or equity_floor"),
        ("Endpoint", "otlp_endpoint"),
        ("prometheus", "prometheus_port"),
    ],
)
def test_unknown_keywords_say_what_was_meant(tmp_path: Path, name: str, near: str) -> None:
    assert refused(tmp_path, **{name: 1}) == f"unknown setting {name} (keyword); did you mean {near}?"


def test_an_unknown_name_like_no_other_lists_all(tmp_path: Path) -> None:
    message = refused(tmp_path, zzzzzz=1)
    assert message.startswith(
        "unknown setting zzzzzz (keyword); the settings are accrue_funding, alert_cooldown, alert_drawdown, "
    )


def test_unknown_names_in_the_file(tmp_path: Path) -> None:
    file = tmp_path / "botobs.toml"
    for text in ("data-dir = 1", "[botobs]\ndata-dir = 1"):
        file.write_text(text)
        assert refused(tmp_path) == f"unknown setting 'data-dir' (file {file}); did you mean data_dir?"
    file.write_text("[botob]\nstrict = true")
    assert refused(tmp_path) == f"unknown table [botob] (file {file}); did you mean [botobs]?"
    file.write_text("strict = true\n[botobs]\nstrict = false")
    assert refused(tmp_path) == f"strict is given twice (file {file}): at the top and in [botobs]"
    file.write_text("botobs = 5")
    assert refused(tmp_path).startswith(f"botobs (file {file}) is wrong: it is 5;")
    file.write_text("clock = 5")
    assert refused(tmp_path).startswith(f"clock (file {file}) is wrong: it can only be given in code")


def test_unknown_variables(tmp_path: Path) -> None:
    message = refused(tmp_path, {"BOTOBS_DATADIR": "x"})
    assert message == "unknown environment variable BOTOBS_DATADIR; did you mean BOTOBS_DATA_DIR?"
    assert refused(tmp_path, {"BOTOBS_CLOCK": "x"}).startswith(
        "clock (environment variable BOTOBS_CLOCK) is wrong: it can only be given in code"
    )
    known = {
        "BOTOBS_PERFORMANCE_ROLLING_WINDOW": "20",
        "BOTOBS_REAL_SERVERS": "1",
        "OTEL_SDK_DISABLED": "true",
    }
    service = {"BOTOBS_SERVICE_HOST": "h", "BOTOBS_PORT": "tcp://h:1", "BOTOBS_PORT_9464_TCP_ADDR": "h"}
    found = read(tmp_path, known | service)
    assert [text.split()[2] for text in found.warnings] == sorted(service)
    assert all("unknown" in text for text in found.warnings)


# --- the file ------------------------------------------------------------------------------------------------


def test_other_tables_are_kept_for_their_rooms(tmp_path: Path) -> None:
    (tmp_path / "botobs.toml").write_text(
        '[fees]\ntaker = "0.1"\n[[targets]]\nwin_rate = 0.5\n[kill_switch]\ndrawdown = 0.1\n[botobs.rules]\na = 1\n'
    )
    assert read(tmp_path).tables == {
        "fees": {"taker": "0.1"},
        "targets": [{"win_rate": 0.5}],
        "kill_switch": {"drawdown": 0.1},
        "rules": {"a": 1},
    }


def test_another_file_named_by_the_environment(tmp_path: Path) -> None:
    (tmp_path / "botobs.toml").write_text("queue_size = 1")
    (tmp_path / "other.toml").write_text("queue_size = 2")
    assert read(tmp_path, {"BOTOBS_CONFIG": "other.toml"}).queue_size == 2
    assert read(tmp_path, {"BOTOBS_CONFIG": str(tmp_path / "other.toml")}).queue_size == 2
    message = refused(tmp_path, {"BOTOBS_CONFIG": "missing.toml"})
    assert message == f"there is no file {tmp_path / 'missing.toml'}; BOTOBS_CONFIG names it"


@pytest.mark.parametrize("content", [b"queue_size = ", b"\xff\xfe", b"a = " + b"[" * 50_000, b"\0", b"a=1\na=2"])
def test_a_file_that_is_no_toml(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "botobs.toml").write_bytes(content)
    assert f"{tmp_path / 'botobs.toml'} cannot be read: " in refused(tmp_path)


def test_a_directory_in_place_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "botobs.toml").mkdir()
    assert "cannot be read: Is a directory" in refused(tmp_path)
    assert "cannot be read: " in refused(tmp_path, {"BOTOBS_CONFIG": "a\0b"})


# --- the name, and settings that belong together -------------------------------------------------------------


@pytest.mark.parametrize(
    ("bot", "reason"),
    [
        ("", "empty"), ("  ", "empty"), ("a\nb", "line break"), ("a\n", "line break"), ("x" * 1000, "1000 characters"), (5, "not text"),
        (None, "not text"), ("\ud800", "does not print"), (b"bot", "not text"), (WEBHOOK + "\n\nx", "line break"),
    ],
)  # fmt: skip
def test_odd_names_are_refused_with_a_reason(tmp_path: Path, bot: Any, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason) as caught:
        load(bot, {}, env={}, cwd=tmp_path)
    assert str(caught.value).startswith("the bot's name will not do")
    assert "verysecret" not in str(caught.value)


@pytest.mark.parametrize("kind", [Hostile, lambda: HostileText("x\n")])
def test_hostile_names_are_refused(tmp_path: Path, kind: Any) -> None:
    bot = kind()
    with pytest.raises(ConfigError, match="the bot's name"):
        load(bot, {}, env={}, cwd=tmp_path)


@pytest.mark.parametrize("bot", ["trend-bot", "βot 7/ETH", "x" * 128, "🤖"])
def test_names_that_will_do(tmp_path: Path, bot: str) -> None:
    assert load(f" {bot} ", {}, env={}, cwd=tmp_path).bot == bot


def test_a_backtest_needs_a_clock_and_no_disk(tmp_path: Path) -> None:
    message = refused(tmp_path, {"BOTOBS_MODE": "backtest"})
    assert message.startswith("clock = None (default) is wrong: mode = 'backtest' (environment variable BOTOBS_MODE)")
    found = read(tmp_path, mode="backtest", clock=CLOCK, data_dir=None)
    assert found.data_dir is None
    assert found.origin("data_dir") == "keyword"
    assert refused(tmp_path, data_dir=None, clock=CLOCK).startswith("data_dir = None (keyword) is wrong")


# --- durations -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        ("30s", 30), ("10m", 600), ("6h", 21_600), ("2d", 172_800), ("1w", 604_800), ("250ms", 0.25), ("1.5 h", 5400),
        ("1h30m", 5400), (" 5 min ", 300), ("10 SEC", 10), ("30", 30), (30, 30), (0, 0), (0.5, 0.5),
        (dt.timedelta(minutes=1), 60), (Decimal("1.5"), 1.5),
    ],
)  # fmt: skip
def test_durations(raw: object, value: float) -> None:
    assert seconds(raw) == value
    assert type(seconds(raw)) is float


@given(st.one_of(st.text("0123456789.smhdw -_e"), st.floats(), st.integers(), st.timedeltas(), st.text()))
def test_anything_is_a_duration_or_refused(raw: object) -> None:
    try:
        found = seconds(raw)
    except (ValueError, TypeError):
        return
    assert 0 <= found <= 36_500 * 86_400


# --- everything ----------------------------------------------------------------------------------------------

ANYTHING = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(), st.decimals(), st.complex_numbers(),
    st.timedeltas(), st.datetimes(), st.lists(st.text(), max_size=3), st.dictionaries(st.text(), st.text(), max_size=2),
    st.sampled_from([Hostile(), HostileText("1"), HostileText("x"), CLOCK, PROVIDER, WEBHOOK, "backtest", "64MB", "1h"]),
)  # fmt: skip
NAMES = st.one_of(st.sampled_from([row.name for row in SETTINGS]), st.from_regex(r"[a-z_]{1,20}", fullmatch=True))


@hypothesis_settings(deadline=None, max_examples=300)
@given(st.dictionaries(NAMES, ANYTHING, max_size=4))
@example({"mode": "backtest"})
def test_any_keywords_give_settings_or_an_error_that_names_one(keywords: dict[str, object]) -> None:
    try:
        found = load("b", keywords, env={}, cwd=Path("/nonexistent"))
    except ConfigError as error:
        assert any(name in str(error) for name in keywords)
        assert "verysecret" not in str(error)
    else:
        assert isinstance(found, Settings)
        assert "verysecret" not in repr(found)


@hypothesis_settings(deadline=None)
@given(st.dictionaries(st.text(), st.text(), max_size=4), st.text())
def test_any_names_and_variables(names: dict[str, str], text: str) -> None:
    for keywords, env in ((names, {}), ({}, {f"BOTOBS_{name}": value for name, value in names.items()})):
        try:
            load("b", keywords, env=env, cwd=Path("/nonexistent"))
        except ConfigError as error:
            assert "\n" not in str(error)
    for row in SETTINGS:
        if row.env:
            try:
                load("b", {}, env={row.env[0]: text}, cwd=Path("/nonexistent"))
            except ConfigError as error:
                assert row.name in str(error)


def test_importing_stays_light() -> None:
    code = "import sys, botobs.config; print(*sorted({'tomllib', 'difflib', 'zoneinfo'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-S", "-c", _with_path(code)], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []


def _with_path(code: str) -> str:
    return f"import sys; sys.path[:0] = {sys.path!r}; {code}"
