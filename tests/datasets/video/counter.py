"""Clips that show the number of each frame, robustly: as sixteen big blocks, one for each bit."""

from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise
from pathlib import Path

import av
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from datasets.video.arrays import clips_of_array
from datasets.video.decode import read_frames
from datasets.video.images import is_image, ordered
from datasets.video.source import FrameFormat, Preparation, Source, Sources

CODECS = {
    ".avi": "mpeg4",
    ".mp4": "libx264",
    ".mkv": "mpeg4",
    ".webm": "libvpx-vp9",
    ".mpg": "mpeg2video",
}
GREY = FrameFormat(channels=1, height=32, width=32)
COLOUR = FrameFormat(channels=3, height=32, width=32)


def picture(number: int, height: int = 64, width: int = 64) -> NDArray[np.uint8]:
    """The picture of `number`, uint8 [H,W,3]."""
    bits = np.array([number >> bit & 1 for bit in range(16)], np.uint8).reshape(4, 4)
    blocks = bits.repeat(height // 4, 0).repeat(width // 4, 1) * 255
    return np.stack([blocks] * 3, axis=-1)


def number(image: NDArray[np.uint8]) -> int:
    """The number that a frame uint8 [C,H,W] shows."""
    channels, height, width = image.shape
    blocks = image.reshape(channels, 4, height // 4, 4, width // 4).mean(axis=(0, 2, 4))
    return sum(1 << bit for bit, light in enumerate(blocks.flatten()) if light > 127)


def numbers(images: Iterable[NDArray[np.uint8]]) -> list[int]:
    return [number(image) for image in images]


def numbers_of(clips: Tensor) -> Tensor:
    """What the frames of clips uint8 [N,T,C,H,W] show, int64 [N,T]."""
    shown = numbers(clips.flatten(0, 1).numpy())
    return clips.new_tensor(shown, dtype=torch.int64).view(clips.shape[:2])


def write_video(
    path: Path,
    frames: Sequence[NDArray[np.uint8]],
    *,
    codec: str | None = None,
    rotation: int = 0,
) -> Path:
    """A video of `frames` uint8 [H,W,3] at 25 frames a second."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fast = {"cpu-used": "8", "deadline": "realtime"} if path.suffix == ".webm" else {}
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec or CODECS[path.suffix], rate=25, options=fast)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        if rotation:
            stream.set_display_rotation(rotation)
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame)))
        container.mux(stream.encode())
    return path


def counter_video(path: Path, count: int = 120, first: int = 0) -> Path:
    """A video that counts from `first` on."""
    return write_video(path, [picture(first + n) for n in range(count)])


def counter_images(folder: Path, count: int = 120, suffix: str = ".png") -> Path:
    """A folder of images that count from 0 on, named without zero padding."""
    folder.mkdir(parents=True)
    for n in range(count):
        Image.fromarray(picture(n)).save(folder / f"frame{n}{suffix}")
    return folder


def source(*paths: Path) -> Source:
    return Source(paths[0].stem, paths)


def images_in(folder: Path) -> tuple[Path, ...]:
    """The images of `folder` in time."""
    return ordered(folder, filter(is_image, folder.iterdir()))[0]


def find_clips(folder: Path) -> Sources:
    """All that lies in `folder`: videos, folders of images, arrays."""
    videos = []
    for path in sorted(folder.iterdir()):
        ranges: tuple[tuple[int, int], ...] = ()
        if path.suffix == ".npy":
            ranges = tuple(pairwise(accumulate(clips_of_array(path), initial=0)))
        paths = images_in(path) if path.is_dir() else (path,)
        videos.append(Source(path.stem, paths, {"kind": path.suffix}, ranges))
    return Sources(videos, facts={"found": [path.name for path in sorted(folder.iterdir())]})


COUNTERS = Preparation(
    name="counters(size=32)",
    folder="counters-32x32",
    format=GREY,
    find=find_clips,
    read=read_frames,
    get="videos that count",
)
