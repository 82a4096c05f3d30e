"""The roofline shows every model, those that pass the roof too."""

from __future__ import annotations

import pytest
from matplotlib.figure import Figure

from bench.report.plots import roofline
from bench.report.plots.canvas import Picture
from bench.report.plots.roofline import Roof, Spot


def test_every_model_lies_inside_the_axes(monkeypatch: pytest.MonkeyPatch) -> None:
    figures: list[Figure] = []

    def kept(figure: Figure, name: str, title: str) -> Picture:
        figures.append(figure)
        return draw(figure, name, title)

    draw = roofline.draw
    monkeypatch.setattr(roofline, "draw", kept)
    spots = [Spot("slow", 0.5, 1e8), Spot("far above the roof", 24.0, 3e11)]
    roofline.roofline(spots, Roof(1e11, 2e10), "roofline", "title")

    (axes,) = figures[0].axes
    left, right = axes.get_xlim()
    bottom, top = axes.get_ylim()
    for spot in spots:
        assert left < spot.flops_per_byte < right
        assert bottom < spot.flops_per_second / 1e9 < top
