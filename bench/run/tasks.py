"""Ranks that a cluster starts, as tasks of a cell's job on several nodes: how they meet rank 0.

The job's first task runs the cell. It listens at a port of its node, and writes that and a secret
to a file that all nodes see. Every other task calls there and becomes a rank, whose input and
events go through that connection: so the end of one is seen by the other, however it comes.
"""

from __future__ import annotations

import contextlib
import hmac
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import psutil
from pydantic import BaseModel, ConfigDict

from bench import atomic
from bench.errors import UserError

VARIABLE = "NEXTFRAME_TASKS"
"""Tells the cell's process of the tasks of its job."""
LISTENS_SECONDS = 600.0  # until the first task does: it may import from a slow disk
HELLO_SECONDS, HELLO_BYTES = 10.0, 1000
READ_SECONDS = 0.5
RANK = f"from {__package__}.rank import main; main()"


class Tasks(BaseModel):
    """The tasks of a job, as its first one and the cell's process know them."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    attempt: str
    """Which start of the job this is: after a requeue it is another."""
    count: int
    nodes: int
    port: int
    secret: str
    """What who calls has to know."""
    folder: Path
    """One that all nodes see."""
    listener: int
    """The descriptor of the socket."""

    @classmethod
    def of_this_cell(cls) -> Tasks | None:
        """Those of the job that runs this process's cell; None where it has no further ones."""
        told = os.environ.get(VARIABLE)
        return cls.model_validate_json(told) if told else None

    def callers(self) -> list[Caller]:
        """The other tasks, by rank, once all have called.

        By the network interface that they called on this process will talk to the other ranks.
        """
        callers: dict[int, Caller] = {}
        with socket.socket(fileno=os.dup(self.listener)) as listener:
            while len(callers) < self.count - 1:
                link, _ = listener.accept()
                if (caller := self._known(link)) is None:
                    link.close()
                    continue
                callers[caller.rank] = caller
                os.environ.setdefault("GLOO_SOCKET_IFNAME", _interface(link))
        return [callers[rank] for rank in sorted(callers)]

    def _known(self, link: socket.socket) -> Caller | None:
        """Who calls; None where it is somebody else."""
        link.settimeout(HELLO_SECONDS)
        try:
            with link.makefile("rb", buffering=0) as lines:
                secret, rank, node = lines.readline(HELLO_BYTES).decode().split()
            is_ours = hmac.compare_digest(secret.encode(), self.secret.encode())
            caller = Caller(int(rank), node, link)
        except (OSError, ValueError):
            return None
        link.settimeout(None)
        return caller if is_ours else None


class Caller:
    """A rank that is a task of the job."""

    def __init__(self, rank: int, node: str, link: socket.socket) -> None:
        """That of number `rank`, which has called by `link` from `node`."""
        self.rank = rank
        self._node, self._link = node, link

    def send(self, line: str) -> None:
        """Write a line to its input; where it has ended, that will be seen."""
        with contextlib.suppress(OSError):
            self._link.sendall(line.encode() + b"\n")

    def read(self, most_bytes: int) -> bytes:
        """What it tells next; b"" once it has ended."""
        with contextlib.suppress(OSError):
            return self._link.recv(most_bytes)
        return b""

    def death(self, was_done: bool) -> str:
        """How it ended, where it had not said that it is done; else ""."""
        return "" if was_done else f"on {self._node} has ended without a word"

    def end(self) -> None:
        """End its input, at which it ends."""
        with contextlib.suppress(OSError):
            self._link.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Give back what it took here."""
        self._link.close()


@contextlib.contextmanager
def listening(meeting: Path, attempt: str, count: int, nodes: int) -> Iterator[Tasks]:
    """The `count` tasks of a job on so many `nodes`, in its first one: the others may now call.

    `meeting` is the file that tells them where; `attempt` which start of the job this is.
    """
    with socket.create_server(("", 0), backlog=count) as server:
        tasks = Tasks(
            attempt=attempt,
            count=count,
            nodes=nodes,
            port=server.getsockname()[1],
            secret=secrets.token_hex(32),
            folder=meeting.parent,
            listener=server.fileno(),
        )
        with atomic.replacing(meeting) as new:
            new.touch(mode=0o600)
            new.write_text(tasks.model_dump_json(), encoding="utf-8")
        yield tasks


def become_rank(meeting: Path, attempt: str, host: str, rank: int, device: int) -> NoReturn:
    """Be the rank of that number, in place of this task, until the cell has ended.

    Args:
        meeting: the file that tells where to call.
        attempt: which start of the job this is.
        host: the address of the first task's node.
        rank: from 1.
        device: which of those that this node shows is its own, from 0.

    Raises:
        UserError: nobody listens.
    """
    for number in (signal.SIGUSR2, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # rank 0 decides: the end of its call is the word
    tasks = _announced(meeting, attempt)
    try:
        link = socket.create_connection((host, tasks.port))
    except ConnectionRefusedError:  # the cell has ended already
        os._exit(0)
    link.sendall(f"{tasks.secret} {rank} {os.uname().nodename}\n".encode())
    os.environ.setdefault("GLOO_SOCKET_IFNAME", _interface(link))
    gpus = os.environ.get("CUDA_VISIBLE_DEVICES", str(device)).split(",")
    os.environ["CUDA_VISIBLE_DEVICES"] = gpus[device % len(gpus)]  # a site may show it one alone
    os.dup2(link.fileno(), sys.stdin.fileno())
    link.set_inheritable(True)
    words = [sys.executable, "-X", "faulthandler", "-c", RANK, str(link.fileno())]
    os.execv(sys.executable, words)  # noqa: S606 - our own words


def _announced(meeting: Path, attempt: str) -> Tasks:
    until = time.monotonic() + LISTENS_SECONDS
    while time.monotonic() < until:
        with contextlib.suppress(OSError, ValueError):
            tasks = Tasks.model_validate_json(meeting.read_text(encoding="utf-8"))
            if tasks.attempt == attempt:
                return tasks
        time.sleep(READ_SECONDS)
    raise UserError(f"the first task of the job does not listen: {meeting} says nothing of it")


def _interface(link: socket.socket) -> str:
    """The name of the network interface that a connection goes by."""
    address = link.getsockname()[0]
    of_all = psutil.net_if_addrs().items()
    return next((n for n, found in of_all if any(a.address == address for a in found)), "lo")
