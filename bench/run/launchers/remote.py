"""What launchers share whose cells run elsewhere: events through files, and jobs found again.

On the machine that an engine chose, a `Supervisor` watches the cell's process as `local` does, and
writes what it tells to a file beside the results. A `RemoteLauncher` reads these files. So silence,
time limits and deaths are judged where the process is, whether or not anybody reads.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from bench import atomic
from bench.errors import UserError, described
from bench.records import Status
from bench.run.events import Event, Finished, Lines, Note, decode, encode
from bench.run.launchers.child import Child
from bench.run.launchers.launcher import Job, Started
from bench.run.streams import lasting
from bench.run.tasks import VARIABLE, Tasks
from bench.units import counted

READ_SECONDS = 0.5  # between looks at the files
ASK_SECONDS = 5.0  # between questions to the engine, which serves others, too
REGISTRATION_SECONDS = 120.0  # that a job waits to be written down, on a disk that may be slow
READ_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class JobFiles:
    """A cell's files in `RESULTS/SUITE/jobs/`, which outlive its checkpoint and its driver."""

    folder: Path
    key: str

    @property
    def events(self) -> Path:
        """What its process tells, a JSON line each; over all attempts of one job."""
        return self.folder / f"{self.key}.jsonl"

    @property
    def job(self) -> Path:
        """The job that may run it: none but this one does."""
        return self.folder / f"{self.key}.job"

    @property
    def tasks(self) -> Path:
        """Where the tasks of a job on several nodes meet."""
        return self.folder / f"{self.key}.tasks"

    @property
    def job_id(self) -> str:
        """What that file says; "" where there is none."""
        try:
            return self.job.read_text(encoding="utf-8").strip()
        except (OSError, ValueError):
            return ""


@dataclass
class Supervisor:
    """A cell's job, where it runs: watches its process, and writes down what that tells."""

    job: Job
    files: JobFiles
    folder: Path
    """Where paths of the job are relative to."""
    stopped: bool = False
    """Whether the process is to be asked to stop."""

    @property
    def stopped_twice(self) -> bool:
        """Whether it is to be killed: never, which engines do themselves."""
        return False

    def publish(self, job: Job, event: Event) -> None:
        """Write down an event."""
        with lasting(self.files.events) as file:  # opened each time: a network disk shows it then
            file.write(encode(event) + "\n")

    def run(self, job_id: str, tasks: Tasks | None = None) -> Finished | None:
        """How the cell ended, which is written down; None where another job is to run it.

        Args:
            job_id: of this job.
            tasks: that it has beside this one.
        """
        if not self._is_registered(job_id):
            return None
        os.chdir(self.folder)
        self.publish(self.job, Note(f"job {job_id} runs on {platform.node()}"))
        try:
            told = {VARIABLE: tasks.model_dump_json()} if tasks else {}
            passed = [tasks.listener] if tasks else []
            finished = Child(self.job, told, self, False, passed).outcome()
        except Exception as error:  # nobody else would say so
            finished = Finished(Status.FAILED, described(error))
        self.publish(self.job, finished)
        return finished

    def _is_registered(self, job_id: str) -> bool:
        """Whether its driver lived to write it down: else a later one has submitted another."""
        until = time.monotonic() + REGISTRATION_SECONDS
        while not self.files.job_id and time.monotonic() < until:
            time.sleep(0.2)
        return self.files.job_id == job_id


@dataclass(frozen=True, slots=True)
class JobState:
    """What an engine knows of a job."""

    is_there: bool
    """Whether it waits or runs, or will again."""
    end: Finished = field(default_factory=lambda: Finished(Status.INTERRUPTED, "its job is gone"))
    """What to say where it is gone and its process said nothing."""


class Engine(Protocol):
    """What runs jobs somewhere: a cluster's queue."""

    @property
    def name(self) -> str:
        """As people know it."""

    @property
    def most_at_once(self) -> int | None:
        """How many jobs it may be given before others have ended; None where it queues them."""

    def submit(self, supervisors: Sequence[Supervisor]) -> list[str]:
        """The ids of a new job for each, which runs `supervisor.run(id)`.

        Raises:
            UserError: it takes none of them.
        """

    def states(self, job_ids: Sequence[str]) -> Mapping[str, JobState]:
        """The state of each job; of those it cannot tell now, none."""

    def cancel(self, job_ids: Sequence[str], at_once: bool) -> None:
        """Take those that wait off the queue and ask those that run to stop; or kill them."""


class _Watched:
    """A job whose events are read from its file."""

    def __init__(self, job: Job, files: JobFiles, job_id: str) -> None:
        self.job, self.job_id = job, job_id
        self.finished: Finished | None = None
        self.started = self.missed = False
        self._file, self._read, self._lines = files.events, 0, Lines()

    def events(self) -> Iterator[Event | Started]:
        """What is new in its file. An end is kept in `finished`: it may start once more."""
        for line in self._new_lines():
            event = decode(line)
            if isinstance(event, Finished):
                self.finished = event
            elif event is not None:
                self.finished = None
                if not self.started:
                    self.started = True
                    yield Started()
                yield event

    def _new_lines(self) -> Iterator[bytes]:
        try:
            with self._file.open("rb") as file:
                file.seek(self._read)
                while data := file.read(READ_BYTES):
                    self._read += len(data)
                    yield from self._lines.add(data)
        except FileNotFoundError:
            return

    def end(self, state: JobState | None) -> Finished:
        """How it ended: by its own last word, but for an interruption whose cause others know."""
        if self.finished is None or (
            state is not None
            and self.finished.status is Status.INTERRUPTED
            and state.end.status in (Status.TIMEOUT, Status.OUT_OF_MEMORY)
        ):
            return state.end if state else Finished(Status.INTERRUPTED, "its job is gone")
        return self.finished

    @property
    def has_ended(self) -> bool:
        """Whether it will not go on: one that was interrupted may be put into the queue again."""
        return self.finished is not None and self.finished.status is not Status.INTERRUPTED


@dataclass
class RemoteLauncher:
    """Submits jobs to an engine, and attaches to those that an earlier process left there.

    Attributes:
        engine: what runs them.
        folder: that of their files, `RESULTS/SUITE/jobs`.
        workers: how many are expected to run at the same time.
    """

    engine: Engine
    folder: Path
    workers: int = 1
    _stops: int = 0
    _leaves: bool = False
    _held: dict[str, str] | None = None

    def stop(self) -> None:
        """Start no more jobs and ask those that run to stop; the second time, kill them."""
        self._stops += 1

    def leave(self) -> None:
        """End this process and leave the jobs where they are: a later one attaches to them."""
        self._leaves = True

    @property
    def stopped(self) -> bool:
        """Whether a stop was asked for, of the jobs or of this process alone."""
        return self._stops > 0 or self._leaves

    def holds(self, key: str) -> bool:
        """Whether the cell of that key has a job that waits or runs."""
        return key in self._jobs

    @property
    def _jobs(self) -> dict[str, str]:
        """The jobs that wait or run, by the key of their cell."""
        if self._held is None:
            files = (JobFiles(self.folder, path.stem) for path in self.folder.glob("*.job"))
            found = {file.key: file.job_id for file in files if file.job_id}
            states = self.engine.states([*found.values()]) if found else {}
            unknown = JobState(is_there=True)  # one it cannot tell of may be there
            self._held = {k: i for k, i in found.items() if states.get(i, unknown).is_there}
            for key in found.keys() - self._held.keys():  # it ended while nobody looked
                self._forget(key)
        return self._held

    def run(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, Event | Started]]:
        """The events of the jobs as they come; the last of each job is a `Finished`."""
        active = [
            _Watched(job, self._files(job), self._jobs[job.key])
            for job in jobs
            if job.key in self._jobs
        ]
        waiting = [job for job in jobs if job.key not in self._jobs]
        if active:
            yield (
                active[0].job,
                Note(f"attached to {counted(len(active), 'job')} of {self.engine.name}"),
            )
        asked_at, stops = 0.0, 0
        while (active or (waiting and not self.stopped)) and not self._leaves:
            room = (self.engine.most_at_once or len(waiting)) - len(active)
            if not self.stopped and (batch := waiting[: max(room, 0)]):
                waiting = waiting[len(batch) :]
                try:
                    active += self._submitted(batch)
                    text = f"{counted(len(batch), 'cell')} submitted to {self.engine.name}"
                    first = active[-len(batch)].job_id.partition("_")[0]
                    yield batch[0], Note(f"{text}: job {first}")
                except (UserError, OSError) as error:
                    yield from ((job, Finished(Status.FAILED, described(error))) for job in batch)
            if self._stops > stops:
                stops = self._stops
                self.engine.cancel([one.job_id for one in active], at_once=stops > 1)
            is_time = time.monotonic() - asked_at > ASK_SECONDS
            states = self.engine.states([one.job_id for one in active]) if is_time else {}
            asked_at = time.monotonic() if is_time else asked_at
            for one in [*active]:
                yield from ((one.job, event) for event in one.events())
                state = states.get(one.job_id)
                if one.has_ended or (state is not None and self._is_gone(one, state)):
                    active.remove(one)
                    self._forget(one.job.key)
                    if one.started or one.finished or not self.stopped:
                        yield one.job, one.end(state)
            time.sleep(READ_SECONDS)

    def _is_gone(self, one: _Watched, state: JobState) -> bool:
        """Whether its job is over; one that said no last word is given time: disks are slow."""
        if state.is_there:
            one.missed = False
            return False
        was_missed, one.missed = one.missed, True
        return was_missed or one.finished is not None

    def _submitted(self, jobs: Sequence[Job]) -> list[_Watched]:
        """The jobs, submitted and written down: one that is not ends without doing anything."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for job in jobs:
            self._forget(job.key)
            self._files(job).tasks.unlink(missing_ok=True)
        folder = Path.cwd()
        ids = self.engine.submit([Supervisor(job, self._files(job), folder) for job in jobs])
        watched = []
        for job, job_id in zip(jobs, ids, strict=True):
            atomic.write_text(self._files(job).job, job_id)
            self._jobs[job.key] = job_id
            watched.append(_Watched(job, self._files(job), job_id))
        return watched

    def _forget(self, key: str) -> None:
        files = JobFiles(self.folder, key)
        for file in (files.job, files.events):  # a late task still reads that its cell has ended
            file.unlink(missing_ok=True)
        self._jobs.pop(key, None)

    def _files(self, job: Job) -> JobFiles:
        return JobFiles(self.folder.absolute(), job.key)
