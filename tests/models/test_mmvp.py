"""MMVP: its size, its matrices and what they move, and frames beyond one pass."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.testing import assert_close

from models.contract import TrainingBatch, UnfitFrame
from models.mmvp import MMVP, RRDB, coarser, normalised, similarities


def tiny(channels: int = 1) -> MMVP:
    torch.manual_seed(0)
    return MMVP((channels, 32, 48), width=4, hidden=6, blocks=1, window_frames=3)


def count(*layers: nn.Module) -> int:
    return sum(p.numel() for layer in layers for p in layer.parameters())


def test_the_published_size_has_the_published_parameters_but_those_never_used() -> None:
    with torch.device("meta"):
        model = MMVP((1, 64, 64))
        fusing = count(
            nn.Conv2d(2 * 192, 192, 3, bias=False),  # of the predictor
            nn.ConvTranspose2d(64, 32, 2),  # of the two scales
            nn.Conv2d(64, 32, 3, bias=False),
            *(layer for _ in range(2) for layer in (nn.Conv2d(32, 32, 3), nn.BatchNorm2d(32))),
        )
    assert fusing == 708_832
    assert count(model) + fusing == 14_828_581


def test_similarities_are_cosines_of_each_position_with_each_of_the_next_frame() -> None:
    features = torch.randn(2, 3, 5, 2, 4)
    matrices = similarities(features)
    assert matrices.shape == (2, 2, 8, 8)
    expected = F.cosine_similarity(features[1, 0, :, 1, 2], features[1, 1, :, 0, 3], 0)
    assert_close(matrices[1, 0, 1 * 4 + 2, 0 * 4 + 3], expected)


def test_matrices_are_normalised_over_all_of_their_entries_together() -> None:
    matrices = torch.randn(2, 3, 4, 4)
    result = normalised(matrices)
    assert_close(result[1, 2], matrices[1, 2].exp() / matrices[1, 2].exp().sum())


def test_coarser_matrices_are_interpolated_target_by_target_and_source_by_source() -> None:
    matrices = torch.randn(1, 2, 4 * 8, 4 * 8)
    result = coarser(matrices, (4, 8)).view(2, 2, 4, 2, 4)
    for n, matrix in enumerate(matrices[0].view(2, 4, 8, 4, 8)):
        halved = matrix.view(4, 8, 2, 2, 4, 2).mean((3, 5))
        for y in range(2):
            for x in range(4):
                source = F.interpolate(halved[None, None, ..., y, x], (2, 4), mode="bicubic")
                assert_close(result[n, ..., y, x], source[0, 0], rtol=1e-4, atol=1e-5)


def by_products(features: Tensor, past: Tensor, future: Tensor) -> Tensor:
    """What is moved, with the products of matrices that the paper has: [T,C,positions]."""
    frames = len(features)
    moved = []
    for matrix in future:
        ways = [matrix]
        for earlier in past.flip(0):
            ways.insert(0, earlier @ ways[0])
        values = sum(f.flatten(1) @ way for f, way in zip(features, ways, strict=True))
        weights = sum(way.sum(0) for way in ways)
        moved.append(values / (weights + 1e-6))
    assert len(ways) == frames
    return torch.stack(moved)


def test_features_of_all_past_frames_move_along_products_of_matrices() -> None:
    torch.manual_seed(0)
    features = torch.randn(2, 3, 5, 2, 2).double()
    past, future = (torch.rand(2, n, 4, 4).double() for n in (2, 3))
    moved = tiny().moved(features.flatten(0, 1), past, future)
    assert moved.shape == (6, 5, 2, 2)
    for b in range(2):
        expected = by_products(features[b], past[b], future[b]).view(3, 5, 2, 2)
        assert_close(moved.view(2, 3, 5, 2, 2)[b], expected)


def test_blocks_add_a_fifth_of_a_fifth() -> None:
    torch.manual_seed(0)
    block = RRDB(4)
    x = torch.rand(1, 4, 5, 6)
    y = x
    for dense in block.blocks:
        seen = [y]
        for layer in dense.grow:  # type: ignore[union-attr]
            seen.append(F.leaky_relu(layer(torch.cat(seen, 1)), 0.2))
        y = y + dense.last(torch.cat(seen, 1)) / 5  # type: ignore[operator]
    assert_close(block(x), x + y / 5)


def test_every_frame_of_the_context_and_every_parameter_counts() -> None:
    model = tiny(3).double()
    context = torch.rand(2, 3, 3, 32, 48).double().requires_grad_()
    predicted = model(context, 3)
    assert predicted.shape == context.shape
    for frame in range(3):
        (seen,) = torch.autograd.grad(predicted[:, frame].sum(), context, retain_graph=True)
        assert bool((seen.abs().amax((0, 2, 3, 4)) > 0).all())
    predicted.square().sum().backward()
    assert not [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]


def test_the_future_is_not_read_in_training_either() -> None:
    clip = torch.rand(2, 6, 1, 32, 48)
    other = torch.cat((clip[:, :3], torch.rand(2, 3, 1, 32, 48)), 1)
    first, second = tiny(), tiny()
    for model, given in ((first, clip), (second, other)):
        model.training_loss(TrainingBatch(given, 3, 0.5))
    for ours, theirs in zip(first.buffers(), second.buffers(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_long_horizon_reads_its_own_predictions() -> None:
    model = tiny().eval()
    context = torch.rand(2, 3, 1, 32, 48)
    with torch.no_grad():
        first = model.next_window(context)
        expected = torch.cat((first, model.next_window(first)[:, :1]), 1)
        assert_close(model(context, 4), expected)


def test_what_cannot_be_built_is_refused() -> None:
    with pytest.raises(UnfitFrame, match=r"multiples of 16 .*halved 4 times.*not 64 x 72"):
        MMVP((1, 64, 72))
    with pytest.raises(ValueError, match="width must be even, not 5"):
        MMVP((1, 64, 64), width=5)
    with pytest.raises(ValueError, match="window_frames must be 2 at least, not 1"):
        MMVP((1, 64, 64), window_frames=1)


def test_four_sequences_are_learnt_by_heart(learns_by_heart: Callable[..., None]) -> None:
    torch.manual_seed(0)
    model = MMVP((1, 32, 32), width=8, hidden=8, blocks=1, window_frames=3)
    learns_by_heart(model)
