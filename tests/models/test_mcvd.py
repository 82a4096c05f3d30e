"""MCVD: its published counts, what it learns, and what it draws where the noise is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models.contract import TrainingBatch
from models.mcvd import MCVD, TIMES, Resample, normal, signal_shares, time_codes

TINY: dict[str, Any] = {"width": 8, "multiples": (1, 2), "blocks": 1, "dropout": 0.0}


def tiny(**options: Any) -> MCVD:
    torch.manual_seed(0)
    return MCVD((1, 8, 8), **(TINY | {"past_frames": 2, "block_frames": 2} | options)).eval()


def test_the_shares_of_signal_are_ddpms() -> None:
    shares = signal_shares().double()
    betas = 1 - shares[1:] / shares[:-1]
    assert 1 - shares[0] == pytest.approx(1e-4, rel=1e-2)
    assert betas[[0, -1]].tolist() == pytest.approx([1.2e-4, 0.02], rel=1e-2)
    assert shares[-1] == pytest.approx(4.04e-5, rel=1e-2)  # Ho et al.: next to nothing is left


def test_uniform_numbers_become_normal_ones() -> None:
    drawn = normal(torch.rand(2, 200_000, generator=torch.Generator().manual_seed(0)))
    moments = [float((drawn**power).mean()) for power in (1, 2, 3, 4)]
    assert moments == pytest.approx([0, 1, 0, 3], abs=0.05)
    assert normal(torch.zeros(2, 1)).isfinite().all()


def test_times_are_told_apart_by_sines_and_cosines() -> None:
    codes = time_codes(torch.tensor([0, 7]), 4)
    angles = torch.tensor([7.0, 7e-4])
    torch.testing.assert_close(codes[0], torch.tensor([0.0, 0.0, 1.0, 1.0]))
    torch.testing.assert_close(codes[1], torch.cat((angles.sin(), angles.cos())))


def test_maps_are_halved_and_doubled_without_a_shift() -> None:
    ramp = torch.arange(16.0).expand(1, 3, 16, 16)
    halved, doubled = Resample("halve")(ramp), Resample("double")(ramp)
    torch.testing.assert_close(halved[0, 0, 3, 1:-1], 2 * torch.arange(8.0)[1:-1] + 0.5)
    torch.testing.assert_close(doubled[0, 2, 9, 1:-1], torch.arange(32.0)[1:-1] / 2 - 0.25)


class Noise(nn.Module):
    """The noise in maps whose frames have mean `mean` and standard deviation `deviation`."""

    def __init__(self, mean: Tensor, deviation: float) -> None:
        super().__init__()
        self.mean, self.deviation, self.seen = mean, deviation, []
        self.shares = signal_shares()

    def forward(self, x: Tensor, times: Tensor) -> Tensor:
        share = self.shares[times][:, None, None, None]
        self.seen.append((x, times))
        noisy = x[:, : self.mean.shape[0]]
        spread = share * self.deviation**2 + 1 - share
        return (1 - share).sqrt() * (noisy - share.sqrt() * self.mean) / spread


@pytest.mark.parametrize("sampling_steps", [1, 2, 7])
def test_a_future_that_is_certain_is_drawn_exactly(sampling_steps: int) -> None:
    model = tiny(sampling_steps=sampling_steps)
    truth = torch.rand(2, 8, 8)
    model.unet = Noise(2 * truth - 1, 0.0)
    drawn = model(torch.rand(3, 2, 1, 8, 8), 2)
    torch.testing.assert_close(drawn, truth[:, None].expand_as(drawn), rtol=0, atol=1e-4)
    times = [int(times[0]) for _, times in model.unet.seen]
    assert times[0] == TIMES - 1
    assert times == sorted(times, reverse=True)
    assert len(times) == sampling_steps


def test_draws_have_the_spread_of_the_future() -> None:
    model = tiny(sampling_steps=TIMES)
    model.unet = Noise(torch.full((2, 1, 1), 0.2), 0.15)
    context, generator = torch.rand(1, 2, 1, 8, 8), torch.Generator().manual_seed(0)
    drawn = 2 * model.sample(context, 2, 100, generator) - 1
    assert drawn.shape == (1, 100, 2, 1, 8, 8)
    assert float(drawn.mean()) == pytest.approx(0.2, abs=0.01)
    assert float(drawn.std()) == pytest.approx(0.15, rel=0.03)


def test_samples_are_of_their_own_clip_and_forward_draws_one() -> None:
    model, context = tiny(), torch.rand(2, 3, 1, 8, 8)
    with torch.no_grad():
        for stage in model.unet.modules():
            if isinstance(stage, nn.Conv2d):
                nn.init.normal_(stage.weight, std=0.2)
        drawn = model.sample(context, 3, 4, torch.Generator().manual_seed(5))
        repeated = context.repeat_interleave(4, 0)
        torch.manual_seed(5)
        torch.testing.assert_close(model(repeated, 3), drawn.flatten(0, 1))
    assert drawn.min() >= 0
    assert drawn.max() <= 1
    assert drawn.std(1).mean() > 0.01


def test_a_further_block_is_drawn_after_the_last_one() -> None:
    model = tiny(past_frames=3, sampling_steps=1)
    model.unet = Noise(torch.linspace(-1, 1, 2)[:, None, None].expand(2, 8, 8), 0.0)
    context = torch.rand(1, 1, 1, 8, 8)
    future = model(context, 5)
    torch.testing.assert_close(future.mean((0, 2, 3, 4)), torch.tensor([0.0, 1, 0, 1, 0]))
    pasts = [(x[:, 2:] + 1) / 2 for x, _ in model.unet.seen]
    torch.testing.assert_close(pasts[0], context[:, :1, 0].expand(-1, 3, -1, -1))
    torch.testing.assert_close(pasts[1], torch.cat((context[:, 0], future[:, :2, 0]), 1))
    torch.testing.assert_close(pasts[2], future[:, 1:4, 0])


def test_it_learns_the_noise_in_frames_that_follow_those_it_reads() -> None:
    """Frames of a ramp in time: the past tells which window was taken, and so what was clean."""
    model, frames = tiny(), 7
    model.unet = Noise(torch.zeros(2, 1, 1), 0.0)
    ramp = torch.linspace(0, 1, frames)[None, :, None, None, None].expand(500, -1, 1, 8, 8)
    torch.manual_seed(0)
    loss = model.training_loss(TrainingBatch(ramp, 3, 0.5))
    ((x, times),) = model.unet.seen
    first = (x[:, 2, 0, 0] + 1) / 2 * (frames - 1)
    assert sorted({round(float(n)) for n in first}) == [0, 1, 2, 3]
    torch.testing.assert_close((x[:, 3, 0, 0] + 1) / 2 * (frames - 1), first + 1)
    share = signal_shares()[times][:, None, None, None]
    clean = torch.stack((first + 2, first + 3), 1)[..., None, None] * 2 / (frames - 1) - 1
    noise = (x[:, :2] - share.sqrt() * clean) / (1 - share).sqrt()
    assert float(noise[times > 100].std()) == pytest.approx(1, abs=0.01)
    found = model.unet(x, times)
    expected = (noise - found).square().sum((1, 2, 3)) / 2
    torch.testing.assert_close(loss, expected.mean(), rtol=1e-3, atol=0)
    assert 0 <= int(times.min()) < 20
    assert 980 < int(times.max()) < TIMES


def test_a_clip_shorter_than_a_window_begins_with_its_first_frame_repeated() -> None:
    model = tiny()
    model.unet = Noise(torch.zeros(2, 1, 1), 0.0)
    clip = torch.rand(2, 3, 1, 8, 8)
    model.training_loss(TrainingBatch(clip, 1, 0.5))
    past = (model.unet.seen[0][0][:, 2:] + 1) / 2
    torch.testing.assert_close(past, clip[:, [0, 0], 0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 9}, "width must be even, not 9"),
        ({"sampling_steps": 0}, "sampling_steps must be 1 to 1000, not 0"),
        ({"patch": 8}, r"multiples of 16 \(patches of it are halved 1x\), not 8 x 8"),
    ],
)
def test_what_cannot_be_built_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tiny(**options)


def test_four_sequences_are_learnt_by_heart(learns_by_heart: Callable[..., None]) -> None:
    torch.manual_seed(0)
    learns_by_heart(MCVD((1, 32, 32), past_frames=2, block_frames=3, **TINY | {"width": 12}))
