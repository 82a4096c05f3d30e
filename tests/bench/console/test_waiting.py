"""What a slow verb says at a terminal while it can show nothing yet, and what is left of that."""

import contextlib
import io
import re
import sys
from collections.abc import Iterator

import pytest

from bench.__main__ import main
from bench.console import announce, waiting


class Terminal(io.StringIO):
    """A terminal, which knows what is seen on it."""

    def isatty(self) -> bool:
        return True

    @property
    def seen(self) -> list[str]:
        """The lines on it, without spaces at their ends."""
        lines, column = [""], 0
        for part in re.findall(r"\x1b\[K|\r|\n|[^\x1b\r\n]+|\x1b", self.getvalue()):
            if part == "\n":
                lines, column = [*lines, ""], 0
            elif part == "\r":
                column = 0
            elif part == "\x1b[K":
                lines[-1] = lines[-1][:column]
            else:
                after = lines[-1][column + len(part) :]
                lines[-1] = lines[-1][:column].ljust(column) + part + after
                column += len(part)
        return [line.rstrip() for line in lines]


@contextlib.contextmanager
def at_terminal(kind: str = "xterm") -> Iterator[Terminal]:
    """Standard output and error on one terminal."""
    terminal = Terminal()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(terminal),
        contextlib.redirect_stderr(terminal),
    ):
        patch.setenv("TERM", kind)
        yield terminal


def typed(*words: str) -> int:
    """The exit code of `python -m bench WORDS`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["bench", *words])
        with pytest.raises(SystemExit) as end:
            main()
    assert isinstance(end.value.code, int)
    return end.value.code


def test_a_wait_is_seen_while_it_lasts_and_leaves_nothing() -> None:
    with at_terminal() as terminal:
        with waiting("reading a long list"):
            assert terminal.seen == ["reading a long list ..."]
        terminal.write("short\n")
    assert terminal.seen == ["short", ""]


def test_an_inner_wait_takes_the_place_of_the_outer_and_gives_it_back() -> None:
    with at_terminal() as terminal, waiting("writing the report"):
        with waiting("opening the store"):
            assert terminal.seen == ["opening the store ..."]
        assert terminal.seen == ["writing the report ..."]


def test_what_is_announced_meanwhile_stays_above() -> None:
    with at_terminal() as terminal:
        with waiting("settling the cells"):
            announce("checking a.py")
            assert terminal.seen == ["checking a.py", "settling the cells ..."]
        assert terminal.seen == ["checking a.py", ""]


def test_an_error_ends_the_wait() -> None:
    with at_terminal() as terminal:
        with pytest.raises(ValueError, match="wrong"), waiting("reading"):
            raise ValueError("wrong")
        assert terminal.seen == [""]


@pytest.mark.parametrize("kind", ["dumb", "unknown"])
def test_nothing_is_said_where_lines_cannot_change(kind: str) -> None:
    with at_terminal(kind) as terminal, waiting("reading"):
        announce("a note")
    assert terminal.getvalue() == "a note\n"


def test_a_verb_says_what_it_does_before_its_list() -> None:
    with at_terminal() as terminal:
        assert typed("ls", "suites") == 0
    assert terminal.getvalue().startswith("listing suites ...")
    assert "listing" not in "".join(terminal.seen)
    assert "mnist-all" in "".join(terminal.seen)


def test_a_verb_that_is_refused_leaves_the_error_alone() -> None:
    with at_terminal() as terminal:
        assert typed("run", "--suite", "no-such-suite", "--dry-run") == 2
    assert "settling the cells" in terminal.getvalue()
    assert [line.partition(":")[0] for line in terminal.seen] == ["error", ""]


def test_a_pipe_gets_the_list_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert typed("ls", "suites", "--format", "csv") == 0
    output = capsys.readouterr()
    assert output.out.startswith("name,")
    assert output.err == ""
