"""A real SLURM of one node, for the tests that send cells away."""

from collections.abc import Iterator

import pytest

from tests.bench.run.launchers.one_node_slurm import OneNodeSlurm, missing, one_node_slurm


@pytest.fixture(scope="session")
def slurm() -> Iterator[OneNodeSlurm]:
    """The cluster; a test that asks for it is skipped where its programs are not here."""
    pytest.importorskip("submitit", reason="needs submitit: pip install 'nextframe[slurm]'")
    if missing():
        pytest.skip(f"needs SLURM (Debian's slurm-wlm and munge): here is no {missing()}")
    with one_node_slurm() as cluster:
        yield cluster
