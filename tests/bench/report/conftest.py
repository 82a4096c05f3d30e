from __future__ import annotations

from typing import Any, TextIO

import pytest
from matplotlib.figure import Figure

from bench.report import page
from bench.report.plots import canvas


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures are made up and named but empty, where a test reads the words of a report alone."""

    def empty(_: Figure, out: TextIO, **__: Any) -> None:
        out.write("<svg></svg>")

    monkeypatch.setattr(canvas, "_png", lambda _: b"")
    monkeypatch.setattr(page, "pdf", lambda *_, **__: b"")
    monkeypatch.setattr(Figure, "savefig", empty)
