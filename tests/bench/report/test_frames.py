"""Frame strips and the frame viewer: what is shown is what was stored."""

from __future__ import annotations

import base64
import io

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from bench.report import frames, viewer
from bench.report.frames import GAP, SPACE, TEXT_PIXELS, panels, strips
from bench.report.plots.canvas import Style
from bench.report.showcase import Showcase
from bench.report.viewer import Viewer, viewers

Pixels = npt.NDArray[np.uint8]
LOOKS = {"mine": Style("#0072B2", "-")}


def clip(frames: int, *shape: int) -> Pixels:
    """A sequence of soft colours that wander, uint8 [T,C,H,W]."""
    times, channels, rows, columns = np.ogrid[:frames, : shape[0], : shape[1], : shape[2]]
    waves = 80 * np.sin(rows / 11 + 2 * channels + times / 3), 40 * np.sin(columns / 7 - times / 2)
    return (127 + sum(waves)).astype(np.uint8)


def predicted(shown: Pixels, context_frames: int, model: str = "mine") -> Showcase:
    """What a model made of `shown`: half the truth."""
    context, truth = shown[None, :context_frames], shown[None, context_frames:]
    return Showcase(
        model, model, np.array([3]), context, truth, truth // 2, ("worst for copy-last",)
    )


def strip(shown: Pixels, context_frames: int) -> tuple[str, list[Pixels]]:
    """The title of the strip of `shown`, and its rows of frames, RGB [columns,H,W,3].

    These are the rows of context, truth, prediction and error, the last two in one where the
    horizon fills half of the width at most.
    """
    (found,) = strips([predicted(shown, context_frames)], LOOKS, "1-mnist")
    sheet = np.asarray(Image.open(io.BytesIO(found.png)).convert("RGB"))
    horizon = len(shown) - context_frames
    columns, count = (
        min(11, max(context_frames, horizon)),
        3 if context_frames >= 2 * horizon else 4,
    )
    headed = SPACE + TEXT_PIXELS + SPACE
    tall = (len(sheet) - 2 * headed - 2 * SPACE) // count
    tops = (headed, 2 * headed + tall, 2 * headed + SPACE + 2 * tall, 2 * headed + SPACE + 3 * tall)
    shape = panels(shown).shape
    wide = -(-(tall - GAP) * shape[3] // shape[2]) + GAP
    rows = [sheet[top : top + tall - GAP, -SPACE - columns * wide : -SPACE] for top in tops[:count]]
    return found.title, [np.stack(np.split(row, columns, axis=1))[:, :, :-GAP] for row in rows]


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
    means = block_means(shown, block)
    for row, part in ((rows[0], means[:context_frames]), (rows[1], means[context_frames:])):
        scale = row.shape[1] // part.shape[1]
        for place, expected in ((0, part[0]), (min(11, len(part)) - 1, part[-1])):
            error = row[place, ::scale, ::scale] - expected
            assert np.abs(error).max() < 0.51


def block_means(frames: Pixels, block: int) -> npt.NDArray[np.float64]:
    """Frames [T,C,H,W] averaged over blocks of pixels, [T,H,W,C]."""
    time, channels, height, width = *frames.shape[:2], *(side // block for side in frames.shape[2:])
    cut = frames[..., : height * block, : width * block].astype(float)
    blocks = cut.reshape(time, channels, height, block, width, block)
    return blocks.mean(axis=(3, 5)).transpose(0, 2, 3, 1)


def test_errors_of_a_short_horizon_stand_beside_its_frames() -> None:
    shown = clip(12, 1, 16, 16)
    _, (_, truth, guess) = strip(shown, 10)
    assert (guess[:2] == truth[:2] // 2).all()
    assert (guess[2:4, ..., 0] > guess[2:4, ..., 2] // 4).any()
    assert (guess[4:] == 255).all()  # nothing beyond two frames and two errors


def test_two_channels_stand_side_by_side_and_the_title_says_so() -> None:
    shown = clip(8, 2, 32, 32)
    title, rows = strip(shown, 4)
    assert title == "Test sequence 3 (worst for copy-last), its 2 channels side by side"
    scale = rows[0].shape[1] // 32
    first, error = rows[0][0, ::scale, ::scale], rows[3][0, ::scale, ::scale]
    assert (first[:, :32] == shown[0, 0][..., None]).all()
    assert (first[:, 33:] == shown[0, 1][..., None]).all()
    assert (error[:, 32] == [0, 0, 3]).all()  # none in the line between them
    assert (error[:, :32] != [0, 0, 3]).any()


def test_strips_show_one_sequence_of_each_reason_first() -> None:
    shown = np.stack([clip(4, 1, 16, 16)] * 6)
    why = ("first", "first", "worst for copy-last", "worst for copy-last", "median", "median")
    past, future = shown[:, :2], shown[:, 2:]
    stored = Showcase("mine", "mine", np.array([0, 1, 40, 7, 22, 9]), past, future, future, why)
    titles = [found.title for found in strips([stored], LOOKS, "1")]
    assert titles == [
        "Test sequence 0 (first)",
        "Test sequence 40 (worst for copy-last)",
        "Test sequence 22 (median)",
    ]
    (view,) = viewers([[stored]])
    assert view is not None
    assert [take.title for take in view.takes][3] == "Test sequence 7 (worst for copy-last)"


def test_a_large_report_has_fewer_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "MODELS", 10)
    shown = np.stack([clip(4, 1, 16, 16)] * 6)
    many = [
        Showcase(f"model {i}", "mine", np.arange(6), shown[:, :2], shown[:, 2:], shown[:, 2:])
        for i in range(2)
    ]
    assert [len(strips(many, LOOKS, "1", sections)) for sections in (1, 2, 5)] == [3, 2, 1]


@pytest.mark.parametrize(
    ("shape", "context_frames", "horizon", "block"),
    [((1, 64, 64), 10, 10, 1), ((3, 32, 48), 4, 1, 1), ((1, 240, 320), 12, 25, 2)],
)
def test_the_viewer_holds_every_frame(
    shape: tuple[int, int, int], context_frames: int, horizon: int, block: int
) -> None:
    shown = clip(context_frames + horizon, *shape)
    (view,) = viewers([[predicted(shown, context_frames)]])
    assert view is not None
    (take,) = view.takes
    means = block_means(shown, block)
    assert (view.height, view.width) == means.shape[1:3]
    assert view.past[0].replace("\N{MINUS SIGN}", "-") == str(-context_frames)
    assert view.future[-1] == f"+{horizon}"
    for sheet, expected in (
        (take.context, means[:context_frames]),
        (take.truth, means[context_frames:]),
        (take.predictions[0].sheet, means[context_frames:] / 2),
    ):
        error = frames_of(sheet, len(expected), view) - expected
        assert np.sqrt((error**2).mean()) < 3


def frames_of(sheet: str, count: int, view: Viewer) -> npt.NDArray[np.float64]:
    """The frames in a sheet of the viewer, [T,H,W,3], ten in a row."""
    data = base64.b64decode(sheet.removeprefix("data:image/webp;base64,"))
    pixels = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), float)
    rows = pixels.reshape(-(-count // 10), view.height, min(count, 10), view.width, 3)
    return rows.swapaxes(1, 2).reshape(-1, view.height, view.width, 3)[:count]


def test_the_viewer_shows_the_end_of_a_long_context_and_all_of_a_long_horizon() -> None:
    (view,) = viewers([[predicted(clip(1060, 1, 8, 8), 1000)]])
    assert view is not None
    assert (len(view.past), view.past[-1]) == (20, "\N{MINUS SIGN}1")
    assert (len(view.future), view.future[0], view.future[-1]) == (40, "+1", "+60")


def test_frames_of_a_large_report_are_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = predicted(clip(8, 1, 64, 64), 4)
    monkeypatch.setattr(viewer, "PAGE_SAMPLES", 5 * 4 * 64 * 64)
    alone, together = viewers([[shown]]), viewers([[shown] * 3, [], [shown] * 3])
    assert [view and view.width for view in alone] == [64]
    assert [view and view.width for view in together] == [32, None, 32]
