"""`ls models`: parameters beside those published."""

from __future__ import annotations

import pytest

from bench import cli
from bench.listing import models
from bench.suite import catalogue


def test_published_counts_stand_beside_ours_and_differences_fit_a_narrow_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    few = {name: catalogue.model(name) for name in ("convlstm", "copy_last", "predrnn")}
    monkeypatch.setattr(catalogue, "all_models", lambda: few)
    rows = {(row["name"], row["size"]): row for row in models.rows(lambda _: None)}
    convlstm, predrnn = rows["convlstm", "published"], rows["predrnn", "published"]
    assert convlstm["published"] == 15_083_520
    assert convlstm["parameters"] == 15_083_520 + convlstm["differs"]  # type: ignore[operator]
    assert "take no part" in str(convlstm["why_differs"])
    assert predrnn["published"] == predrnn["parameters"]
    assert predrnn["differs"] == 0
    assert "published" not in rows["convlstm", "small"]
    assert cli.main(["ls", "models"]) == 0
    printed = capsys.readouterr()
    assert "-3407872" in printed.out
    assert "says why" in printed.err
