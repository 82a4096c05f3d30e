"""Runs cells as jobs of SLURM, by submitit: one job a cell, in arrays where they are alike.

A cell that SLURM preempts, or whose time is up, saves its state and is put into the queue again.
On several nodes a job has a task a device: the first runs the cell, the others are its ranks.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import re
import shutil
import signal
import subprocess
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from bench.errors import UserError, unknown
from bench.records import Status
from bench.run.events import Finished
from bench.run.launchers.child import environment
from bench.run.launchers.remote import JobState, Supervisor
from bench.run.tasks import Tasks, become_rank, listening
from bench.suite.launch import Launch

if TYPE_CHECKING:
    from submitit import Job, JobEnvironment
    from submitit.core.utils import DelayedSubmission

WARNING_SECONDS = 90  # before its time is up a job is told to save; SLURM may do so a minute early
LEAST_MINUTES = 4  # of a job, so that its start is over by then
SPARE_SECONDS = 300  # of a job's time beyond the limit of its cell, which is to end it first
REQUEUES = 100  # of a job whose time was up
LARGEST_ARRAY = 500  # SLURM's own limit is 1001 unless a site changed it
UNLIMITED_MINUTES = 60 * 24 * 365
COMMAND_SECONDS = 60.0  # that SLURM's commands may take

ENDS = {
    "COMPLETED": Status.FAILED,  # its process is to say more than that
    "FAILED": Status.FAILED,
    "TIMEOUT": Status.TIMEOUT,
    "DEADLINE": Status.TIMEOUT,
    "OUT_OF_MEMORY": Status.OUT_OF_MEMORY,
    **dict.fromkeys(
        ("CANCELLED", "PREEMPTED", "NODE_FAIL", "BOOT_FAIL", "REVOKED"), Status.INTERRUPTED
    ),
}
"""The states that a job does not leave, as statuses of its cell."""


@dataclass
class SubmittedCell:
    """What a job calls: it runs a cell, and is called anew after a requeue."""

    supervisor: Supervisor

    def __call__(self) -> None:
        """Run the cell; where it was to make room, it is put into the queue again."""
        from submitit import JobEnvironment

        job = JobEnvironment()
        if job.num_tasks == 1:
            self._run(job, None)
            return
        meeting = self.supervisor.files.tasks
        attempt = f"{job.job_id}.{os.environ.get('SLURM_RESTART_COUNT', '0')}"
        if job.global_rank > 0:
            os.chdir(self.supervisor.folder)
            host = os.environ["SLURM_LAUNCH_NODE_IPADDR"]
            become_rank(meeting, attempt, host, job.global_rank, job.local_rank)
        with listening(meeting, attempt, job.num_tasks, job.num_nodes) as tasks:
            self._run(job, tasks)

    def _run(self, job: JobEnvironment, tasks: Tasks | None) -> None:
        self.supervisor.stopped = False
        requeue = signal.getsignal(signal.SIGUSR2)  # submitit's, which ends this process
        asked: set[int] = set()

        def ask(number: int, frame: FrameType | None) -> None:
            asked.add(number)
            self.supervisor.stopped = True

        with _handling((signal.SIGTERM, signal.SIGUSR2), ask):
            finished = self.supervisor.run(job.job_id, tasks)
        was_interrupted = finished is not None and finished.status is Status.INTERRUPTED
        makes_room = signal.SIGUSR2 in asked or (signal.SIGTERM in asked and _runs(job.job_id))
        if was_interrupted and makes_room and callable(requeue):
            requeue(signal.SIGUSR2, None)

    def checkpoint(self) -> DelayedSubmission:
        """What to submit again: all of this, for the cell's state lies in its checkpoint."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


@contextlib.contextmanager
def _handling(numbers: Sequence[signal.Signals], handler: Any) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


def _runs(job_id: str) -> bool:
    """Whether SLURM has not ended this job: then SIGTERM says that it is to be preempted."""
    try:
        return _said(["squeue", "-h", "-j", job_id, "-o", "%T"]).strip() == "RUNNING"
    except (OSError, subprocess.SubprocessError):
        return False


@dataclass
class Submitit:
    """Gives jobs to an executor of submitit.

    Attributes:
        launch: what each job is given.
        folder: for the logs and pickles of submitit.
        gpus: of each job, on each of its nodes.
    """

    launch: Launch
    folder: Path
    gpus: int = 0

    def _submit(self, supervisors: Sequence[Supervisor], **options: Any) -> list[Job[None]]:
        from submitit import AutoExecutor
        from submitit.core.utils import FailedJobError

        executor = AutoExecutor(
            self.folder, cluster=self.launch.executor, slurm_max_num_timeout=REQUEUES
        )
        executor.update_parameters(
            gpus_per_node=self.gpus or None, stderr_to_stdout=True, name="nextframe", **options
        )
        before = dict(os.environ)
        os.environ |= environment() | self.launch.variables  # which jobs inherit
        try:
            return executor.submit_array([SubmittedCell(one) for one in supervisors])
        except FailedJobError as error:
            said = re.findall(r"(?:sbatch: )?error: (.*)", str(error))
            raise UserError(f"SLURM does not take the job: {'; '.join(said) or error}") from error
        finally:
            os.environ.clear()
            os.environ |= before


@dataclass
class Slurm(Submitit):
    """The queue of a SLURM cluster."""

    name = "SLURM"
    most_at_once = None

    def __post_init__(self) -> None:
        if missing := [word for word in ("sbatch", "srun") if shutil.which(word) is None]:
            raise UserError(
                f"there is no {missing[0]} here: run this on a machine that submits to SLURM"
            )
        self._default_minutes, self._most_minutes = _limits(self.launch.partition)

    def submit(self, supervisors: Sequence[Supervisor]) -> list[str]:
        """The ids of their jobs: `12`, or `12_3` in an array."""
        alike: dict[tuple[float | None, int], list[Supervisor]] = defaultdict(list)
        for one in supervisors:
            alike[one.job.total_seconds, one.job.devices].append(one)
        ids: dict[str, str] = {}
        for (total_seconds, devices), group in alike.items():
            for first in range(0, len(group), LARGEST_ARRAY):
                chunk = group[first : first + LARGEST_ARRAY]
                try:
                    jobs = self._submit(chunk, **self._options(total_seconds, devices))
                except BaseException:  # none is to be told of that stands in the queue
                    self.cancel([*ids.values()], at_once=False)
                    raise
                ids |= {one.job.key: job.job_id for one, job in zip(chunk, jobs, strict=True)}
        return [ids[one.job.key] for one in supervisors]

    def _options(self, total_seconds: float | None, devices: int) -> dict[str, Any]:
        launch, minutes = self.launch, self.minutes(total_seconds)
        nodes = launch.nodes if devices > 1 else 1
        spread = {
            "nodes": nodes,
            "tasks_per_node": devices // nodes,
            # Ranks end before the cell is recorded, and of one that dies rank 0 tells.
            "slurm_srun_args": ["--wait=0", "--kill-on-bad-exit=0"],
        }
        return {
            **(spread if nodes > 1 else {}),
            "timeout_min": minutes,
            "cpus_per_task": launch.cpus,
            "slurm_partition": launch.partition,
            "slurm_account": launch.account,
            "slurm_mem": launch.memory,
            "slurm_array_parallelism": launch.parallel or LARGEST_ARRAY,
            "slurm_signal_delay_s": WARNING_SECONDS,
            "slurm_additional_parameters": {"requeue": True, **launch.sbatch},
        }

    def minutes(self, total_seconds: float | None) -> int:
        """The time of a job: as asked for, or what its cell may take, or what is usual there."""
        if self.launch.seconds is not None:
            return max(math.ceil(self.launch.seconds / 60), LEAST_MINUTES)
        most = self._most_minutes or UNLIMITED_MINUTES
        if total_seconds is None:
            return min(self._default_minutes or most, most)
        return min(math.ceil((total_seconds + SPARE_SECONDS) / 60), most)

    def states(self, job_ids: Sequence[str]) -> Mapping[str, JobState]:
        """The state of each job; none while SLURM does not answer."""
        ours = {job_id.partition("_")[0] for job_id in job_ids}
        numbers = ",".join(sorted(filter(str.isdecimal, ours))) or "0"  # not those of another queue
        try:
            told = _said(["squeue", "-h", "-r", "-t", "all", "-o", "%i|%T", "-j", numbers])
        except subprocess.CalledProcessError as error:
            if "Invalid job id" not in error.stderr:
                return {}
            told = ""
        except (OSError, subprocess.SubprocessError):
            return {}
        states = dict(line.split("|") for line in told.splitlines())
        if gone := [job_id for job_id in job_ids if job_id not in states and job_id[0].isdecimal()]:
            states |= self._states_long_ago(gone)
        return {job_id: self._state(job_id, states.get(job_id, "")) for job_id in job_ids}

    def _states_long_ago(self, job_ids: Sequence[str]) -> dict[str, str]:
        """The states of jobs that have left the queue, where the cluster keeps accounts."""
        try:
            told = _said(["sacct", "-nPX", "-o", "JobID,State", "-j", ",".join(job_ids)])
        except (OSError, subprocess.SubprocessError):
            return {}
        return dict(line.split("|") for line in told.splitlines())

    def _state(self, job_id: str, state: str) -> JobState:
        word = state.partition(" ")[0]  # sacct says "CANCELLED by 1000"
        if word and word not in ENDS:
            return JobState(is_there=True)
        what = (
            f"SLURM ended job {job_id}: {word}" if word else f"SLURM has no job {job_id} any more"
        )
        status = ENDS.get(word, Status.INTERRUPTED)
        last = _last_line(self.folder / f"{job_id}_0_log.out") if status is Status.FAILED else ""
        return JobState(False, Finished(status, f"{what}{last and f': {last}'}"))

    def cancel(self, job_ids: Sequence[str], at_once: bool) -> None:
        """Cancel the jobs: SLURM sends SIGTERM, and after a while kills."""
        with contextlib.suppress(OSError, subprocess.SubprocessError):  # some may have ended
            _said(["scancel", *(["--signal=KILL"] if at_once else []), *job_ids])


def _said(command: Sequence[str]) -> str:
    """What a command of SLURM prints.

    Raises:
        OSError, SubprocessError: it fails.
    """
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=COMMAND_SECONDS
    )
    return done.stdout


def _limits(partition: str | None) -> tuple[int | None, int | None]:
    """The default and the longest time of a job in the partition, in minutes; None: no limit.

    Raises:
        UserError: there is no such partition, or no SLURM that answers.
    """
    try:
        lines = _said(["sinfo", "-h", "-o", "%P|%L|%l"]).splitlines()
    except (OSError, subprocess.SubprocessError) as error:
        said = str(getattr(error, "stderr", "") or error).strip().splitlines()[-1:]
        raise UserError(f"SLURM does not answer: {''.join(said)}") from error
    times = {name: (default, most) for name, default, most in (line.split("|") for line in lines)}
    if partition is None:
        usual = next((name for name in times if name.endswith("*")), None)
        if usual is None:
            raise UserError(
                f"SLURM has no default partition: choose one of {', '.join(times)}, as in"
                " --launch-options partition=NAME"
            )
        partition = usual
    by_name = {name.rstrip("*"): both for name, both in times.items()}
    chosen = partition.rstrip("*").split(",")
    if wrong := [name for name in chosen if name not in by_name]:
        raise unknown("partition", wrong[0], by_name)
    default, most = by_name[chosen[0]]
    return _minutes(default), _minutes(most)


def _minutes(time: str) -> int | None:
    """The minutes of a time such as `1-00:00:00`, `30:00`; None for `infinite` and `n/a`."""
    if not re.fullmatch(r"[0-9:-]+", time):
        return None
    days, _, rest = time.rpartition("-")
    parts = [int(part) for part in rest.split(":")]
    units = itertools.chain(reversed(parts), itertools.repeat(0))
    seconds, minutes, hours = itertools.islice(units, 3)
    return int(days or 0) * 1440 + hours * 60 + minutes + (1 if seconds else 0)


def _last_line(log: Path) -> str:
    """The last line of what a job printed beside its cell's own log; "" where it is silent."""
    try:
        lines = log.read_text("utf-8", "replace").splitlines()
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
