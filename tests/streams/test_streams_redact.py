"""Secrets are not written."""

import collections
import json
import types

import attrs
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from botobs.streams import Redactor, dumps
from botobs.streams.redact import REDACTED, SECRET_KEYS

SECRET = "hunter2-do-not-tell"
HOOK = "https://hooks.slack.com/services/T024BE7LD/B01ABCDEF/xoxXOXxoxXOX"


@attrs.define
class Login:
    user: str
    api_key: str


@pytest.mark.parametrize(
    "name", [*SECRET_KEYS, "X-API-KEY", "binance_Secret_2", "SLACK_WEBHOOK_URL", "Private-Key", "refreshToken"]
)
@pytest.mark.parametrize("value", [SECRET, 5, [SECRET], {"a": SECRET}, True, b"x"])
def test_each_name_in_any_case_at_any_depth(name, value):
    redactor = Redactor()
    for key in (name, name.upper(), name.title(), f"my{name}s"):
        for record in ({key: value}, {"a": [{"b": {key: value}}]}, {"a": (1, types.MappingProxyType({key: value}))}):
            line = redactor.line(record)
            assert SECRET.encode() not in line
            assert line.count(REDACTED.encode()) == 1


def test_objects_that_become_mappings():
    assert json.loads(Redactor().line({"a": Login("u", SECRET)})) == {"a": {"user": "u", "api_key": REDACTED}}


def test_harmless_records_stay_as_they_are():
    redactor = Redactor()
    record = {
        "ts": "x",
        "role": "passive",
        "key_level": 1.5,
        "features": {"monkey": 1},
        "note": "the token {",
        "n": None,
    }
    for _ in range(3):
        assert redactor.line(record) == dumps(record)
    assert redactor.line({"token": None}) == b'{"token":null}'


@pytest.mark.parametrize("extra", ["Account", "пароль", 'a"b', "a\\b", "my-name", "straße", " "])
def test_extra_names(extra):
    redactor = Redactor([extra])
    for key in (extra, extra.upper(), extra.lower(), f"x{extra}y"):
        for _ in range(2):
            assert json.loads(redactor.line({"a": {key: SECRET}}))["a"] == {key: REDACTED}
    assert redactor.line({"other": 1}) == b'{"other":1}'


def test_no_extra_name_matches_everything():
    assert Redactor([""]).line({"a": 1}) == b'{"a":1}'


@pytest.mark.parametrize(
    "text",
    [
        HOOK,
        f"posting to {HOOK} failed",
        HOOK.replace("https://", ""),
        HOOK.replace("hooks.slack.com", "HOOKS.Slack.com"),
        HOOK.replace("slack.com", "slack-gov.com"),
        HOOK.replace("services", "workflows"),
        HOOK.replace("/", "\\/"),
        HOOK.replace("/", "%2F"),
        "Max retries exceeded with url: /services/T024BE7LD/B01ABCDEF/xoxXOXxoxXOX (Caused by ...)",
    ],
)
def test_slack_webhooks_anywhere(text):
    redactor = Redactor()
    redactor.line({"a": "BTC", "b": {"c": 1}})
    for record in ({"a": text}, {"a": "BTC", "b": {"c": text}}, {"a": [[text]]}, {text: 1}, {"a": ValueError(text)}):
        line = redactor.line(record)
        assert b"xoxXOX" not in line
        assert REDACTED.encode() in line
        orjson.loads(line)
    assert "xoxXOX" not in redactor.text(text)


def test_ordinary_text_is_kept():
    text = "hooks.slack.com refused; see https://example.com/services/list and BTC/USDT"
    assert Redactor().text(text) == text
    assert Redactor().line({"a": text}) == dumps({"a": text})


def test_a_mapping_that_appears_where_a_number_was():
    redactor = Redactor()
    for _ in range(2):
        redactor.line({"a": 1, "b": {"c": 1}})
    assert SECRET.encode() not in redactor.line({"a": {"token": SECRET}, "b": {"c": 1}})
    assert SECRET.encode() not in redactor.line({"a": 1, "b": {"c": {"token": SECRET}}})
    assert SECRET.encode() not in redactor.line({"a": 1, "b": [{"token": SECRET}]})
    assert SECRET.encode() not in redactor.line({"a": 1, "b": {"token": SECRET}})
    assert SECRET.encode() not in redactor.line({"a": Login("u", SECRET), "b": 1})


plain = st.none() | st.integers() | st.text(max_size=5)
names = st.text(st.sampled_from('abKk_-/"{}ſ'), max_size=3)
secret_names = st.builds(
    lambda before, name, after, up: before + (name.upper() if up else name) + after,
    names, st.sampled_from(SECRET_KEYS), names, st.booleans(),
)  # fmt: skip


def wrapped(inner):
    return (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(names, inner, max_size=4)
        | st.dictionaries(names, inner, max_size=4).map(collections.OrderedDict)
        | st.tuples(secret_names, st.dictionaries(names, inner, max_size=3)).map(lambda p: {**p[1], p[0]: f"{SECRET}1"})
        | st.tuples(secret_names, inner).map(lambda p: {p[0]: [SECRET, p[1]]})
    )


shared = Redactor(["ſpecial"])


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(names, st.recursive(plain, wrapped, max_leaves=10), max_size=5))
def test_a_secret_under_a_matching_key_never_appears(record):
    for redactor in (Redactor(), shared, shared):
        line = redactor.line(record)
        assert SECRET.encode() not in line
        orjson.loads(line)
