"""A real Ray cluster on loopback, of whoever runs the tests: a head, and a machine that joins."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil

from tests.bench.servers import free_port

# A token of the tests' own: otherwise Ray writes one into the user's home. Before Ray's import.
os.environ |= {
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": secrets.token_hex(32),
    "RAY_USAGE_STATS_ENABLED": "0",
}
PROCESSORS = 2  # of each machine


class LoopbackRay:
    """A cluster whose `address` drivers are to name."""

    def __init__(self, folder: str) -> None:
        """One whose files lie in `folder`, a short path: it holds sockets."""
        self.address = f"127.0.0.1:{free_port()}"
        self._folder = folder
        self._machines: list[subprocess.Popen[str]] = []

    def start(self) -> None:
        """Return once its head is there."""
        host, _, port = self.address.partition(":")
        words = ["--head", f"--node-ip-address={host}", f"--port={port}", "--disable-usage-stats"]
        self._machine(*words, "--include-dashboard=false", f"--temp-dir={self._folder}")

    def add_machine(self) -> None:
        """Return once another machine has joined it, with an address of its own."""
        self._machine(f"--address={self.address}", "--node-ip-address=127.0.0.2")

    def kill_machine(self) -> None:
        """Kill the raylet of the machine that joined last, and wait until it has ended."""
        machine = self._machines[-1]
        family = psutil.Process(machine.pid).children(recursive=True)
        (raylet,) = (process for process in family if process.name() == "raylet")
        raylet.kill()
        self._stop(self._machines.pop())

    def stop(self) -> None:
        """End it, and all that it started."""
        while self._machines:
            self._stop(self._machines.pop())

    def _machine(self, *words: str) -> None:
        program = Path(sys.executable).with_name("ray")
        more = [f"--num-cpus={PROCESSORS}", "--object-store-memory=100000000", "--block"]
        machine = subprocess.Popen(
            [program, "start", *words, *more],
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._machines.append(machine)
        assert machine.stdout is not None
        printed = list[str]()
        for line in machine.stdout:
            printed.append(line)
            if "Ray runtime started" in line:
                return
        raise RuntimeError(f"Ray did not start: {''.join(printed)}")

    def _stop(self, machine: subprocess.Popen[str]) -> None:
        family = psutil.Process(machine.pid).children(recursive=True)
        machine.terminate()
        machine.wait(60)
        for one in psutil.wait_procs(family, 10)[1]:
            one.kill()
        if machine.stdout is not None:
            machine.stdout.close()


@contextlib.contextmanager
def loopback_ray() -> Iterator[LoopbackRay]:
    """A cluster of one machine that is there during the block."""
    folder = tempfile.mkdtemp(prefix="ray-")
    cluster = LoopbackRay(folder)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)
