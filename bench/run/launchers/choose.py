"""The launcher that a suite asks for, away from this process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

from bench import PROGRAM
from bench.errors import UserError
from bench.run.launchers.remote import Engine, RemoteLauncher
from bench.store.address import is_server, shown
from bench.suite.cell import Cell
from bench.suite.launch import Launch
from bench.suite.suite import Suite


def remote_launcher(suite: Suite, cells: Sequence[Cell], results: Path, uri: str) -> RemoteLauncher:
    """The launcher of `suite`, whose `cells` are recorded in the store at `uri`.

    Raises:
        UserError: it cannot be had here, or the store cannot be written from several machines.
    """
    launch, folder = suite.launch, results / suite.name / "jobs"
    if not (is_server(uri) or launch.is_here):
        raise UserError(
            f"--launch {launch.launcher} writes from several machines, which {shown(uri)} does not"
            f" bear: start `{PROGRAM} ui --serve --host 0.0.0.0` where they reach it, and add"
            " --tracking-uri http://HOST:5000"
        )
    devices = max(cell.devices for cell in cells) if cells[0].device == "cuda" else 0
    gpus = launch.gpus if launch.gpus is not None else devices // launch.nodes
    if launch.launcher == "ray":
        engine = _ray(launch, gpus)
    else:
        engine = _submitit(launch, folder / "submitit", gpus)
    return RemoteLauncher(engine, folder, launch.parallel or 1)


def _ray(launch: Launch, gpus: int) -> Engine:
    if find_spec("ray") is None:
        raise UserError("--launch ray needs ray: pip install 'nextframe[ray]'")
    usual, unknown = Launch(), ("account", "executor", "nodes", "partition", "sbatch", "time")
    if given := [name for name in unknown if getattr(launch, name) != getattr(usual, name)]:
        raise UserError(f"Ray has no {given[0]}: leave it out of the options of --launch ray")
    from bench.run.launchers.ray import Ray

    return Ray(launch, gpus)


def _submitit(launch: Launch, folder: Path, gpus: int) -> Engine:
    if find_spec("submitit") is None:
        raise UserError("--launch slurm needs submitit: pip install 'nextframe[slurm]'")
    if launch.address is not None:
        raise UserError("SLURM has no address: leave it out of the options of --launch slurm")
    if launch.nodes > 1 and launch.is_here:
        raise UserError(f"executor={launch.executor} has this machine alone: leave out nodes")
    from bench.run.launchers.here import InChildren, InThisProcess
    from bench.run.launchers.slurm import Slurm

    engines: dict[str, Callable[..., Engine]] = {
        "slurm": Slurm,
        "local": InChildren,
        "debug": InThisProcess,
    }
    return engines[launch.executor](launch, folder.absolute(), gpus)
