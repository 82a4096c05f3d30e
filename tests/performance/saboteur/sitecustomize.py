"""Kills its own process, its parent or child, or both, at a moment that the environment names.

Python imports a `sitecustomize` at its start where one lies on the path: so the program under test
needs no hook. `$NEXTFRAME_KILLS` is a list of `tests.performance.chaos.Kill` in JSON; each process
takes the first for its kind that no other has taken.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any

PHASES = {
    ("bench/run/attempt.py", "_record"): "recording",
    ("bench/run/attempt.py", "_test"): "test",
    ("bench/run/attempt.py", "_save"): "saving",
    ("bench/train/loop.py", "_validate"): "validation",
    ("bench/train/loop.py", "_warm_up"): "warm-up",
    ("bench/train/loop.py", "_train_until"): "training",
    ("bench/train/loop.py", "_fit"): "training",
    ("bench/train/loop.py", "_build"): "set-up",
    ("bench/run/record.py", "begin"): "beginning a run",
    ("bench/run/record.py", "describe"): "beginning a run",
    ("bench/run/worker.py", "_keep_and_send"): "ending a run",
    ("bench/store/sqlite.py", "open"): "opening the store",
    ("bench/run/invocation.py", "_report"): "report",
    ("bench/run/invocation.py", "_launch"): "watching",
    ("bench/run/invocation.py", "run"): "planning",
}
"""The phase of a process by the innermost of these functions that runs."""

WRITES = {
    "open",
    "os.rename",
    "os.remove",
    "os.mkdir",
    "os.rmdir",
    "os.link",
    "os.truncate",
    "shutil.rmtree",
    "sqlite3.connect",
    "subprocess.Popen",
    "socket.connect",
}
"""Audit events that may stand between two states of what is on disk."""

POLL_SECONDS = 0.002


def _phase(frame: FrameType | None) -> str:
    while frame is not None:
        code = frame.f_code
        for (file, function), phase in PHASES.items():
            if code.co_name == function and code.co_filename.endswith(file):
                return phase
        frame = frame.f_back
    return "starting"


def _kill(kill: dict[str, Any], phase: str) -> None:
    """Write down the phase, and kill."""
    diary = os.open(kill["diary"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(diary, f"{kill['process']} {kill['victim']} {phase}\n".encode())
    os.close(diary)
    if kill["victim"] in ("other", "both"):
        other = os.getppid() if kill["process"] == "child" else _child()
        if other:
            os.kill(other, signal.SIGKILL)
    if kill["victim"] in ("self", "both"):
        os.kill(os.getpid(), signal.SIGKILL)


def _child() -> int:
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="utf-8").split()
    return int(children[0]) if children else 0


def _at_a_write(kill: dict[str, Any]) -> None:
    """Kill at the write number `kill["at"]` in its phase."""
    left = [int(kill["at"])]

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if left[0] < 0 or event not in WRITES:
            return
        if _phase(sys._getframe(1)) == kill["phase"]:
            left[0] -= 1
            if left[0] < 0:
                _kill(kill, kill["phase"])

    sys.addaudithook(hook)


def _at_a_time(kill: dict[str, Any]) -> None:
    """Kill `kill["at"]` seconds after its phase began, in whatever phase that is then."""
    main = threading.main_thread().ident

    def current() -> str:
        return _phase(sys._current_frames().get(main or 0))

    def wait() -> None:
        while current() != kill["phase"]:
            time.sleep(POLL_SECONDS)
        time.sleep(kill["at"])
        _kill(kill, current())

    threading.Thread(target=wait, daemon=True).start()


def _process() -> str:
    """Which of the program's processes this is: "parent", "child", or "" for neither."""
    words = sys.orig_argv
    for verb, process in (("run", "parent"), ("cell", "child")):
        if "bench" in words and words[words.index("bench") + 1 :][:1] == [verb]:
            return process
    return ""


def _take(kills: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The kill for this process."""
    for kill in kills:
        if kill["process"] == _process():
            try:
                os.close(os.open(kill["diary"] + ".taken", os.O_CREAT | os.O_EXCL, 0o600))
            except FileExistsError:
                continue
            return kill
    return None


_mine = _take(json.loads(os.environ.get("NEXTFRAME_KILLS", "[]")))
if _mine:
    (_at_a_write if _mine["moment"] == "write" else _at_a_time)(_mine)
