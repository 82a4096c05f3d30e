"""A cell's file, as it comes back from a cluster or a user's editor."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from bench.errors import UserError
from bench.suite.cell import Cell, read
from bench.suite.settle import settle
from bench.suite.suite import load_suite

BROKEN = {
    "": "is no cell of this version",
    "{}": "suite Field required",
    "[" * 5000: "is no cell",
    '{"suite": ' * 3000 + "1" + "}" * 3000: "is no cell",
    "\0\xff": "is no cell",
}


@pytest.fixture(scope="module")
def fields() -> dict[str, object]:
    (cell,) = settle(load_suite("smoke").with_overrides(models=["convlstm"], device="cpu"))
    found: dict[str, object] = json.loads(cell.model_dump_json())
    return found


def _refused(path: Path, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        read(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", BROKEN)
def test_a_file_that_is_no_cell_is_refused_in_a_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "cell.json"
    path.write_text(text, encoding="latin-1")
    _refused(path, BROKEN[text])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"suite": "../../x"}, "suite .* is to name a folder"),
        ({"suite": ""}, "is to name a folder"),
        ({"size": "huge"}, "unknown size of convlstm 'huge'"),
        ({"model": "convltsm"}, "unknown model 'convltsm': did you mean"),
        ({"model": "convlstm(width='x')"}, "wrong type"),
        ({"model": "vgg3d_classifier"}, "is for recognition, this suite for prediction"),
        ({"dataset": "moving_mnits"}, "did you mean 'moving_mnist'"),
        ({"seed": -1}, "seed Input should be greater"),
        ({"seed": True}, "seed Input should be a valid integer"),
        ({"seed": float("nan")}, "seed Input should be a valid integer"),
        ({"budget": {"kind": "steps", "amount": float("nan")}}, "budget .*above 0"),
        ({"budget": {"kind": "steps", "amount": 0.5}}, "budget .*whole numbers"),
        ({"budget": {"kind": "years", "amount": 5}}, "budget"),
        ({"recipe": {"source": "", "learning_rate": -1, "batch_size": 2}}, "learning_rate"),
        ({"evaluation": {"evaluations": 10**12}}, "evaluation.evaluations"),
        ({"device": "tpu"}, "device"),
        ({"extra": 1}, "extra"),
    ],
)
def test_a_cell_that_was_edited_is_checked(
    tmp_path: Path, fields: dict[str, object], changed: dict[str, object], message: str
) -> None:
    path = tmp_path / "cell.json"
    path.write_text(json.dumps(fields | changed), encoding="utf-8")
    _refused(path, message)


def test_what_is_no_file_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in (".", "pipe", "absent", "x" * 300, "nul\0"):
        _refused(tmp_path / name, "there is no cell file")


def test_another_kind_of_step_is_another_cell_where_there_are_two(
    fields: dict[str, object],
) -> None:
    on_cuda = Cell.model_validate_json(json.dumps(fields | {"device": "cuda", "step": "auto"}))
    eager = on_cuda.with_step("eager")
    assert eager.step == "eager"
    assert eager.trained != on_cuda.trained == on_cuda.with_step(None).trained
    on_cpu = Cell.model_validate_json(json.dumps(fields))
    assert on_cpu.with_step("auto").trained == on_cpu.trained
    with pytest.raises(UserError, match="needs CUDA"):
        on_cpu.with_step("graph")
