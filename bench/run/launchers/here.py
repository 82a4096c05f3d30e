"""Submitit's executors for one machine, which try out what `slurm` does without a SLURM."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psutil

from bench.records import Status
from bench.run.events import Finished
from bench.run.launchers.remote import JobState, Supervisor
from bench.run.launchers.slurm import SPARE_SECONDS, UNLIMITED_MINUTES, Submitit

if TYPE_CHECKING:
    from submitit import Job

CONTROLLER = "submitit.local._local"


@dataclass
class InChildren(Submitit):
    """Each job is a process of this machine; its id is that of the process."""

    name = "submitit"

    @property
    def most_at_once(self) -> int:
        """As many as the suite says, or one."""
        return self.launch.parallel or 1

    def submit(self, supervisors: Sequence[Supervisor]) -> list[str]:
        """Their ids."""
        ids = []
        for one in supervisors:
            asked = self.launch.seconds or one.job.total_seconds or 60 * UNLIMITED_MINUTES
            (job,) = self._submit([one], timeout_min=round((asked + SPARE_SECONDS) / 60))
            ids.append(job.job_id)
        return ids

    def states(self, job_ids: Sequence[str]) -> Mapping[str, JobState]:
        """Which of the processes there are."""
        gone = Finished(Status.INTERRUPTED, "its process was killed from outside")
        return {job_id: JobState(_process(job_id) is not None, gone) for job_id in job_ids}

    def cancel(self, job_ids: Sequence[str], at_once: bool) -> None:
        """Ask the processes to end, or kill all of them."""
        for process in filter(None, map(_process, job_ids)):
            with contextlib.suppress(psutil.Error):
                if not at_once:
                    process.terminate()
                    continue
                for one in [*process.children(recursive=True), process]:
                    one.kill()


def _process(job_id: str) -> psutil.Process | None:
    """The process of a job, where it is still there and has not been followed by another."""
    try:
        process = psutil.Process(int(job_id))
        lives = process.status() != psutil.STATUS_ZOMBIE and CONTROLLER in process.cmdline()
    except (psutil.Error, ValueError):
        return None
    return process if lives else None


@dataclass
class InThisProcess(Submitit):
    """Each job runs in this process, when it is its turn and until it ends."""

    name = "submitit"
    most_at_once = 1
    _jobs: dict[str, Job[None]] = field(default_factory=dict)

    def submit(self, supervisors: Sequence[Supervisor]) -> list[str]:
        """Their ids."""
        jobs = self._submit(supervisors)
        self._jobs |= {job.job_id: job for job in jobs}
        return [job.job_id for job in jobs]

    def states(self, job_ids: Sequence[str]) -> Mapping[str, JobState]:
        """All of them gone: they run meanwhile."""
        for job_id in job_ids:
            if job := self._jobs.pop(job_id, None):
                job.results()
        return {job_id: JobState(is_there=False) for job_id in job_ids}

    def cancel(self, job_ids: Sequence[str], at_once: bool) -> None:
        """Nothing: what has been submitted has run."""
