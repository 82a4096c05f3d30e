"""Quality by predicted frame."""

from __future__ import annotations

import pandas as pd
from matplotlib.ticker import MaxNLocator

from bench.records import QUALITY
from bench.report.collect import HORIZON_METRICS
from bench.report.plots import Label, Plot, Style, axis_title, draw, panel, styled, write_beside


@styled
def horizon_plots(quality: pd.DataFrame, styles: dict[str, Style], prefix: str) -> list[Plot]:
    """Each quality measure against the predicted frame, where there is more than one."""
    found: list[Plot] = []
    for metric in HORIZON_METRICS:
        lines = quality[quality["metric"] == metric]
        if lines["frame"].nunique() < 2:
            continue
        measure = QUALITY["prediction"][metric]
        title = axis_title(measure, "test")
        figure, axes = panel("predicted frame", title, list(lines["label"].unique()))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        ends = []
        for name, line in lines.sort_values("frame").groupby("label"):
            style = styles[line["model"].iloc[0]]
            axes.plot(
                line["frame"],
                line["value"],
                color=style.color,
                linestyle=style.dash,
                marker=style.marker,
                markersize=3,
            )
            last = line.iloc[-1]
            ends.append(Label(str(name), last["frame"], last["value"], style.color))
        axes.autoscale_view()
        write_beside(ends, axes)
        title = f"{measure.label} by predicted frame"
        found.append((draw(figure, f"{prefix}-horizon-{metric}", title),))
    return found
