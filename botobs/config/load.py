"""Who gave what: keywords before the environment, before `botobs.toml`, before the defaults."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botobs.config import values
from botobs.config.table import BY_NAME, SETTINGS, Setting, Settings
from botobs.errors import ConfigError
from botobs.quick import PURE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["load"]

_PREFIX = "BOTOBS_"
# variables of botobs that are no settings of `start`
_OTHER_VARIABLES = frozenset({"BOTOBS_CONFIG", "BOTOBS_PERFORMANCE_ROLLING_WINDOW", "BOTOBS_REAL_SERVERS", PURE})

_Given = dict[str, tuple[object, str]]


def load(
    bot: str, keywords: Mapping[str, object], *, env: Mapping[str, str] = os.environ, cwd: Path | None = Path()
) -> Settings:
    """Find the settings an observer runs with.

    The file is `botobs.toml` in `cwd`, or the one that `BOTOBS_CONFIG` names; its settings stand at the top
    or in a table `[botobs]`. An empty environment variable counts as not set. `None` as a keyword means the
    default, whatever environment and file say (only for `data_dir` is it a value: no disk). The bot's name is
    the one given in code: neither a file nor `OTEL_SERVICE_NAME` overrides it.

    Args:
        bot: The bot's name.
        keywords: What `start` was given.
        env: The environment.
        cwd: Where to look for `botobs.toml`; `None`: nowhere.

    Raises:
        ConfigError: A setting is unknown or wrong: the message names it, who gave it and what is right.
    """
    name = _bot(bot)
    in_file, tables = ({}, {}) if cwd is None else _from_file(env, cwd)
    in_env, warnings = _from_environment(env)
    given = {**in_file, **in_env, **_from_keywords(keywords)}
    found: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for setting in SETTINGS:
        if setting.name not in given:
            continue
        raw, origin = given[setting.name]
        if raw is None and setting.name != "data_dir":
            continue
        found[setting.name] = _parse(setting, raw, origin)
        origins[setting.name] = origin
    settings = Settings(bot=name, tables=tables, warnings=warnings, origins=origins, **found)
    _check_together(settings)
    return settings


def _bot(bot: object) -> str:
    try:
        if isinstance(bot, str) and not str.isprintable(bot):  # stripping would hide a line break at the end
            raise values.Wrong("it has a line break or another character that does not print")
        return values.line(128)(bot)
    except values.Wrong as wrong:
        message = f"the bot's name will not do: {wrong} (given: {values.shown(bot)}); it takes a short text"
    except Exception:
        message = "the bot's name will not do; it takes a short text"
    raise ConfigError(message + ' such as "trend-bot"')


def _from_keywords(keywords: Mapping[str, object]) -> _Given:
    given: _Given = {}
    for name, raw in keywords.items():
        if name not in BY_NAME:
            raise _unknown(name, "keyword")
        given[name] = (raw, "keyword")
    return given


def _from_environment(env: Mapping[str, str]) -> tuple[_Given, tuple[str, ...]]:
    given: _Given = {}
    for setting in SETTINGS:
        for variable in setting.env:
            text = env.get(variable, "").strip()
            if text:
                given[setting.name] = (text, f"environment variable {variable}")
                break
    warnings = []
    known = {variable for setting in SETTINGS for variable in setting.env}
    for variable in sorted(name for name in env if name.startswith(_PREFIX)):
        if variable in known or variable in _OTHER_VARIABLES:
            continue
        name = variable.removeprefix(_PREFIX).lower()
        if name in BY_NAME:
            raise _in_code_only(name, f"environment variable {variable}")
        near = _nearest(name, BY_NAME, 0.8)
        if near is not None:
            raise ConfigError(f"unknown environment variable {variable}; did you mean {_PREFIX}{near.upper()}?")
        warnings.append(f"environment variable {variable} is unknown to botobs and ignored")
    return given, tuple(warnings)


def _from_file(env: Mapping[str, str], cwd: Path) -> tuple[_Given, dict[str, Any]]:
    named = env.get("BOTOBS_CONFIG", "").strip()
    path = cwd / (named or "botobs.toml")
    content = _read(path, required=bool(named))
    origin = f"file {path}"
    given: _Given = {}
    tables: dict[str, Any] = {}
    own = content.pop("botobs", {})
    if not isinstance(own, dict):
        raise ConfigError(f"botobs ({origin}) is wrong: it is {values.shown(own)}; it takes a table [botobs]")
    for name, raw in (*content.items(), *own.items()):
        setting = BY_NAME.get(name)
        if setting is not None and setting.env:
            if name in given:
                raise ConfigError(f"{name} is given twice ({origin}): at the top and in [botobs]")
            given[name] = (raw, origin)
        elif isinstance(raw, dict) or (isinstance(raw, list) and raw and all(isinstance(row, dict) for row in raw)):
            if _nearest(name, ["botobs"], 0.8):
                raise ConfigError(f"unknown table [{name}] ({origin}); did you mean [botobs]?")
            tables[name] = raw
        elif setting is not None:
            raise _in_code_only(name, origin)
        else:
            raise _unknown(name, origin)
    return given, tables


def _read(path: Path, *, required: bool) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            content = file.read()
    except FileNotFoundError:
        if required:
            raise ConfigError(f"there is no file {path}; BOTOBS_CONFIG names it") from None
        return {}
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"the configuration file {path} cannot be read: {reason}") from None
    import tomllib  # noqa: PLC0415  # most bots have no such file

    try:
        return tomllib.loads(content.decode())
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError quotes bytes: only its kind is shown
        reason = error if isinstance(error, tomllib.TOMLDecodeError) else "it is not UTF-8 text in TOML"
        raise ConfigError(f"the configuration file {path} cannot be read: {reason}") from None


def _parse(setting: Setting, raw: object, origin: str) -> Any:
    try:
        if setting.default is None and isinstance(raw, str) and raw.strip().lower() == "none":
            return None
        return setting.parse(raw)
    except values.Wrong as wrong:
        reason = f": {wrong}"
    except Exception:  # other reasons may quote the value
        reason = ""
    shown = "***" if setting.secret else values.shown(raw)
    raise ConfigError(f"{setting.name} = {shown} ({origin}) is wrong{reason}; it takes {_plain(setting.takes)}")


def _check_together(settings: Settings) -> None:
    if settings.mode == "backtest":
        if settings.clock is None:
            raise ConfigError(
                f"clock = None ({settings.origin('clock')}) is wrong: mode = 'backtest' "
                f"({settings.origin('mode')}) needs one; it takes {_plain(BY_NAME['clock'].takes)}"
            )
    elif settings.data_dir is None:
        raise ConfigError(
            f"data_dir = None ({settings.origin('data_dir')}) is wrong: a bot in mode = 'live' needs a disk; "
            "it takes a directory, and None only with mode = 'backtest'"
        )


def _unknown(name: object, origin: str) -> ConfigError:
    # the value is not shown: under a name nobody knows, anything may be a secret
    near = _named_in_part(name) or _nearest(name, BY_NAME, 0.6)
    hint = f"did you mean {near}?" if near else f"the settings are {', '.join(sorted(BY_NAME))}"
    return ConfigError(f"unknown setting {_named(name)} ({origin}); {hint}")


def _in_code_only(name: str, origin: str) -> ConfigError:
    takes = _plain(BY_NAME[name].takes)
    return ConfigError(
        f"{name} ({origin}) is wrong: it can only be given in code, as a keyword of start; it takes {takes}"
    )


def _named_in_part(name: object) -> str | None:
    """The settings of which `name` is a word: `port` of `prometheus_port`."""
    word = name.lower() if isinstance(name, str) else ""
    found = [each for each in BY_NAME if word in each.split("_")]
    return " or ".join(found) if len(found) <= 3 else None  # more of them say nothing


def _nearest(name: object, names: Iterable[str], cutoff: float) -> str | None:
    if not isinstance(name, str):
        return None
    import difflib  # noqa: PLC0415  # only mistakes need it

    near = difflib.get_close_matches(name.lower().replace("-", "_")[:64], names, 1, cutoff)
    return near[0] if near else None


def _named(name: object) -> str:
    return name if isinstance(name, str) and name.isidentifier() and len(name) < 80 else values.shown(name)


def _plain(takes: str) -> str:
    return takes.replace("`", "")
