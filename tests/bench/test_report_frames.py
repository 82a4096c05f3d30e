"""Frame strips and their palettes: what is shown is what was stored."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageColor

from bench.report.collect import Showcase
from bench.report.frames import strips
from bench.report.palette import paletted
from bench.report.plots import Style

Pixels = npt.NDArray[np.uint8]


def clip(frames: int, *shape: int) -> Pixels:
    """A sequence of soft colours that wander, uint8 [T,C,H,W]."""
    times, channels, rows, columns = np.ogrid[:frames, : shape[0], : shape[1], : shape[2]]
    waves = 80 * np.sin(rows / 11 + 2 * channels + times / 3), 40 * np.sin(columns / 7 - times / 2)
    return (127 + sum(waves)).astype(np.uint8)


def strip(shown: Pixels, context_frames: int) -> tuple[str, list[Pixels]]:
    """The title of the strip of `shown`, and the pictures embedded in it, RGBA.

    These are the rows of context, truth, prediction and error, the last two in one where the
    horizon fills half of the width at most.
    """
    context, truth = shown[None, :context_frames], shown[None, context_frames:]
    showcase = Showcase("mine", "mine", np.array([3]), context, truth, truth // 2)
    (picture,) = strips([showcase], {"mine": Style("#0072B2", "-")}, "1-mnist")
    embedded = re.findall(r'data:image/png;base64,\s*([^"]+)', picture.svg)
    rows = [Image.open(io.BytesIO(base64.b64decode(data))) for data in embedded]
    return picture.title, [np.asarray(row.convert("RGBA")) for row in rows]


def frame(row: Pixels, place: int, count: int) -> Pixels:
    """The frame at `place` of a row of `count`, without the gap beside it, RGB."""
    width = row.shape[1] // count
    return row[:-2, place * width : (place + 1) * width - 2, :3]


@pytest.mark.parametrize(
    ("shape", "context_frames", "horizon", "block"),
    [
        ((1, 64, 64), 10, 10, 1),
        ((1, 128, 128), 10, 20, 2),
        ((3, 64, 64), 10, 1, 1),
        ((3, 160, 240), 11, 11, 3),
        ((3, 120, 160), 10, 5, 2),
        ((3, 256, 256), 4, 4, 2),
    ],
)
def test_frames_of_any_shape_are_shown_as_they_are(
    shape: tuple[int, int, int], context_frames: int, horizon: int, block: int
) -> None:
    shown = clip(context_frames + horizon, *shape)
    _, rows = strip(shown, context_frames)
    assert len(rows) == (3 if 2 * horizon <= context_frames else 4)
    columns = min(11, max(context_frames, horizon))
    channels, height, width = shape[0], shape[1] // block, shape[2] // block
    cut = shown[..., : height * block, : width * block].astype(float)
    blocks = cut.reshape(len(cut), channels, height, block, width, block)
    means = blocks.mean(axis=(3, 5)).transpose(0, 2, 3, 1)
    levels = 0.51 if channels == 1 else 6  # of 255; a row of colours has 255 of them
    for row, part in ((rows[0], means[:context_frames]), (rows[1], means[context_frames:])):
        for place, expected in ((0, part[0]), (min(11, len(part)) - 1, part[-1])):
            error = frame(row, place, columns) - expected
            assert np.sqrt((error**2).mean()) < levels
    clear = rows[0][:, :, 3] == 0
    assert clear[-2:].all()
    assert not clear[:height, :width].any()


def test_errors_of_a_short_horizon_stand_beside_its_frames() -> None:
    shown = clip(12, 1, 16, 16)
    _, (_, truth, guess) = strip(shown, 10)
    assert (frame(guess, 0, 10) == frame(truth, 0, 10) // 2).all()
    assert (frame(guess, 2, 10)[..., 0] > frame(guess, 2, 10)[..., 2] // 4).any()
    assert (guess[:, :, 3] == 0)[:, 4 * 18 :].all()  # nothing beyond two frames and two errors


def test_two_channels_stand_side_by_side_and_the_title_says_so() -> None:
    shown = clip(8, 2, 32, 32)
    title, rows = strip(shown, 4)
    assert title == "Test sequence 3, its 2 channels side by side"
    first = frame(rows[0], 0, 4)
    assert (first[:, :32] == shown[0, 0][..., None]).all()
    assert (first[:, 33:] == shown[0, 1][..., None]).all()
    error = frame(rows[3], 0, 4)
    assert (error[:, 32] == [0, 0, 3]).all()  # none in the line between them
    assert (error[:, :32] != [0, 0, 3]).any()


@given(st.integers(1, 254), st.booleans())
def test_few_colours_stay_what_they_are(count: int, has_clear: bool) -> None:
    generator = np.random.default_rng(count)
    colors = generator.integers(0, 256, (count, 3), np.uint8)
    pixels = np.full((20, 30, 4), 255, np.uint8)
    pixels[..., :3] = colors[generator.integers(0, count, (20, 30))]
    if has_clear:
        pixels[0] = 0
    with Image.open(io.BytesIO(paletted(png(pixels)))) as found:
        assert found.mode == "P"
        again = np.asarray(found.convert("RGBA"))
    solid = pixels[..., 3] > 0
    assert (again[..., 3] == pixels[..., 3]).all()
    assert (again[solid] == pixels[solid]).all()


def test_text_keeps_its_colour_beside_a_picture_of_many() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (300, 400, 4), np.uint8)
    pixels[..., 3] = 255
    pixels[:20] = 255
    pixels[5:8, :9, :3] = ImageColor.getrgb("#D55E00")
    text = paletted(png(pixels), ("#D55E00", "#0072B2"))
    again = np.asarray(Image.open(io.BytesIO(text)).convert("RGBA"))
    assert (again[:20] == pixels[:20]).all()
    assert len(text) < len(png(pixels)) / 2


def png(pixels: Pixels) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, format="png")
    return out.getvalue()
