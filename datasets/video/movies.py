"""Frames of video files, decoded by FFmpeg in its bit-exact mode, shown as the file says.

Obeyed are the display matrix, all eight turns and mirror images of it; the colour matrix and range
(untagged: BT.601, limited, FFmpeg's default); alpha, laid over black by who fits the picture; the
shape of pixels, noted in a picture's `info`; and, where frames are picked by time, their times.
Of several video streams FFmpeg's best is read; pictures attached to a file are none.
"""

from __future__ import annotations

import math
import struct
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from fractions import Fraction
from heapq import heappop, heappush
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import cast

import av
from av.codec.context import Flags
from av.container import InputContainer
from av.packet import Packet
from av.sidedata.sidedata import SideData
from av.stream import Disposition
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from av.video.stream import VideoStream
from PIL import Image as Pillow

from datasets.video.files import special
from datasets.video.source import PIXEL_ASPECT, Damaged, reason_of

VIDEO_SUFFIXES = frozenset(
    {".asf", ".avi", ".divx", ".dv", ".flv", ".mkv", ".mxf", ".nut", ".ogv", ".rm", ".webm", ".wmv"}
    | {".3g2", ".3gp", ".f4v", ".m4v", ".mov", ".mp4", ".qt"}
    | {".m1v", ".m2ts", ".m2v", ".mpe", ".mpeg", ".mpg", ".mts", ".ts", ".vob", ".wtv"}
    | {".264", ".265", ".h264", ".h265", ".hevc", ".ivf", ".mjpeg", ".mjpg", ".obu", ".y4m"}
)

MISSING_SHARE = 0.05
"""A video that ends with more than this share of its declared frames missing is damaged.

Some whole videos hold a few frames less: UCF101's v_HorseRace_g20_c01.avi has 365 of 367. A copy
that broke off is recognised by a corrupt packet in most formats, in .mkv and .webm by this share.
"""

VARIABLE_RATE = "a variable frame rate"
INTERLACED = "interlaced frames"
SEVERAL_STREAMS = "several video streams, of which the best is used"

UNEVEN_SHARE = 0.1
"""The steps between the frames of an even video differ by no more than this share of their median.

Beside what comes from rounding: times are whole milliseconds in some formats.
"""

LONGEST_STILL = 10_000
"""How often a frame may be repeated in a row where frames are picked by time."""

_LOOKAHEAD = 4
"""How many frames later the time of a frame may stand: AVI keeps those of B-frames out of order."""

_EXACT = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.BITEXACT

_TURNS = {
    (1, 0, 0, 1): None,
    (0, -1, 1, 0): Pillow.Transpose.ROTATE_90,
    (-1, 0, 0, -1): Pillow.Transpose.ROTATE_180,
    (0, 1, -1, 0): Pillow.Transpose.ROTATE_270,
    (-1, 0, 0, 1): Pillow.Transpose.FLIP_LEFT_RIGHT,
    (1, 0, 0, -1): Pillow.Transpose.FLIP_TOP_BOTTOM,
    (0, 1, 1, 0): Pillow.Transpose.TRANSPOSE,
    (0, -1, -1, 0): Pillow.Transpose.TRANSVERSE,
}
"""By the signs of a display matrix (a, b, c, d): x' = ax + cy, y' = bx + dy, y downwards."""

_QUARTERS = [turn for (a, *_), turn in _TURNS.items() if not a]
"""Those that exchange height and width."""

_WITH_ALPHA = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
"""The decoders that read alpha where FFmpeg's own do not."""

Timed = tuple[VideoFrame, Fraction | None]
"""A frame, and when it is shown, in seconds."""


def pictures_of_video(
    path: Path, frames_per_second: float | None = None
) -> Generator[Pillow.Image, None, tuple[str, ...]]:
    """The frames of the video in `path`, in their order; returns what is odd about it.

    Args:
        path: the file.
        frames_per_second: picks and repeats frames by their times: at each moment that which is
            shown then (default: every frame, once).

    Raises:
        Damaged: it cannot be read, is damaged or cut off somewhere.
    """
    try:
        kind = special(path)
        if kind is not None:
            raise Damaged(f"is {kind}, not a file")
        if not path.stat().st_size:
            raise Damaged("is empty")
        # Absolute, since FFmpeg takes what stands before a colon for a protocol.
        with av.open(str(path.absolute()), metadata_errors="replace") as container:
            return (yield from _pictures(container, frames_per_second))
    except (av.InvalidDataError, av.EOFError) as error:
        raise Damaged("is no video that FFmpeg knows, or was cut off") from error
    except (av.FFmpegError, OSError, ValueError) as error:
        raise Damaged(f"cannot be read: {reason_of(error)}") from error


def _pictures(
    container: InputContainer, frames_per_second: float | None
) -> Generator[Pillow.Image, None, tuple[str, ...]]:
    stream, convert = _video_stream(container), VideoReformatter()
    aspect = stream.sample_aspect_ratio or Fraction(1)
    times: list[Fraction] = []
    interlaced, tick = False, stream.time_base or Fraction(0)
    timed = _timed(_decoded(container, stream))
    frames = (
        timed if frames_per_second is None else _picked(timed, Fraction(str(frames_per_second)))
    )
    for frame, time in frames:
        interlaced |= frame.interlaced_frame
        if time is not None:
            times.append(time)
        yield _upright(frame, aspect, convert)
    odd = {
        VARIABLE_RATE: frames_per_second is None and _uneven(times, tick),
        INTERLACED: interlaced,
        SEVERAL_STREAMS: len(_moving(container)) > 1,
    }
    return tuple(what for what, so in odd.items() if so)


def _decoded(container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
    decoder = _decoder(stream)
    count, seconds, end = 0, 0.0, 0.0
    for packet in container.demux(stream):
        if packet.is_corrupt:
            raise Damaged(f"is torn or cut off after frame {count}")
        for frame in _frames(decoder, packet, count):
            count += 1
            before, seconds = seconds, frame.time or 0.0
            end = max(2 * seconds - before, seconds + frame.duration * float(frame.time_base or 0))
            if frame.is_corrupt:
                raise Damaged(f"is damaged at frame {count}")
            yield frame
    _refuse_short(container, stream, count, end)


def _frames(
    decoder: VideoCodecContext, packet: Packet[VideoStream], count: int
) -> Sequence[VideoFrame]:
    try:
        return decoder.decode(packet)
    except av.FFmpegError as error:
        raise Damaged(f"cannot be decoded after frame {count}: {reason_of(error)}") from error


def _video_stream(container: InputContainer) -> VideoStream:
    """The best stream of `container`."""
    if container.format.name.endswith("_pipe"):
        raise Damaged("is a picture, not a video")
    stream, moving = container.streams.best("video"), _moving(container)
    if not moving:
        raise Damaged("has no video in it")
    return stream if isinstance(stream, VideoStream) and stream in moving else moving[0]


def _moving(container: InputContainer) -> list[VideoStream]:
    """Its video streams; a cover or thumbnails are none."""
    still = Disposition.attached_pic | Disposition.timed_thumbnails
    return [stream for stream in container.streams.video if not stream.disposition & still]


def _decoder(stream: VideoStream) -> VideoCodecContext:
    """What decodes `stream`, bit-exactly."""
    # Without a decoder the context is None, and decoding the stream ends in a segfault (PyAV 2344).
    decoder: VideoCodecContext | None = stream.codec_context
    if decoder is None:
        raise Damaged("is in a format that FFmpeg cannot decode")
    if stream.metadata.get("alpha_mode") == "1" and decoder.name in _WITH_ALPHA:
        decoder = cast(VideoCodecContext, av.CodecContext.create(_WITH_ALPHA[decoder.name], "r"))
    decoder.thread_count = 1
    decoder.flags |= Flags.bitexact
    return decoder


def _timed(frames: Iterable[VideoFrame]) -> Iterator[Timed]:
    """Each frame and its time, in order: frames come in the order they are shown in."""
    times: list[Fraction] = []
    waiting = deque[VideoFrame]()
    for frame in frames:
        waiting.append(frame)
        if frame.pts is not None and frame.time_base is not None:
            heappush(times, frame.pts * frame.time_base)
        if len(waiting) > _LOOKAHEAD:
            yield waiting.popleft(), heappop(times) if len(times) > len(waiting) else None
    while waiting:
        frame = waiting.popleft()
        yield frame, heappop(times) if len(times) > len(waiting) else None


def _uneven(times: Sequence[Fraction], tick: Fraction) -> bool:
    """Whether frames at these `times`, multiples of `tick`, come at a variable rate."""
    steps = [float(after - before) for before, after in pairwise(times)]
    usual = median(steps) if steps else 0
    most = UNEVEN_SHARE * usual + min(float(tick), usual / 2)
    return any(abs(step - usual) > most for step in steps)


def _picked(timed: Iterable[Timed], rate: Fraction) -> Iterator[Timed]:
    """So many frames a second: at each moment the one that is shown then.

    Raises:
        Damaged: a frame has no time, or is repeated for longer than anybody would look at it.
    """
    shown: VideoFrame | None = None
    start, step, moments = Fraction(0), Fraction(0), 0
    last = Fraction(0)

    def until(end: Fraction) -> Iterator[Timed]:
        nonlocal moments
        if (end - start) * rate - moments > LONGEST_STILL:
            raise Damaged(f"shows one frame for {float(end - last):.4g} s, too long to be repeated")
        while shown is not None and start + moments / rate < end:
            yield shown, start + moments / rate
            moments += 1

    for frame, time in timed:
        if time is None:
            raise Damaged("does not say when its frames are shown: they cannot be picked by time")
        if shown is None:
            start = last = time
        yield from until(time)
        step = time - last or step
        shown, last = frame, time
    if shown is not None:
        lasts = shown.duration * (shown.time_base or 0) if shown.duration else step
        yield from until(last + (lasts or 1 / rate))


def _upright(frame: VideoFrame, aspect: Fraction, convert: VideoReformatter) -> Pillow.Image:
    """`frame` in RGB or RGBA, turned and mirrored as it is to be shown."""
    alpha = any(component.is_alpha for component in frame.format.components)
    pixels = "rgba" if alpha else "rgb24"
    converted = convert.reformat(frame, format=pixels, interpolation=_EXACT, threads=1)
    picture = Pillow.fromarray(converted.to_ndarray())
    turn = _turn(frame)
    if turn is not None:
        picture = picture.transpose(turn)
    picture.info[PIXEL_ASPECT] = 1 / aspect if turn in _QUARTERS else aspect
    return picture


def _turn(frame: VideoFrame) -> Pillow.Transpose | None:
    """How the display matrix of `frame` turns and mirrors it; None where it does not."""
    matrix = cast(SideData | None, frame.side_data.get("DISPLAYMATRIX"))
    if matrix is None:
        return None
    a, b, _, c, d, *_ = struct.unpack("=9i", matrix)
    if not any((a, b, c, d)):  # says nothing
        return None
    signs = _sign(a, b), _sign(b, a), _sign(c, d), _sign(d, c)
    if signs not in _TURNS:
        raise Damaged("is turned by no quarter turn")
    return _TURNS[signs]


def _sign(value: int, other: int) -> int:
    """Of `value`, 0 where it is nothing beside the `other`."""
    return 0 if abs(value) * 100 <= abs(other) else int(math.copysign(1, value))


def _refuse_short(
    container: InputContainer, stream: VideoStream, count: int, seconds: float
) -> None:
    """Raise Damaged where far less came than the video declares: `count` frames, `seconds`."""
    if stream.frames:
        found, declared, unit = float(count), float(stream.frames), "frames"
    elif container.duration and len(container.streams) == 1:
        found, declared, unit = seconds, container.duration / av.time_base, "seconds"
    else:
        return
    if found < declared * (1 - MISSING_SHARE):
        raise Damaged(f"is cut off: has {found:.4g} of the {declared:.4g} {unit} it declares")
