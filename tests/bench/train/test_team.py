"""Two processes that train together are one: with gloo, in float64."""

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.errors import UserError
from bench.train import hardware
from bench.train.batch_norm import share_statistics
from bench.train.budget import Budget, Clock
from bench.train.conditions import Calibration
from bench.train.team import ALONE, Team, joined
from models.contract import Part, TrainingBatch
from tests.bench.conftest import environment
from tests.bench.train import together

STEPS = 2
TOLERANCE = 1e-9


@pytest.fixture(scope="module")
def by_two(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What two processes find, of which this is the first."""
    meeting = tmp_path_factory.mktemp("team") / "meeting"
    words = [sys.executable, "-m", "tests.bench.train.together", str(meeting), str(STEPS)]
    with subprocess.Popen(words, env=environment()) as second:
        with joined(0, 2, "cpu", meeting) as team:
            found = together.all_of(team, STEPS)
        assert second.wait(60) == 0
    return found


def _furthest(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    assert one.keys() == other.keys()
    apart = [(one[name].double() - other[name].double()).abs().max() for name in one]
    return float(max(apart))


@pytest.mark.filterwarnings("ignore")
def test_every_model_learns_the_same_in_two_processes_as_in_one(by_two: Any) -> None:
    alone = together.every(ALONE, STEPS)
    apart = {name: _furthest(alone[name], by_two[0][name]) for name in alone}
    assert {name: value for name, value in apart.items() if not value < TOLERANCE} == {}


@pytest.mark.filterwarnings("ignore")
def test_a_state_is_gone_on_from_with_another_number_of_processes(by_two: Any) -> None:
    alone = together.in_turns(ALONE, ALONE, ALONE)
    assert [_furthest(alone, turns) < TOLERANCE for turns in by_two[1]] == [True, True]


def test_two_processes_score_every_clip_once(by_two: Any) -> None:
    alone, two = together.tested(ALONE), by_two[2]
    assert two.frames["sequence"].tolist() == [n for n in range(7) for _ in range(2)]
    assert two.frames.equals(alone.frames)
    assert two.means() == alone.means()
    assert {"csi", "csi_pool16", "far", "hss"} <= two.means().keys()
    assert {k: v.tolist() for k, v in two.showcase.items()} == {
        k: v.tolist() for k, v in alone.showcase.items()
    }
    assert by_two[3] == together.validated(ALONE)


def part_of_four(number: int, of: int) -> TrainingBatch:
    clips, common = torch.zeros(4 // of, 2, 1, 1, 1), torch.Generator().manual_seed(0)
    return TrainingBatch(clips, 1, 0.0, torch.Generator(), Part(number, of, common))


def test_each_clip_has_its_own_draws_on_however_many_devices() -> None:
    def drawn(number: int, of: int) -> Tensor:
        batch = part_of_four(number, of)
        return batch.uniform(3, len(batch.clip), 1, clips=1)

    assert torch.equal(torch.cat([drawn(0, 2), drawn(1, 2)], 1), drawn(0, 1))


def test_what_is_drawn_for_all_clips_is_the_same_on_all_devices() -> None:
    first, second, alone = (
        part_of_four(number, of).uniform(3, 2, clips=None)
        for number, of in ((0, 2), (1, 2), (0, 1))
    )
    assert torch.equal(first, alone)
    assert torch.equal(second, alone)


@pytest.mark.parametrize("momentum", [0.1, None])
def test_shared_batch_normalisation_is_pytorchs(momentum: float | None) -> None:
    ours, theirs = (nn.BatchNorm2d(3, momentum=momentum, dtype=torch.float64) for _ in range(2))
    share_statistics(ours)
    for seed in range(3):
        x = torch.randn(4, 3, 5, 5, dtype=torch.float64, generator=torch.manual_seed(seed))
        torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=1e-12)
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, rtol=0, atol=1e-12)
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x), rtol=0, atol=1e-12)


def test_a_batch_that_cannot_be_divided_is_refused() -> None:
    assert [Team(0, size).divide(6) for size in (1, 2, 3)] == [6, 3, 2]
    with pytest.raises(UserError, match="batch of 6 clips cannot be divided equally over 4"):
        Team(0, 4).divide(6)


# --- the clock --------------------------------------------------------------------------------


def _paced(clock: Clock, marks: Iterator[float]) -> list[float]:
    """The progress before each step of a whole run, stretch by stretch."""
    found = []
    while pace := clock.pace(1.0, next(marks), 1.0, 4):
        found += pace
        with clock.running():
            for _ in pace:
                clock.count_step(4)
    return found


@pytest.mark.parametrize("budget", ["7steps", "30samples", "250flops"])
def test_steps_known_beforehand_are_those_of_one_process(budget: str) -> None:
    clocks = [Clock(Budget.parse(budget), lambda: None, 10.0) for _ in range(2)]
    expected = []
    while not clocks[1].reaches(1.0):
        expected.append(clocks[1].progress)
        clocks[1].count_step(4)
    clocks[0].calibrate(Calibration(0.3, 0.3))
    assert _paced(clocks[0], iter([0.5, 1.0, 1.0, 1.0, 1.0])) == expected
    assert clocks[0].pace(1.0, 1.0, 1.0, 4) == []


def test_a_stretch_known_beforehand_ends_with_the_budget_its_mark_or_its_seconds() -> None:
    clock = Clock(Budget.parse("10s"), lambda: None)
    assert len(clock.pace(1.0, 1.0, 1.0, 4)) == 1  # nothing is known yet
    clock.calibrate(Calibration(0.4, 0.4))
    assert clock.pace(1.0, 1.0, 1.0, 4) == pytest.approx([0.0, 0.04, 0.08])
    assert len(clock.pace(1.0, 0.07, 1.0, 4)) == 2
    assert len(clock.pace(0.09, 1.0, 9.0, 4)) == 2  # 0.8 s is nearer to 0.9 s than 1.2 s
    assert len(clock.pace(1.0, 1.0, 99.0, 4)) == 25
    assert (clock.steps, clock.samples) == (0, 0)


# --- the machine ------------------------------------------------------------------------------


def test_more_devices_than_there_are_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware.torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert hardware.resolve_devices(2, "cuda") == 2
    assert hardware.resolve_devices(9, "cpu") == 9
    with pytest.raises(UserError, match="--devices 3: this machine shows 2 GPUs"):
        hardware.resolve_devices(3, "cuda")
    with pytest.raises(UserError, match="mps"):
        hardware.resolve_devices(2, "mps")
    with pytest.raises(UserError, match="one device"):
        hardware.resolve_step("graph", "cuda", 2)
