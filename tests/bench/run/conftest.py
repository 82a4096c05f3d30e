"""A real SLURM on loopback and a tracking server, for the tests that send cells away."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench.run.launchers.loopback_slurm import LoopbackSlurm, loopback_slurm, missing
from tests.bench.servers import Server


@pytest.fixture(scope="session")
def slurm() -> Iterator[LoopbackSlurm]:
    """The cluster; a test that asks for it is skipped where its programs are not here."""
    pytest.importorskip("submitit", reason="needs submitit: pip install 'nextframe[slurm]'")
    if missing():
        pytest.skip(f"needs SLURM (Debian's slurm-wlm and munge): here is no {missing()}")
    with loopback_slurm() as cluster:
        yield cluster


@pytest.fixture
def server(tmp_path: Path, empty_store: Path) -> Iterator[str]:
    """The address of an MLflow server that keeps artifacts itself."""
    shutil.copytree(empty_store, tmp_path / "server")
    with Server(tmp_path / "server").running() as address:
        yield address
