"""Frames of videos, images and arrays, all in one size, in RGB or grey, in their order.

They come out the same on every machine: decoders and colour conversion run in FFmpeg's bit-exact
mode, and Pillow resizes with integers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.codec.context import Flags
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from av.video.stream import VideoStream
from natsort import natsorted, ns
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageOps, UnidentifiedImageError

from datasets.video.source import Damaged, FrameFormat, Image, Source

IMAGE_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm"}
)
VIDEO_SUFFIXES = frozenset(
    {".avi", ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv"}
)

MISSING_SHARE = 0.05
"""A video that ends with more than this share of its declared frames missing is damaged.

Some whole videos hold a few frames less: UCF101's v_HorseRace_g20_c01.avi has 365 of 367. A copy
that broke off is recognised by a corrupt packet in most formats, in .mkv and .webm by this share.
"""

_EXACT = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.BITEXACT


def read_frames(source: Source, frame_format: FrameFormat) -> Iterator[Image]:
    """The frames of a video, of a `.npy` array, or of images in the order given, uint8 [C,H,W].

    One frame after the other: a video of any length needs the memory of a few of them. The rotation
    that phones note in their videos and photographs is applied; transparency is laid over black;
    16 bits a channel become 8.

    Raises:
        Damaged: the source cannot be read, is damaged or cut off somewhere, lacks more than
            `MISSING_SHARE` of the frames that it declares, changes size midway, or has fewer than
            two frames; the frames before that are given out first.
    """
    size, count = (0, 0), 0
    for count, picture in enumerate(_pictures(source.paths), 1):
        if count == 1:
            size = picture.size
        elif picture.size != size:
            was, now = (f"{width}x{height}" for width, height in (size, picture.size))
            raise Damaged(f"changes size at frame {count}, from {was} to {now}")
        yield fitted(picture, frame_format)
    if count < 2:
        raise Damaged("has 1 frame" if count else "has no frames")


def fitted(picture: Pillow.Image, frame_format: FrameFormat) -> Image:
    """A picture as it is cached: in `frame_format`'s colours and size, uint8 [C,H,W]."""
    picture = _in_eight_bits(picture).convert("L" if frame_format.channels == 1 else "RGB")
    size, box = (frame_format.width, frame_format.height), None
    if frame_format.fit == "crop":
        scale = min(picture.width / frame_format.width, picture.height / frame_format.height)
        left = (picture.width - scale * frame_format.width) / 2
        top = (picture.height - scale * frame_format.height) / 2
        box = (left, top, picture.width - left, picture.height - top)
    pixels = np.asarray(picture.resize(size, Pillow.Resampling.BILINEAR, box))
    return np.ascontiguousarray(pixels.reshape(*pixels.shape[:2], -1).transpose(2, 0, 1))


def images_in(folder: Path) -> tuple[Path, ...]:
    """The images of `folder`, in natural order: `2.png` before `10.png`. Hidden ones are left out.

    Raises:
        OSError: the folder cannot be read.
    """
    return natural(path for path in folder.iterdir() if is_image(path))


def is_image(path: Path) -> bool:
    """Whether its name says that `path` is an image, and not a hidden file."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def natural(paths: Iterable[Path]) -> tuple[Path, ...]:
    """`paths` in the order in which people count."""
    return tuple(natsorted(sorted(paths), key=str, alg=ns.PATH))  # 1.png and 01.png tie


def clips_of_array(path: Path) -> tuple[int, int]:
    """The number of clips in a `.npy` array, and of frames in each.

    Raises:
        Damaged: it is no array of frames.
    """
    clips, frames = _array(path).shape[:2]
    return clips, frames


def _pictures(paths: tuple[Path, ...]) -> Iterator[Pillow.Image]:
    if len(paths) > 1 or is_image(paths[0]):
        return map(_image, paths)
    if paths[0].suffix.lower() == ".npy":
        return _of_array(paths[0])
    return _of_video(paths[0])


def _image(path: Path) -> Pillow.Image:
    try:
        with Pillow.open(path) as image:
            return ImageOps.exif_transpose(image)
    except UnidentifiedImageError as error:
        raise Damaged(f"holds {path.name}, which is no image") from error
    except (OSError, ValueError, SyntaxError, Pillow.DecompressionBombError) as error:
        raise Damaged(f"holds {path.name}, which cannot be read: {_reason(error)}") from error


def _in_eight_bits(picture: Pillow.Image) -> Pillow.Image:
    """`picture` in a mode with 8 bits a channel and no transparency."""
    if picture.mode.startswith("I"):
        pixels = np.asarray(picture).astype(np.int64).clip(0, 65535)
        return Pillow.fromarray(((pixels * 255 + 32767) // 65535).astype(np.uint8))
    if picture.mode == "F":
        raise Damaged("has floating-point pixels, whose range nothing tells")
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        return Pillow.alpha_composite(Pillow.new("RGBA", picture.size, (0, 0, 0, 255)), picture)
    return picture


def _of_array(path: Path) -> Iterator[Pillow.Image]:
    for clip in _array(path):
        for frame in clip:
            yield Pillow.fromarray(frame[..., 0] if frame.shape[-1] == 1 else frame)


def _array(path: Path) -> NDArray[np.uint8]:
    """The array in `path`, memory-mapped, as [N,T,H,W,C]."""
    try:
        array: Any = np.lib.format.open_memmap(path, mode="r")
    except (OSError, ValueError, EOFError) as error:
        raise Damaged(f"cannot be read as an array: {_reason(error)}") from error
    if array.dtype != np.uint8:
        raise Damaged(f"holds {array.dtype}, not uint8")
    shape = array.shape
    if array.ndim == 3:
        array = array[..., None]
    if array.ndim == 4:
        array = array[None]
    if array.ndim != 5 or array.shape[-1] not in (1, 3) or 0 in shape:
        raise Damaged(f"has shape {shape}, not [T,H,W], [T,H,W,C] or [N,T,H,W,C] with C 1 or 3")
    frames: NDArray[np.uint8] = array
    return frames


def _of_video(path: Path) -> Iterator[Pillow.Image]:
    try:
        if not path.stat().st_size:
            raise Damaged("is empty")
        with av.open(str(path), metadata_errors="replace") as container:
            yield from _decoded(container)
    except (av.InvalidDataError, av.EOFError) as error:
        raise Damaged("is no video that FFmpeg knows, or was cut off") from error
    except (av.FFmpegError, OSError, ValueError) as error:
        raise Damaged(f"cannot be read: {_reason(error)}") from error


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
        raise Damaged(f"cannot be decoded after frame {count}: {_reason(error)}") from error


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


def _reason(error: BaseException) -> str:
    """Why, in one line and without the path."""
    return str(getattr(error, "strerror", None) or error).splitlines()[0]
