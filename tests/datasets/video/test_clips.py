import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datasets.video.clips import Found, clips_at
from datasets.video.decode import read_frames
from datasets.video.movies import VARIABLE_RATE
from datasets.video.names import printable
from datasets.video.source import Damaged, Reading, SourceWrong
from tests.datasets.video.counter import GREY, images_in, numbers, picture, source


def _touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def _stack(path: Path, first: int, count: int = 4, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pages = [Image.fromarray(picture(first + n, 16, 16)) for n in range(count)]
    pages[0].save(path, save_all=True, append_images=pages[1:], **options)
    return path


def _names(found: Found) -> list[str]:
    return [clip for source in found.sources for clip in source.clip_names]


def _left_out(found: Found) -> list[str]:
    return sorted(name for names in found.left_out.values() for name in names)


LOSSLESS: dict[str, dict[str, object]] = {
    ".tif": {},
    ".TIFF": {"compression": "tiff_lzw"},
    ".gif": {"duration": 40},
    ".png": {"duration": 40},
    ".apng": {"duration": 40},
    ".webp": {"lossless": True, "duration": 40},
}


@pytest.mark.parametrize("suffix", LOSSLESS)
def test_a_stack_is_a_clip_of_its_pictures(tmp_path: Path, suffix: str) -> None:
    for n in range(3):
        _stack(tmp_path / "recordings" / f"r{n}{suffix}", 10 * n, **LOSSLESS[suffix])
    found = clips_at(tmp_path)
    assert _names(found) == ["recordings/r0", "recordings/r1", "recordings/r2"]
    shown = [numbers(read_frames(source, GREY)) for source in found.sources]
    assert shown == [list(range(10 * n, 10 * n + 4)) for n in range(3)]
    (alone,) = clips_at(tmp_path / "recordings" / f"r1{suffix}").sources
    assert numbers(read_frames(alone, GREY)) == list(range(10, 14))


def test_images_of_one_picture_are_frames_whatever_their_format(tmp_path: Path) -> None:
    for n in range(3):
        Image.fromarray(picture(n, 16, 16)).save(tmp_path / f"{n}.gif")
    (clip,) = clips_at(tmp_path).sources
    assert numbers(read_frames(clip, GREY)) == [0, 1, 2]


def test_the_smaller_copies_in_a_tiff_are_no_frames(tmp_path: Path) -> None:
    for n in range(2):
        reduced = Image.fromarray(picture(n, 8, 8))
        reduced.encoderinfo = {"tiffinfo": {254: 1}}
        Image.fromarray(picture(n, 16, 16)).save(
            tmp_path / f"{n}.tif", save_all=True, append_images=[reduced]
        )
    (clip,) = clips_at(tmp_path).sources
    assert numbers(read_frames(clip, GREY)) == [0, 1]


DECLARED = {
    "ImageJ=1.54\nimages=4\nframes=4\nloop=false": "",
    "ImageJ=1.54\nimages=4\nslices=4": "",
    '<?xml?><OME xmlns="..."><Pixels SizeC="3" SizeT="4" SizeZ="1"/></OME>': "",
    "ImageJ=1.54\nimages=4\nchannels=2\nframes=2\nhyperstack=true": "2 channels x 2 times",
    '<OME><Pixels SizeC="1" SizeT="2" SizeZ="2"/></OME>': "2 depths x 2 times",
    "ImageJ=1.54\nimages=400\nframes=400": "declares 400 times and has 4",
    "frames=400, said a user": "",
}


@pytest.mark.parametrize("declared", DECLARED)
def test_the_pages_of_a_microscope_are_times_or_refused(tmp_path: Path, declared: str) -> None:
    path = _stack(tmp_path / "cells.tif", 0, description=declared)
    if not DECLARED[declared]:
        assert numbers(read_frames(source(path), GREY)) == list(range(4))
        return
    with pytest.raises(Damaged, match=DECLARED[declared]):
        list(read_frames(source(path), GREY))


def test_a_large_stack_of_one_page_is_refused_not_taken_for_an_image(tmp_path: Path) -> None:
    for n in range(2):
        _stack(tmp_path / f"{n}.tif", 0, count=1, description="ImageJ=1\nimages=99\nframes=99")
    found = clips_at(tmp_path)
    assert _names(found) == ["0", "1"]
    for clip in found.sources:
        with pytest.raises(Damaged, match="declares 99 times"):
            list(read_frames(clip, GREY))


def test_pictures_shown_for_different_times_are_refused(tmp_path: Path) -> None:
    path = _stack(tmp_path / "uneven.webp", 0, duration=[40, 40, 120, 40])
    with pytest.raises(Damaged, match="40 and 120 ms"):
        list(read_frames(source(path), GREY))


@pytest.mark.parametrize("suffix", [".gif", ".png", ".apng"])
def test_an_animation_of_uneven_times_is_remarked_like_a_video(tmp_path: Path, suffix: str) -> None:
    for duration, remarks in ((40, ()), ([40, 40, 120, 40], (VARIABLE_RATE,))):
        reading = Reading(
            read_frames(source(_stack(tmp_path / f"a{suffix}", 0, duration=duration)), GREY)
        )
        assert numbers(reading) == [0, 1, 2, 3]
        assert reading.remarks == remarks


def test_grey_and_colour_in_turns_are_refused_but_a_grey_frame_is_not(tmp_path: Path) -> None:
    for n in range(6):
        image = Image.fromarray(picture(n))
        for name, grey in (("masks", n % 2), ("fading", n > 3)):
            (tmp_path / name).mkdir(exist_ok=True)
            (image.convert("L") if grey else image).save(tmp_path / name / f"{n}.png")
    assert numbers(read_frames(source(*images_in(tmp_path / "fading")), GREY)) == list(range(6))
    with pytest.raises(Damaged, match="RGB and L in turns"):
        list(read_frames(source(*images_in(tmp_path / "masks")), GREY))


def test_images_are_cut_where_numbers_are_missing(tmp_path: Path) -> None:
    (tmp_path / "walk").mkdir()
    for n in (1, 2, 3, 7, 8, 9):
        Image.fromarray(picture(n, 16, 16)).save(tmp_path / "walk" / f"{n}.png")
    found = clips_at(tmp_path)
    assert _names(found) == ["walk#1", "walk#2"]
    assert found.sources[0].ranges == ((0, 3), (3, 6))
    assert [*found.odd.values()] == [["walk"]]


def test_an_order_that_no_number_tells_is_noted(tmp_path: Path) -> None:
    found = clips_at(_touch(tmp_path, "walk/c.png", "walk/a.png", "run/1.png", "run/2.png"))
    assert [path.stem for path in found.sources[1].paths] == ["a", "c"]
    assert [*found.odd.values()] == [["walk"]]


def test_what_is_no_clip_is_named(tmp_path: Path) -> None:
    _touch(
        tmp_path,
        *("a.mp4", "a/thumbnail.jpg", "poster.png", "sim.h5", "b/data.mat", "more.zip", "noise"),
        *("README", "Thumbs.db", "labels.csv", ".DS_Store", ".git/x.pack", "a/notes.txt"),
    )
    np.savez(tmp_path / "s.npz", x=np.zeros((4, 8, 8), np.uint8), y=np.arange(3))
    found = clips_at(tmp_path)
    assert _names(found) == ["a", "s"]
    expected = ["a/thumbnail.jpg", "b/data.mat", "more.zip", "noise", "poster.png"]
    assert _left_out(found) == [*expected, "s.npz: y holds int64, not uint8", "sim.h5"]


def test_deep_images_that_use_few_of_their_bits_are_noted(tmp_path: Path) -> None:
    for name, brightest in (("bright", 65_535), ("dark", 4_000)):
        (tmp_path / name).mkdir()
        for n in range(2):
            pixels = np.linspace(0, brightest, 64).reshape(8, 8).astype(np.uint16)
            Image.fromarray(pixels).save(tmp_path / name / f"{n}.png")
    found = clips_at(tmp_path)
    assert [*found.odd.values()] == [["dark"]]


def test_names_of_any_bytes_are_told_apart(tmp_path: Path) -> None:
    raw = [b"caf\xe9.mp4", b"caf\xe8.mp4", b"a\nb.mp4", "café.mp4".encode(), b"x" * 250 + b".mp4"]
    try:
        for name in raw:
            (Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))).touch()
    except OSError:
        pytest.skip("this file system takes no names that are not UTF-8")
    names = _names(clips_at(tmp_path))
    assert sorted(names) == sorted([r"caf\xe9", r"caf\xe8", r"a\nb", "café", "x" * 250])
    for name in names:
        name.encode()
        assert printable(name) == name


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    listener = socket.socket(socket.AF_UNIX)
    at = Path.cwd()
    os.chdir(path.parent)
    listener.bind(path.name)
    os.chdir(at)
    listener.close()


def _device(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("make", [_pipe, _socket, _device])
@pytest.mark.parametrize("name", ["a.mp4", "a.npy", "a.npz", "w/3.png", "a.tif"])
def test_what_is_no_file_is_refused_unopened(
    tmp_path: Path, make: Callable[[Path], None], name: str
) -> None:
    _touch(tmp_path, "w/1.png", "w/2.png")
    make(tmp_path / name)
    assert not stat.S_ISREG((tmp_path / name).stat().st_mode)
    for place in (tmp_path, tmp_path / name):
        with pytest.raises(SourceWrong, match="remove it") as refusal:
            clips_at(place)
        assert name in str(refusal.value)
    with pytest.raises(Damaged, match=r"pipe|socket|device"):
        list(read_frames(source(tmp_path / name), GREY))


def test_links_that_lead_nowhere_are_damaged_clips(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").symlink_to("b.mp4")
    (tmp_path / "b.mp4").symlink_to("a.mp4")
    (tmp_path / "gone.npy").symlink_to("nowhere")
    for clip in clips_at(tmp_path).sources:
        with pytest.raises(Damaged, match="cannot be read"):
            list(read_frames(clip, GREY))


def _several(folder: Path) -> None:
    np.save(folder / "a.npy", np.zeros((4, 3, 8, 8, 1), np.uint8))
    _touch(folder, "a#2.mp4")


def _stack_beside_images(folder: Path) -> None:
    _stack(folder / "w" / "3.tif", 0)
    _touch(folder, "w/1.tif", "w/2.tif")


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "two suffixes": (lambda f: _touch(f, "a.mp4", "a.avi"), "two clips are named a: rename"),
    "a clip's number": (_several, "two clips are named a#2: rename"),
    "case": (lambda f: _touch(f, "Walk.mp4", "walk.avi"), "but for the case or the encoding"),
    "accents": (lambda f: _touch(f, "é.mp4", "e\u0301.avi"), "but for the case or the encoding"),
    "images beside a video": (lambda f: _touch(f, "1.png", "2.png", "a.mp4"), "beside a.mp4"),
    "a stack among images": (_stack_beside_images, "images, such as 1.tif, beside 3.tif"),
    "masks": (lambda f: _touch(f, "w/1.png", "w/2.png", "w/1_mask.png"), "several kinds of name"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_ambiguous_is_refused(tmp_path: Path, kind: str) -> None:
    make, told = REFUSED[kind]
    make(tmp_path)
    with pytest.raises(SourceWrong) as refusal:
        clips_at(tmp_path)
    assert told in str(refusal.value)
    assert "\n" not in str(refusal.value)
