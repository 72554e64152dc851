"""Panels in few words: what is the same for all of them stands here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs
from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.builders import dashboard as dashboards
from grafana_foundation_sdk.builders import heatmap, prometheus, stat, statetimeline, table, tempo, timeseries
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models import heatmap as heatmap_models
from grafana_foundation_sdk.models import tempo as tempo_models
from grafana_foundation_sdk.models.dashboard import (
    DashboardLinkType,
    DataSourceRef,
    DataTransformerConfig,
    DynamicConfigValue,
    FieldColorModeId,
    GridPos,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMappingResult,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["PROMETHEUS", "TEMPO", "Panel", "Query", "chart", "figure", "grid", "heat", "states", "traces"]

PROMETHEUS: Final = DataSourceRef(type_val="prometheus", uid="${datasource}")
TEMPO: Final = DataSourceRef(type_val="tempo", uid="${tempo}")
_REF_IDS: Final = "ABCDEFGHIJ"


@attrs.frozen
class Query:
    """A query and the name of what it returns.

    Args:
        expr: In PromQL.
        legend: What a series is called.
        exemplars: Ask for exemplars, too: dots that lead to traces.
    """

    expr: str
    legend: str = "__auto"
    exemplars: bool = False


@attrs.frozen
class Panel:
    """A panel and its size on a grid that is 24 wide.

    Args:
        builder: Makes it.
        width: Of 24.
        height: In units of 30 pixels.
    """

    builder: Any
    width: int
    height: int

    def at(self, number: int, x: int, y: int) -> Any:
        """The builder, with its place."""
        return self.builder.id(number).grid_pos(GridPos(h=self.height, w=self.width, x=x, y=y))


def chart(
    title: str, description: str, unit: str, *queries: Query, width: int = 8, height: int = 8,
    empty: str = "no data yet", links: Mapping[str, str] | None = None, stacked: bool = False, bars: bool = False,
    zero: bool = False,
) -> Panel:  # fmt: skip
    """Lines over time.

    Args:
        title: What it is.
        description: What to see in it.
        unit: Of Grafana's units.
        queries: One for each kind of line.
        width: Of 24.
        height: In units of 30 pixels.
        empty: What is shown without data.
        links: What a click on a line offers: a title and an address.
        stacked: Lines on top of each other.
        bars: Bars instead of lines.
        zero: The axis begins at zero.
    """
    builder = _common(timeseries.Panel(), title, description, unit, empty)
    for target in _targets(queries):
        builder.with_target(target)
    builder.legend(
        common_builders.VizLegendOptions()
        .display_mode(common.LegendDisplayMode.TABLE)
        .placement(common.LegendPlacement.BOTTOM)
        .show_legend(show_legend=True)
        .calcs(["lastNotNull", "min", "max"])
    )
    builder.tooltip(
        common_builders.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI).sort(common.SortOrder.DESCENDING)
    )
    builder.fill_opacity(80 if bars else 8).line_width(1).show_points(common.VisibilityMode.NEVER)
    if bars:
        builder.draw_style(common.GraphDrawStyle.BARS)
    if stacked:
        builder.stacking(common_builders.StackingConfig().mode(common.StackingMode.NORMAL))
    if zero:
        builder.min(0)
    if links:
        builder.data_links([_link(each, address) for each, address in links.items()])
    return Panel(builder, width, height)


def figure(
    title: str, description: str, unit: str, expr: str, *, legend: str = "__auto", width: int = 4, height: int = 4,
    empty: str = "no data yet", steps: Sequence[tuple[float | None, str]] = ((None, "text"),),
    words: Mapping[str, tuple[str, str]] | None = None, decimals: int | None = None,
) -> Panel:  # fmt: skip
    """One large number.

    Args:
        title: What it is.
        description: What it means.
        unit: Of Grafana's units.
        expr: The query; its last value is shown.
        legend: What a series is called, if there are several.
        width: Of 24.
        height: In units of 30 pixels.
        empty: What is shown without data.
        steps: From which value on it has which color.
        words: What is shown instead of a value: text and color.
        decimals: How many; else as many as fit.
    """
    builder = _common(stat.Panel(), title, description, unit, empty)
    builder.with_target(_query(Query(expr, legend), "A").instant())
    builder.reduce_options(common_builders.ReduceDataOptions().calcs(["lastNotNull"]).values(values=False))
    builder.graph_mode(common.BigValueGraphMode.NONE).color_mode(common.BigValueColorMode.VALUE)
    builder.thresholds(_thresholds(steps))
    if words:
        builder.mappings([_words(words)])
    if decimals is not None:
        builder.decimals(decimals)
    return Panel(builder, width, height)


def states(
    title: str, description: str, *queries: Query, words: Mapping[str, tuple[str, str]], width: int = 12,
    height: int = 5, empty: str = "no data yet",
) -> Panel:  # fmt: skip
    """What state something was in over time: `words` has text and color of each value."""
    builder = _common(statetimeline.Panel(), title, description, "none", empty)
    for target in _targets(queries):
        builder.with_target(target)
    builder.mappings([_words(words)]).merge_values(merge_values=True).show_value(common.VisibilityMode.NEVER)
    builder.color_scheme(dashboards.FieldColor().mode(FieldColorModeId.THRESHOLDS))
    return Panel(builder, width, height)


def heat(title: str, description: str, unit: str, expr: str, *, width: int = 12, height: int = 8) -> Panel:
    """How often which value occurred, from the buckets of a histogram."""
    builder = _common(heatmap.Panel(), title, description, unit, "no data yet")
    builder.with_target(_query(Query(expr, "{{le}}", exemplars=True), "A").range().format(PromQueryFormat.HEATMAP))
    builder.calculate(calculate=False).y_axis(heatmap.YAxisConfig().unit(unit))
    builder.color(
        heatmap.HeatmapColorOptions().mode(heatmap_models.HeatmapColorMode.SCHEME).scheme("Oranges").steps(64)
    )
    builder.exemplars_color("rgba(60,120,255,0.9)").show_y_histogram()
    builder.cell_values(heatmap.CellValues().unit("short"))
    return Panel(builder, width, height)


def grid(
    title: str, description: str, by: str, columns: Sequence[tuple[str, str, str]], *, width: int = 24, height: int = 8,
    empty: str = "no data yet",
) -> Panel:  # fmt: skip
    """A table with a line for each value of the label `by`; columns are a title, a unit and a query each."""
    builder = _common(table.Panel(), title, description, "none", empty)
    for ref_id, (_, _, expr) in zip(_REF_IDS, columns, strict=False):
        builder.with_target(_query(Query(expr), ref_id).instant().format(PromQueryFormat.TABLE))
    titles = {f"Value #{ref_id}": name for ref_id, (name, _, _) in zip(_REF_IDS, columns, strict=False)}
    builder.with_transformation(DataTransformerConfig(id_val="joinByField", options={"byField": by, "mode": "outer"}))
    order = {by: 0, **{name: place for place, name in enumerate(titles, 1)}}
    shown = {"include": {"names": list(order)}}
    builder.with_transformation(DataTransformerConfig(id_val="filterFieldsByName", options=shown))
    builder.with_transformation(
        DataTransformerConfig(id_val="organize", options={"indexByName": order, "renameByName": titles})
    )
    for name, unit, _ in columns:
        builder.override_by_name(name, [DynamicConfigValue(id_val="unit", value=unit)])
    return Panel(builder, width, height)


def traces(title: str, description: str, traceql: str, *, width: int = 12, height: int = 8) -> Panel:
    """Traces that a query in TraceQL finds; a click on an id opens the trace."""
    builder = _common(table.Panel(), title, description, "none", "no such trace in the time shown").datasource(TEMPO)
    builder.with_target(
        tempo.TempoQuery()
        .datasource(TEMPO)
        .ref_id("A")
        .query_type("traceql")
        .table_type(tempo_models.SearchTableType.TRACES)
        .limit(30)
        .query(traceql)
    )
    return Panel(builder, width, height)


def _common(builder: Any, title: str, description: str, unit: str, empty: str) -> Any:
    return builder.title(title).description(description).unit(unit).no_value(empty).datasource(PROMETHEUS)


def _targets(queries: Sequence[Query]) -> list[prometheus.Dataquery]:
    return [_query(each, ref_id).range() for ref_id, each in zip(_REF_IDS, queries, strict=False)]


def _query(query: Query, ref_id: str) -> prometheus.Dataquery:
    made = prometheus.Dataquery().ref_id(ref_id).datasource(PROMETHEUS).expr(query.expr).legend_format(query.legend)
    return made.exemplar(exemplar=True) if query.exemplars else made


def _thresholds(steps: Sequence[tuple[float | None, str]]) -> dashboards.ThresholdsConfig:
    found = [Threshold(value=value, color=color) for value, color in steps]
    return dashboards.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(found)


def _words(words: Mapping[str, tuple[str, str]]) -> ValueMap:
    return ValueMap(
        {
            value: ValueMappingResult(text=text, color=color, index=index)
            for index, (value, (text, color)) in enumerate(words.items())
        }
    )


def _link(title: str, address: str) -> dashboards.DashboardLink:
    return dashboards.DashboardLink(title).type(DashboardLinkType.LINK).url(address).target_blank(target_blank=True)
