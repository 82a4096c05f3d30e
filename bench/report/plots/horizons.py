"""Quality by predicted frame."""

from __future__ import annotations

import pandas as pd
from matplotlib.ticker import MaxNLocator

from bench.report.plots.canvas import (
    INK,
    Label,
    Plot,
    Style,
    draw,
    draw_lines,
    keep_possible,
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
        scale = 100 if metric.unit == "%" else 1
        drawn = [line[["frame", "value"]].to_numpy(float) * (1, scale) for _, line in models]
        draw_lines(axes, drawn, looks, [str(name) for name, _ in models])
        if metric.ratio and metric.ratio.is_gain:  # below which there is no skill
            axes.axhline(0, color=INK, linewidth=0.8)
        keep_possible(axes.yaxis, metric)
        ends = [
            Label(str(name), line[-1, 0], line[-1, 1], look)
            for (name, _), line, look in zip(models, drawn, looks, strict=True)
        ]
        write_beside(ends, axes)
        title = f"{metric.label} by predicted frame"
        found.append((draw(figure, f"{prefix}-horizon-{metric.name}", title),))
    return found
