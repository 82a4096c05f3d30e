"""Performance profiles: how large a share of seeds and families reaches how much skill."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bench.report.plots.canvas import Label, Style, draw, draw_lines, panel, styled, write_beside
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
    figure, axes = panel("skill (%)", "share with more skill (%)", list(ranks.skills))
    lines, looks, names = [], [], []
    for label, skills in ranks.skills.items():
        look = styles[model[label]]
        share, band = skills.profile(thresholds)
        lines.append(100 * np.column_stack([thresholds, share]))
        if band is not None:
            axes.fill_between(
                100 * thresholds, *(100 * band), color=look.color, alpha=0.15, linewidth=0
            )
        looks.append(look)
        median = np.abs(share - 0.5).argmin()
        names.append(Label(label, 100 * thresholds[-1], 100 * share[median], look.color))
    draw_lines(axes, lines, looks)
    axes.set(xlim=(100 * thresholds[0], 100 * thresholds[-1]), ylim=(-2, 102))
    write_beside(names, axes)
    picture = draw(figure, f"{prefix}-profile", "Performance profile")
    return replace(ranks, plots=((picture,),))
