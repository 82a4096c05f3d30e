"""A further process of a cell on several devices: computes what rank 0 does, and records nothing.

Started by `ranks.py`, or as a task of a job by `tasks.py`, with the descriptor of its events.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import NoReturn

from bench.errors import described
from bench.records import Status
from bench.run.attempt import PROFILED_STEPS, tested
from bench.run.elsewhere import tested_elsewhere
from bench.run.events import Event, Finished, Progress, encode
from bench.run.ranks import Order
from bench.run.status import status_of
from bench.run.stop import stop_signals
from bench.train.allocator import keep_freed_memory
from bench.train.hardware import flush_denormals
from bench.train.loop import Loop
from bench.train.team import Team, joined


class _Silent:
    """Watches a loop and says nothing: rank 0 speaks, saves and stops for all."""

    def heartbeat(self, phase: str, fraction: float) -> None:
        """Nothing."""

    def stretch_done(self) -> None:
        """Nothing."""

    def warn(self, text: str) -> None:
        """Nothing."""


def follow(order: Order, team: Team) -> None:
    """Do what rank 0 does with the cell, for this process's part of the clips."""
    loop = Loop(order.cell, _Silent(), team)
    if order.rescores:
        loop.weights = {}
    else:
        loop.run(None)
        _ = loop.peak_memory_bytes
    if order.rescores or order.cell.trial is None:
        tested(loop, order.cell, lambda _: None)
        tested_elsewhere(loop, order.cell, lambda _: None)
    if order.profiles and loop.trains:
        for number in range(PROFILED_STEPS):
            loop.step_again(loop.clock.steps + number)


def main() -> NoReturn:
    """Follow the order on standard input; the first argument is a descriptor. Ends the process."""
    descriptor = int(sys.argv[1])
    for number in stop_signals():
        signal.signal(number, signal.SIG_IGN)  # Ctrl-C comes to all: rank 0 decides
    os.set_inheritable(descriptor, False)
    flush_denormals()
    if not (line := sys.stdin.readline()):
        os._exit(0)  # a task of a job whose cell needs it for nothing
    order = Order.model_validate_json(line)
    threading.Thread(target=_end_with_rank_0, daemon=True).start()

    def tell(event: Event) -> None:
        os.write(descriptor, (encode(event) + "\n").encode())

    keep_freed_memory()
    tell(Progress("setup", 0.0))
    code = 0
    try:
        with joined(order.rank, order.size, order.cell.device, Path(order.meeting)) as team:
            follow(order, team)
        tell(Finished(Status.DONE))
    except BaseException as error:
        traceback.print_exc()
        tell(Finished(status_of(error), described(error)))
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # whatever thread would keep it


def _end_with_rank_0() -> None:
    with contextlib.suppress(OSError):
        while sys.stdin.read(1):
            pass
    os._exit(0)  # as it was told to: how the cell ended is for rank 0 to say
