"""Runs cells on this machine, a child process each: one on a GPU, or side by side on a CPU."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from bench.records import Status
from bench.run import gpus
from bench.run.events import Event, Finished, Note
from bench.run.gpus import Slot
from bench.run.launchers.child import POLL_SECONDS, Child
from bench.run.launchers.launcher import Job, Started
from bench.suite.launch import Launch
from bench.train import hardware


@dataclass
class LocalLauncher:
    """Starts jobs as devices come free. `stop()` asks the running ones to end, twice kills them.

    Attributes:
        device: what the cells run on.
        devices: of each cell.
        launch: how many cells run side by side at most, and with how many threads each.
    """

    device: hardware.Device
    devices: int = 1
    launch: Launch = field(default_factory=Launch)
    _events: queue.Queue[tuple[Job, Event | Started]] = field(default_factory=queue.Queue)
    _stops: int = 0

    def stop(self) -> None:
        """Start no more jobs and ask those that run to stop; the second time, kill them."""
        self._stops += 1

    def leave(self) -> None:
        """As `stop`: the jobs do not outlive this process."""
        self.stop()

    def holds(self, key: str) -> bool:
        """No: the jobs of an earlier process ended with it."""
        return False

    @property
    def stopped(self) -> bool:
        """Whether a stop was asked for."""
        return self._stops > 0

    @property
    def stopped_twice(self) -> bool:
        """Whether a second stop was asked for: children are killed."""
        return self._stops > 1

    @property
    def slots(self) -> list[Slot]:
        """A place for each concurrent cell: what the GPUs have room for, or as asked for."""
        if self.device == "cuda":
            return gpus.slots(self.devices)[: self.launch.parallel]
        return [Slot() for _ in range(self.workers)]

    @property
    def workers(self) -> int:
        """How many cells run at once."""
        if self.device != "cuda":
            return self.launch.parallel or 1
        room = len(hardware.visible_gpus()) // self.devices
        return min(room, self.launch.parallel or room)

    def run(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, Event | Started]]:
        """The events of the jobs as they come; the last of each job is a `Finished`.

        A GPU that another run uses is waited for, as the others are used.
        """
        waiting, free = deque(jobs), self.slots
        running: dict[str, Slot] = {}
        told: set[str] = set()
        try:
            while running or (waiting and not self.stopped):
                for slot in [*free]:
                    if not waiting or self.stopped:
                        break
                    if slot.take():
                        job = waiting.popleft()
                        running[job.name] = slot
                        free.remove(slot)
                        self._start(job, slot)
                    elif slot.name not in told:
                        told.add(slot.name)
                        text = f"GPU {slot.name} is used by another run: waiting until it is free"
                        yield waiting[0], Note(text)
                try:
                    job, event = self._events.get(timeout=POLL_SECONDS)
                except queue.Empty:
                    continue
                if isinstance(event, Finished):
                    slot = running.pop(job.name)
                    slot.give_back()
                    free.append(slot)
                yield job, event
        finally:
            for slot in running.values():
                slot.give_back()

    def _start(self, job: Job, slot: Slot) -> None:
        threading.Thread(target=self._run_one, args=(job, slot), daemon=True).start()

    def _run_one(self, job: Job, slot: Slot) -> None:
        self._events.put((job, Started()))
        try:
            finished = Child(job, slot.environment | self.launch.variables, self).outcome()
        except Exception as error:  # a thread cannot raise to its starter
            finished = Finished(Status.FAILED, f"{type(error).__name__}: {error}")
        self._events.put((job, finished))

    def publish(self, job: Job, event: Event) -> None:
        """Pass on an event of a running job."""
        self._events.put((job, event))
