"""The further processes of a cell on several devices: started, watched, and ended with it.

The cell's own process is rank 0. It has the lock, the records and the checkpoint; the others only
compute. They live as long as it does: the end of their standard input is theirs. On one machine
they are its children; in a job on several nodes they are the job's further tasks.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import torch.distributed as dist
from pydantic import BaseModel, ConfigDict

from bench.records import Status
from bench.run.events import Event, Finished, Lines, decode
from bench.run.launchers.child import environment, kernel_oom_kills
from bench.run.tasks import RANK, Caller, Tasks
from bench.suite.cell import Cell
from bench.train import hardware
from bench.train.team import ALONE, Team, joined

READ_BYTES = 1 << 16
KILLED = f"was killed by {signal.SIGKILL.name}"
END_SECONDS = 10.0  # for a rank that is through to end, before it is killed
GRACE_SECONDS = 20.0
"""For rank 0 to notice that another rank has died, which it may be waiting for on a GPU."""


class Order(BaseModel):
    """What a rank is to do, as rank 0 writes it to its standard input: one line of JSON."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    cell: Cell
    rank: int
    size: int
    meeting: str
    """The file that the ranks meet by."""
    rescores: bool
    """Whether weights are only scored again."""
    profiles: bool


class RankDied(Exception):
    """A rank other than 0 came to an end that it should not have come to."""

    def __init__(self, status: Status, said: str) -> None:
        """It ended like this."""
        super().__init__(said)
        self.status = status


@contextlib.contextmanager
def team_of(
    cell: Cell, size: int, rescores: bool, profiles: bool, emit: Callable[[Event], None]
) -> Iterator[Team]:
    """The team of `size` processes, of which this is rank 0; the others end with the block.

    Args:
        cell: what they run.
        size: how many there are.
        rescores: whether weights are only scored again.
        profiles: whether steps are profiled in the end.
        emit: told how the cell ended where this process hangs since another has died.

    Raises:
        RankDied: another ended before the block did.
    """
    if size == 1:
        yield ALONE
        return
    tasks = Tasks.of_this_cell()
    shared = tasks.folder if tasks else None
    with tempfile.TemporaryDirectory(prefix="nextframe-ranks-", dir=shared) as folder:
        meeting = Path(folder) / "meeting"
        orders = [
            Order(
                cell=cell,
                rank=rank,
                size=size,
                meeting=str(meeting),
                rescores=rescores,
                profiles=profiles,
            )
            for rank in range(1, size)
        ]
        with contextlib.closing(_Ranks(emit)) as ranks:
            ranks.start(orders, tasks)
            with joined(0, size, cell.device, meeting) as team:
                try:
                    yield team
                except BaseException as error:
                    death = ranks.death if _is_of_others(error) else None
                    ranks.close()  # first: whoever leaves a team must not be waited for
                    if death is not None:
                        raise death from error
                    raise


def _is_of_others(error: BaseException) -> bool:
    """Whether `error` says that the connection to another process is lost."""
    text = str(error).lower()
    return isinstance(error, dist.DistError) or "gloo" in text or "nccl" in text


class _Ranks:
    """All but rank 0."""

    def __init__(self, emit: Callable[[Event], None]) -> None:
        self._emit = emit
        self._ranks: list[_Rank] = []
        self._ends = threading.Event()
        """Set once they may end."""
        self._died = threading.Event()
        self._deaths: list[RankDied] = []

    def start(self, orders: list[Order], tasks: Tasks | None) -> None:
        """Give each of `orders` to a task of the job, or to a new process; wait until all begin.

        Raises:
            RankDied: one does not.
        """
        processes: Iterable[_Child | Caller] = tasks.callers() if tasks else map(_Child, orders)
        for order, process in zip(orders, processes, strict=True):
            self._ranks.append(_Rank(order, process, self._has_died))
        for rank in self._ranks:
            rank.is_there.wait()
            if rank.death is not None:
                raise rank.death

    def _has_died(self, death: RankDied) -> None:
        """Remember it; should rank 0 wait for the dead for ever, end it."""
        if self._ends.is_set():
            return
        self._deaths.append(death)
        self._died.set()
        if not self._ends.wait(GRACE_SECONDS):
            sys.stderr.write(f"{death}\n")
            self._emit(Finished(death.status, str(death)))
            os._exit(1)

    @property
    def death(self) -> RankDied | None:
        """The first of one that died, for which it may be waited; None where none has died."""
        self._died.wait(END_SECONDS)
        return self._deaths[0] if self._deaths else None

    def close(self) -> None:
        """Have the others end; none is left."""
        self._ends.set()
        for rank in self._ranks:
            rank.end()


class _Rank:
    """A rank, and a thread that sees how it ends."""

    def __init__(
        self, order: Order, process: _Child | Caller, died: Callable[[RankDied], None]
    ) -> None:
        self.is_there = threading.Event()
        """Set once it is, or never will be."""
        self.death: RankDied | None = None
        self._name, self._process, self._died = f"rank {order.rank}", process, died
        self._oom_kills = kernel_oom_kills()
        self._finished: Finished | None = None
        process.send(order.model_dump_json())
        self._thread = threading.Thread(target=self._watch, daemon=True, name=self._name)
        self._thread.start()

    def _watch(self) -> None:
        lines = Lines()
        while data := self._process.read(READ_BYTES):
            for line in lines.add(data):
                event = decode(line)
                self._finished = event if isinstance(event, Finished) else None
                if self._finished is None:
                    self.is_there.set()
        was_done = self._finished is not None and self._finished.status is Status.DONE
        if how := self._process.death(was_done):
            self.death = RankDied(*self._end(how))
        self._process.close()
        self.is_there.set()
        if self.death is not None:
            self._died(self.death)

    def _end(self, how: str) -> tuple[Status, str]:
        """Its status, and what it said; else how its process ended."""
        if self._finished is not None and self._finished.status is not Status.DONE:
            return self._finished.status, f"{self._name}: {self._finished.error}"
        if how == KILLED and kernel_oom_kills() > self._oom_kills:
            return Status.OUT_OF_MEMORY, f"{self._name} was killed by the kernel: out of memory"
        return Status.FAILED, f"{self._name} {how}"

    def end(self) -> None:
        """Have it end, and wait until it has."""
        self._process.end()
        self._thread.join()


class _Child:
    """A rank that is a process of this machine."""

    def __init__(self, order: Order) -> None:
        self._events, theirs = os.pipe()
        variables = environment()
        if order.cell.device == "cuda":
            variables["CUDA_VISIBLE_DEVICES"] = hardware.visible_gpus()[order.rank]
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-X", "faulthandler", "-c", RANK, str(theirs)],
                env=variables,
                stdin=subprocess.PIPE,
                pass_fds=[theirs],
            )
        except BaseException:
            os.close(self._events)
            raise
        finally:
            os.close(theirs)

    def send(self, line: str) -> None:
        """Write a line to its input; where it has ended, that will be seen."""
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.write(line.encode() + b"\n")
                self._process.stdin.flush()

    def read(self, most_bytes: int) -> bytes:
        """What it tells next; b"" once it has ended."""
        return os.read(self._events, most_bytes)

    def death(self, was_done: bool) -> str:
        """How it died, once it has ended; "" where it came to its end."""
        code = self._process.wait()
        if code < 0:
            return f"was killed by {signal.Signals(-code).name}"
        return f"exited with {code}" if code else ""

    def end(self) -> None:
        """Have it end, and wait until it has."""
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()

    def close(self) -> None:
        """Give back what it took here."""
        os.close(self._events)
