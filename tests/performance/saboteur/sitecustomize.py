"""Kills its own process, its parent or child, or both, at moments that the environment names.

Python imports a `sitecustomize` at its start where one lies on the path: so the program under test
needs no hook. `$NEXTFRAME_KILLS` is a list of `tests.performance.chaos.Kill` in JSON. A parent
takes the first for its kind that no other has taken. A cell's process imports for seconds and works
for two: once it has imported, and before it touches anything, it forks a copy for each of several
kills, one after the other, and goes on itself only when these are dead.
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
    ("bench/train/loop.py", "warm_up"): "warm-up",
    ("bench/train/loop.py", "_train_until"): "training",
    ("bench/train/loop.py", "_fit"): "training",
    ("bench/train/loop.py", "_build"): "set-up",
    ("bench/run/recording.py", "begin"): "beginning a run",
    ("bench/run/recording.py", "describe"): "beginning a run",
    ("bench/run/worker.py", "_keep_and_send"): "ending a run",
    ("bench/store/sqlite.py", "open"): "opening the store",
    ("bench/run/invocation.py", "_report"): "report",
    ("bench/run/invocation.py", "_launch"): "watching",
    ("bench/run/invocation.py", "run"): "planning",
}
"""The phase of a process by the innermost of these functions that runs."""

RANKS = {
    "other": 0,
    "opening the store": 1,
    "beginning a run": 2,
    "set-up": 3,
    "warm-up": 4,
    "training": 5,
    "saving": 5,
    "validation": 5,
    "test": 6,
    "recording": 7,
    "ending a run": 8,
    "planning": 2,
    "watching": 3,
    "report": 9,
}
"""The order of the phases; a kill whose phase does not come falls on the next that does."""

KILLS_A_PROCESS = 12

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
    return "other"


def _kill(kill: dict[str, Any], phase: str) -> None:
    """Write down the phase, and kill."""
    diary = os.open(kill["diary"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(diary, f"{kill['process']} {kill['victim']} {phase}\n".encode())
    os.close(diary)
    if kill["victim"] in ("other", "both"):
        other = _parent if kill["process"] == "child" else _child()
        if other:
            os.kill(other, signal.SIGKILL)
    if kill["victim"] in ("self", "both"):
        os.kill(os.getpid(), signal.SIGKILL)


def _child() -> int:
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="utf-8").split()
    return int(children[0]) if children else 0


def _at_a_write(kill: dict[str, Any]) -> None:
    """Kill at the write number `kill["at"]` in its phase."""
    left, rank = [int(kill["at"])], RANKS[kill["phase"]]

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if left[0] < 0 or event not in WRITES:
            return
        phase = _phase(sys._getframe(1))
        left[0] -= phase == kill["phase"]
        if left[0] < 0 or RANKS[phase] > rank:
            left[0] = -1
            _kill(kill, phase)

    sys.addaudithook(hook)


def _at_a_time(kill: dict[str, Any]) -> None:
    """Kill `kill["at"]` seconds after its phase began, in whatever phase that is then."""
    main = threading.main_thread().ident

    def current() -> str:
        return _phase(sys._current_frames().get(main or 0))

    def wait() -> None:
        while RANKS[current()] < RANKS[kill["phase"]]:
            time.sleep(POLL_SECONDS)
        time.sleep(kill["at"])
        _kill(kill, current())

    threading.Thread(target=wait, daemon=True).start()


def _arm(kill: dict[str, Any]) -> None:
    (_at_a_write if kill["moment"] == "write" else _at_a_time)(kill)


def _once_imported(kills: list[dict[str, Any]]) -> None:
    """Fork a copy for each of several kills where a cell's process first opens the store."""
    waiting = [True]

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if waiting and event == "sqlite3.connect":
            waiting.clear()
            _fork(kills)

    sys.addaudithook(hook)


def _fork(kills: list[dict[str, Any]]) -> None:
    """Return in each copy with its kill armed, and in the process itself after them."""
    for _ in range(KILLS_A_PROCESS):
        kill = _take(kills)
        if kill is None:
            return
        copy = os.fork()
        if not copy:
            _arm(kill)
            return
        _, status = os.waitpid(copy, 0)
        if not os.WIFSIGNALED(status):  # it was done before its moment
            os._exit(os.waitstatus_to_exitcode(status))
        if Path(kill["diary"]).read_text(encoding="utf-8").endswith(("ending a run\n", "other\n")):
            os.kill(os.getpid(), signal.SIGKILL)  # its cell may be done, and nobody runs it again


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


_parent = os.getppid()
_kills = json.loads(os.environ.get("NEXTFRAME_KILLS", "[]"))
if _process() == "child":
    _once_imported(_kills)
elif _mine := _take(_kills):
    _arm(_mine)
