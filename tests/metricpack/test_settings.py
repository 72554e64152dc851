"""Settings of the pack: the environment's names, and who wins."""

from __future__ import annotations

from pathlib import Path

import pytest

from botobs.errors import ConfigError
from botobs.metricpack.settings import DEFAULT_STREAM, load_pack

GIVEN = {
    "REDIS_HOST": ("redis_host", "10.1.1.1", "10.1.1.1"),
    "REDIS_PORT": ("redis_port", "6390", 6390),
    "METRICPACK_PORT": ("port", "8061", 8061),
    "METRICPACK_SYMBOLS": ("symbols", "BTCUSDT, ETHUSDT", frozenset({"BTCUSDT", "ETHUSDT"})),
    "METRICPACK_MODE": ("mode", "testnet", "testnet"),
    "APPLY_RESULT_STREAM": ("stream", "other:stream", "other:stream"),
    "METRICPACK_CONSUMER_GROUP": ("group", "mine", "mine"),
}


def test_each_name_of_the_environment_gives_its_setting():
    settings = load_pack(Path("data"), {}, env={name: text for name, (_, text, _) in GIVEN.items()})
    assert {name: getattr(settings, name) for name, _, _ in GIVEN.values()} == {
        name: value for name, _, value in GIVEN.values()
    }


def test_what_holds_when_nobody_says_anything():
    settings = load_pack(Path("data"), {}, env={})
    assert (settings.stream, settings.group) == (None, "metricpack_builder")
    assert DEFAULT_STREAM == "quantum:stream:apply.result"  # with Redis; else the bot's ledger
    assert (settings.port, settings.mode, settings.symbols, settings.uses_redis) == (8051, None, None, False)


def test_flags_win_over_the_environment_and_that_over_the_file():
    table, env = (
        {"group": "file", "stream": "file", "port": 1},
        {"METRICPACK_CONSUMER_GROUP": "env", "METRICPACK_PORT": "2"},
    )
    settings = load_pack(Path("data"), {"port": 3, "stream": None}, table, env)
    assert (settings.stream, settings.group, settings.port) == ("file", "env", 3)


@pytest.mark.parametrize(
    ("env", "table", "says"),
    [
        ({"METRICPACK_MODE": "paper"}, {}, "METRICPACK_MODE.*testnet"),
        ({"METRICPACK_CONSUMER_GRUOP": "x"}, {}, "METRICPACK_CONSUMER_GRUOP.*METRICPACK_CONSUMER_GROUP"),
        ({}, {"gruop": "x"}, "gruop.*group"),
    ],
)
def test_what_is_wrong_is_named_with_what_is_right(env, table, says):
    with pytest.raises(ConfigError, match=says):
        load_pack(Path("data"), {}, table, env)
