"""A model is given held-out clips' context alone, in memory of its own, and is watched."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from bench.errors import Invalid
from bench.score.frame_scores import FrameScores
from bench.score.measure import measure
from bench.train.guard import Guard
from bench.train.held_out import Forward, HeldOut, to_float
from bench.train.task import NotFinite, task_of
from datasets.contract import Spec
from models.contract import Predictor

CPU = torch.device("cpu")
CONTEXT, HORIZON, CLIPS = 3, 2, 7
FRAME = (1, 8, 8)
TASK = task_of("prediction", Spec(FRAME, CONTEXT, HORIZON))
CLASSES = task_of("recognition", Spec(FRAME, CONTEXT + HORIZON, 0, classes=("run", "walk")))


def _clips(dark: bool = False) -> Tensor:
    """Noise; dark, a few bright pixels that stay where they are."""
    generator = torch.Generator().manual_seed(0)
    shape = (CLIPS, CONTEXT + HORIZON, *FRAME)
    clips = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    return clips[:, :1].where(clips[:, :1] > 250, 0).repeat(1, 5, 1, 1, 1) if dark else clips


def _held_out(clips: Tensor, model: nn.Module | None = None) -> HeldOut:
    guard = None if model is None else Guard(model, repeated=2)
    return HeldOut(clips, len(clips), 3, CPU, lambda _: None, 1, guard)


def _score(forward: Forward, clips: Tensor, model: nn.Module | None = None) -> FrameScores:
    scores = measure(TASK, forward, _held_out(clips, model), 2)
    assert isinstance(scores, FrameScores)
    return scores


def _copied(context: Tensor) -> Tensor:
    return context[:, -1:].repeat(1, HORIZON, 1, 1, 1)


def test_the_memory_a_model_is_given_ends_with_the_context() -> None:
    def looks_ahead(context: Tensor) -> Tensor:
        frames = context.shape[1]
        size = (len(context), HORIZON, *context.shape[2:])
        clip = (frames + HORIZON) * context.stride(1)
        return context.as_strided(size, (clip, *context.stride()[1:]), frames * context.stride(1))

    with pytest.raises(RuntimeError, match="out of bounds for storage"):
        _score(looks_ahead, _clips())


def test_a_model_that_writes_into_its_input_changes_no_truth_and_no_later_batch() -> None:
    def writes(context: Tensor) -> Tensor:
        prediction = _copied(context)
        context.as_strided((context.untyped_storage().nbytes() // 4,), (1,), 0).fill_(0.5)
        return prediction

    clips = _clips()
    honest, found = _score(_copied, clips.clone()), _score(writes, clips)
    assert found.means() == honest.means()
    assert torch.equal(clips, _clips())
    for name in ("context", "truth", "prediction"):
        assert (found.showcase[name] == honest.showcase[name]).all()


def test_a_model_that_gives_the_same_memory_for_each_batch_overwrites_no_output() -> None:
    memory = torch.empty(3, 2)

    def reuses(clips: Tensor) -> Tensor:
        memory[: len(clips)] = clips.flatten(1)[:, :2]
        return memory[: len(clips)]

    batches = [b.output for b in _held_out(_clips()).passes(reuses, CONTEXT)]
    assert torch.equal(torch.cat(batches), _clips().flatten(1)[:, :2] / 255)


class Weighted(Predictor):
    """Copies the last frame, times a weight of 1; subclasses break a rule."""

    def __init__(self) -> None:
        super().__init__(FRAME)
        self.layer = nn.Linear(1, 1)
        self.layer.weight.data.fill_(1.0)
        self.norm = nn.BatchNorm2d(1)
        self.register_buffer("table", None, persistent=False)
        self.calls = 0

    def forward(self, context: Tensor, horizon: int) -> Tensor:
        return _copied(context) * self.layer.weight


class CachesATable(Weighted):
    """A derived tensor in a buffer that is not saved, and how often it was called: both allowed."""

    def forward(self, context: Tensor, horizon: int) -> Tensor:
        self.table = torch.ones(()) if self.table is None else self.table
        self.calls += 1
        return super().forward(context, horizon) * self.table


class Draws(Weighted):
    def forward(self, context: Tensor, horizon: int) -> Tensor:
        return super().forward(context, horizon) + torch.randn_like(context[:, :HORIZON])


class Learns(Weighted):
    def forward(self, context: Tensor, horizon: int) -> Tensor:
        self.layer.weight.data += 1e-7
        return super().forward(context, horizon)


class NormsInTraining(Weighted):
    def forward(self, context: Tensor, horizon: int) -> Tensor:
        self.norm.train()(context[:, -1])
        return super().forward(context, horizon)


class Replaces(Weighted):
    def forward(self, context: Tensor, horizon: int) -> Tensor:
        self.layer.bias = nn.Parameter(self.layer.bias + 1)
        return super().forward(context, horizon)


class Counts(Weighted):
    def forward(self, context: Tensor, horizon: int) -> Tensor:
        self.calls += 1
        return super().forward(context, horizon) + 0.01 * self.calls


class KeepsItsState(Weighted):
    hidden: Tensor | None = None

    def forward(self, context: Tensor, horizon: int) -> Tensor:
        before = 0.0 if self.hidden is None else self.hidden
        self.hidden = context.mean() + 0.5 * before
        return super().forward(context, horizon) + before


class HidesALayer(Weighted):
    """Trains a layer that no `parameters()` shows."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = [nn.Linear(1, 1)]

    def forward(self, context: Tensor, horizon: int) -> Tensor:
        self.parts[0].weight.data += 0.1
        return super().forward(context, horizon) * self.parts[0].weight.detach()


def _forward(model: Predictor) -> Forward:
    return lambda context: TASK.forward(model.eval(), context)


@pytest.mark.parametrize("build", [Weighted, CachesATable, Draws])
def test_a_model_that_keeps_the_rules_passes(build: Callable[[], Predictor]) -> None:
    model = build()
    _score(_forward(model), _clips(), model)
    assert TASK.validate(_forward(model), _held_out(_clips(), model)) > 0


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (Learns, r"changed layer\.weight while"),
        (NormsInTraining, r"changed norm\.running_mean, norm\.running_var"),
        (Replaces, r"changed layer\.bias while"),
        (Counts, r"remembers between calls: it changes calls"),
        (KeepsItsState, r"remembers between calls: it changes hidden"),
        (HidesALayer, r"remembers between calls: it changes parts"),
    ],
)
def test_a_model_that_learns_or_remembers_is_invalid(
    build: Callable[[], Predictor], reason: str
) -> None:
    for attempt in (
        lambda model: _score(_forward(model), _clips(), model),
        lambda model: TASK.validate(_forward(model), _held_out(_clips(), model)),
    ):
        with pytest.raises(Invalid, match=reason):
            attempt(build())


def test_a_stochastic_model_draws_the_same_for_a_batch_at_its_place() -> None:
    model, clips = Draws(), _clips()
    held_out = _held_out(clips)
    one, two = ([b.output for b in held_out.passes(_forward(model), CONTEXT)] for _ in range(2))
    assert all(map(torch.equal, one, two))
    assert not torch.equal(
        one[0] - _copied(clips[:3, :3] / 255), one[1] - _copied(clips[3:6] / 255)
    )


def _off(value: float) -> Forward:
    def forward(context: Tensor) -> Tensor:
        prediction = _copied(context)
        prediction[-1, -1, 0, 3, 3] = value
        return prediction

    return forward


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_what_is_no_number_is_invalid_in_test_and_validation(value: float) -> None:
    with pytest.raises(NotFinite, match=r"1 of 384 values of the prediction .* NaN or inf"):
        _score(_off(value), _clips())
    with pytest.raises(NotFinite, match="1 of 384 values"):
        TASK.validate(_off(value), _held_out(_clips()))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.bool, torch.complex64])
def test_frames_of_another_type_are_invalid(dtype: torch.dtype) -> None:
    with pytest.raises(Invalid, match=str(dtype)):
        _score(lambda context: _copied(context).to(dtype), _clips())


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize(
    "make",
    [
        lambda context: 255 * _copied(context),
        lambda context: (255 * _copied(context)).round(),
        lambda context: 220 * _copied(context) + 8 * torch.randn_like(context[:, :HORIZON]),
    ],
)
def test_frames_in_0_to_255_are_invalid_also_where_nearly_all_is_black(
    make: Forward, dark: bool
) -> None:
    with pytest.raises(Invalid, match="divided by 255: frames are in"):
        _score(make, _clips(dark))


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize(
    "make",
    [
        lambda context: 1.2 * _copied(context) - 0.1,
        lambda context: 20 * _copied(context),
        lambda context: -255 * _copied(context),
        lambda context: torch.full_like(context[:, :HORIZON], 40.0),
        lambda context: 90 * torch.randn_like(context[:, :HORIZON]),
        lambda context: 90 * torch.randn_like(context[:, :HORIZON]).abs(),
        lambda context: torch.full_like(context[:, :HORIZON], 1e30),
    ],
)
def test_a_model_that_learnt_badly_has_its_figures(make: Forward, dark: bool) -> None:
    assert _score(make, _clips(dark)).means()["mse"] > 0


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (lambda logits: logits.log() * torch.nan, "NaN or infinite"),
        (lambda logits: logits / 0, "NaN or infinite"),
        (lambda logits: (9 * logits).long(), "torch.int64"),
    ],
)
def test_logits_that_are_none_are_invalid(spoil: Forward, found: str) -> None:
    def look(clips: Tensor) -> Tensor:
        return spoil(clips.flatten(1)[:, :2] + 1)

    with pytest.raises(Invalid, match=found):
        CLASSES.validate(look, _held_out(_clips()))
    with pytest.raises(Invalid, match=found):
        measure(CLASSES, look, _held_out(_clips()), 0)


def test_the_guard_leaves_the_model_as_it_is() -> None:
    model = CachesATable()
    before = copy.deepcopy(model.state_dict())
    _score(_forward(model), _clips(), model)
    assert all(map(torch.equal, before.values(), model.state_dict().values()))


@pytest.mark.parametrize(("device", "waits"), [("cuda", False), ("mps", True), ("cpu", True)])
def test_clips_may_be_freed_once_they_are_on_their_way(device: str, waits: bool) -> None:
    class Source:
        def to(self, device: torch.device, *, non_blocking: bool) -> Tensor:
            self.waited = not non_blocking
            return torch.zeros(1, dtype=torch.uint8)

    source = Source()
    to_float(source, torch.device(device))  # type: ignore[arg-type]
    assert source.waited == waits
