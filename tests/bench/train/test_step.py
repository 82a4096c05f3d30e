import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from bench.train.held_out import to_float
from bench.train.loop import Unrestorable, going_on
from bench.train.step import Training, fabric_on, learning_rate_factor, seed_of
from bench.train.task import task_of
from bench.train.warm_up import copied
from datasets.contract import (
    Clips,
    Dataset,
    HeldOutName,
    LabelledClips,
    LabelledDataset,
    Spec,
)
from models.contract import Classifier, Predictor, Recipe, TrainingBatch

FRAME = (1, 8, 8)


class Noise(Dataset):
    spec = Spec(FRAME, 2, 1)

    def train_clips(self, count: int, generator: torch.Generator) -> Tensor:
        shape = (count, 3, *FRAME)
        return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)

    def held_out(self, split: HeldOutName) -> Clips:
        return torch.zeros(4, 3, *FRAME, dtype=torch.uint8)


class Filter(Predictor):
    def __init__(self, frame_shape: tuple[int, int, int]) -> None:
        super().__init__(frame_shape)
        self.filter = nn.Conv2d(1, 1, 3, padding=1)
        self.seen: list[Tensor] = []

    def forward(self, context: Tensor, horizon: int) -> Tensor:
        self.seen.append(context.detach().clone())
        frame = nn.functional.dropout(self.filter(context[:, -1]), 0.5, self.training)
        return frame[:, None].expand(-1, horizon, -1, -1, -1)


def _training(seed: int = 0, **fields: object) -> Training:
    recipe = Recipe(**({"source": "", "learning_rate": 0.1, "batch_size": 4} | fields))  # type: ignore[arg-type]
    torch.manual_seed(1)
    fabric = fabric_on("cpu", "32")
    task = task_of("prediction", Noise.spec)
    return Training(Filter(FRAME), recipe, task, Noise(), seed, fabric)


def _weights(training: Training) -> list[Tensor]:
    return [p.detach().clone() for p in training.model.parameters()]


def test_going_on_from_a_state_repeats_the_undisturbed_run() -> None:
    whole, first, second = _training(), _training(), _training()
    for number in range(6):
        whole.step(number, number / 6)
    for number in range(3):
        first.step(number, number / 6)
    second.restore(first.state())
    torch.rand(7)  # whatever happened in between
    for number in range(3, 6):
        second.step(number, number / 6)
    assert all(map(torch.equal, _weights(whole), _weights(second)))


def test_a_state_taken_before_warm_up_undoes_it() -> None:
    plain, warmed = _training(), _training()
    before = {k: v.clone() for k, v in warmed.state()["model"].items()}
    start = warmed.state() | {"model": before}
    warmed.step(-1, 0.0)
    warmed.restore(start)
    for training in (plain, warmed):
        training.step(0, 0.0)
    assert all(map(torch.equal, _weights(plain), _weights(warmed)))


def test_a_state_is_restored_in_the_memory_in_use() -> None:
    """A recorded step goes on in it, where it would not see other tensors."""
    training = _training()
    training.step(0, 0.0)
    state, tensors = copied(training.state()), _all_tensors(training)
    places = [tensor.data_ptr() for tensor in tensors]
    training.step(1, 0.5)
    training.restore(state)
    assert [tensor.data_ptr() for tensor in _all_tensors(training)] == places
    assert [each.tolist() for each in _all_tensors(training)] == [
        *(each.tolist() for each in state["model"].values()),
        *(each.tolist() for kept in state["optimizer"]["state"].values() for each in kept.values()),
    ]


def _all_tensors(training: Training) -> list[Tensor]:
    kept = training.state()["optimizer"]["state"].values()
    return [*training.state()["model"].values(), *(each for one in kept for each in one.values())]


def test_what_a_state_lacks_begins_again() -> None:
    training, fresh = _training(), _training()
    start = copied(training.state())
    training.step(0, 0.0)
    training.restore(start)
    for each in (training, fresh):
        each.step(0, 0.0)
        each.step(1, 0.0)
    assert all(map(torch.equal, _weights(training), _weights(fresh)))


def test_a_state_saved_when_rates_were_numbers_is_gone_on_from() -> None:
    old, new = _training(), _training()
    for number in range(3):
        old.step(number, number / 6)
    state = copied(old.state())
    for group in state["optimizer"]["param_groups"]:
        group["lr"] = float(group["lr"])
    new.restore(state)
    for each in (old, new):
        each.step(3, 0.5)
    assert all(map(torch.equal, _weights(old), _weights(new)))


class Wider(Filter):
    def __init__(self, frame_shape: tuple[int, int, int]) -> None:
        super().__init__(frame_shape)
        self.filter = nn.Conv2d(1, 1, 5, padding=2)


@pytest.mark.parametrize("part", ["model", "optimizer"])
def test_a_state_that_does_not_fit_is_unrestorable(part: str) -> None:
    training = _training()
    task, fabric = task_of("prediction", Noise.spec), fabric_on("cpu", "32")
    other = Training(Wider(FRAME), training.recipe, task, Noise(), 0, fabric)
    for each in (training, other):
        each.step(0, 0.0)
    state = copied(training.state()) | {part: copied(other.state())[part]}
    for damaged in (state, {part: state[part]}):
        with pytest.raises(Unrestorable), going_on():
            training.restore(damaged)


def test_a_job_of_several_slurm_tasks_is_no_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"NTASKS": "8", "PROCID": "3", "JOB_ID": "1", "JOB_NAME": "train"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    fabric = fabric_on("cpu", "bf16")
    assert (fabric.world_size, fabric.global_rank, fabric.device.type) == (1, 0, "cpu")


def test_drawing_ahead_changes_nothing_in_what_is_learnt() -> None:
    ahead, plain = _training(), _training()
    for number in (-2, -1, 0, 1, 2, 7, 8, 3):
        ahead.step(number, 0.5)
        plain.batches.drop()
        plain.step(number, 0.5)
    assert all(map(torch.equal, _weights(ahead), _weights(plain)))


def test_the_clips_depend_on_the_seed_and_not_on_the_model() -> None:
    trainings = [_training(seed) for seed in (0, 0, 1)]
    trainings[1].step(5, 0.0)
    for training in trainings:
        training.step(0, 0.0)
    one, two, other = (training.model.module.seen[-1] for training in trainings)
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


def test_gradients_are_clipped_to_the_recipes_norm() -> None:
    free, clipped = (_training(optimizer="sgd", clip_norm=norm) for norm in (None, 1e-4))
    moved = []
    for training in (free, clipped):
        before = _weights(training)
        training.step(0, 0.0)
        pairs = zip(before, _weights(training), strict=True)
        moved.append(math.sqrt(sum(float(((a - b) ** 2).sum()) for a, b in pairs)))
    assert moved[1] == pytest.approx(0.1 * 1e-4, rel=1e-2)
    assert moved[0] > 10 * moved[1]


class Late(Filter):
    """Its second layer takes part later, as where one is frozen at first."""

    def __init__(self, frame_shape: tuple[int, int, int]) -> None:
        super().__init__(frame_shape)
        self.late = nn.Conv2d(1, 1, 1)
        self.takes_part = False

    def forward(self, context: Tensor, horizon: int) -> Tensor:
        frames = super().forward(context, horizon)
        return self.late(frames[:, 0])[:, None] if self.takes_part else frames


def test_momentum_begins_with_the_first_gradient_of_a_weight_whenever_that_comes() -> None:
    recipe = Recipe("", learning_rate=0.1, batch_size=4, optimizer="sgd", momentum=0.9)
    moved = []
    for steps_before in (0, 3):
        torch.manual_seed(1)
        task, fabric = task_of("prediction", Noise.spec), fabric_on("cpu", "32")
        training = Training(Late(FRAME), recipe, task, Noise(), 0, fabric)
        start = [p.detach().clone() for p in training.model.parameters()]
        for number in range(steps_before):
            training.step(number, 0.0)
        with torch.no_grad():
            for parameter, value in zip(training.model.parameters(), start, strict=True):
                parameter.copy_(value)
        training.model.module.takes_part = True
        training.step(7, 0.0)
        moved.append([p.detach() for p in training.model.module.late.parameters()])
    assert all(map(torch.equal, *moved))


def test_gradients_are_cut_to_the_recipes_value() -> None:
    training = _training(optimizer="sgd", clip_value=1e-4)
    before = _weights(training)
    training.step(0, 0.0)
    pairs = zip(before, _weights(training), strict=True)
    moved = torch.cat([(a - b).abs().flatten() for a, b in pairs])
    assert 0 < moved.max() <= 0.1 * 1e-4 * 1.01


def test_a_plateau_lowers_the_rate_and_goes_on_from_a_state() -> None:
    fields = {"schedule": "plateau", "plateau_factor": 0.1, "plateau_patience": 1}
    whole, first, second = (_training(**fields) for _ in range(3))

    def rate(training: Training) -> float:
        training.step(0, 0.9)
        return float(training.state()["optimizer"]["param_groups"][0]["lr"])

    for training in (whole, first):
        for value in (1.0, 0.5, 0.6):
            training.validated(value)
        assert rate(training) == pytest.approx(0.1)
    second.restore(first.state())
    for training in (whole, second):
        training.validated(0.5)  # no gain for the second time
        assert rate(training) == pytest.approx(0.01)
        training.validated(0.4)
        training.validated(0.4)
        assert rate(training) == pytest.approx(0.01)


class TwoRates(Filter):
    """Its bias learns ten times as fast as its weight, and it logs half its loss."""

    def parameter_groups(self, recipe: Recipe) -> list[dict[str, object]]:
        rate = 10 * recipe.learning_rate
        return [{"params": [self.filter.weight]}, {"params": [self.filter.bias], "lr": rate}]

    def training_loss(self, batch: TrainingBatch) -> Tensor:
        loss = super().training_loss(batch)
        batch.log("half", loss / 2)
        return loss


def test_a_model_groups_its_parameters_and_logs_what_it_likes() -> None:
    recipe = Recipe("", learning_rate=0.1, batch_size=4, schedule="cosine")
    task, fabric = task_of("prediction", Noise.spec), fabric_on("cpu", "32")
    training = Training(TwoRates(FRAME), recipe, task, Noise(), 0, fabric)
    loss = training.step(0, 0.5)
    assert float(training.logged["half"]) == pytest.approx(float(loss) / 2)
    assert not training.logged["half"].requires_grad
    groups = training.state()["optimizer"]["param_groups"]
    assert [group["lr"] for group in groups] == pytest.approx([0.05, 0.5])


class TwoPhases(Filter):
    """Its first loss moves `first`, its second moves the filter."""

    losses = ("first_loss", "training_loss")

    def __init__(self, frame_shape: tuple[int, int, int]) -> None:
        super().__init__(frame_shape)
        self.first = nn.Parameter(torch.ones(1))

    def first_loss(self, *_: object) -> Tensor:
        return self.first.square().sum()


def test_each_loss_of_a_step_updates_its_own_parameters_alone() -> None:
    recipe = Recipe("", learning_rate=0.1, batch_size=4)
    task, fabric = task_of("prediction", Noise.spec), fabric_on("cpu", "32")
    training = Training(TwoPhases(FRAME), recipe, task, Noise(), 0, fabric)
    training.step(0, 0.0)
    training.step(1, 0.0)
    state = training.state()["optimizer"]["state"]
    # Adam counts its updates: had the other loss moved a parameter too, it would have four.
    assert {float(each["step"]) for each in state.values()} == {2.0}
    assert training.model.module.first.item() == pytest.approx(0.8, abs=0.01)


class Halves(LabelledDataset):
    """Clips whose class is the half that is bright."""

    spec = Spec(FRAME, 3, 0, classes=("upper", "lower"))

    def train_labelled_clips(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        labels = torch.randint(0, 2, (count,), generator=generator)
        clips = torch.zeros(count, 3, *FRAME, dtype=torch.uint8)
        for clip, label in zip(clips, labels, strict=True):
            clip[..., 4 * label : 4 * label + 4, :] = 255
        return clips, labels

    def held_out(self, split: HeldOutName) -> LabelledClips:
        raise NotImplementedError


class Linear(Classifier):
    def __init__(self, frame_shape: tuple[int, int, int], classes: int) -> None:
        super().__init__(frame_shape, classes)
        self.weigh = nn.Linear(64, classes)

    def forward(self, clip: Tensor) -> Tensor:
        assert clip.dtype == torch.float32
        assert clip.max() == 1
        logits: Tensor = self.weigh(clip.mean(1).flatten(1))
        return logits


def test_a_classifier_learns_the_classes_of_its_clips() -> None:
    task, fabric = task_of("recognition", Halves.spec), fabric_on("cpu", "32")
    model = task.build(Linear, {})
    training = Training(model, Recipe("", 0.1, 8), task, Halves(), 0, fabric)
    losses = [float(training.step(number, 0.0)) for number in range(20)]
    assert losses[-1] < 0.05 < losses[0]


@given(st.sampled_from(["constant", "cosine", "one_cycle"]), st.floats(0, 1))
def test_a_schedule_stays_between_nothing_and_the_full_rate(schedule: str, progress: float) -> None:
    recipe = Recipe("", 1.0, 1, schedule=schedule)  # type: ignore[arg-type]
    assert 0 <= learning_rate_factor(recipe, progress) <= 1


def test_one_cycle_is_pytorchs() -> None:
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=1.0, total_steps=101, cycle_momentum=False
    )
    recipe = Recipe("", 1.0, 1, schedule="one_cycle")
    for step in range(100):
        # PyTorch turns at step 29.3 of 100, ours at 30 % of the budget.
        assert learning_rate_factor(recipe, step / 100) == pytest.approx(
            theirs.get_last_lr()[0], abs=0.04
        )
        optimizer.step()
        theirs.step()


def test_seeds_differ_by_every_part() -> None:
    seeds = {seed_of(0, 1, "clips"), seed_of(1, 0, "clips"), seed_of(0, 1, "loss"), seed_of(0, 11)}
    assert len(seeds) == 4
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_bytes_become_floats_from_0_to_1() -> None:
    clips = torch.tensor([0, 51, 255], dtype=torch.uint8)
    assert to_float(clips, torch.device("cpu")).tolist() == pytest.approx([0, 0.2, 1])
