"""WaST's wavelets against a known transform, its size, its loss, and when blocks are dropped."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.testing import assert_close

from models import wast
from models.contract import TrainingBatch, UnfitFrame
from models.wast import (
    AwareBlock,
    CoordinateAttention,
    WaST,
    from_wavelets,
    high_frequency_loss,
    high_frequency_mask,
    wavelets,
)


def tiny(**options: object) -> WaST:
    torch.manual_seed(0)
    given = {"width": 2, "blocks": (1, 2, 1), "kernels": (7, 5), "window_frames": 4, **options}
    return WaST((1, 16, 16), **given)  # type: ignore[arg-type]


def test_the_size_for_taxibj_has_the_published_parameters_but_the_second_scales() -> None:
    with torch.device("meta"):
        model = WaST((2, 32, 32), window_frames=4)
    scales = [m.scale.numel() for m in model.modules() if isinstance(m, AwareBlock)]
    assert sum(scales) == 1_600
    assert sum(p.numel() for p in model.parameters()) + sum(scales) == 5_132_822


def test_wavelets_are_signed_sums_of_cubes_and_can_be_undone() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, 4, 6, 8).double()
    bands = wavelets(x)
    assert bands.shape == (2, 4, 2, 3, 2, 3, 4)
    for time in range(2):
        for row in range(2):
            for column in range(2):
                signs = torch.tensor(
                    [
                        (-1.0) ** (t * time + r * row + c * column)
                        for t in range(2)
                        for r in range(2)
                        for c in range(2)
                    ]
                )
                kernel = (signs.view(1, 1, 2, 2, 2) / 8**0.5).double().repeat(3, 1, 1, 1, 1)
                expected = F.conv3d(x, kernel, stride=2, groups=3)
                assert_close(bands[time, 2 * row + column], expected)
    assert_close(from_wavelets(bands), x)
    assert_close(bands.square().sum(), x.square().sum())


def test_rows_and_columns_are_weighed_by_what_their_means_say() -> None:
    torch.manual_seed(0)
    attention = CoordinateAttention(4).eval()
    x = torch.rand(2, 4, 3, 5)
    by_row = attention.rows(attention.read(x.mean(3))).sigmoid()
    by_column = attention.columns(attention.read(x.mean(2))).sigmoid()
    assert_close(attention(x), x * by_row[:, :, :, None] * by_column[:, :, None, :])


class Passing(nn.Module):
    """What it is given, as it is."""

    def forward(self, x: Tensor, *_: object) -> Tensor:
        return x


def test_what_skips_the_middle_comes_back_to_its_place() -> None:
    model = tiny()
    model.prepare = model.return_low = model.return_high = model.embed_low = Passing()  # type: ignore[assignment]
    nn.init.zeros_(model.embed_frames.weight)
    nn.init.zeros_(model.embed_frames.bias)  # type: ignore[arg-type]
    x = torch.rand(2, 4, 4, 16, 16)  # as wide as what the silent branch adds
    low, bands = model.transform(x, torch.zeros(2, 1, 4, 16, 16))
    assert low.shape == (2, 4, 4, 8, 8)
    assert bands.shape == (2, 24, 2, 8, 8)
    assert_close(model.transform_back(low, bands), x)


def test_frames_mix_and_every_parameter_counts() -> None:
    model = tiny().double().train()
    context = torch.rand(2, 4, 1, 16, 16).double().requires_grad_()
    predicted = model(context, 4)
    assert predicted.shape == context.shape
    for frame in range(4):
        (seen,) = torch.autograd.grad(predicted[:, frame].sum(), context, retain_graph=True)
        assert bool((seen.abs().amax((0, 2, 3, 4)) > 0).all())
    predicted.pow(3).sum().backward()
    assert not [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]


def test_a_long_horizon_reads_its_own_predictions() -> None:
    model = tiny().eval()
    context = torch.rand(2, 4, 1, 16, 16)
    with torch.no_grad():
        first = model.next_window(context)
        expected = torch.cat((first, model.next_window(first)[:, :1]), 1)
        assert_close(model(context, 5), expected)


def test_high_frequencies_are_those_away_from_the_corners() -> None:
    mask = high_frequency_mask(20, 30)
    expected = torch.ones(20, 30)
    for row in range(20):
        for column in range(30):
            for y, x in ((0, 0), (0, 29), (19, 0), (19, 29)):
                if (row - y) ** 2 + (column - x) ** 2 <= 9:
                    expected[row, column] = 0
    assert torch.equal(mask, expected)


def test_the_loss_of_high_frequencies_weighs_each_by_how_wrong_it_is() -> None:
    torch.manual_seed(0)
    predicted, true = torch.rand(2, 2, 3, 2, 8, 12).double()
    mask = (torch.rand(4, 6) > 0.3).double()
    total = 0.0
    for b in range(2):
        for t in range(3):
            for c in range(2):
                low = [
                    frames[b, t, c].view(4, 2, 6, 2).sum((1, 3)) / 2 for frames in (predicted, true)
                ]
                apart = (torch.fft.fft2(low[0]) - torch.fft.fft2(low[1])).abs() / 24**0.5
                weights = (1 + apart).log() / (1 + apart).log().max()
                total += float((weights * apart**2 * mask).sum())
    loss = high_frequency_loss(predicted, true, mask)
    assert float(loss) == pytest.approx(total / (2 * 3 * 2 * 4 * 6))
    assert float(high_frequency_loss(true, true, mask)) == 0


def test_the_loss_is_the_mse_and_a_thousandth_of_that_of_high_frequencies() -> None:
    model = tiny().eval()
    clip = torch.rand(2, 7, 1, 16, 16)
    batch = TrainingBatch(clip, 4, 0.9)
    predicted = model(batch.context, 3)
    high = high_frequency_loss(predicted, batch.future, model.high)
    expected = F.mse_loss(predicted, batch.future) + 1e-3 * high
    assert_close(model.training_loss(batch), expected)
    assert_close(batch.logged["high_frequencies"], high.detach())


def test_branches_are_dropped_late_in_training_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Tensor] = []
    draw = wast.draw_drop_path
    monkeypatch.setattr(
        wast,
        "draw_drop_path",
        lambda rates, steps, batch: seen.append(rates) or draw(rates, steps, batch),
    )
    model, clip = tiny(drop_path=0.3), torch.rand(2, 8, 1, 16, 16)
    for progress in (0.3, 0.5):
        model.training_loss(TrainingBatch(clip, 4, progress, torch.Generator().manual_seed(0)))
    assert_close(seen[0], torch.zeros(4))
    assert_close(seen[1], torch.tensor([0.0, 0.1, 0.2, 0.3]))
    model.eval().training_loss(TrainingBatch(clip, 4, 0.5))
    assert len(seen) == 2


def test_a_dropped_branch_leaves_its_sequence_as_it_is() -> None:
    torch.manual_seed(0)
    block = AwareBlock(4, 5).eval()
    x = torch.rand(2, 4, 6, 6)
    factors = torch.tensor([[0.0, 1.0], [0.0, 1.0]]).view(2, 2, 1, 1, 1)
    result = block(x, factors)
    assert torch.equal(result[0], x[0])
    assert_close(result[1], block(x, None)[1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window_frames": 3}, "window_frames must be even and 2 at least, not 3"),
        ({"kernels": (7, 4)}, "kernels must be odd, not 7 and 4"),
    ],
)
def test_what_cannot_be_built_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tiny(**options)


def test_frames_that_cannot_be_halved_are_refused() -> None:
    with pytest.raises(UnfitFrame, match=r"multiples of 2 \(wavelets halve them\), not 16 x 17"):
        WaST((1, 16, 17))


def test_four_sequences_are_learnt_by_heart(learns_by_heart: Callable[..., None]) -> None:
    torch.manual_seed(0)
    model = WaST(
        (1, 32, 32), width=4, blocks=(1, 1, 1), kernels=(7, 5), window_frames=4, drop_path=0.0
    )
    learns_by_heart(model)
