"""Quality by predicted frame."""

from __future__ import annotations

import pandas as pd
from matplotlib.ticker import MaxNLocator

from bench.report.plots.canvas import (
    Label,
    Plot,
    Style,
    draw,
    draw_lines,
    panel,
    styled,
    write_beside,
)
from bench.score.metrics import PREDICTION


@styled
def horizon_plots(quality: pd.DataFrame, styles: dict[str, Style], prefix: str) -> list[Plot]:
    """Each quality measure against the predicted frame, where there is more than one."""
    found: list[Plot] = []
    for metric in PREDICTION:
        lines = quality[quality["metric"] == metric.name]
        if lines["frame"].nunique() < 2:
            continue
        title = f"test {metric.heading}"
        figure, axes = panel("predicted frame", title, list(lines["label"].unique()))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        models = list(lines.sort_values("frame").groupby("label", sort=False))
        looks = [styles[line["model"].iloc[0]] for _, line in models]
        drawn = [line[["frame", "value"]].to_numpy(float) for _, line in models]
        draw_lines(axes, drawn, looks)
        ends = [
            Label(str(name), line[-1, 0], line[-1, 1], look.color)
            for (name, _), line, look in zip(models, drawn, looks, strict=True)
        ]
        write_beside(ends, axes)
        title = f"{metric.label} by predicted frame"
        found.append((draw(figure, f"{prefix}-horizon-{metric.name}", title),))
    return found
