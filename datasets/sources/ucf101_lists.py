"""The clips of UCF101 in a folder, and their classes and splits by the official lists there."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from datasets.video.files import SHOWN, files_under, text_of
from datasets.video.source import Source, Sources, SourceWrong

GET = (
    "UCF101.rar and the train/test splits for action recognition from"
    " https://www.crcv.ucf.edu/data/UCF101.php, unpacked into one folder"
)
SPLITS = (1, 2, 3)
"""The numbers of the official pairs of lists; any of them may be absent."""

Side = Literal["train", "test"]
SIDES: tuple[Side, ...] = ("train", "test")

_FILE = re.compile(r"v_(\w+)_(g\d\d)_c\d\d\.avi")
_LINE = re.compile(r"(\w+)/(v_\w+_(g\d\d)_c\d\d\.avi)(\s+\d+)?")


@dataclass(frozen=True, slots=True)
class Listed:
    """A clip in a list."""

    class_name: str
    group: str
    side: Side


def find_clips(folder: Path) -> Sources:
    """The clips anywhere under `folder`, tagged with class, group, and side of each split.

    The facts are how many clips of each class the lists of each split name, and which clips are in
    none of them.

    Raises:
        SourceWrong: there are no lists, or what is in them is wrong.
    """
    files = sorted(files_under(folder, "v_*.avi"), key=lambda path: path.name)
    clips = [(path, found) for path in files if (found := _FILE.fullmatch(path.name))]
    lists = {f"split{number}": pair for number in SPLITS if (pair := _pair(folder, number))}
    if clips and not lists:
        raise SourceWrong(
            f"{folder} has clips of UCF101, but not their lists, trainlist01.txt and"
            f" testlist01.txt: get {GET}"
        )
    splits = {split: _read(pair) for split, pair in lists.items()}
    # The class is a list's, which calls HandstandPushups what its files call HandStandPushups.
    classes = {file: it.class_name for listed in splits.values() for file, it in listed.items()}
    videos = []
    for path, found in clips:
        name = classes.get(path.name, found[1])
        sides = {
            split: listed[path.name].side for split, listed in splits.items() if path.name in listed
        }
        tags = {"class": name, "group": found[2], **sides}
        videos.append(Source(f"{name}/{path.stem}", (path,), tags))
    in_no_list = [video.name for video in videos if not splits.keys() & video.tags]
    if videos and len(in_no_list) == len(videos):
        raise SourceWrong(
            f"none of the {len(videos):,} clips in {folder} is in the lists there: get {GET}"
        )
    return Sources(
        videos,
        facts={
            "listed": {
                split: dict(Counter(it.class_name for it in listed.values()))
                for split, listed in splits.items()
            },
            "in_no_list": in_no_list,
        },
        lists=[path for pair in lists.values() for path in pair.values()],
    )


def _pair(folder: Path, number: int) -> dict[Side, Path] | None:
    """The train and the test list of that number; None where one of them is absent."""
    pair: dict[Side, Path] = {}
    for side in SIDES:
        for path in sorted(files_under(folder, f"{side}list{number:02d}.txt"))[:1]:
            pair[side] = path
    return pair if len(pair) == len(SIDES) else None


def _read(pair: dict[Side, Path]) -> dict[str, Listed]:
    """The clips in a pair of lists, by file name.

    Raises:
        SourceWrong: a line is none of theirs, or clips of one group are in both lists.
    """
    listed: dict[str, Listed] = {}
    groups: dict[tuple[str, str], Side] = {}
    for side, path in pair.items():
        for place, found in _lines(path):
            class_name, file, group = found[1], found[2], found[3]
            if groups.setdefault((class_name, group), side) != side:
                raise SourceWrong(
                    f"{place}: clips of {class_name}'s group {group} are in {pair['train'].name},"
                    f" too; get {GET}"
                )
            listed[file] = Listed(class_name, group, side)
    return listed


def _lines(path: Path) -> Iterator[tuple[str, re.Match[str]]]:
    """Each line of a list: where it stands, and its parts."""
    for number, line in enumerate(text_of(path).splitlines(), 1):
        found = _LINE.fullmatch(line.strip())
        if found:
            yield f"{path}, line {number}", found
        elif line.strip():
            raise SourceWrong(
                f"{path}, line {number}: {line[:SHOWN]!r} is not"
                f" Class/v_Class_gNN_cNN.avi; get {GET}"
            )
