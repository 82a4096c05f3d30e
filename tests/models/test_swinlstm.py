"""Swin blocks against their definitions; the cells and both networks."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models import swinlstm
from models.contract import TrainingBatch
from models.layers.window_attention import WindowAttention
from models.swinlstm import (
    SwinBlock,
    SwinLSTM,
    SwinLSTMB,
    SwinLSTMD,
    draw_drop_path,
)


def published(model_class: type[SwinLSTM]) -> SwinLSTM:
    with torch.device("meta"):
        return model_class((1, 64, 64), **model_class.sizes["published"].options)


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def unused_fusing(width: int, depth: int) -> int:
    """Parameters of the 2*width -> width layers of a cell's odd blocks, which read one map."""
    return depth // 2 * count(nn.Linear(2 * width, width, device="meta"))


def test_b_has_the_published_parameters_but_those_never_used() -> None:
    unused = unused_fusing(128, 12)
    assert unused == 197_376
    assert count(published(SwinLSTMB)) + unused == 2_778_417


def test_d_has_the_published_parameters_but_those_never_used() -> None:
    fusing = sum(unused_fusing(*cell) for cell in ((128, 2), (256, 6), (512, 2), (256, 6)))
    second_embedding = count(nn.Conv2d(1, 128, 2)) + count(nn.LayerNorm(128))
    assert (fusing, second_embedding) == (1_345_664, 896)
    assert count(published(SwinLSTMD)) + fusing + second_embedding == 20_191_969


def test_d_goes_down_and_up_as_published() -> None:
    model = published(SwinLSTMD)
    layers = [m for m in model.modules() if isinstance(m, WindowAttention)]
    seen = [(m.project.in_features, m.heads, m.window, m.shift) for m in layers]
    expected: list[object] = []
    for width, depth, heads in ((128, 2, 4), (256, 6, 8), (512, 2, 8), (256, 6, 4)):
        for n in range(depth):
            expected.append((width, heads, (4, 4), (2, 2) if n % 2 else (0, 0)))
    assert seen == expected
    assert [m.mask.shape[0] for m in layers] == [64] * 2 + [16] * 6 + [4] * 2 + [16] * 6


def test_drop_rates_are_constant_in_b_and_rise_and_fall_in_d() -> None:
    b = SwinLSTMB((1, 8, 8), width=8, depth=3, heads=2)
    torch.testing.assert_close(b.drop_rates, torch.tensor([0.1] * 3))
    d = SwinLSTMD((1, 16, 16), width=4, heads=(2, 2))
    rising = torch.linspace(0, 0.1, 8)
    torch.testing.assert_close(d.drop_rates, torch.cat((rising, rising.flip(0))))


@pytest.mark.parametrize("patch", [2, 4, 8])
@pytest.mark.parametrize("channels", [1, 3])
def test_frames_keep_their_shape_whatever_the_patch(patch: int, channels: int) -> None:
    b = SwinLSTMB((channels, 32, 48), width=16, depth=2, heads=2, patch=patch)
    d = SwinLSTMD((channels, 32, 64), width=16, depths_down=(1, 1), depths_up=(1, 1), patch=patch)
    for model in (b, d):
        context = torch.rand(2, 2, *model.frame_shape)
        prediction = model(context, 2)
        assert prediction.shape == context.shape
        assert 0 < prediction.min().item() < prediction.max().item() < 1


@pytest.mark.parametrize("patch", [0, 1, 3, 6])
def test_a_patch_that_is_no_power_of_two_is_refused(patch: int) -> None:
    with pytest.raises(ValueError, match=f"a power of two.*not {patch}"):
        SwinLSTMB((1, 36, 36), patch=patch)


def test_frames_that_cannot_be_tiled_or_halved_are_refused() -> None:
    with pytest.raises(ValueError, match=r"multiples of 2 .*not 64 x 65"):
        SwinLSTMB((1, 64, 65))
    with pytest.raises(ValueError, match=r"multiples of 8 .*halved 2 times.*not 64 x 68"):
        SwinLSTMD((1, 64, 68))


def test_windows_that_do_not_divide_the_map_grow_until_they_do() -> None:
    model = SwinLSTMB((1, 20, 28), width=8, depth=2, heads=2)
    layers = [m for m in model.modules() if isinstance(m, WindowAttention)]
    assert [m.window for m in layers] == [(5, 7)] * 2
    assert model(torch.rand(1, 1, 1, 20, 28), 1).shape == (1, 1, 1, 20, 28)


@pytest.fixture
def model() -> SwinLSTMB:
    torch.manual_seed(0)
    return SwinLSTMB((1, 16, 16), width=8, depth=4, heads=2, drop_path=0.5)


def test_training_runs_free_after_the_context_and_scores_every_next_frame(
    model: SwinLSTMB,
) -> None:
    model.eval()
    clip = torch.rand(2, 7, 1, 16, 16)
    after_each = [model(clip[:, :t], 1) for t in range(1, 4)]
    predictions = torch.cat((*after_each[:-1], model(clip[:, :3], 4)), 1)
    for progress in (0.0, 1.0):
        loss = model.training_loss(TrainingBatch(clip, 3, progress))
        torch.testing.assert_close(loss, F.mse_loss(predictions, clip[:, 1:]))


def test_branches_are_dropped_in_training_only_and_by_the_generator(model: SwinLSTMB) -> None:
    clip = torch.rand(2, 5, 1, 16, 16)

    def loss(seed: int) -> float:
        generator = torch.Generator().manual_seed(seed)
        return model.training_loss(TrainingBatch(clip, 3, 0.5, generator)).item()

    assert loss(0) == loss(0)
    assert loss(0) != loss(1)
    model.eval()
    assert loss(0) == loss(1)


def test_a_long_context_is_embedded_in_parts(
    model: SwinLSTMB, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = torch.rand(2, 7, 1, 16, 16)
    whole = model(context, 2)
    monkeypatch.setattr(swinlstm, "EMBEDDED_AT_ONCE", 3)
    assert [len(x) for x in model.read(context)] == [2] * 7
    torch.testing.assert_close(model(context, 2), whole)


def test_b_learns_four_sequences_by_heart(learns_by_heart: Callable[..., None]) -> None:
    """The loss falls twentyfold within 150 steps."""
    torch.manual_seed(0)
    model = SwinLSTMB((1, 32, 32), width=32, depth=2, heads=2, patch=4, drop_path=0.0)
    learns_by_heart(model, steps=150, learning_rate=5e-3)


def test_d_learns_four_sequences_by_heart(learns_by_heart: Callable[..., None]) -> None:
    """The loss falls twentyfold within 150 steps."""
    torch.manual_seed(0)
    model = SwinLSTMD(
        (1, 32, 32),
        width=32,
        depths_down=(2,),
        depths_up=(2,),
        heads=(2,),
        patch=4,
        drop_path=0.0,
    )
    learns_by_heart(model, steps=150, learning_rate=3e-3)


def block_of(*, fuses: bool) -> tuple[SwinBlock, Tensor, Tensor]:
    torch.manual_seed(0)
    block = SwinBlock(4, (4, 6), 2, heads=2, shifted=True, fuses=fuses).double()
    for parameter in block.parameters():
        nn.init.normal_(parameter)
    return block, torch.randn(2, 4, 6, 4).double(), torch.randn(2, 4, 6, 4).double()


def test_block_fuses_both_normalised_maps_beside_the_shortcut_of_the_first() -> None:
    block, x, other = block_of(fuses=True)
    assert block.fuse is not None
    fused = block.fuse(torch.cat((block.norm(x), block.norm(other)), -1))
    bias = block.attention.bias()
    middle = x + block.attention(fused, bias)
    expected = middle + block.feed_forward(middle)
    torch.testing.assert_close(block(x, other, bias, None), expected, rtol=0, atol=1e-10)


def test_a_block_that_does_not_fuse_reads_one_map_only() -> None:
    block, x, other = block_of(fuses=False)
    bias = block.attention.bias()
    assert torch.equal(block(x, other, bias, None), block(x, x, bias, None))


def test_factors_scale_the_branches_of_each_sequence() -> None:
    block, x, _ = block_of(fuses=False)
    bias = block.attention.bias()
    drop_path = torch.tensor([[0.0, 2.0], [0.0, 0.5]]).double().view(2, 2, 1, 1, 1)
    result = block(x, x, bias, drop_path)
    assert torch.equal(result[0], x[0])
    middle = x + 2 * block.attention(block.norm(x), bias)
    expected = middle + 0.5 * block.feed_forward(middle)
    torch.testing.assert_close(result[1], expected[1], rtol=0, atol=1e-10)


def _batch(seed: int) -> TrainingBatch:
    clips = torch.zeros(40, 2, 1, 1, 1)
    return TrainingBatch(clips, 1, 0.0, torch.Generator().manual_seed(seed))


def test_branches_are_dropped_at_their_rate_and_keep_their_mean() -> None:
    rates = torch.tensor([0.0, 0.2, 0.5])
    drop_path = draw_drop_path(rates, 50, _batch(0))
    assert drop_path.shape == (50, 3, 2, 40, 1, 1, 1)
    assert bool((drop_path[:, 0] == 1).all())
    assert sorted(drop_path[:, 1].unique().tolist()) == pytest.approx([0.0, 1.25])
    dropped = (drop_path == 0).float().mean((0, 2, 3)).flatten()
    torch.testing.assert_close(dropped, rates, rtol=0, atol=0.03)
    assert not torch.equal(drop_path[0], drop_path[1])
    again = draw_drop_path(rates, 50, _batch(0))
    assert torch.equal(drop_path, again)
