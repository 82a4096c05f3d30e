"""Performance profiles: how large a share of seeds and families reaches how much skill."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from bench.report.plots.canvas import (
    FONT_SIZE,
    LINE,
    Name,
    Style,
    draw,
    draw_lines,
    label_share,
    of_models,
    panel,
    styled,
)
from bench.report.statistics.ranks import Ranks

POINTS = 101
LOWEST = -1.0
"""Of the skills that are drawn: whoever is further below the trivial predictions is so anyway."""


@styled
def with_profiles(ranks: Ranks, styles: dict[str, Style], prefix: str) -> Ranks:
    """`ranks` with the plot of the models' profiles, where their skills are known.

    Source: E. D. Dolan and J. J. Moré, Mathematical Programming 91 (2002), and Agarwal et al. as
    in `statistics/skills.py`.
    """
    if not ranks.skills:
        return ranks
    values = np.concatenate([skills.values for skills in ranks.skills.values()])
    low, high = max(LOWEST, min(0.0, values.min())), max(values.max(), 0.0)
    margin = 0.05 * (high - low) + 1e-3
    thresholds = np.linspace(low - margin, high + margin, POINTS)
    model = {row.label: row.model for row in ranks.rows}
    best_first = sorted(ranks.skills, key=lambda label: -ranks.skills[label].iqm.value)
    figure, axes = panel("skill (%)", "share with more skill (%)", best_first)
    lines, looks = [], [styles[model[label]] for label in best_first]
    for label, look in zip(best_first, looks, strict=True):
        share, band = ranks.skills[label].profile(thresholds)
        lines.append(100 * np.column_stack([thresholds, share]))
        if band is not None and not look.is_behind:
            filled: Any = {"color": look.color, "alpha": 0.15, "lw": 0, "gid": of_models(label)}
            axes.fill_between(100 * thresholds, *(100 * band), **filled)
    draw_lines(axes, lines, looks, best_first)
    axes.set(xlim=(100 * thresholds[0], 100 * thresholds[-1]), ylim=(0, 100))
    _key(axes, best_first, looks)
    return replace(ranks, plots=((draw(figure, f"{prefix}-profile", "Performance profile"),),))


def _key(axes: Axes, labels: Sequence[str], looks: Sequence[Style]) -> None:
    """Name the lines right of the axes, which all end at the same height, the best at the top."""
    share = label_share(len(labels))
    step = share * LINE / (axes.bbox.height / axes.figure.dpi)
    for place, (label, look) in enumerate(zip(labels, looks, strict=True)):
        height = 1 - (place + 0.5) * step
        sample = Line2D((1.02, 1.07), (height, height), color=look.color)
        sample.set(linestyle=look.dash, linewidth=look.width, gid=of_models(label))
        sample.set(transform=axes.transAxes, clip_on=False)
        axes.add_artist(sample)
        size = share * FONT_SIZE
        axes.add_artist(Name(label, look.ink, (1.09, height), axes.transAxes, size=size))
