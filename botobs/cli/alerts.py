"""`botobs alerts test`: whether alerts reach anybody."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from botobs.cli.place import settings_of
from botobs.cli.say import say, say_json

if TYPE_CHECKING:
    import argparse

    from botobs.alerts.answer import Answer

__all__ = ["HELP", "arguments", "run"]

HELP: Final = "send one alert to Slack, as the bot would, and say what Slack answered"


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    actions = parser.add_subparsers(title="actions", metavar="ACTION", dest="action", required=True)
    told = f"{HELP[0].upper()}{HELP[1:]}. Where to is read from the environment and botobs.toml; nothing is recorded."
    actions.add_parser("test", help=HELP, description=told)


def run(options: argparse.Namespace) -> int:
    """Send it; 1 if it did not arrive."""
    from botobs.alerts import Alerts  # noqa: PLC0415  # not for --help
    from botobs.clock import SystemClock  # noqa: PLC0415  # as above
    from botobs.faults import Faults  # noqa: PLC0415  # as above
    from botobs.streams.redact import Redactor  # noqa: PLC0415  # as above

    settings = settings_of(options)
    alerts = Alerts(
        write=lambda _line: None, faults=Faults(), clock=SystemClock(), redactor=Redactor(settings.redact),
        bot=settings.bot, run_id="cli", webhook_url=settings.slack_webhook_url, bot_token=settings.slack_bot_token,
        channel=settings.slack_channel, threaded=False,
    )  # fmt: skip
    answer = alerts.test()
    if options.json:
        say_json(_plain(answer))
    else:
        say([str(answer)])
    return 0 if answer else 1


def _plain(answer: Answer) -> dict[str, Any]:
    return {
        "delivered": answer.delivered, "outcome": answer.outcome, "why": answer.why or None, "status": answer.status,
        "took_s": round(answer.took_s, 3),
    }  # fmt: skip
