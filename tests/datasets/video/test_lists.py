import os
from pathlib import Path

import pytest

from datasets.video.lists import ClipNames
from datasets.video.source import Source, SourceWrong

SOURCES = [
    Source("a", (Path("a.npy"),), ranges=((0, 2), (2, 4))),
    Source("my clip", (Path("my clip.mp4"),)),
    Source("x/walk", (Path("x/walk/1.png"), Path("x/walk/2.png"))),
    Source("b.npy", (Path("b.npy.mp4"),)),
    Source("b", (Path("b.npy"),)),
    Source(r"caf\xe9", (Path(os.fsdecode(b"caf\xe9.mp4")),)),
    Source("#1", (Path("#1.mp4"),)),
]


def _listed(folder: Path, content: bytes) -> list[str]:
    path = folder / "train.txt"
    path.write_bytes(content)
    return [clip for _, clip in ClipNames(folder, SOURCES).in_list(path)]


@pytest.mark.parametrize(
    "line",
    [
        "x/walk",
        "./x/walk/",
        "x\\walk",
        '"x/walk"',
        "'x/walk' 3",
        "  x/walk \t",
        "x/walk 12",
        "x/walk\t1\t0.5",
        "x/walk,run,left",
        "x/walk # the long one",
        "X/Walk",
        "FOLDER/x/walk",
    ],
)
def test_a_clip_is_known_however_it_is_spelled(tmp_path: Path, line: str) -> None:
    line = line.replace("FOLDER", str(tmp_path))
    assert _listed(tmp_path, line.encode()) == ["x/walk"]


@pytest.mark.parametrize(
    ("content", "clips"),
    [
        (b"\xef\xbb\xbfa\r\n\r\nmy clip\r\n", ["a#1", "a#2", "my clip"]),
        ("a.npy\nmy clip.mp4 2\n".encode("utf-16"), ["a#1", "a#2", "my clip"]),
        (b"my clip\rx/walk\r", ["my clip", "x/walk"]),
        (b"# of 2024\na#2\n", ["a#2"]),
        (b"#1\n", ["#1"]),
        (b"caf\xe9.mp4\ncaf\\xe9\n", [r"caf\xe9"] * 2),
        (b"b.npy.mp4", ["b.npy"]),
        (b"\n \n", []),
    ],
)
def test_lists_of_any_editor(tmp_path: Path, content: bytes, clips: list[str]) -> None:
    assert _listed(tmp_path, content) == clips


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"my clip\nyour clip", "line 2: there is no clip 'your clip'"),
        (b"x/walk a", "'x/walk' and 'a' are two clips"),
        (b"b.npy", "'b.npy' may be 'b.npy' or 'b': rename one"),
        (b"x/walk.png", "there is no clip"),
        (b"\x00\x01\x02", "is no text: save it as UTF-8"),
        ("a\n".encode("utf-16-le"), "is no text: save it as UTF-8"),
        (b"caf\xe8", r"there is no clip 'caf\\xe8'"),
    ],
)
def test_a_wrong_line_is_told(tmp_path: Path, content: bytes, told: str) -> None:
    with pytest.raises(SourceWrong, match=told) as refusal:
        _listed(tmp_path, content)
    assert "\n" not in str(refusal.value)
    str(refusal.value).encode()


def test_a_pipe_is_no_list(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "train.txt")
    with pytest.raises(SourceWrong, match="is a named pipe"):
        list(ClipNames(tmp_path, SOURCES).in_list(tmp_path / "train.txt"))
