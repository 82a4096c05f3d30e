"""A real SLURM of one node on loopback, of whoever runs the tests: munged, slurmctld, slurmd."""

import contextlib
import os
import platform
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.bench.servers import free_port

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol")
START_SECONDS = 120

CONFIG = """
ClusterName=test
SlurmctldHost={node}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
SlurmctldPort={controller_port}
SlurmdPort={node_port}
AuthInfo=socket={folder}/munge.sock
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
SlurmdTimeout=10
KillWait=15
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0
NodeName={node} NodeAddr=127.0.0.1 CPUs=4 CoresPerSocket=4 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES DefaultTime=30 MaxTime=60 State=UP
"""


def missing() -> str:
    """Which of its programs are not here; "" where all are."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    return ", ".join(name for name in PROGRAMS if shutil.which(name, path=path) is None)


@dataclass
class OneNodeSlurm:
    """A cluster whose files lie in a folder; `SLURM_CONF` is to name its configuration."""

    folder: Path

    @property
    def config(self) -> Path:
        return self.folder / "slurm.conf"

    def said(self, *command: str) -> str:
        """What a command of SLURM prints."""
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
        return done.stdout.strip()

    def start(self) -> None:
        (self.folder / "state").mkdir()
        (self.folder / "spool").mkdir()
        key = self.folder / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o400)
        free = [free_port(), free_port()]
        text = CONFIG.format(
            node=platform.node().partition(".")[0],
            user=psutil.Process().username(),
            folder=self.folder,
            controller_port=free[0],
            node_port=free[1],
        )
        self.config.write_text(text, encoding="utf-8")
        files = {"key": "key", "socket": "sock", "pid": "pid", "log": "log", "seed": "seed"}
        names = {"key": "--key-file", "socket": "--socket"}
        words = [
            f"{names.get(what, f'--{what}-file')}={self.folder}/munge.{end}"
            for what, end in files.items()
        ]
        self._daemon("munged", "--foreground", "--force", "--num-threads=1", *words)
        _until((self.folder / "munge.sock").exists, "munged did not start")
        self._daemon("slurmctld", "-D", "-c")
        self.start_node()

    def start_node(self) -> None:
        """Start slurmd, and wait until its node takes jobs."""
        self._daemon("slurmd", "-D")
        _until(lambda: self.node_state in ("idle", "mixed", "allocated"), "no node", self.folder)

    def give_up_node(self) -> None:
        """What slurmctld does of itself once a node has been silent for minutes."""
        for state in ("DOWN", "RESUME"):
            self.said("scontrol", "update", "NodeName=ALL", f"State={state}", "Reason=test")

    @property
    def node_state(self) -> str:
        try:
            return self.said("sinfo", "-h", "-o", "%T")
        except subprocess.SubprocessError:
            return ""

    def run_again_now(self, job_id: str) -> None:
        """Start a job soon that is in the queue again, where SLURM makes it wait two minutes.

        A start within the second of its kill would be refused: its credential counts as revoked.
        """
        _until(lambda: self.said("squeue", "-h", "-j", job_id, "-o", "%T") == "PENDING", "requeue")
        self.said("scontrol", "update", f"JobId={job_id}", "StartTime=now+4", "TimeLimit=30")

    def kill(self, name: str) -> None:
        """Kill a daemon without a warning."""
        for process in self._processes():
            if process.name() == name:
                process.kill()
        for daemon in self._daemons:
            with contextlib.suppress(subprocess.TimeoutExpired):
                daemon.wait(0.2 if daemon.poll() is None else 0)

    def stop(self) -> None:
        with contextlib.suppress(subprocess.SubprocessError, RuntimeError):
            self.said("scancel", "--signal=KILL", "--full", "--user", psutil.Process().username())
            self.said("scancel", "--user", psutil.Process().username())
            _until(lambda: not self.said("squeue", "-h"), "jobs are left")
        ours = self._processes()
        for process in ours:
            process.send_signal(signal.SIGTERM)
        for process in psutil.wait_procs(ours, timeout=10)[1]:
            process.kill()
        for daemon in self._daemons:
            daemon.wait()

    def _processes(self) -> list[psutil.Process]:
        alive = (daemon for daemon in self._daemons if daemon.poll() is None)
        return [psutil.Process(daemon.pid) for daemon in alive]

    def __post_init__(self) -> None:
        self._daemons: list[subprocess.Popen[bytes]] = []

    def _daemon(self, *words: str) -> None:
        path = os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/sbin"])
        environment = os.environ | {"SLURM_CONF": str(self.config), "PATH": path}
        log = (self.folder / f"{words[0]}.out").open("ab")
        daemon = subprocess.Popen(words, env=environment, stdout=log, stderr=log)
        log.close()
        self._daemons.append(daemon)


@contextlib.contextmanager
def one_node_slurm() -> Iterator[OneNodeSlurm]:
    """A cluster that is there during the block."""
    with tempfile.TemporaryDirectory(prefix="slurm-", ignore_cleanup_errors=True) as name:
        cluster = OneNodeSlurm(Path(name))
        os.environ["SLURM_CONF"] = str(cluster.config)
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.stop()
            del os.environ["SLURM_CONF"]


def _until(is_so: object, what: str, folder: Path | None = None) -> None:
    until = time.monotonic() + START_SECONDS
    while not is_so():  # type: ignore[operator]
        if time.monotonic() > until:
            logs: Sequence[Path] = sorted(folder.glob("*.out")) if folder else []
            raise RuntimeError("\n".join([what, *(log.read_text("utf-8") for log in logs)]))
        time.sleep(0.1)
