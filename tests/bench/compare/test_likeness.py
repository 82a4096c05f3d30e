"""When two runs are bit-identical, within tolerance, or differ, and where."""

from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import torch

from bench.compare.likeness import TOLERANCE, curves, likeness
from bench.records import TRAIN_LOSS

LOSS = [(2, 0.5), (4, 0.25), (6, 0.125)]


def _run(
    *,
    mse: float = 0.02,
    weight: float = 1.0,
    loss: list[tuple[int, float]] = LOSS,
    stored: bool = True,
) -> Any:
    index = pd.MultiIndex.from_product([[0, 1], [1, 2]], names=["sequence", "frame"])
    return SimpleNamespace(
        run=SimpleNamespace(metrics={"test/mse": mse}),
        weights={"conv.weight": torch.tensor([weight, 2.0])} if stored else None,
        scores=pd.DataFrame({"mse": [mse] * 4}, index=index) if stored else None,
        curve=lambda key: loss if key == TRAIN_LOSS else [],
    )


@pytest.mark.parametrize(
    ("now", "verdict"),
    [
        ({}, "bit-identical"),
        ({"mse": 0.02 * (1 - TOLERANCE / 2), "weight": 1.001}, "within tolerance"),
        ({"mse": 0.02 * (1 - TOLERANCE * 2), "weight": 1.001}, "differs"),
        ({"weight": 1.001}, "differs"),  # the stored weights are not those that were scored
        ({"mse": float("nan")}, "differs"),
        ({"loss": [(2, 0.5), (4, 0.26), (6, 0.125)]}, "within tolerance"),
        ({"stored": False}, "bit-identical"),
        ({"stored": False, "mse": 0.03}, "differs"),
    ],
)
def test_the_verdict(now: dict[str, Any], verdict: str) -> None:
    assert likeness(_run(), _run(**now)).verdict == verdict


def test_each_part_names_the_first_place_where_it_differs() -> None:
    now = _run(mse=0.03, weight=1.5, loss=[(2, 0.5), (4, 0.25), (6, 0.5)])
    said = " ".join(part.said for part in likeness(_run(), now).parts)
    for place in ("conv.weight, by up to 0.5", "mse of sequence 0, frame 1", "from step 6 on"):
        assert place in said


def test_points_of_the_loss_over_other_stretches_of_steps_are_not_compared() -> None:
    now = _run(loss=[(2, 0.5), (3, 9.0), (6, 9.0)])
    assert not curves(_run(), now).first
    assert not curves(_run(), _run(loss=[(2, 0.5), (4, 9.0)]), until=3).first
    assert curves(_run(), _run(loss=[(2, 0.5), (4, 9.0)]), until=4).first


def test_nothing_compared_is_nothing_shown() -> None:
    empty = _run(stored=False, loss=[])
    empty.run.metrics.clear()
    assert likeness(empty, empty).verdict == "differs"


@pytest.mark.parametrize(("skill", "verdict"), [(0.002, "within tolerance"), (0.02, "differs")])
def test_a_skill_near_nothing_is_no_other_result(skill: float, verdict: str) -> None:
    """Half a per cent of the MSE may be ten times the skill."""
    then, now = _run(), _run(weight=1.001, mse=0.02 * (1 - TOLERANCE / 2))
    then.run.metrics["test/skill"], now.run.metrics["test/skill"] = 0.0001, skill
    assert likeness(then, now).verdict == verdict
