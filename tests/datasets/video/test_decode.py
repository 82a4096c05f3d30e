import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from datasets.sources.folders import find
from datasets.video import arrays
from datasets.video.arrays import clips_of_array, left_out_of_array
from datasets.video.decode import fitted, read_frames
from datasets.video.source import Damaged, FrameFormat, Source
from tests.datasets.video.counter import (
    CODECS,
    COLOUR,
    GREY,
    counter_images,
    counter_video,
    images_in,
    numbers,
    picture,
    source,
    write_video,
)


def _reason(*paths: Path) -> str:
    """Why a source is damaged."""
    with pytest.raises(Damaged) as damage:
        list(read_frames(source(*paths), COLOUR))
    reason = str(damage.value)
    assert "\n" not in reason
    assert str(paths[0].parent) not in reason
    return reason


@pytest.mark.parametrize("suffix", [".avi", ".mp4", ".mkv", ".webm", ".mpg"])
@pytest.mark.parametrize("frame_format", [GREY, COLOUR], ids=["grey", "colour"])
def test_videos_count_to_their_end(tmp_path: Path, suffix: str, frame_format: FrameFormat) -> None:
    path = counter_video(tmp_path / f"counter{suffix}", 120)
    images = list(read_frames(source(path), frame_format))
    assert numbers(images) == list(range(120))
    assert {(image.shape, image.dtype) for image in images} == {
        (frame_format.shape, np.dtype("u1"))
    }


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".webp"])
def test_images_count_as_people_do(tmp_path: Path, suffix: str) -> None:
    folder = counter_images(tmp_path / "counter", 120, suffix)
    (folder / f".frame3{suffix}").write_bytes(b"")
    (folder / "notes.txt").write_text("none of them")
    assert numbers(read_frames(source(*images_in(folder)), GREY)) == list(range(120))


@pytest.mark.parametrize("shape", [(120, 64, 64), (120, 64, 64, 1), (120, 64, 64, 3)])
def test_arrays_count(tmp_path: Path, shape: tuple[int, ...]) -> None:
    frames = np.stack([picture(n) for n in range(120)])[..., : shape[-1] if len(shape) == 4 else 1]
    np.save(tmp_path / "counter.npy", frames.reshape(shape))
    assert clips_of_array(tmp_path / "counter.npy") == [120]
    assert numbers(read_frames(source(tmp_path / "counter.npy"), COLOUR)) == list(range(120))


@pytest.mark.parametrize("order", ["C", "F"])
def test_the_clips_of_an_array_follow_each_other(tmp_path: Path, order: str) -> None:
    frames = np.stack([picture(n)[..., :1] for n in range(60)]).reshape(5, 12, 64, 64, 1)
    np.save(tmp_path / "five.npy", np.asarray(frames, order="F" if order == "F" else "C"))
    assert clips_of_array(tmp_path / "five.npy") == [12] * 5
    assert numbers(read_frames(source(tmp_path / "five.npy"), GREY)) == list(range(60))


def _noise(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_a_frame_of_the_right_size_is_not_touched() -> None:
    noise = _noise(24, 32)
    assert np.array_equal(
        fitted(Image.fromarray(noise), FrameFormat(3, 24, 32)), noise.transpose(2, 0, 1)
    )


def test_stretching_averages_what_becomes_one_pixel() -> None:
    squares = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
    large = Image.fromarray(squares.repeat(50, 0).repeat(30, 1))
    found = fitted(large, FrameFormat(1, 3, 4))[0].astype(int)
    assert np.abs(found - squares).max() < 20  # the filter reaches into the neighbours
    grey = fitted(Image.fromarray(_noise(400, 400)), FrameFormat(1, 4, 4))
    assert np.ptp(grey) < 12  # and so without aliasing


@pytest.mark.parametrize(("height", "width"), [(40, 90), (90, 40)])
def test_cropping_keeps_the_middle_and_the_proportions(height: int, width: int) -> None:
    canvas = np.zeros((height, width), np.uint8)
    top, left = (height - 40) // 2, (width - 40) // 2
    disc = np.hypot(*np.mgrid[-19.5:20, -19.5:20]) < 16
    canvas[top : top + 40, left : left + 40] = 255 * disc
    found = fitted(Image.fromarray(canvas), FrameFormat(1, 20, 20, fit="crop"))[0]
    expected = fitted(Image.fromarray((255 * disc).astype(np.uint8)), FrameFormat(1, 20, 20))[0]
    assert np.array_equal(found, expected)
    assert np.array_equal(found, found.T)


def test_cropping_a_frame_of_the_right_proportions_is_stretching_it() -> None:
    image = Image.fromarray(_noise(60, 80))
    stretched = fitted(image, FrameFormat(3, 30, 40))
    assert np.array_equal(fitted(image, FrameFormat(3, 30, 40, fit="crop")), stretched)


def test_grey_is_the_luma_of_rec_601() -> None:
    colours = np.zeros((1, 4, 3), np.uint8)
    colours[0, :3] = np.eye(3) * 255
    colours[0, 3] = 255
    assert fitted(Image.fromarray(colours), FrameFormat(1, 1, 4)).tolist() == [[[76, 150, 29, 255]]]


def _corner(image: NDArray[np.uint8]) -> tuple[bool, bool]:
    """Whether the brightest corner is at the bottom, and at the right."""
    half = image[0, :: image.shape[1] - 1, :: image.shape[2] - 1]
    bottom, right = divmod(int(half.argmax()), 2)
    return bool(bottom), bool(right)


@pytest.mark.parametrize(
    ("degrees", "corner"),
    [(0, (False, False)), (90, (True, False)), (180, (True, True)), (-90, (False, True))],
)
def test_videos_stand_upright(tmp_path: Path, degrees: int, corner: tuple[bool, bool]) -> None:
    """The rotation is counter-clockwise: by 90 degrees the top left corner comes to the bottom."""
    lying = np.zeros((64, 96, 3), np.uint8)
    lying[:32, :32] = 255
    path = write_video(tmp_path / "phone.mp4", [lying] * 3, rotation=degrees)
    assert [_corner(image) for image in read_frames(source(path), GREY)] == [corner] * 3


def test_photographs_stand_upright(tmp_path: Path) -> None:
    lying = np.zeros((64, 96, 3), np.uint8)
    lying[:32, :32] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    for n in range(2):
        Image.fromarray(lying).save(tmp_path / f"{n}.jpg", exif=exif)
    images = list(read_frames(source(*images_in(tmp_path)), GREY))
    assert [_corner(image) for image in images] == [(False, True)] * 2


def _grey_ramp(mode: str) -> Image.Image:
    """The same ramp of 256 greys in any mode of Pillow."""
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    if mode == "I;16":
        return Image.fromarray(ramp.astype(np.uint16) * 257)
    if mode == "I":
        return Image.fromarray(ramp.astype(np.int32) * 257)
    return Image.fromarray(ramp).convert(mode)


@pytest.mark.parametrize("mode", ["L", "P", "RGB", "RGBA", "LA", "I;16", "I", "YCbCr"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_kind_of_picture_keeps_its_values(mode: str, channels: int) -> None:
    found = fitted(_grey_ramp(mode), FrameFormat(channels, 16, 16))
    ramp = np.arange(256).reshape(16, 16)
    assert np.abs(found - ramp).max() <= (mode == "YCbCr")


def test_deep_pngs_are_read_whole(tmp_path: Path) -> None:
    for n in range(2):
        _grey_ramp("I;16").save(tmp_path / f"{n}.png")
    first, _ = read_frames(source(*images_in(tmp_path)), FrameFormat(1, 16, 16))
    assert np.array_equal(first[0], np.arange(256).reshape(16, 16))


def test_transparency_is_black() -> None:
    pixels = np.full((1, 3, 4), 200, np.uint8)
    pixels[0, :, 3] = 0, 128, 255
    seen = fitted(Image.fromarray(pixels), FrameFormat(1, 1, 3))
    assert seen[0, 0].tolist() == [0, 100, 200]


def test_a_whole_video_may_declare_a_few_frames_too_many() -> None:
    path = find("ucf101/UCF-101/HorseRace/v_HorseRace_g20_c01.avi")
    if path is None:
        pytest.skip("the UCF101 clips are not in the data folder")
    with av.open(str(path)) as container:
        assert container.streams.video[0].frames == 367
    assert sum(1 for _ in read_frames(source(path), GREY)) == 365


DIGEST = """
import hashlib, sys
from pathlib import Path
from datasets.video.decode import read_frames
from datasets.video.source import FrameFormat, Source

def digest(path):
    digest = hashlib.sha256()
    for frame in read_frames(Source("", (Path(path),)), FrameFormat(3, 48, 64)):
        digest.update(frame)
    return digest.hexdigest()[:16]

if sys.argv[1] == "plain":  # as on another processor: nothing that only this one can do
    import ctypes
    maps = Path("/proc/self/maps").read_text().split()
    library = ctypes.CDLL(next(name for name in maps if "libavutil" in name))
    library.av_force_cpu_flags(0)
    assert library.av_get_cpu_flags() == 0
print(*map(digest, sys.argv[2:]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells where FFmpeg lies")
def test_pixels_do_not_depend_on_the_processor(tmp_path: Path) -> None:
    paths = [_noisy_video(tmp_path / f"noise{suffix}", 10) for suffix in CODECS]
    digests = [
        subprocess.run(
            [sys.executable, "-c", DIGEST, how, *paths],
            cwd=Path(__file__).parents[3],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for how in ("native", "plain")
    ]
    assert len(digests[0].split()) == len(CODECS)
    assert digests[0] == digests[1]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ucf101/UCF-101/Archery/v_Archery_g01_c01.avi", "3355d3845c7c1125"),
        ("kth/boxing/person01_boxing_d1_uncomp.avi", "8ecca5373945b226"),
    ],
)
def test_pixels_do_not_depend_on_versions(name: str, expected: str) -> None:
    """Where this fails, results on this data set compare no more with older ones."""
    path = find(name)
    if path is None:
        pytest.skip(f"{name} is not in the data folder")
    digest = hashlib.sha256()
    for frame in read_frames(source(path), FrameFormat(3, 64, 64)):
        digest.update(frame.data)
    assert digest.hexdigest()[:16] == expected


def _noisy_video(path: Path, count: int = 120, size: int = 64) -> Path:
    """A video that is hard to compress, so that its frames lie all over its file."""
    noise = np.random.default_rng(0).integers(0, 256, (count, size // 8, size // 8, 3), np.uint8)
    return write_video(path, list(noise.repeat(8, 1).repeat(8, 2)))


def _without_decoder(content: bytes) -> bytes:
    assert b"FMP4" in content
    return content.replace(b"FMP4", b"ZZZZ")


def _overwritten(content: bytes) -> bytes:
    middle, noise = len(content) // 2, np.random.default_rng(0).bytes(2000)
    return content[:middle] + noise + content[middle + len(noise) :]


def _cut(share: float) -> Callable[[bytes], bytes]:
    return lambda content: content[: int(len(content) * share)]


NOISE = r"(is damaged at|cannot be decoded after) frame \d\d(: .*)?"
BROKEN: dict[str, tuple[str, Callable[[bytes], bytes], str]] = {
    "zero bytes": (".avi", _cut(0), "is empty"),
    "head of an .avi": (".avi", _cut(0.01), "is no video that FFmpeg knows, or was cut off"),
    "half an .avi": (".avi", _cut(0.5), r"is torn or cut off after frame \d\d"),
    "most of an .avi": (".avi", _cut(0.9), r"is torn or cut off after frame 1\d\d"),
    "half an .mp4": (".mp4", _cut(0.5), "is no video that FFmpeg knows, or was cut off"),
    "half a .webm": (".webm", _cut(0.5), r"is cut off: has 2\.\d+ of the 4\.8 seconds it declares"),
    "half an .mkv": (".mkv", _cut(0.5), r"is cut off: has 2\.\d+ of the 4\.8 seconds it declares"),
    "noise in an .avi": (".avi", _overwritten, NOISE),
    "noise in an .mkv": (".mkv", _overwritten, NOISE),
    "noise in an .mp4": (".mp4", _overwritten, NOISE),
    "no decoder": (".avi", _without_decoder, "is in a format that FFmpeg cannot decode"),
    "text": (".avi", lambda _: b"text\n" * 99, "is no video that FFmpeg knows, or was cut off"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_videos_tell_what_is_wrong(tmp_path: Path, kind: str) -> None:
    suffix, spoil, reason = BROKEN[kind]
    path = _noisy_video(tmp_path / f"broken{suffix}")
    path.write_bytes(spoil(path.read_bytes()))
    assert re.fullmatch(reason, _reason(path))


def test_frames_before_the_damage_come_out(tmp_path: Path) -> None:
    """Nothing waits for the end of the file: a long video never lies in memory as a whole."""
    path = _noisy_video(tmp_path / "broken.avi")
    path.write_bytes(_cut(0.5)(path.read_bytes()))
    frames = read_frames(source(path), GREY)
    assert sum(1 for _ in islice(frames, 40)) == 40
    with pytest.raises(Damaged):
        list(frames)


def test_a_frame_missing_here_and_there_is_no_damage_but_many_are(tmp_path: Path) -> None:
    path = counter_video(tmp_path / "counter.avi", 120)
    content = path.read_bytes()
    place = content.index(b"avih") + 24  # where the header declares the number of frames
    stream = content.index(b"strh") + 40
    for declared, whole in ((120, True), (122, True), (126, True), (127, False), (240, False)):
        spoiled = bytearray(content)
        for at in (place, stream):
            assert spoiled[at : at + 4] == (120).to_bytes(4, "little")
            spoiled[at : at + 4] = declared.to_bytes(4, "little")
        path.write_bytes(spoiled)
        if whole:
            assert len(list(read_frames(source(path), GREY))) == 120
        else:
            assert _reason(path) == f"is cut off: has 120 of the {declared} frames it declares"


def test_videos_that_change_size_are_refused(tmp_path: Path) -> None:
    small, large = (_noisy_video(tmp_path / f"{size}.mpg", 30, size) for size in (64, 96))
    both = tmp_path / "both.mpg"
    both.write_bytes(small.read_bytes() + large.read_bytes())
    assert re.fullmatch(r"changes size at frame \d+, from 64x64 to 96x96", _reason(both))


@pytest.mark.parametrize("suffix", [".avi", ".mp4", ".webm", ".mkv"])
def test_one_frame_is_no_video_but_two_are(tmp_path: Path, suffix: str) -> None:
    assert _reason(counter_video(tmp_path / f"one{suffix}", 1)) == "has 1 frame"
    assert len(list(read_frames(source(counter_video(tmp_path / f"two{suffix}", 2)), GREY))) == 2


def test_files_that_are_something_else(tmp_path: Path) -> None:
    Image.fromarray(picture(1)).save(tmp_path / "picture.png")
    shutil.copy(tmp_path / "picture.png", tmp_path / "picture.avi")
    assert _reason(tmp_path / "picture.avi") == "is a picture, not a video"
    assert _reason(tmp_path / "picture.png") == "has 1 frame"
    video = counter_video(tmp_path / "video.avi")
    shutil.copy(video, tmp_path / "video.png")
    assert (
        _reason(tmp_path / "video.png") == "holds video.png, which is no image that Pillow can read"
    )
    shutil.copy(video, tmp_path / "video.mp4")
    assert numbers(read_frames(source(tmp_path / "video.mp4"), GREY)) == list(range(120))
    (tmp_path / "folder.avi").mkdir()
    assert _reason(tmp_path / "folder.avi") == "cannot be read: Is a directory"
    assert _reason(tmp_path / "absent.avi") == "cannot be read: No such file or directory"
    assert "absent.png, which cannot be read: No such" in _reason(tmp_path / "absent.png")


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), "f4"), "fltp", "mono")
        silence.sample_rate = 44100
        container.mux(stream.encode(silence))
        container.mux(stream.encode(None))
    assert _reason(tmp_path / "sound.mp4") == "has no video in it"


@pytest.mark.parametrize("suffix", [".avi", ".png", ".npy"])
def test_files_one_may_not_read(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"locked{suffix}"
    path.write_bytes(b"locked")
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything")
    assert "cannot be read" in _reason(path)
    assert _reason(path).endswith("Permission denied")


def test_broken_images_are_named(tmp_path: Path) -> None:
    folder = counter_images(tmp_path / "counter", 3)
    paths = images_in(folder)
    whole = paths[1].read_bytes()
    paths[1].write_bytes(whole[: len(whole) // 2])
    assert "holds frame1.png, which cannot be read" in _reason(*paths)
    paths[1].write_bytes(b"")
    assert _reason(*paths) == "holds frame1.png, which is no image that Pillow can read"
    Image.fromarray(picture(1, 64, 80)).save(paths[1])
    assert _reason(*paths) == "changes size at frame 2, from 64x64 to 80x64"
    Image.fromarray(np.zeros((64, 64), np.float32)).save(tmp_path / "range.tiff")
    assert "floating-point" in _reason(tmp_path / "range.tiff")


BROKEN_ARRAYS: dict[str, tuple[NDArray[Any], str]] = {
    "floats": (np.zeros((9, 8, 8)), "holds float64, not uint8: the data set `arrays` reads such"),
    "16 bits": (np.zeros((9, 8, 8), np.uint16), "holds uint16, not uint8: .*"),
    "flat": (np.zeros((8, 8), np.uint8), r"has shape \(8, 8\), not .*"),
    "big-endian": (np.zeros((9, 8, 8), ">u2"), "holds >u2, not uint8: .*"),
    "records": (np.zeros(9, [("a", "u1")]), r"holds \[\('a', 'u1'\)\], not uint8"),
    "channels first": (np.zeros((9, 3, 8, 8), np.uint8), r"has shape \(9, 3, 8, 8\), not .*"),
    "no frames": (np.zeros((0, 8, 8), np.uint8), r"has shape \(0, 8, 8\), not .*"),
    "one frame": (np.zeros((1, 8, 8), np.uint8), "has 1 frame"),
    "objects": (np.array([None, 1]), "cannot be read as an array: .*objects.*"),
}


@pytest.mark.parametrize("kind", BROKEN_ARRAYS)
def test_broken_arrays_tell_what_is_wrong(tmp_path: Path, kind: str) -> None:
    array, reason = BROKEN_ARRAYS[kind]
    np.save(tmp_path / "broken.npy", array)
    assert re.fullmatch(reason, _reason(tmp_path / "broken.npy"))


@pytest.mark.parametrize("shape", [(10**12, 64, 64), (-5, 8, 8), (-1, -1, 8), (10**40, 8, 8)])
@pytest.mark.parametrize("packed", [False, True])
def test_arrays_that_claim_the_impossible(
    tmp_path: Path, shape: tuple[int, ...], packed: bool
) -> None:
    content = io.BytesIO()
    head = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(content, head)
    content.write(bytes(2000))
    path = tmp_path / f"claim.np{'z' if packed else 'y'}"
    path.write_bytes(content.getvalue())
    if packed:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a.npy", content.getvalue())
    assert "array" in _reason(path)
    with pytest.raises(Damaged):
        clips_of_array(path)


def test_the_arrays_of_an_archive_follow_each_other(tmp_path: Path) -> None:
    path, frames = tmp_path / "sim.npz", np.stack([picture(n, 16, 16) for n in range(60)])
    named = {
        "arr_10": frames[50:],
        "arr_2": np.asfortranarray(frames[10:50].reshape(4, 10, 16, 16, 3)),
        "arr_1": frames[:10, ::2, ::2, 0],
        "labels": np.arange(6),
    }
    for save in (np.savez, np.savez_compressed):
        save(path, **named)
        assert clips_of_array(path) == [10] * 6
        ranges = tuple((n, n + 10) for n in range(0, 60, 10))
        images = read_frames(Source("sim", (path,), ranges=ranges), GREY)
        assert numbers(images) == list(range(60))
        assert [text.split()[0] for text in left_out_of_array(path)] == ["labels"]


def test_broken_archives_tell_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "broken.npz"
    np.savez(path, np.array([{}], object))
    assert _reason(path) == "holds no array of frames: arr_0 holds Python objects, not uint8"
    np.savez(path)
    assert _reason(path) == "holds no arrays"
    path.write_text("no archive")
    assert _reason(path).startswith("cannot be read as an array: ")
    np.savez(path, np.random.default_rng(0).integers(0, 256, (9, 32, 32), np.uint8))
    content = bytearray(path.read_bytes())
    content[2000:2010] = bytes(10)
    path.write_bytes(content)
    assert re.match(r"cannot be read as an array: Bad CRC-32", _reason(path))


def test_an_archive_that_unpacks_to_far_more_than_it_is_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "bomb.npz"
    np.savez_compressed(path, np.zeros((300, 64, 64), np.uint8))
    assert clips_of_array(path) == [300]
    monkeypatch.setattr(arrays, "_BOMB_BYTES", 1 << 20)
    assert "claims 1,22" in _reason(path)


def test_values_beyond_16_bits_are_refused(tmp_path: Path) -> None:
    for values in ((-1, 0), (0, 65_536)):
        Image.fromarray(np.array([values], np.int32)).save(tmp_path / "deep.tif")
        assert "beyond 16 bits" in _reason(tmp_path / "deep.tif")


def test_torn_arrays(tmp_path: Path) -> None:
    path = tmp_path / "torn.npy"
    np.save(path, np.zeros((9, 8, 8), np.uint8))
    whole = path.read_bytes()
    for size in (0, 5, 100, len(whole) - 1):
        path.write_bytes(whole[:size])
        assert _reason(path).startswith("cannot be read as an array: ")
        with pytest.raises(Damaged):
            clips_of_array(path)
