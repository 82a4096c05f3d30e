"""What is computed in which precision: training as asked, everything else in float32."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.errors import UserError
from bench.suite.settle import settle
from bench.suite.suite import load_suite
from bench.train.hardware import resolve_step, set_arithmetic
from bench.train.loop import Loop, LoopPhase

backends: Any = torch.backends
OPERATIONS = (
    *(backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn),
    *(backends.mkldnn.matmul, backends.mkldnn.conv, backends.mkldnn.rnn),
)


def _generic() -> None:
    backends.fp32_precision = "tf32"


def _by_operation() -> None:
    for each in OPERATIONS:
        each.fp32_precision = "tf32"


def _by_old_names() -> None:
    backends.cuda.matmul.allow_tf32 = backends.cudnn.allow_tf32 = True


@pytest.mark.parametrize(
    "before",
    [_generic, _by_operation, _by_old_names, lambda: torch.set_float32_matmul_precision("high")],
)
def test_float32_means_float32_whatever_a_model_set(before: Callable[[], None]) -> None:
    set_arithmetic()
    before()
    set_arithmetic()
    assert {each.fp32_precision for each in OPERATIONS} == {"ieee"}
    assert torch.get_float32_matmul_precision() == "highest"
    with torch.backends.cudnn.flags(enabled=False):  # raises where old and new names differ
        pass


MODEL = """
import torch
from torch import nn
from models.contract import Predictor

class Asks(Predictor):
    def __init__(self, frame_shape):
        super().__init__(frame_shape)
        self.filter = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, context, horizon):
        assert context.dtype == torch.float32
        rounded = self.training and not context.is_meta  # where FLOPs are counted
        assert torch.is_autocast_enabled("cpu") == rounded
        frame = self.filter(context[:, -1])
        assert (frame.dtype == torch.bfloat16) == rounded
        return frame[:, None].expand(-1, horizon, -1, -1, -1)
"""


class Watcher:
    def heartbeat(self, phase: LoopPhase, fraction: float) -> None: ...

    def stretch_done(self) -> None: ...

    def warn(self, text: str) -> None: ...


def _loop(model: str, precision: str) -> Loop:
    suite = load_suite("smoke").with_overrides(
        models=[model], precision=precision, budget="2steps", device="cpu"
    )
    (cell,) = settle(suite)
    return Loop(cell, Watcher())


def test_a_model_trained_in_bf16_is_evaluated_in_float32(tmp_path: Path) -> None:
    (tmp_path / "asks.py").write_text(MODEL, encoding="utf-8")
    loop = _loop(f"{tmp_path}/asks.py:Asks", "bf16")
    loop.run(None)
    assert loop.clock.steps == 2
    assert loop.forward(torch.rand(1, 10, 1, 64, 64)).dtype == torch.float32


@pytest.mark.parametrize("model", ["copy_last", "linear_motion"])
def test_a_baseline_has_one_figure_in_any_precision(model: str) -> None:
    figures = []
    for precision in ("32", "bf16"):
        loop = _loop(model, precision)
        loop.run(None)
        figures.append(loop.curves.best_validation)
    assert figures[0] == figures[1] > 0


def test_a_graph_without_cuda_is_refused() -> None:
    with pytest.raises(UserError, match="needs CUDA"):
        resolve_step("graph", "cpu")
    assert [resolve_step(asked, "cpu") for asked in ("auto", "eager")] == ["eager", "eager"]
    assert [resolve_step(asked, "cuda") for asked in ("auto", "eager", "graph")] == [
        *("auto", "eager", "graph")
    ]
