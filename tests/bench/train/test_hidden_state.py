"""What a model keeps outside its state_dict is found, undone after the warm-up, and named."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy
import pytest
import torch
from torch import nn

from bench.errors import Invalid
from bench.suite.settle import settle
from bench.suite.suite import load_suite
from bench.train.hidden_state import changed, hidden_state, restore, same
from bench.train.loop import Diverged, Loop, LoopPhase


class Schedule:
    def __init__(self) -> None:
        self.step = 0


NINE = torch.tensor([2500])


class Pair:
    """Two objects that hold each other."""

    def __init__(self, value: int, other: Pair | None = None) -> None:
        self.value, self.other = value, other or Pair(value, self)


class Part(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("table", torch.zeros(2), persistent=False)


class Keeper(nn.Module):
    """Keeps all that a model may keep beside its weights."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.part = Part()
        self.count, self.schedule, self.history = 0, Schedule(), [torch.zeros(1)]
        self.by_name = {"weights": self.layer.weight, "nan": float("nan")}
        self.lock = threading.Lock()  # cannot be copied


def _change(model: Keeper) -> None:
    model.count += 1
    model.schedule.step += 1
    model.history.append(model.layer(torch.ones(2)).sum())  # not a leaf
    model.part.table += 1
    model.late = torch.ones(3)


def test_every_kind_of_hidden_state_is_found_and_restored() -> None:
    model = Keeper()
    before = hidden_state(model)
    assert changed(before, hidden_state(model)) == []
    _change(model)
    _change(model)
    hidden = {"count", "schedule", "history", "part.table", "late"}
    assert set(changed(before, hidden_state(model))) == hidden
    restore(model, before)
    assert changed(before, hidden_state(model)) == []
    assert (model.count, model.schedule.step, len(model.history)) == (0, 0, 1)
    assert not hasattr(model, "late")
    assert model.by_name["weights"] is model.layer.weight


def test_weights_and_saved_buffers_are_no_hidden_state() -> None:
    model = nn.BatchNorm1d(2)
    before = hidden_state(model)
    model.weight.data += 1
    model(torch.rand(4, 2))
    assert changed(before, hidden_state(model)) == []


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        (torch.tensor([torch.nan]), torch.tensor([torch.nan]), True),
        (torch.ones(2), torch.ones(3), False),
        (torch.ones(2), torch.ones(2, dtype=torch.int64), False),
        (1, True, False),
        ([1, [torch.ones(1)]], [1, [torch.ones(1)]], True),
        ({"a": 1}, {"b": 1}, False),
        (torch.ones(2).numpy(), torch.ones(2).numpy(), True),
        (torch.ones(2).numpy(), torch.zeros(2).numpy(), False),
        (torch.arange(5000).numpy(), torch.arange(5000).index_fill(0, NINE, 0).numpy(), False),
        (numpy.random.default_rng(1), numpy.random.default_rng(1), True),
        (numpy.random.default_rng(1), numpy.random.default_rng(2), False),
        (Pair(1), Pair(1), True),
        (Pair(1), Pair(2), False),
        (float("nan"), float("nan"), True),
    ],
)
def test_values_are_the_same_by_content(one: object, other: object, equal: bool) -> None:
    assert same(one, other) is equal


MODELS = """
import torch
from torch import nn
from models.contract import Predictor, Recipe, Size

class Plain(Predictor):
    sizes = {"only": Size(Recipe(source="test", learning_rate=1e-2, batch_size=2))}

    def __init__(self, frame_shape):
        super().__init__(frame_shape)
        self.filter = nn.Conv2d(1, 1, 3, padding=1)
        self.count, self.table = 0, None

    def forward(self, context, horizon):
        return self.filter(context[:, -1])[:, None].expand(-1, horizon, -1, -1, -1)

class Counts(Plain):
    def training_loss(self, batch):
        self.count += 1
        return super().training_loss(batch) * (1 + self.count)

class CachesATable(Plain):
    def training_loss(self, batch):
        if self.table is None:
            self.table = torch.ones(())
        return super().training_loss(batch) * self.table

class BreaksInEvaluation(Plain):
    def forward(self, context, horizon):
        return super().forward(context, horizon) * (1 if self.training else torch.nan)

class Explodes(Plain):
    def training_loss(self, batch):
        loss = super().training_loss(batch)
        if self.count == 1:
            self.filter.weight.data.fill_(torch.inf)
        self.count += 1
        return loss

class Unfitted(Predictor):
    def forward(self, context, horizon):
        return context[:, :1].expand(-1, horizon, -1, -1, -1) * torch.nan
"""


class Watcher:
    """Hears what the loop says."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def heartbeat(self, phase: LoopPhase, fraction: float) -> None:
        """Nothing."""

    def stretch_done(self) -> None:
        """Nothing."""

    def warn(self, text: str) -> None:
        self.warnings.append(text)


def _loop(folder: Path, model: str, watcher: Watcher) -> Loop:
    (folder / "hidden.py").write_text(MODELS, encoding="utf-8")
    suite = load_suite("smoke").with_overrides(
        models=[f"{folder}/hidden.py:{model}"], budget="2steps", recipe="published", device="cpu"
    )
    (cell,) = settle(suite)
    return Loop(cell, watcher)


def test_the_warm_up_is_undone_where_the_model_counts_and_the_user_is_warned(
    tmp_path: Path,
) -> None:
    watcher = Watcher()
    loop = _loop(tmp_path, "Counts", watcher)
    loop.run(None)
    assert loop._model.count == loop.clock.steps == 2
    (warning,) = watcher.warnings
    assert "training changes count" in warning
    assert "\n" not in warning


@pytest.mark.parametrize("model", ["Plain", "CachesATable"])
def test_a_model_without_hidden_state_or_with_a_cache_is_not_warned_of(
    tmp_path: Path, model: str
) -> None:
    watcher = Watcher()
    _loop(tmp_path, model, watcher).run(None)
    assert watcher.warnings == []


@pytest.mark.parametrize(
    ("model", "error"),
    [("BreaksInEvaluation", Invalid), ("Unfitted", Invalid), ("Explodes", Diverged)],
)
def test_an_output_that_is_no_number_is_a_fault_unless_training_went_astray(
    tmp_path: Path, model: str, error: type[Exception]
) -> None:
    with pytest.raises(error, match=r"NaN or infinite|became"):
        _loop(tmp_path, model, Watcher()).run(None)
