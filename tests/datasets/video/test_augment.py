from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from datasets.video.augment import random_flips, random_turned_crops, turned_crops

STILL = torch.zeros(1)


def _noise(*shape: int) -> Tensor:
    return torch.randint(256, shape, generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _ramp(side: int, steepness: float) -> Tensor:
    """A clip [1,1,1,side,side] that grows brighter from left to right."""
    row = 128 + steepness * (torch.arange(side) - (side - 1) / 2)
    return row.round().to(torch.uint8).expand(1, 1, 1, side, side)


@given(st.integers(5, 70), st.integers(5, 70), st.data())
def test_a_crop_that_is_not_turned_has_the_very_pixels(
    height: int, width: int, data: st.DataObject
) -> None:
    side = data.draw(st.integers(1, min(height, width)))
    y, x = data.draw(st.integers(0, height - side)), data.draw(st.integers(0, width - side))
    clips = _noise(1, 2, 3, height, width)
    crop = turned_crops(clips, STILL, torch.tensor([[y, x]]), side)
    assert torch.equal(crop, clips[..., y : y + side, x : x + side])


@pytest.mark.parametrize(("dtype", "largest"), [(torch.uint16, 65_535), (torch.float16, 1)])
def test_crops_and_flips_keep_the_type(dtype: torch.dtype, largest: int) -> None:
    clips = (_noise(1, 2, 3, 9, 8) / 255 * largest).to(dtype)
    crop = turned_crops(clips, STILL, torch.tensor([[2, 1]]), 6)
    torch.testing.assert_close(
        crop.float(), clips[..., 2:8, 1:7].float(), rtol=0, atol=1e-3 * largest
    )
    turned = turned_crops(clips, torch.tensor([0.3]), torch.tensor([[2, 1]]), 6)
    assert turned.dtype == dtype
    some = clips.repeat(9, 1, 1, 1, 1)
    flipped, _ = random_flips(some, torch.zeros(9).long(), torch.tensor([0]), _generator())
    mirrored = np.ascontiguousarray(clips[0].numpy()[..., ::-1])
    seen = {clip.numpy().tobytes() for clip in flipped}
    assert seen == {clips[0].numpy().tobytes(), mirrored.tobytes()}


@pytest.mark.parametrize("degrees", [-15, -4, 9, 90])
def test_a_turn_is_counterclockwise_about_the_middle_as_pillow_turns(degrees: int) -> None:
    y, x = np.mgrid[:61, :61]
    picture = (128 + 50 * np.sin(x / 9) + 60 * np.cos(y / 7 + x / 20)).astype(np.uint8)
    wanted = np.asarray(Image.fromarray(picture).rotate(degrees, Image.Resampling.BILINEAR))
    clips = torch.from_numpy(picture)[None, None, None]
    angle, corner = torch.tensor([math.radians(degrees)]), torch.tensor([[12, 14]])
    turned = turned_crops(clips, angle, corner, 36)[0, 0, 0]
    difference = turned.int() - torch.from_numpy(wanted.copy())[12:48, 14:50].int()
    assert difference.abs().max() <= 1


def test_beyond_the_frame_is_black() -> None:
    white = torch.full((1, 1, 3, 40, 40), 255, dtype=torch.uint8)
    turned = turned_crops(white, torch.tensor([0.2]), torch.zeros(1, 2, dtype=torch.int64), 40)
    assert turned[..., 0, 0].max() == turned[..., -1, -1].max() == 0
    assert turned[..., 10:30, 10:30].min() == 255


def test_values_are_rounded_not_cut() -> None:
    """Halfway between 100 and 101 less a trifle, as most of a turned even surface would be."""
    even = torch.full((8, 1, 1, 50, 50), 201, dtype=torch.uint8)
    turned = turned_crops(even, torch.linspace(-0.2, 0.2, 8), torch.full((8, 2), 15), 20)
    assert turned.unique().tolist() == [201]


def test_all_frames_of_a_clip_are_cropped_and_turned_alike_and_clips_each_in_its_way() -> None:
    clips = _noise(1, 1, 3, 24, 24).expand(6, 5, 3, 24, 24)
    crops = random_turned_crops(clips, 16, 15, _generator())
    assert torch.equal(crops, crops[:, :1].expand_as(crops))
    assert len({crop.numpy().tobytes() for crop in crops}) == 6


def test_every_corner_is_drawn_and_none_beyond() -> None:
    place = torch.arange(5 * 6, dtype=torch.uint8).view(1, 1, 1, 5, 6).expand(400, 1, 1, 5, 6)
    crops = random_turned_crops(place, 3, 0.0, _generator())
    corners = crops[:, 0, 0, 0, 0].unique().tolist()
    assert corners == [6 * y + x for y in range(3) for x in range(4)]


def test_angles_spread_evenly_between_the_most_degrees_either_way() -> None:
    crops = random_turned_crops(_ramp(45, 4.0).expand(200, 1, 1, 45, 45), 43, 15.0, _generator())
    crops = crops[:, 0, 0, 14:29, 14:29].float()
    across = (crops[:, :, -1] - crops[:, :, 0]).mean(1)
    down = (crops[:, -1] - crops[:, 0]).mean(1)
    degrees = torch.atan2(-down, across).rad2deg().sort().values
    assert -15.5 < degrees[0] < -14
    assert 14 < degrees[-1] < 15.5
    torch.testing.assert_close(degrees, torch.linspace(-15, 15, 200), rtol=0, atol=3)


def test_the_generator_decides_and_moves_on() -> None:
    clips, generator = _noise(3, 2, 3, 24, 24), _generator()
    first = random_turned_crops(clips, 16, 15, generator)
    assert torch.equal(first, random_turned_crops(clips, 16, 15, _generator()))
    assert not torch.equal(first, random_turned_crops(clips, 16, 15, generator))


def test_half_of_the_clips_are_mirrored_and_their_labels_with_them() -> None:
    """Of three classes the first two mirror each other, and the third none."""
    clips, mirrored = _noise(1, 2, 3, 4, 5).expand(300, 2, 3, 4, 5), torch.tensor([1, 0, -1])
    labels = torch.arange(300) % 3
    flipped, changed = random_flips(clips, labels, mirrored, _generator())
    is_flipped = (flipped == clips.flip(-1)).flatten(1).all(1)
    assert bool((is_flipped | (flipped == clips).flatten(1).all(1)).all())
    assert not is_flipped[labels == 2].any()
    assert 70 < is_flipped[labels < 2].sum() < 130
    assert torch.equal(changed, torch.where(is_flipped, mirrored[labels], labels))


def test_a_class_that_is_its_own_mirror_keeps_its_label() -> None:
    clips, labels = _noise(50, 1, 1, 4, 5), torch.zeros(50, dtype=torch.int64)
    flipped, same = random_flips(clips, labels, torch.tensor([0]), _generator())
    assert torch.equal(same, labels)
    assert not torch.equal(flipped, clips)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_on_a_gpu_clips_stay_there_and_are_the_same_but_for_rounding() -> None:
    clips, angle = _noise(2, 3, 3, 40, 40), torch.tensor([0.1, -0.2])
    corner = torch.tensor([[3, 4], [5, 6]])
    expected = turned_crops(clips, angle, corner, 30)
    turned = turned_crops(clips.cuda(), angle.cuda(), corner.cuda(), 30)
    assert (turned.cpu().int() - expected.int()).abs().max() <= 1
    generator = torch.Generator("cuda").manual_seed(0)
    crops = random_turned_crops(clips.cuda(), 30, 15, generator)
    labels, mirrored = torch.tensor([0, 1]).cuda(), torch.tensor([1, 0]).cuda()
    flipped, changed = random_flips(crops, labels, mirrored, generator)
    assert (crops.is_cuda, flipped.is_cuda, changed.is_cuda) == (True, True, True)
