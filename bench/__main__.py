"""`python -m bench`: runs a verb and reports a user's error in one line."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from bench import garbage
from bench.errors import UserError

EXIT_USAGE = 2
LONGEST = 200  # characters shown of a path


def program() -> None:
    """The whole process: `main`, with rules that are not for a process that goes on after it."""
    garbage.look_seldom()
    main()


def main() -> None:
    """Run the verb on the command line and exit with its code."""
    arguments = sys.argv[1:]
    debug = "--debug" in arguments
    if sys.stdout is None:  # closed by who started us
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115  until we end
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # no locale's lack of a letter ends a verb
            stream.reconfigure(errors="backslashreplace")
    try:
        from bench import cli  # takes a while, in which Ctrl-C may come

        code = cli.main([word for word in arguments if word != "--debug"])
        sys.stdout.flush()  # where the disk is full, only this says so
    except UserError as error:
        if debug:
            raise
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        code = EXIT_USAGE
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:  # the reader of our output has gone, as `head` does
        sys.stderr.close()
        code = 0
    except OSError as error:  # a disk that is full, a folder that is not ours
        if debug:
            raise
        print(f"error: {_said(error)} (--debug shows where)", file=sys.stderr)  # noqa: T201
        _discard_output()
        code = EXIT_USAGE
    sys.exit(code)


def _said(error: OSError) -> str:
    """The error in one line, with its path."""
    if not error.strerror:
        return (str(error).strip() or type(error).__name__).splitlines()[0]
    path = error.filename2 or error.filename
    if path is None:
        return error.strerror
    shown = str(path)
    return f"{error.strerror}: {shown if len(shown) <= LONGEST else shown[:LONGEST] + '…'}"


def _discard_output() -> None:
    """Let what could not be written to standard output go: the exit would try, and fail, again."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    program()
