"""What a run does under hardships of the machine, and whether the same line then ends it as usual.

    python -m tests.performance.hardships [NAME ...] [--out table.md]

Needs root for a full disk (a small tmpfs) and for a memory limit (a cgroup of version 1), and a C
compiler to move the clock. Each hardship has a results folder of its own. Afterwards the suite is
run again without it: every figure, curve and weight must equal those of an undisturbed run.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pty
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.performance.chaos import ROOT, Ended, run, store_in, write_suite

DISK_MB = 24
CELLS = 2  # of the suite with one seed


@dataclass
class Trial:
    """A run of the suite in a folder of its own, under a hardship."""

    suite: Path
    folder: Path
    calm: Ended
    environment: dict[str, str] = field(default_factory=dict)
    before_start: Callable[[], object] = lambda: None
    more: Sequence[str] = ()
    results_in: str = "results"
    process: subprocess.Popen[bytes] | None = None

    @property
    def results(self) -> Path:
        """The results folder."""
        return self.folder / self.results_in

    def check(self) -> None:
        """Make sure that all is as in an undisturbed run, once the same line has run again."""
        server = self.environment.get("MLFLOW_TRACKING_URI")
        if server is None:
            run(self.suite, self.results)
        Ended.read(server or store_in(self.results), CELLS).check_same(self.calm)

    @property
    def printed(self) -> str:
        """All that was printed."""
        return (self.folder / "printed").read_text(encoding="utf-8", errors="replace")

    def start(self, suite: Path | None = None) -> None:
        """Start the run."""
        words = ["bench", "run", "--suite", str(suite or self.suite)]
        usual = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        with (self.folder / "printed").open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *words, "--results", str(self.results), *self.more],
                env=os.environ | usual | self.environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                preexec_fn=self._before_start,
            )

    def _before_start(self) -> None:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # which is ignored under nohup
        self.before_start()

    def child(self) -> psutil.Process:
        """The process of the cell that trains, once it has written a checkpoint."""
        assert self.process is not None
        ends = time.monotonic() + 120
        while time.monotonic() < ends and self.process.poll() is None:
            if [*self.results.glob("checkpoints/*/state.pt")]:
                for child in psutil.Process(self.process.pid).children():
                    if "cell" in child.cmdline():
                        return child
            time.sleep(0.02)
        raise AssertionError(f"nothing trains: {self.printed[-2000:]}")

    def waits(self) -> None:
        """Return once the run waits for the tracking server."""
        assert self.process is not None
        ends = time.monotonic() + 300
        while time.monotonic() < ends and self.process.poll() is None:
            if "waiting for it" in self.printed:
                return
            time.sleep(0.2)
        raise AssertionError(f"it does not wait: {self.printed[-2000:]}")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the parent."""
        assert self.process is not None
        self.process.send_signal(number)

    def ended(self) -> int:
        """The exit code, once the run has ended."""
        assert self.process is not None
        return self.process.wait(300)

    def last_words(self) -> str:
        """The line that says why something did not go as usual, or the last one."""
        lines = [" ".join(line.split()) for line in self.printed.splitlines() if line.strip()]
        telling = (
            "error",
            "failed",
            "interrupted",
            "oom",
            "timeout",
            "cannot",
            "no room",
            "out of",
        )
        found = [line for line in lines if any(word in line.lower() for word in telling)]
        return (found or [""])[0][:150]


Hardship = Callable[[Trial], str]
HARDSHIPS: dict[str, Hardship] = {}


def hardship(function: Hardship) -> Hardship:
    """Register it under its name."""
    HARDSHIPS[function.__name__] = function
    return function


@contextlib.contextmanager
def _small_disk(folder: Path, megabytes: int) -> Iterator[None]:
    folder.mkdir()
    size = f"size={megabytes}m"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def _fill(folder: Path) -> Path:
    """A file that takes all the room there is."""
    ballast = folder / "ballast"
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    return ballast


@hardship
def disk_full_in_training(trial: Trial) -> str:
    """The disk fills while a cell trains; later there is room again."""
    trial.start()
    trial.child()
    ballast = _fill(trial.results)
    code = trial.ended()
    ballast.unlink()
    return f"exit code {code}"


@hardship
def disk_full_at_the_start(trial: Trial) -> str:
    """No room for the database."""
    trial.results.mkdir(exist_ok=True)
    ballast = _fill(trial.results)
    trial.start()
    code = trial.ended()
    ballast.unlink()
    return f"exit code {code}"


@contextlib.contextmanager
def _server(trial: Trial) -> Iterator[tuple[Callable[[], None], Callable[[], None]]]:
    """Functions that start and kill an MLflow tracking server."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    trial.environment["MLFLOW_TRACKING_URI"] = address
    store = trial.folder / "server"
    store.mkdir()
    words = ["server", "--backend-store-uri", f"sqlite:///{store}/mlflow.db", "--port", str(port)]
    words += ["--artifacts-destination", str(store / "artifacts"), "--workers", "1"]
    running: list[subprocess.Popen[bytes]] = []

    def start() -> None:
        with (store / "log").open("ab") as log:
            running.append(
                subprocess.Popen(
                    [sys.executable, "-m", "mlflow", *words],
                    env=os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            )
        ends = time.monotonic() + 120
        while time.monotonic() < ends:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                return
            time.sleep(0.2)
        raise AssertionError("the server does not start")

    def kill() -> None:
        while running:
            process = running.pop()
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    try:
        start()
        yield start, kill
    finally:
        kill()


@hardship
def server_killed_and_restarted(trial: Trial) -> str:
    """The tracking server dies while a cell trains, and is back 5 s later."""
    with _server(trial) as (start, kill):
        trial.start()
        trial.child()
        kill()
        time.sleep(5)
        start()
        code = trial.ended()
        return f"exit code {code}; {_again(trial)}"


@hardship
def server_killed_until_the_cells_have_ended(trial: Trial) -> str:
    """The tracking server dies while a cell trains, and is back once the run waits for it."""
    with _server(trial) as (start, kill):
        trial.start()
        trial.child()
        kill()
        trial.waits()
        start()
        code = trial.ended()
        return f"exit code {code}; {_again(trial)}"


@hardship
def server_killed_for_good(trial: Trial) -> str:
    """The tracking server dies while a cell trains, and is back only for the next run."""
    with _server(trial) as (start, kill):
        trial.start()
        trial.child()
        kill()
        trial.waits()
        trial.signal(signal.SIGINT)
        code = trial.ended()
        start()
        return f"exit code {code}; {_again(trial)}"


def _again(trial: Trial) -> str:
    """How the same line ends on the same server, with all as usual."""
    trial.start()
    code = trial.ended()
    trial.check()
    return f"again: exit code {code}"


@hardship
def child_stopped_for_10_s(trial: Trial) -> str:
    """SIGSTOP to the cell's process while it trains, SIGCONT after 10 s."""
    trial.start()
    child = trial.child()
    child.suspend()
    time.sleep(10)
    child.resume()
    return f"exit code {trial.ended()}"


@hardship
def child_stopped_for_good(trial: Trial) -> str:
    """SIGSTOP to the cell's process, and a limit of 30 s of silence."""
    hasty = trial.folder / trial.suite.name
    text = trial.suite.read_text(encoding="utf-8")
    hasty.write_text(f"{text}\n[limits]\nsilence_seconds = 30\n", encoding="utf-8")
    trial.start(hasty)
    child = trial.child()
    child.suspend()
    code = trial.ended()
    assert not child.is_running()
    return f"exit code {code}"


@hardship
def parent_stopped_for_10_s(trial: Trial) -> str:
    """SIGSTOP to the parent while a cell trains, SIGCONT after 10 s."""
    trial.start()
    trial.child()
    trial.signal(signal.SIGSTOP)
    time.sleep(10)
    trial.signal(signal.SIGCONT)
    return f"exit code {trial.ended()}"


@hardship
def hang_up(trial: Trial) -> str:
    """SIGHUP to the parent while a cell trains."""
    trial.start()
    child = trial.child()
    trial.signal(signal.SIGHUP)
    code = trial.ended()
    child.wait(60)
    return f"exit code {code}"


@hardship
def terminal_closed(trial: Trial) -> str:
    """The terminal that the run was started in is closed while a cell trains."""
    pid, terminal = pty.fork()
    if not pid:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        words = ["bench", "run", "--suite", str(trial.suite), "--results", str(trial.results)]
        usual = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "TERM": "xterm"}
        os.execve(sys.executable, [sys.executable, "-m", *words], os.environ | usual)  # noqa: S606
    began = time.monotonic()
    os.set_blocking(terminal, False)
    while not [*trial.results.glob("checkpoints/*/state.pt")]:
        assert time.monotonic() < began + 120, "nothing trains"
        with contextlib.suppress(OSError):
            os.read(terminal, 65536)
        time.sleep(0.05)
    children = psutil.Process(pid).children()
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    psutil.wait_procs(children, 60)
    (trial.folder / "printed").write_text("", encoding="utf-8")
    return f"exit code {os.waitstatus_to_exitcode(status)}"


@hardship
def memory_limited(trial: Trial) -> str:
    """A cgroup that leaves no memory for the cells' processes beside their parent."""
    group = Path(f"/sys/fs/cgroup/memory/nextframe-{os.getpid()}")
    group.mkdir()
    (group / "memory.limit_in_bytes").write_text(str(900 << 20), encoding="utf-8")
    processes = group / "cgroup.procs"

    def join() -> None:
        processes.write_text(str(os.getpid()), encoding="utf-8")

    trial.before_start = join
    try:
        trial.start()
        return f"exit code {trial.ended()}"
    finally:
        trial.before_start = lambda: None
        time.sleep(1)
        group.rmdir()


@hardship
def few_open_files(trial: Trial) -> str:
    """`ulimit -n 64`."""
    trial.before_start = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    trial.start()
    return f"exit code {trial.ended()}"


def _clock_moved(trial: Trial, seconds: int) -> str:
    offset, library = trial.folder / "offset", trial.folder / "clock.so"
    offset.write_text("0", encoding="utf-8")
    source = Path(__file__).parent / "clock.c"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"], check=True)
    trial.environment |= {"LD_PRELOAD": str(library), "CLOCK_OFFSET_FILE": str(offset)}
    trial.start()
    trial.child()
    offset.write_text(str(seconds), encoding="utf-8")
    return f"exit code {trial.ended()}"


@hardship
def clock_set_back(trial: Trial) -> str:
    """The clock is set back by a day while a cell trains."""
    return _clock_moved(trial, -86_400)


@hardship
def clock_set_forward(trial: Trial) -> str:
    """The clock is set forward by a day while a cell trains."""
    return _clock_moved(trial, 86_400)


@hardship
def interrupted(trial: Trial) -> str:
    """Ctrl-C once while a cell trains."""
    trial.start()
    trial.child()
    trial.signal(signal.SIGINT)
    return f"exit code {trial.ended()}"


@hardship
def interrupted_twice(trial: Trial) -> str:
    """Ctrl-C twice within half a second while a cell trains."""
    trial.start()
    trial.child()
    trial.signal(signal.SIGINT)
    time.sleep(0.5)
    trial.signal(signal.SIGINT)
    return f"exit code {trial.ended()}"


@hardship
def output_closed(trial: Trial) -> str:
    """Standard output is a pipe that nobody reads any more, as after `| head -1`."""
    reader, writer = os.pipe()

    def to_pipe() -> None:
        os.dup2(writer, 1)
        os.dup2(writer, 2)

    trial.before_start = to_pipe
    trial.start()
    os.close(writer)
    trial.child()
    os.close(reader)
    code = trial.ended()
    trial.before_start = lambda: None
    return f"exit code {code}"


def _tried(name: str, suite: Path, base: Path, calm: Ended) -> Mapping[str, str]:
    """The row of the table for the hardship `name`."""
    function, folder = HARDSHIPS[name], base / name
    folder.mkdir()
    trial = Trial(suite, folder, calm)
    row = {"hardship": (function.__doc__ or "").strip(), "did": "", "said": "", "then": ""}
    with contextlib.ExitStack() as stack:
        if name.startswith("disk_full"):
            trial.results_in = "disk/results"
            stack.enter_context(_small_disk(folder / "disk", DISK_MB))
            trial.results.mkdir()
        try:
            row["did"] = function(trial)
            row["said"] = trial.last_words()
            assert "Traceback" not in trial.printed, "a traceback"
            if "server" not in name:
                trial.check()
            row["then"] = "same figures, curves and weights"
        except Exception as error:
            row["then"] = f"WRONG: {type(error).__name__}: {error}"[:400]
            print(trial.printed[-3000:] if (folder / "printed").exists() else "")  # noqa: T201
    return row


def main() -> None:
    """Try each hardship and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--out", type=Path)
    wanted = parser.parse_args()
    lines = ["| hardship | exit | what it said first | afterwards |", "|---|---|---|---|"]
    with tempfile.TemporaryDirectory() as base:
        suite = write_suite(Path(base), seeds=[0])
        run(suite, Path(base) / "calm")
        calm = Ended.read(store_in(Path(base) / "calm"), CELLS)
        for name in wanted.names or HARDSHIPS:
            row = _tried(name, suite, Path(base), calm)
            lines.append("| " + " | ".join(v.replace("|", "\\|") for v in row.values()) + " |")
            print(lines[-1], flush=True)  # noqa: T201
            shutil.rmtree(Path(base) / name, ignore_errors=True)
    if wanted.out:
        wanted.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
