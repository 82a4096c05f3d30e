"""VMRNN's sizes, its scan and where that starts; `tests/literal/vmrnn.py` has the rest."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from models.contract import TrainingBatch, UnfitFrame
from models.layers.drop_path import DropPath
from models.vmrnn import VMRNN, LinearRecurrence, SelectiveScan, VMRNNCell
from tests.literal import vmrnn as literal

D_OF_CODE = {"down": (2, 6), "up": (2, 6)}
B = {"down": (6,), "up": ()}
B_OF_TAXIBJ = {"down": (12,), "up": (), "patch": 4}
EMBEDDING = (2 * 2 + 1 + 2) * 128
"""Parameters of a patch embedding of 2x2 grey pixels, which VMRNN-D's code has twice."""


@pytest.mark.parametrize(
    ("frame", "options", "embeddings", "published"),
    [
        ((1, 64, 64), {}, 1, 9_674_113),
        ((1, 64, 64), D_OF_CODE, 1, 15_267_201),
        ((1, 64, 64), B, 0, 1_214_721),
        ((2, 32, 32), B_OF_TAXIBJ, 0, 2_579_970),
    ],
)
def test_sizes_have_the_published_parameters_but_those_never_used(
    frame: tuple[int, int, int], options: dict[str, object], embeddings: int, published: int
) -> None:
    with torch.device("meta"):
        model = VMRNN(frame, **options)  # type: ignore[arg-type]
    unused = embeddings * EMBEDDING
    for cell in model.cells:
        assert isinstance(cell, VMRNNCell)
        first, *others = cell.blocks
        unused += len(others) * sum(p.numel() for p in first.fuse.parameters())  # type: ignore[union-attr, operator]
    assert sum(p.numel() for p in model.parameters()) + unused == published


def recur(decay: Tensor, inputs: Tensor) -> Tensor:
    """h[t] = decay[t] h[t-1] + inputs[t], one t after the other."""
    h, all_h = torch.zeros_like(inputs[0, 0]), []
    for a, b in zip(decay.flatten(0, 1), inputs.flatten(0, 1), strict=True):
        h = a * h + b
        all_h.append(h)
    return torch.stack(all_h).view_as(inputs)


@pytest.mark.parametrize("grid", [(1, 1), (1, 5), (4, 1), (3, 4)])
def test_a_recurrence_by_rows_is_the_one_by_positions_and_so_are_its_gradients(
    grid: tuple[int, int],
) -> None:
    torch.manual_seed(0)
    decay = torch.rand(*grid, 2, 3).double().requires_grad_()
    inputs = torch.randn(*grid, 2, 3).double().requires_grad_()
    h = LinearRecurrence.apply(decay, inputs)  # type: ignore[no-untyped-call]
    expected = recur(decay, inputs)
    assert_close(h, expected)
    weights = torch.randn_like(expected)
    ours, theirs = (
        torch.autograd.grad((of * weights).sum(), (decay, inputs)) for of in (h, expected)
    )
    assert_close(ours, theirs)


def test_a_decay_that_forgets_all_leaves_no_trace() -> None:
    inputs = torch.rand(3, 4, 2)
    h = LinearRecurrence.apply(torch.zeros(3, 4, 2), inputs)  # type: ignore[no-untyped-call]
    assert torch.equal(h, inputs)


def test_every_position_reads_every_other() -> None:
    torch.manual_seed(0)
    scan = SelectiveScan(4, 3).double()
    x = torch.rand(1, 5, 7, 4).double().requires_grad_()
    (seen,) = torch.autograd.grad(scan(x)[0, 2, 3].sum(), x)
    assert bool(seen.any(-1).all())


def test_a_scan_starts_with_the_published_paces_and_decays() -> None:
    torch.manual_seed(0)
    scan = SelectiveScan(32, 16)
    paces = torch.nn.functional.softplus(scan.pace_bias)
    assert 0.001 <= paces.min().item() < 0.0015
    assert 0.08 < paces.max().item() <= 0.1
    assert abs(paces.log10().mean().item() + 2) < 0.15
    assert_close(scan.decay.exp()[2, :, 5], torch.arange(1.0, 17))
    assert scan.pace.shape == (4, 2, 64)


def test_drop_rates_rise_and_fall_or_are_those_of_one_cell() -> None:
    def rates(model: VMRNN) -> list[float]:
        return [m.rate for m in model.modules() if isinstance(m, DropPath)]

    d = VMRNN((1, 16, 16), width=4, down=(1, 2), up=(2, 1), drop_path=0.2)
    assert rates(d) == pytest.approx([0.0, 0.1, 0.2, 0.2, 0.1, 0.0])
    assert rates(VMRNN((1, 4, 4), width=4, down=(3,), up=(), drop_path=0.2)) == [0.2] * 3


@pytest.mark.parametrize("patch", [2, 4, 8])
def test_frames_keep_their_shape_whatever_the_patch(patch: int) -> None:
    for ways in ({"down": (1,), "up": ()}, {"down": (1,), "up": (1,)}):
        model = VMRNN((3, 16, 32), width=16, states=2, patch=patch, **ways)  # type: ignore[arg-type]
        context = torch.rand(2, 2, 3, 16, 32)
        predicted = model(context, 2)
        assert predicted.shape == context.shape
        assert 0 < predicted.min().item() < predicted.max().item() < 1


def test_training_runs_free_after_the_context_and_scores_every_next_frame() -> None:
    torch.manual_seed(0)
    model = VMRNN(literal.FRAME, **literal.TINY)
    clip = torch.rand(2, 6, *literal.FRAME)
    after_each = [model(clip[:, :t], 1) for t in range(1, 3)]
    predictions = torch.cat((*after_each, model(clip[:, :3], 3)), 1)
    loss = model.training_loss(TrainingBatch(clip, 3, 0.0))
    assert_close(loss, (predictions - clip[:, 1:]).square().mean())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patch": 3}, r"a power of two\), not 3"),
        ({"width": 24, "patch": 4}, "a multiple of 16, not 24"),
        ({"down": (2, 2), "up": (2,)}, "as many cells up as down, or one alone, not 2 and 1"),
        ({"down": (2, 2), "up": ()}, "as many cells up as down, or one alone, not 2 and 0"),
        ({"down": (), "up": ()}, "as many cells up as down, or one alone, not 0 and 0"),
    ],
)
def test_what_cannot_be_built_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        VMRNN((1, 48, 48), **options)  # type: ignore[arg-type]


def test_frames_that_cannot_be_tiled_or_halved_are_refused() -> None:
    with pytest.raises(UnfitFrame, match=r"multiples of 8 .*halved 2 times.*not 64 x 68"):
        VMRNN((1, 64, 68))


def test_four_sequences_are_learnt_by_heart(learns_by_heart: Callable[..., None]) -> None:
    torch.manual_seed(0)
    model = VMRNN((1, 32, 32), width=32, down=(2,), up=(), states=2, patch=4, drop_path=0.0)
    learns_by_heart(model, steps=150, learning_rate=5e-3)
