"""What a video says of itself: its turn, its colours, the shape of its pixels, its times."""

import struct
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from datasets.frames import Frames
from datasets.sources.folders import find
from datasets.video.decode import read_frames
from datasets.video.movies import INTERLACED, SEVERAL_STREAMS, VARIABLE_RATE
from datasets.video.source import Damaged, FrameFormat, Reading, SourceWrong
from tests.datasets.prepare_here import prepare_here
from tests.datasets.video.counter import (
    COLOUR,
    GREY,
    counter_images,
    counter_video,
    numbers,
    picture,
    source,
    write_video,
)

ONE = 1 << 16
UNIT = 1 << 30
FORMS = {
    "as it is": (1, 0, 0, 1),
    "a quarter to the left": (0, -1, 1, 0),
    "on its head": (-1, 0, 0, -1),
    "a quarter to the right": (0, 1, -1, 0),
    "left and right": (-1, 0, 0, 1),
    "top and bottom": (1, 0, 0, -1),
    "rows are columns": (0, 1, 1, 0),
    "rows are columns, on its head": (0, -1, -1, 0),
}


def _pixels(path: Path, frame_format: FrameFormat) -> NDArray[np.uint8]:
    """The first frame, uint8 [H,W,C]."""
    return next(read_frames(source(path), frame_format)).transpose(1, 2, 0)


def _remarks(path: Path, frame_format: FrameFormat = GREY) -> tuple[str, ...]:
    reading = Reading(read_frames(source(path), frame_format))
    assert len(list(reading)) > 1
    return reading.remarks


def _with_matrix(path: Path, a: int, b: int, c: int, d: int) -> Path:
    """The .mp4 in `path` with another display matrix in its track's header."""
    content = bytearray(path.read_bytes())
    place = content.index(b"tkhd") + 44
    content[place : place + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, UNIT)
    path.write_bytes(content)
    return path


def _encode(
    path: Path,
    frames: Sequence[NDArray[np.uint8]],
    codec: str,
    pixels: str,
    *,
    options: dict[str, str] | None = None,
    frame_pixels: str = "rgb24",
    times_ms: Iterable[int] | None = None,
    **context: Any,
) -> Path:
    """A video with what `write_video` does not offer."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=25, options=options or {})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pixels
        if times_ms is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for name, value in context.items():
            setattr(stream.codec_context, name, value)
        for pixel, time in zip(frames, times_ms or [None] * len(frames), strict=True):
            frame = av.VideoFrame.from_ndarray(pixel, format=frame_pixels)
            if time is not None:
                frame.pts, frame.time_base = time, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize("form", FORMS)
def test_videos_are_turned_and_mirrored_as_their_matrix_says(tmp_path: Path, form: str) -> None:
    shape, quadrants = (48, 96), (0, 80, 160, 240)
    stored = np.zeros((*shape, 3), np.uint8)
    for quadrant, value in enumerate(quadrants):
        y, x = divmod(quadrant, 2)
        stored[y * 24 :, x * 48 :] = value
    a, b, c, d = FORMS[form]
    path = write_video(tmp_path / "clip.mp4", [stored] * 3)
    _with_matrix(path, a * ONE, b * ONE, c * ONE, d * ONE)
    height, width = shape if a else shape[::-1]
    shown = _pixels(path, FrameFormat(1, height, width))[..., 0].astype(int)
    for y, x, value in ((-1, -1, 0), (-1, 1, 80), (1, -1, 160), (1, 1, 240)):
        right, below = a * x + c * y, b * x + d * y
        seen = shown[(height + below * height // 2) // 2, (width + right * width // 2) // 2]
        assert abs(seen - value) < 12


@pytest.mark.parametrize("scale", [ONE // 2, 3 * ONE])
def test_only_the_direction_of_a_matrix_counts(tmp_path: Path, scale: int) -> None:
    path = counter_video(tmp_path / "clip.mp4", 3)
    _with_matrix(path, scale, 0, 0, scale)
    assert numbers(read_frames(source(path), GREY)) == [0, 1, 2]
    assert numbers(read_frames(source(_with_matrix(path, 0, 0, 0, 0)), GREY)) == [0, 1, 2]


def test_what_is_turned_askew_is_refused(tmp_path: Path) -> None:
    path = _with_matrix(counter_video(tmp_path / "clip.mp4", 3), 46341, -46341, 46341, 46341)
    with pytest.raises(Damaged, match="no quarter turn"):
        list(read_frames(source(path), GREY))


@pytest.mark.parametrize("turned", [False, True])
def test_wide_pixels_are_seen_wide(tmp_path: Path, turned: bool) -> None:
    """A circle of pixels that are twice as wide as high is stored as a narrow ellipse."""
    y, x = np.mgrid[-31.5:32, -31.5:32]
    ellipse = (255 * (np.hypot(y, 2 * x) < 28)).astype(np.uint8)[..., None].repeat(3, 2)
    aspect = {"sample_aspect_ratio": Fraction(2, 1)}
    path = _encode(tmp_path / "clip.mp4", [ellipse] * 3, "libx264", "yuv420p", **aspect)
    if turned:
        _with_matrix(path, 0, -ONE, ONE, 0)
    seen = _pixels(path, FrameFormat(1, 32, 32, "crop"))[..., 0] > 127
    rows, columns = seen.any(1).sum(), seen.any(0).sum()
    assert abs(int(rows) - int(columns)) <= 1
    assert rows > 26
    stretched = _pixels(path, FrameFormat(1, 32, 32))[..., 0] > 127
    sides = sorted((int(stretched.any(0).sum()), int(stretched.any(1).sum())))
    assert sides[1] > 1.8 * sides[0]


@pytest.mark.parametrize(
    ("matrix", "span", "expected"),
    [
        (2, 1, (213, 54, 21)),  # untagged: BT.601, limited
        (6, 1, (213, 54, 21)),
        (1, 1, (227, 68, 18)),
        (6, 2, (201, 62, 33)),
        (1, 2, (213, 73, 29)),
        (2, 0, (213, 54, 21)),
    ],
)
def test_colours_are_those_that_are_tagged(
    tmp_path: Path, matrix: int, span: int, expected: tuple[int, int, int]
) -> None:
    planes = np.stack([np.full((32, 32), value, np.uint8) for value in (100, 90, 200)])
    path = tmp_path / "clip.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.height, stream.width, stream.pix_fmt = 32, 32, "yuv444p"
        stream.codec_context.colorspace, stream.codec_context.color_range = matrix, span
        for _ in range(3):
            frame = av.VideoFrame.from_ndarray(planes, format="yuv444p")
            frame.colorspace, frame.color_range = matrix, span
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    assert tuple(_pixels(path, COLOUR)[0, 0].tolist()) == expected


@pytest.mark.parametrize(
    ("name", "codec", "pixels"),
    [
        ("clip.webm", "libvpx-vp9", "yuva420p"),
        ("clip8.webm", "libvpx", "yuva420p"),
        ("clip.mov", "prores_ks", "yuva444p10le"),
        ("png.mov", "png", "rgba"),
        ("rle.mov", "qtrle", "argb"),
    ],
)
def test_what_is_transparent_is_black(tmp_path: Path, name: str, codec: str, pixels: str) -> None:
    image = np.full((64, 64, 4), 200, np.uint8)
    image[:32, :, 3], image[32:, :, 3] = 255, 0
    image[32:, 32:, 3] = 128
    options = {"auto-alt-ref": "0"} if "libvpx" in codec else None
    path = tmp_path / name
    _encode(path, [image] * 3, codec, pixels, options=options, frame_pixels="rgba")
    seen = _pixels(path, FrameFormat(1, 64, 64))[..., 0].astype(int)
    for corner, value in {(8, 8): 200, (50, 8): 0, (50, 50): 100}.items():
        assert abs(seen[corner] - value) <= 4


def test_ten_bits_become_eight(tmp_path: Path) -> None:
    clip = [picture(number) for number in range(5)]
    path = _encode(tmp_path / "clip.mkv", clip, "ffv1", "yuv420p10le")
    assert numbers(read_frames(source(path), GREY)) == list(range(5))


def test_interlaced_frames_are_noticed(tmp_path: Path) -> None:
    options = {"x264-params": "tff=1:interlaced=1"}
    frames = [picture(number) for number in range(5)]
    path = _encode(tmp_path / "clip.mp4", frames, "libx264", "yuv420p", options=options)
    assert _remarks(path) == (INTERLACED,)


def _with_second_stream(path: Path, *, cover: bool) -> Path:
    """A video that counts, and first a cover or another stream, which is smaller."""
    with av.open(str(path), "w") as container:
        other: Any = container.add_stream("mjpeg" if cover else "libx264", rate=25)
        other.height = other.width = 32
        other.pix_fmt = "yuvj420p" if cover else "yuv420p"
        if cover:
            other.disposition = av.stream.Disposition.attached_pic
        clip = container.add_stream("libx264", rate=25)
        clip.height, clip.width, clip.pix_fmt = 64, 64, "yuv420p"
        for number in range(8):
            frame = av.VideoFrame.from_ndarray(picture(number))
            container.mux(clip.encode(frame))
            if not cover or not number:
                container.mux(other.encode(frame.reformat(32, 32, other.pix_fmt)))
        container.mux(other.encode())
        container.mux(clip.encode())
    return path


def test_a_second_video_stream_is_noticed(tmp_path: Path) -> None:
    path = _with_second_stream(tmp_path / "clip.mkv", cover=False)
    assert _remarks(path) == (SEVERAL_STREAMS,)


def test_a_cover_is_no_video_stream(tmp_path: Path) -> None:
    path = _with_second_stream(tmp_path / "clip.mp4", cover=True)
    with av.open(str(path)) as container:
        assert len(container.streams.video) == 2
    assert numbers(read_frames(source(path), GREY)) == list(range(8))
    assert _remarks(path) == ()


REGULAR = [round(1000 * n / 29.97) for n in range(60)]
DROPPED = [time for n, time in enumerate(REGULAR) if n not in (7, 30)]
SLOWER = [*range(0, 1000, 40), *range(1000, 3000, 50)]


def _timed_video(path: Path, times_ms: Sequence[int], first: int = 0) -> Path:
    """Each frame shows its number, from `first` on."""
    frames = [picture(first + number) for number in range(len(times_ms))]
    return _encode(path, frames, "libx264", "yuv420p", times_ms=times_ms)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize(
    ("times_ms", "remarks"),
    [(REGULAR, ()), (DROPPED, (VARIABLE_RATE,)), (SLOWER, (VARIABLE_RATE,))],
    ids=["regular", "dropped", "slower"],
)
def test_a_variable_frame_rate_is_noticed(
    tmp_path: Path, suffix: str, times_ms: Sequence[int], remarks: tuple[str, ...]
) -> None:
    assert _remarks(_timed_video(tmp_path / f"clip{suffix}", times_ms)) == remarks


@pytest.mark.parametrize("suffix", [".avi", ".mp4", ".mkv", ".webm", ".mpg"])
def test_ordinary_videos_have_no_remark(tmp_path: Path, suffix: str) -> None:
    assert _remarks(counter_video(tmp_path / f"clip{suffix}", 30)) == ()


@pytest.mark.parametrize(
    ("name", "remarks"),
    [
        ("Archery/v_Archery_g18_c01.avi", ()),  # B-frames, whose times an AVI has out of order
        ("HorseRace/v_HorseRace_g20_c01.avi", (VARIABLE_RATE,)),  # lacks two frames
    ],
)
def test_published_clips_are_told_apart(name: str, remarks: tuple[str, ...]) -> None:
    path = find(f"ucf101/UCF-101/{name}")
    if path is None:
        pytest.skip("the UCF101 clips are not in the data folder")
    assert _remarks(path) == remarks


@pytest.mark.parametrize("times_ms", [REGULAR, DROPPED, SLOWER], ids=["regular", "dropped", "slow"])
@pytest.mark.parametrize("rate", [5, 10, 29.97, 60])
def test_frames_are_picked_by_the_time_at_which_they_are_shown(
    tmp_path: Path, times_ms: Sequence[int], rate: float
) -> None:
    path = _timed_video(tmp_path / "clip.mp4", times_ms)
    reading = Reading(read_frames(source(path), FrameFormat(1, 32, 32, frames_per_second=rate)))
    shown = numbers(reading)
    moments = [1000 * n / Fraction(str(rate)) for n in range(len(shown))]
    assert shown == [max(n for n, t in enumerate(times_ms) if t <= at) for at in moments]
    assert abs(len(shown) - (times_ms[-1] + 40) * rate / 1000) <= 2
    assert reading.remarks == ()


def test_a_still_of_hours_is_refused(tmp_path: Path) -> None:
    path = _timed_video(tmp_path / "clip.mkv", [0, 40, 80, 10_000_000])
    with pytest.raises(Damaged, match="too long"):
        list(read_frames(source(path), FrameFormat(1, 32, 32, frames_per_second=10)))


def test_what_has_no_times_cannot_be_picked_by_time(tmp_path: Path) -> None:
    picked = FrameFormat(1, 32, 32, frames_per_second=10)
    images = sorted(counter_images(tmp_path / "images", 3).iterdir())
    np.save(tmp_path / "clip.npy", np.zeros((3, 8, 8), np.uint8))
    Image.new("L", (8, 8)).save(tmp_path / "one.png")
    for paths in (images, [tmp_path / "clip.npy"], [tmp_path / "one.png"]):
        with pytest.raises(Damaged, match="no times"):
            list(read_frames(source(*paths), picked))


@pytest.mark.parametrize("rate", [0, -1, float("nan"), float("inf"), True, "10", 1e9])
def test_impossible_rates_are_refused(rate: Any) -> None:
    with pytest.raises(ValueError, match="frames_per_second"):
        FrameFormat(1, 8, 8, frames_per_second=rate)


@pytest.mark.parametrize("name", ["http:clip.mp4", "pipe:0.mp4", "clip%03d.mp4", "-i.mp4"])
def test_a_name_is_only_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    counter_video(tmp_path / "clip.mp4", 3).rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert numbers(read_frames(source(Path(name)), GREY)) == [0, 1, 2]


@pytest.fixture
def phone(tmp_path: Path) -> Path:
    """A clip of each split, that for training of a variable frame rate."""
    for place, (split, times) in enumerate(
        {"train": SLOWER, "val": REGULAR, "test": REGULAR}.items()
    ):
        (tmp_path / "phone" / split).mkdir(parents=True)
        _timed_video(tmp_path / "phone" / split / f"{place}.mp4", times, 256 * place)
    return tmp_path / "phone"


def test_clips_of_a_variable_frame_rate_are_counted_in_the_notice(
    cache_home: Path, phone: Path
) -> None:
    prepared = prepare_here(Frames.preparation(size=32, channels=1), phone)
    assert prepared.remarks == {VARIABLE_RATE: 1}
    told = Frames(5, 5, size=32, channels=1).notice
    assert told is not None
    assert f"1 with {VARIABLE_RATE}" in told
    assert "frames_per_second" in told


def test_frames_picked_by_time_have_a_cache_of_their_own(cache_home: Path, phone: Path) -> None:
    options = {"size": 32, "channels": 1, "frames_per_second": 10}
    preparation = Frames.preparation(**options)
    assert preparation.name == "frames(size=(32, 32), channels=1, frames_per_second=10)"
    assert preparation.folder.endswith("-10fps")
    prepare_here(Frames.preparation(size=32, channels=1), phone)
    assert prepare_here(preparation, phone).decoded == 3
    assert (
        prepare_here(Frames.preparation(**{**options, "frames_per_second": 10.0}), phone).decoded
        == 0
    )
    frames = Frames(5, 5, **options)
    assert frames.notice is not None
    assert VARIABLE_RATE not in frames.notice
    shown = numbers(frames.train_clips(1, torch.Generator().manual_seed(0))[0].numpy())
    seconds = [SLOWER[number] / 1000 for number in shown]
    assert np.allclose(np.diff(seconds), 0.1, atol=0.05)


def test_images_and_arrays_among_the_clips_are_refused_where_frames_are_picked_by_time(
    cache_home: Path, phone: Path
) -> None:
    np.save(phone / "train" / "array.npy", np.zeros((30, 8, 8), np.uint8))
    with pytest.raises(SourceWrong, match=r"array .* is no video") as told:
        prepare_here(Frames.preparation(frames_per_second=10), phone)
    assert "\n" not in str(told.value)
