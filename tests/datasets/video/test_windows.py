import tempfile
from collections import Counter
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from datasets.video.cache import FRAMES, Clip, Frames
from datasets.video.windows import FixedWindows, LabelledWindows, RandomWindows

TOTAL = 600
LENGTHS = st.lists(st.integers(1, 30), min_size=1, max_size=12)


def _frames() -> Frames:
    """Frames that show their own position in the cache, in two channels."""
    positions = np.arange(TOTAL)
    with tempfile.TemporaryDirectory() as folder:
        pixels = np.stack([positions >> 8, positions & 255], axis=1).astype(np.uint8)
        np.save(Path(folder) / FRAMES, pixels[:, :, None, None])
        return Frames(Path(folder) / FRAMES)


FRAMES_IN_ORDER = _frames()


def _positions(windows: Tensor) -> list[list[int]]:
    """The positions of the frames in windows uint8 [N,T,2,1,1]."""
    high, low = windows[..., 0, 0].long().unbind(2)
    return (high * 256 + low).tolist()


def _clips(lengths: Sequence[int]) -> list[Clip]:
    """Clips of these lengths, one after the other, with a frame between them that is in none."""
    clips, first = [], 0
    for number, length in enumerate(lengths):
        clips.append(Clip(f"clip {number}", first, length, {}))
        first += length + 1
    return clips


def _windows(clips: Sequence[Clip], frames: int, step: int, every: int = 1) -> list[list[int]]:
    """Every window there is, by the definition."""
    span = (frames - 1) * step + 1
    return [
        [clip.first + start + step * n for n in range(frames)]
        for clip in clips
        for start in range(0, clip.frames - span + 1, every)
    ]


def _drawn(windows: RandomWindows | LabelledWindows, count: int, seed: int = 0) -> list[list[int]]:
    drawn = windows.draw(count, torch.Generator().manual_seed(seed))
    return _positions(drawn if isinstance(drawn, Tensor) else drawn[0])


@given(lengths=LENGTHS, frames=st.integers(1, 12), step=st.integers(1, 3), seed=st.integers(0, 99))
def test_random_windows_are_windows_of_one_clip(
    lengths: list[int], frames: int, step: int, seed: int
) -> None:
    clips = _clips(lengths)
    expected = _windows(clips, frames, step)
    if not expected:
        with pytest.raises(ValueError, match=f"no clip is {(frames - 1) * step + 1} frames long"):
            RandomWindows(FRAMES_IN_ORDER, clips, frames, step)
        return
    windows = RandomWindows(FRAMES_IN_ORDER, clips, frames, step)
    assert len(windows) == len(expected)
    drawn = _drawn(windows, 64, seed)
    assert all(window in expected for window in drawn)
    assert drawn == _drawn(windows, 64, seed)


def test_every_window_is_as_likely_as_any_other() -> None:
    clips = _clips([4, 30, 3, 9, 2])
    expected = _windows(clips, 3, 1)
    assert len(expected) == 2 + 28 + 1 + 7
    draws = 1000 * len(expected)
    found = Counter(map(tuple, _drawn(RandomWindows(FRAMES_IN_ORDER, clips, 3), draws)))
    assert sorted(map(list, found)) == sorted(expected)
    # 1000 each, with a deviation of 31: five of them either way
    assert all(840 < count < 1160 for count in found.values())


@given(
    lengths=LENGTHS,
    frames=st.integers(1, 12),
    step=st.integers(1, 3),
    stride=st.none() | st.integers(1, 40),
)
def test_fixed_windows_are_all_there_are_once(
    lengths: list[int], frames: int, step: int, stride: int | None
) -> None:
    clips = _clips(lengths)
    expected = _windows(clips, frames, step, stride or frames * step)
    if not expected:
        with pytest.raises(ValueError, match="no clip is"):
            FixedWindows(FRAMES_IN_ORDER, clips, frames, step, stride)
        return
    windows = FixedWindows(FRAMES_IN_ORDER, clips, frames, step, stride)
    assert len(windows) == len(expected)
    found = _positions(windows[:])
    assert sorted(found) == sorted(expected)
    if stride is None:
        assert max(Counter(chain(*found)).values()) == 1  # side by side: no frame is in two
    middle = len(found) // 2
    assert _positions(windows[middle : middle + 2]) == found[middle : middle + 2]


@given(lengths=LENGTHS.filter(lambda it: max(it) >= 4), data=st.data())
def test_the_order_of_fixed_windows_depends_on_no_other_clip(
    lengths: list[int], data: st.DataObject
) -> None:
    clips = _clips(lengths)
    some = data.draw(st.permutations([clip for clip in clips if data.draw(st.booleans())]))
    windows = _positions(FixedWindows(FRAMES_IN_ORDER, clips, 4)[:])
    if not any(clip.frames >= 4 for clip in some):
        return
    inside = {clip.first + n for clip in some for n in range(clip.frames)}
    expected = [window for window in windows if window[0] in inside]
    assert _positions(FixedWindows(FRAMES_IN_ORDER, some, 4)[:]) == expected


def test_the_first_fixed_windows_are_of_many_clips() -> None:
    clips = _clips([50] * 11)
    first = _positions(FixedWindows(FRAMES_IN_ORDER, clips, 5)[:20])
    assert len({window[0] // 51 for window in first}) > 5


def _as_strings(frames: int) -> list[int]:
    return sorted(range(frames), key=str)


def test_frames_may_be_shown_in_another_order() -> None:
    clips = _clips([12, 25])
    shown = [clip.first + n for clip in clips for n in _as_strings(clip.frames)]
    expected = [shown[n : n + 6] for n in (*range(12 - 5), *range(12, 12 + 25 - 5))]
    assert [13, 14, 23, 24, 25, 26] in expected  # 0, 1, 10, 11, 12, 13 of the second clip
    fixed = FixedWindows(FRAMES_IN_ORDER, clips, 6, stride=1, order=_as_strings)
    assert sorted(_positions(fixed[:])) == sorted(expected)
    drawn = _drawn(RandomWindows(FRAMES_IN_ORDER, clips, 6, order=_as_strings), 2000)
    assert sorted(map(list, set(map(tuple, drawn)))) == sorted(expected)


def _padded(clip: Clip, start: int, frames: int, step: int) -> list[int]:
    """A window that repeats the last frame where its clip ends."""
    return [clip.first + min(start + step * n, clip.frames - 1) for n in range(frames)]


@given(
    lengths=LENGTHS,
    frames=st.integers(1, 12),
    step=st.integers(1, 3),
    per_clip=st.integers(1, 4),
)
def test_labelled_windows(lengths: list[int], frames: int, step: int, per_clip: int) -> None:
    clips = _clips(lengths)
    labels = [7 * number % 5 for number in range(len(clips))]
    windows = LabelledWindows(FRAMES_IN_ORDER, clips, labels, frames, step, per_clip)
    assert len(windows) == per_clip * len(clips)
    found = _positions(windows[:])
    assert windows.labels.tolist() == [labels[video] for video in windows.videos]
    assert windows.labels.dtype == windows.videos.dtype == torch.int64
    assert Counter(windows.videos.tolist()) == dict.fromkeys(range(len(clips)), per_clip)

    starts: dict[int, list[int]] = {}
    for video, window in zip(windows.videos.tolist(), found, strict=True):
        starts.setdefault(video, []).append(window[0] - clips[video].first)
    for video, at in starts.items():
        spare = max(clips[video].frames - (frames - 1) * step - 1, 0)
        ideal = [spare * (n + 1) / (per_clip + 1) for n in range(per_clip)]
        assert at == sorted(at)
        assert all(
            -1e-3 <= wanted - start < 1 + 1e-3 for wanted, start in zip(ideal, at, strict=True)
        )
    assert found == [
        _padded(clips[video], window[0] - clips[video].first, frames, step)
        for video, window in zip(windows.videos.tolist(), found, strict=True)
    ]

    drawn, shown = windows.draw(32, torch.Generator().manual_seed(0))
    for window, label in zip(_positions(drawn), shown.tolist(), strict=True):
        (video,) = [n for n, clip in enumerate(clips) if 0 <= window[0] - clip.first < clip.frames]
        assert label == labels[video]
        assert window == _padded(clips[video], window[0] - clips[video].first, frames, step)


def test_each_clip_and_each_offset_is_drawn_as_often() -> None:
    clips = _clips([2, 10, 5])
    windows = LabelledWindows(FRAMES_IN_ORDER, clips, [0, 1, 2], 4)
    drawn = _drawn(windows, 42_000)
    starts = Counter(window[0] for window in drawn)
    # 14,000 of each clip, spread over 1, 7 and 2 offsets
    expected = {0: 14_000, **{3 + n: 2_000 for n in range(7)}, 14: 7_000, 15: 7_000}
    assert starts.keys() == expected.keys()
    assert all(abs(starts[at] - count) < 5 * count**0.5 for at, count in expected.items())


def test_a_clip_that_is_just_long_enough_is_shown_whole() -> None:
    windows = LabelledWindows(FRAMES_IN_ORDER, _clips([16]), [0], 16, per_clip=3)
    assert _positions(windows[:]) == [list(range(16))] * 3


def test_no_clips_no_labels() -> None:
    with pytest.raises(ValueError, match="none"):
        LabelledWindows(FRAMES_IN_ORDER, [], [], 4)


@given(lengths=LENGTHS, frames=st.integers(1, 6), every=st.none() | st.integers(1, 9))
def test_a_fixed_window_knows_where_it_is_from(
    lengths: list[int], frames: int, every: int | None
) -> None:
    clips = _clips([*lengths, 6])
    labelled = LabelledWindows(FRAMES_IN_ORDER, clips, [0] * len(clips), 1, per_clip=2)
    for windows in (FixedWindows(FRAMES_IN_ORDER, clips, frames, stride=every), labelled):
        starts = [window[0] for window in _positions(windows[:])]
        assert [clip.first + first for clip, first in windows.origins(len(windows))] == starts
