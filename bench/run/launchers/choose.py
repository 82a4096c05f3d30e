"""The launcher that a suite asks for, away from this process."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from bench.errors import UserError
from bench.run.launchers.remote import Engine, RemoteLauncher
from bench.store.address import is_server, shown
from bench.suite.cell import Cell
from bench.suite.suite import Suite


def remote_launcher(suite: Suite, cells: Sequence[Cell], results: Path, uri: str) -> RemoteLauncher:
    """The launcher of `suite`, whose `cells` are recorded in the store at `uri`.

    Raises:
        UserError: it cannot be had here, or the store cannot be written from several machines.
    """
    launch, folder = suite.launch, results / suite.name / "jobs"
    if not (is_server(uri) or launch.executor != "slurm"):
        raise UserError(
            f"--launch {launch.launcher} writes from several machines, which {shown(uri)} does not"
            " bear: start `mlflow server --host 0.0.0.0 --backend-store-uri ...` where they reach"
            " it, and add --tracking-uri http://HOST:5000"
        )
    if launch.launcher == "ray":
        raise UserError("there is no launcher ray yet: use --launch slurm or local")
    return RemoteLauncher(
        _submitit(suite, cells[0], folder / "submitit"), folder, launch.parallel or 1
    )


def _submitit(suite: Suite, cell: Cell, folder: Path) -> Engine:
    if find_spec("submitit") is None:
        raise UserError("--launch slurm needs submitit: pip install 'nextframe[slurm]'")
    from bench.run.launchers.here import InChildren, InThisProcess
    from bench.run.launchers.slurm import Slurm

    launch = suite.launch
    gpus = launch.gpus if launch.gpus is not None else int(cell.device == "cuda")
    if launch.executor == "slurm":
        return Slurm(launch, folder.absolute(), gpus)
    if launch.executor == "local":
        return InChildren(launch, folder.absolute(), gpus)
    return InThisProcess(launch, folder.absolute(), gpus)
