"""A real SLURM on loopback, of whoever runs the tests: munged, slurmctld, and two nodes' slurmd."""

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
NODES = ("one", "two")

CONFIG = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
SlurmctldPort={controller_port}
AuthInfo=socket={folder}/munge.sock
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
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
NodeName=DEFAULT CPUs=4 CoresPerSocket=4 State=UNKNOWN
NodeName=one NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[0]}
NodeName=two NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]}
PartitionName=DEFAULT DefaultTime=30 MaxTime=60 State=UP
PartitionName=main Nodes=one Default=YES
PartitionName=both Nodes=one,two
"""


def missing() -> str:
    """Which of its programs are not here; "" where all are."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    return ", ".join(name for name in PROGRAMS if shutil.which(name, path=path) is None)


@dataclass
class LoopbackSlurm:
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
        key = self.folder / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o400)
        text = CONFIG.format(
            host=platform.node().partition(".")[0],
            user=psutil.Process().username(),
            folder=self.folder,
            controller_port=free_port(),
            ports=[free_port() for _ in NODES],
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
        self.start_nodes()

    def start_nodes(self) -> None:
        """Start slurmd of both nodes, and wait until they take jobs."""
        for node in NODES:
            self._daemon("slurmd", "-D", "-N", node)
        up = {"idle", "mixed", "allocated"}
        _until(lambda: self.node_states and self.node_states <= up, "no node", self.folder)

    def give_up_nodes(self) -> None:
        """What slurmctld does of itself once nodes have been silent for minutes."""
        for state in ("DOWN", "RESUME"):
            self.said("scontrol", "update", "NodeName=ALL", f"State={state}", "Reason=test")

    @property
    def node_states(self) -> set[str]:
        try:
            return {*self.said("sinfo", "-h", "-o", "%T").split()}
        except subprocess.SubprocessError:
            return set()

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
def loopback_slurm() -> Iterator[LoopbackSlurm]:
    """A cluster that is there during the block."""
    with tempfile.TemporaryDirectory(prefix="slurm-", ignore_cleanup_errors=True) as name:
        cluster = LoopbackSlurm(Path(name))
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
