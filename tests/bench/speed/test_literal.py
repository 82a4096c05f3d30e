import importlib

import pytest
import torch
from torch.testing import assert_close

from bench.speed.literal import FOLDER, as_model, without_chance
from bench.suite import catalogue
from models.contract import TrainingBatch

NAMES = sorted(path.stem for path in FOLDER.glob("[!_]*.py"))
CONTEXT_FRAMES, HORIZON = 3, 3


@pytest.mark.parametrize("name", NAMES)
def test_both_sides_of_a_pair_compute_the_same_though_a_step_sets_them_to_train(name: str) -> None:
    cls, literal = catalogue.predictors()[name], importlib.import_module(f"tests.literal.{name}")
    options = dict(literal.TINY)
    if "drop_path" in options:
        options["drop_path"] = 0.5
    sides = []
    for side in (without_chance(cls, literal), as_model(cls, literal)):
        torch.manual_seed(0)
        sides.append(side(literal.FRAME, **options).train())
    ours, theirs = sides
    clip = torch.rand(2, CONTEXT_FRAMES + HORIZON, *literal.FRAME)

    def loss(side: torch.nn.Module) -> torch.Tensor:
        batch = TrainingBatch(clip, CONTEXT_FRAMES, 1.0, torch.Generator().manual_seed(0))
        return side.training_loss(batch)

    assert_close(loss(ours), loss(theirs), rtol=1e-4, atol=0.0)
    assert ours.losses == theirs.losses
    assert sum(p.numel() for p in theirs.parameters()) > 0
