"""Runs cells in a Ray cluster: one actor a cell, detached, so that it outlives who submitted it."""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from bench.errors import UserError
from bench.records import Status
from bench.run.events import Finished
from bench.run.launchers.child import environment
from bench.run.launchers.remote import JobState, Supervisor
from bench.suite.launch import Launch

NAMESPACE = "nextframe"
EMBEDDED = "local"  # in place of a cluster's address
ANSWER_SECONDS = 10.0  # that a running actor has for its first one
PASSED = ("MLFLOW_", "NEXTFRAME_", "OMP_", "PYTHON", "XDG_CACHE_")
"""How the variables begin that cells are given; the rest is the cluster's own."""
BYTES = {"K": 10, "M": 20, "G": 30, "T": 40}


@dataclass
class Ray:
    """A Ray cluster; an embedded one ends with this process, and its cells with it.

    Attributes:
        launch: what each cell is given.
        gpus: of each cell.
    """

    launch: Launch
    gpus: int = 0

    name = "Ray"

    def __post_init__(self) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault(
            "RAY_worker_niceness", "0"
        )  # 15 otherwise: seconds would be worth less
        import ray

        self._ray: Any = ray
        address = self.launch.address or "auto"
        options: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
        if address == EMBEDDED:
            options["include_dashboard"] = False
        try:
            _hear(address if self.launch.address else os.environ.get("RAY_ADDRESS", address))
            ray.init(address, namespace=NAMESPACE, ignore_reinit_error=True, **options)
        except (OSError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
            if "AuthenticationError" in str(error):
                raise UserError(
                    f"the Ray cluster at {address} asks for a token: set RAY_AUTH_MODE=token, and"
                    " give it one as Ray's documentation says"
                ) from error
            where = f"at {address}" if self.launch.address else "here"
            raise UserError(
                f"no Ray cluster answers {where}: start one by `ray start --head`, or write"
                f" --launch-options address=HOST:6379, or address={EMBEDDED} for one that ends"
                " with this run"
            ) from error

    @property
    def most_at_once(self) -> int | None:
        """As many as the suite says; the others wait in Ray's queue."""
        return self.launch.parallel

    def submit(self, supervisors: Sequence[Supervisor]) -> list[str]:
        """The names of their actors."""
        known = environment() | self.launch.variables
        variables = {k: v for k, v in known.items() if k.startswith(PASSED)}
        actor = self._ray.remote(_cell())
        ids = []
        for one in supervisors:
            ids.append(f"{one.job.key}-{uuid4().hex[:8]}")
            actor.options(
                name=ids[-1],
                lifetime="detached",
                max_restarts=0,
                num_cpus=self.launch.cpus or 1,
                num_gpus=self.gpus,
                memory=_bytes(self.launch.memory) if self.launch.memory else None,
            ).remote(pickle.dumps(one), variables, ids[-1])
        return ids

    def states(self, job_ids: Sequence[str]) -> Mapping[str, JobState]:
        """Which of the actors there are; none while Ray does not answer."""
        try:
            there = {*self._ray.util.list_named_actors()}
        except self._ray.exceptions.RayError:
            return {}
        gone = Finished(Status.INTERRUPTED, "its actor was killed, or its machine died")
        return {job_id: JobState(job_id in there, gone) for job_id in job_ids}

    def cancel(self, job_ids: Sequence[str], at_once: bool) -> None:
        """Ask the actors to stop; kill those that do not hear it yet, or all of them."""
        actors = []
        for job_id in job_ids:
            with contextlib.suppress(ValueError):  # it has ended
                actors.append(self._ray.get_actor(job_id))
        asked = {} if at_once else {actor.stop.remote(): actor for actor in actors}
        if asked:
            heard, _ = self._ray.wait([*asked], num_returns=len(asked), timeout=ANSWER_SECONDS)
            actors = [asked[one] for one in asked if one not in heard]
        for actor in actors:
            self._ray.kill(actor)


def _hear(address: str) -> None:
    """Return where somebody listens at HOST:PORT, for which Ray itself waits for minutes.

    Raises:
        OSError: nobody does.
    """
    host, colon, port = address.rpartition(":")
    if colon and port.isdecimal() and "/" not in host:
        socket.create_connection((host, int(port)), ANSWER_SECONDS).close()


def _cell() -> type:
    """The class of the actors: a local one, which Ray pickles whole, for it finds no package."""

    class Cell:
        """Runs a cell in a thread, so that it hears when it is to stop, and then ends itself."""

        def __init__(self, pickled: bytes, variables: dict[str, str], job_id: str) -> None:
            import os
            import pickle
            import sys
            import threading
            import time

            import ray

            os.environ.update(variables)
            sys.path[:0] = variables["PYTHONPATH"].split(os.pathsep)
            self.supervisor: Any = pickle.loads(pickled)  # noqa: S301 - our own

            def run() -> None:
                try:
                    self.supervisor.run(job_id)
                    ray.kill(ray.get_actor(job_id))  # an end of its own would be told as a crash
                    time.sleep(60)  # the kill comes later
                finally:
                    os._exit(1)

            threading.Thread(target=run, daemon=True).start()

        def stop(self) -> None:
            """Ask the cell's process to stop."""
            self.supervisor.stopped = True

    return Cell


def _bytes(memory: str) -> int:
    """The bytes of an amount such as 16G, or of so many MiB, as SLURM counts them."""
    unit = memory[-1] if memory[-1] in BYTES else "M"
    return int(memory.rstrip("KMGT")) << BYTES[unit]
