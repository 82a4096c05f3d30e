"""Frames of video files, decoded by FFmpeg in its bit-exact mode."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
from av.codec.context import Flags
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from av.video.stream import VideoStream
from PIL import Image as Pillow

from datasets.video.source import Damaged, reason_of

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

_EXACT = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.BITEXACT


def pictures_of_video(path: Path) -> Iterator[Pillow.Image]:
    """The frames of the video in `path`, in their order.

    Raises:
        Damaged: it cannot be read, is damaged or cut off somewhere.
    """
    try:
        if not path.stat().st_size:
            raise Damaged("is empty")
        with av.open(str(path), metadata_errors="replace") as container:
            yield from _decoded(container)
    except (av.InvalidDataError, av.EOFError) as error:
        raise Damaged("is no video that FFmpeg knows, or was cut off") from error
    except (av.FFmpegError, OSError, ValueError) as error:
        raise Damaged(f"cannot be read: {reason_of(error)}") from error


def _decoded(container: InputContainer) -> Iterator[Pillow.Image]:
    stream, convert = _video_stream(container), VideoReformatter()
    count, seconds, end = 0, 0.0, 0.0
    for packet in container.demux(stream):
        if packet.is_corrupt:
            raise Damaged(f"is torn or cut off after frame {count}")
        for frame in _frames(packet, count):
            count += 1
            before, seconds = seconds, frame.time or 0.0
            end = max(2 * seconds - before, seconds + frame.duration * float(frame.time_base or 0))
            if frame.is_corrupt:
                raise Damaged(f"is damaged at frame {count}")
            yield _upright(frame, convert)
    _refuse_short(container, stream, count, end)


def _frames(packet: Packet[VideoStream], count: int) -> list[VideoFrame]:
    try:
        return packet.decode()
    except av.FFmpegError as error:
        raise Damaged(f"cannot be decoded after frame {count}: {reason_of(error)}") from error


def _video_stream(container: InputContainer) -> VideoStream:
    """The best stream of `container`, ready to be decoded."""
    if container.format.name.endswith("_pipe"):
        raise Damaged("is a picture, not a video")
    stream = container.streams.best("video")
    if not isinstance(stream, VideoStream):
        raise Damaged("has no video in it")
    # Without a decoder the context is None, and decoding the stream ends in a segfault (PyAV 2344).
    if stream.codec_context is None:
        raise Damaged("is in a format that FFmpeg cannot decode")
    stream.codec_context.thread_count = 1
    stream.codec_context.flags |= Flags.bitexact
    return stream


def _upright(frame: VideoFrame, convert: VideoReformatter) -> Pillow.Image:
    """`frame` in RGB, turned as the camera was held."""
    converted = convert.reformat(frame, format="rgb24", interpolation=_EXACT, threads=1)
    picture = Pillow.fromarray(converted.to_ndarray())
    return picture.rotate(frame.rotation, expand=True) if frame.rotation else picture


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
