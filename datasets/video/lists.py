"""Lists that users write of their clips: the name of one a line, however it is spelled."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from datasets.video.files import text_of
from datasets.video.names import folded, printable
from datasets.video.source import Source, SourceWrong

_APART = re.compile(r"[\s,;|]+")
"""What stands between a name and a label."""


class ClipNames:
    """The clips of `sources` in `folder`, by all that a line of a list may call them.

    That is a clip's name or its source's, with or without suffix, or the path of its file; in
    quotes or not, with either slash, and with a label behind it or not.
    """

    def __init__(self, folder: Path, sources: Sequence[Source]) -> None:
        self._folders = {folder.absolute(), folder.resolve()}
        self._clips: dict[str, list[tuple[str, ...]]] = {}
        for source in sources:
            clips = tuple(source.clip_names)
            for clip in clips:
                self._add(clip, (clip,))
            self._add(source.name, clips)
            if len(source.paths) == 1:
                self._add(source.name + source.paths[0].suffix, clips)

    def in_list(self, path: Path) -> Iterator[tuple[int, str]]:
        """The clips that a list names, each after the number of its line.

        Empty lines and those of comment, from `#` on, name none.

        Raises:
            OSError: it cannot be read.
            SourceWrong: it is no text, or a line names no clip, or several.
        """
        for number, line in enumerate(re.split(r"\r\n?|\n", text_of(path)), 1):
            try:
                clips = self._in_line(line.strip())
            except SourceWrong as error:
                raise SourceWrong(f"{printable(path)}, line {number}: {error}") from None
            yield from ((number, clip) for clip in clips)

    def _add(self, name: str, clips: tuple[str, ...]) -> None:
        known = self._clips.setdefault(folded(name), [])
        if clips not in known:
            known.append(clips)

    def _in_line(self, line: str) -> tuple[str, ...]:
        clips = self._called(line)
        if clips or not line:
            return clips
        quoted = re.fullmatch(r"""(["'])(.+?)\1(.*)""", line)
        ends = [apart.start() for apart in _APART.finditer(line)]
        splits = [(quoted[2], quoted[3])] if quoted else [(line[:n], line[n:]) for n in ends[::-1]]
        for name, label in splits:
            clips = self._called(name)
            if clips:
                others = [word for word in _APART.split(label) if word and self._called(word)]
                if others:
                    raise SourceWrong(
                        f"{_shown(name)} and {_shown(others[0])} are two clips: one a line"
                    )
                return clips
        if line.startswith("#"):
            return ()
        raise SourceWrong(f"there is no clip {_shown(line)}")

    def _called(self, name: str) -> tuple[str, ...]:
        """The clips of that name; none where nothing is called so."""
        for spelled in dict.fromkeys((name, name.replace("\\", "/"))):
            path = PurePosixPath(spelled)
            inner = [path.relative_to(it) for it in self._folders if path.is_relative_to(it)]
            known = self._clips.get(folded(printable(inner[0] if inner else path)), [])
            if len(known) > 1:
                first, second = (_shown(clips[0]) for clips in known[:2])
                raise SourceWrong(f"{_shown(name)} may be {first} or {second}: rename one")
            if known:
                return known[0]
        return ()


def _shown(name: str) -> str:
    return f"'{printable(name)}'"
