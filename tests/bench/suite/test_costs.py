"""Counts of parameters and FLOPs that are kept between processes."""

from pathlib import Path

import pytest

from bench.suite import catalogue
from bench.suite.costs import cost_of
from bench.train import cost
from datasets.contract import Spec

SPEC = Spec((1, 16, 16), 2, 1)


@pytest.fixture
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for what is kept."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def _counts(reference: str, **options: object) -> tuple[int, float | None, float | None]:
    found = cost_of(catalogue.model(reference), options, SPEC)
    return found.parameters, found.predict_flops, found.train_flops


def _cannot_count(*_: object) -> None:
    raise AssertionError("counted again")


def test_what_was_counted_is_not_counted_again(
    caches: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = _counts("convlstm", width=4, layers=1)
    assert all(counted)
    monkeypatch.setattr(cost.Cost, "_model", property(_cannot_count))
    assert _counts("convlstm", width=4, layers=1) == counted
    with pytest.raises(AssertionError, match="counted again"):
        _counts("convlstm", width=8, layers=1)


def test_what_one_cell_counts_another_need_not(
    caches: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, options = catalogue.model("convlstm"), {"width": 4, "layers": 1}
    first, second = (cost_of(model, options, SPEC) for _ in range(2))
    assert first.parameters == second.parameters
    counted = first.train_flops
    monkeypatch.setattr(cost.Cost, "_model", property(_cannot_count))
    assert second.train_flops == counted


@pytest.mark.parametrize("content", ["", '{"parameters": 1', "[1]", '{"parameters": "1"}'])
def test_a_damaged_file_is_counted_and_written_anew(caches: Path, content: str) -> None:
    counted = _counts("copy_last")
    (file,) = caches.rglob("*.json")
    whole = file.read_text(encoding="utf-8")
    file.write_text(content, encoding="utf-8")
    assert _counts("copy_last") == counted
    assert file.read_text(encoding="utf-8") == whole


def test_a_folder_that_cannot_be_written_costs_only_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert _counts("copy_last") == (0, 0.0, 0.0)


def test_of_a_users_model_nothing_is_kept(caches: Path, user_models: Path) -> None:
    assert _counts(f"{user_models}:Tiny")[0] == 10
    assert not list(caches.rglob("*.json"))
