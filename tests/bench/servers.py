"""Servers that tests start on loopback: MLflow's, by `bench ui --serve`, and PostgreSQL."""

from __future__ import annotations

import contextlib
import getpass
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.bench.conftest import command, environment

START_SECONDS = 200.0


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Server:
    """An MLflow server that can be killed and started again.

    Attributes:
        results: its folder, for the database and the artifacts.
        database: the URI of another database.
    """

    results: Path
    database: str | None = None

    def __post_init__(self) -> None:
        self._port = free_port()
        self.address = f"http://127.0.0.1:{self._port}"
        self._process: subprocess.Popen[bytes] | None = None

    @contextlib.contextmanager
    def running(self) -> Iterator[str]:
        """Its address; it runs during the block."""
        try:
            self.start()
            yield self.address
        finally:
            self.kill()

    def start(self) -> None:
        """Return once it answers."""
        words = ["ui", "--serve", "--port", str(self._port), "--results", str(self.results)]
        words += ["--tracking-uri", self.database] if self.database else []
        log = self.results.parent / "server.log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command(*words),
                env=environment(),
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.address}/health", timeout=9) as answer:  # noqa: S310
                    if answer.status == 200:
                        return
            except (urllib.error.URLError, TimeoutError):
                time.sleep(0.3)
        pytest.fail(f"the MLflow server did not start: {log.read_text(encoding='utf-8')[-2000:]}")

    def kill(self) -> None:
        """Kill it, with all that it started."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


@contextlib.contextmanager
def postgresql() -> Iterator[str]:
    """The URI of a database of its own, in a folder of its own; skips where there can be none."""
    programs = _programs()
    if programs is None:
        pytest.skip("no initdb: install PostgreSQL")
    if importlib.util.find_spec("psycopg2") is None:
        pytest.skip("no psycopg2: install the extra [postgresql]")
    user = _user()
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="postgresql-") as folder:
        shutil.chown(folder, user)
        data, log = Path(folder, "data"), Path(folder, "log")
        log.touch()
        how = {"user": user, "cwd": folder}
        with log.open("ab") as output:
            made = [programs / "initdb", "-D", data, "-A", "trust", "-U", "bench", "--no-sync"]
            subprocess.run(made, check=True, stdout=output, stderr=output, **how)  # type: ignore[call-overload]
            words = [programs / "postgres", "-D", data, "-p", str(port), "-k", folder, "-F"]
            words += ["-c", "listen_addresses=127.0.0.1"]
            process = subprocess.Popen(words, stdout=output, stderr=output, **how)  # type: ignore[call-overload]
        try:
            while b"ready to accept" not in log.read_bytes():
                if process.poll() is not None:
                    pytest.fail(f"PostgreSQL did not start: {log.read_text(encoding='utf-8')}")
                time.sleep(0.1)
            yield f"postgresql+psycopg2://bench@127.0.0.1:{port}/postgres"
        finally:
            process.send_signal(signal.SIGINT)  # its fast shutdown
            process.wait(60)


def _programs() -> Path | None:
    """The folder of PostgreSQL's programs; Debian keeps them off the path."""
    found = shutil.which("initdb")
    versions = [
        *Path("/usr/lib/postgresql").glob("*/bin/initdb"),
        *([Path(found)] if found else []),
    ]
    return versions[-1].resolve().parent if versions else None


def _user() -> str:
    """Who may run PostgreSQL: not root."""
    if os.geteuid() != 0:
        return getpass.getuser()
    try:
        return pwd.getpwnam("postgres").pw_name
    except KeyError:
        pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
