"""A whole dashboard: rows of panels, the variables on top, and the links between dashboards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    GridPos,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

from botobs.dashboards.source.panels import PROMETHEUS
from botobs.dashboards.source.queries import BOT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from botobs.dashboards.source.panels import Panel

__all__ = ["board"]

_WIDE: Final = 24
_TAG: Final = "botobs"


def board(uid: str, title: str, description: str, rows: Sequence[tuple[str, Sequence[Panel]]]) -> Any:
    """Put panels in rows, from left to right, as many beside each other as fit.

    Args:
        uid: The dashboard's own; links lead to it.
        title: What people see.
        description: What it answers.
        rows: A heading and its panels, each.

    Returns:
        The dashboard, as the SDK models it.
    """
    made = (
        builders.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags([_TAG])
        .editable()
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .time("now-6h", "now")
        .refresh("10s")
        .timezone("browser")
        .link(_others())
        .annotation(_kills())
    )
    for variable in _variables():
        made.with_variable(variable)
    number = y = 0
    for heading, panels in rows:
        number += 1
        made.with_row(builders.Row(heading).id(number).grid_pos(GridPos(h=1, w=_WIDE, x=0, y=y)))
        y += 1
        x = tallest = 0
        for panel in panels:
            if x + panel.width > _WIDE:
                x, y, tallest = 0, y + tallest, 0
            number += 1
            made.with_panel(panel.at(number, x, y))
            x, tallest = x + panel.width, max(tallest, panel.height)
        y += tallest
    return made.build()


def _others() -> builders.DashboardLink:
    return (
        builders.DashboardLink("botobs")
        .type(DashboardLinkType.DASHBOARDS)
        .tags([_TAG])
        .include_vars(include_vars=True)
        .keep_time(keep_time=True)
    )


def _kills() -> builders.AnnotationQuery:
    return (
        builders.AnnotationQuery()
        .name("Kill switch")
        .datasource(PROMETHEUS)
        .enable(enable=True)
        .icon_color("red")
        .expr(f"bot_kill_switch_state{{{BOT}}} > 0")
    )


def _variables() -> list[Any]:
    return [
        builders.DatasourceVariable("datasource").label("Prometheus").type("prometheus"),
        builders.DatasourceVariable("tempo").label("Tempo").type("tempo"),
        _values("job", "Job", "label_values(botobs_queue_depth, job)"),
        _values("instance", "Bot", 'label_values(botobs_queue_depth{job=~"$job"}, instance)'),
        _values("symbol", "Symbol", f"label_values(bot_stage_duration_seconds_count{{{BOT}}}, symbol)"),
    ]


def _values(name: str, label: str, query: str) -> builders.QueryVariable:
    return (
        builders.QueryVariable(name)
        .label(label)
        .datasource(PROMETHEUS)
        .query(query)
        .multi(multi=True)
        .include_all(include_all=True)
        .all_value(".*")
        .current(VariableOption(text="All", value="$__all"))
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
    )
