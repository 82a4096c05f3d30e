"""What a run asks of users' own files before it starts, each in a process that may end or hang."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import IO

from bench import PACKAGE, PROGRAM, __version__, caches
from bench.errors import UserError
from bench.run.launchers.child import environment
from bench.suite import fingerprint
from bench.suite.reference import is_file_reference, split

LONGEST_SECONDS = 120.0
"""Of one file; a sound model takes a few, most of them to import PyTorch."""
TELLING_SECONDS = 5.0  # in which a process that hangs says where
CHECK = [sys.executable, "-X", "faulthandler", "-m", PACKAGE, "check"]
USAGE = 2
"""The exit code of an error that is told in one line."""


def require_sound(
    models: Iterable[str], datasets: Iterable[str], announce: Callable[[str], None]
) -> None:
    """Check the references to the user's own files, of which nothing is imported here.

    What has passed with the same code is not checked again. A model that can be built and a data
    set may be slow: where they are not done after `LONGEST_SECONDS`, they are told of and let pass.

    Raises:
        UserError: one breaks a first promise, or ends or hangs the process that imports it.
    """
    sound = []
    for reference in dict.fromkeys(datasets):
        if not is_file_reference(reference) or _has_passed(reference, (), announce):
            sound.append(reference)
    for reference in dict.fromkeys(filter(is_file_reference, models)):
        _has_passed(reference, sound, announce, is_model=True)


def _has_passed(
    reference: str, on: Sequence[str], announce: Callable[[str], None], *, is_model: bool = False
) -> bool:
    """Whether all first promises are kept, now or when this code was checked before.

    Those of a model are to be kept `on` one of these data sets.
    """
    passed = _passed(reference, on)
    if passed is None:
        return False
    if not passed.exists():
        announce(f"checking {_file(reference).name} ...")
        if not _is_sound(reference, on, announce, is_model=is_model):
            return False
        caches.keep(passed, b"")
    return True


def _file(reference: str) -> Path:
    return Path(split(reference)[0].rpartition(":")[0])


def _passed(reference: str, on: Sequence[str]) -> Path | None:
    """The file that stands for a check that this code passed; None where there is no such code."""
    name, options = split(reference)
    try:
        code = fingerprint.file_digest(_file(reference).resolve(strict=True))
    except (OSError, RuntimeError):
        return None  # whoever imports it says so
    except (SyntaxError, ValueError):
        code = ""  # which passes nothing
    checks = fingerprint.room_digest("bench/check")
    key = [name.rpartition(":")[2], options, code, on, checks, __version__, version("torch")]
    return caches.folder("checked") / fingerprint.digest(key)


def _is_sound(
    reference: str, on: Sequence[str], announce: Callable[[str], None], *, is_model: bool
) -> bool:
    """Whether all first promises are kept; False where that cannot be told.

    Raises:
        UserError: as `require_sound`.
    """
    line = f"{PROGRAM} check {shlex.quote(reference)}"
    end = _checked(reference, on)
    if failed := re.search(r"^FAIL  [^:]+: (.+)$", end.out, re.MULTILINE):
        raise UserError(f"{reference}: {failed[1]} (`{line}` shows all)")
    if end.code == 0:
        return re.search(r": passed \d+ checks$", end.out, re.MULTILINE) is not None
    said = re.search(r"^error: (.+)$", end.error, re.MULTILINE)
    if end.code == USAGE and said:
        raise UserError(said[1])
    where = f"{reference}: {end.place(_file(reference))}"
    if end.code is None:
        what = f"{where}`{line} --quick` is not done after {LONGEST_SECONDS:.0f} s"
        if is_model and not end.out.startswith("ok "):
            raise UserError(f"{what}: the model cannot be built")
        announce(f"note: {what}, so this is not known to work")
        return False
    by_signal = f"crashes with {signal.Signals(-end.code).name}" if end.code < 0 else ""
    raise UserError(f"{where}`{line} --quick` {by_signal or f'ends with exit code {end.code}'}")


@dataclass(frozen=True, slots=True)
class _End:
    """How a check ended: its exit code, None where it hung, and what it printed."""

    code: int | None
    out: str
    error: str

    def place(self, file: Path) -> str:
        """`file.py:12: ` of the innermost line of `file` where `faulthandler` saw it, or ""."""
        frames = re.findall(r'^ +File "(.+)", line (\d+) in ', self.error, re.MULTILINE)
        lines = [number for path, number in frames if Path(path).resolve() == file.resolve()]
        return f"{file.name}:{lines[0]}: " if lines else ""


def _checked(reference: str, on: Sequence[str]) -> _End:
    """How the quick check of `reference` ends, in a process whose descendants end with it."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as error:
        process = subprocess.Popen(
            [*CHECK, reference, "--quick", *(["--on", *on] if on else [])],
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=error,
            start_new_session=True,
        )
        code = None
        try:
            code = process.wait(LONGEST_SECONDS)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGABRT)  # at which `faulthandler` prints where it is
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(TELLING_SECONDS)
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):  # nobody is left
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        return _End(code, _text(out), _text(error))


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="backslashreplace")
