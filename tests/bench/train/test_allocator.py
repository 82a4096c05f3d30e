"""Each in a process of its own: what is set holds until the process ends."""

import os
import platform
import subprocess
import sys

import pytest

from bench.train.allocator import DEFAULT, KEPT
from tests.bench.conftest import ROOT

BLOCKS = 8
SCRIPT = f"""
import resource
from bench.train.allocator import keep_freed_memory

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def step():
    blocks = [b"x" * (16 << 20) for _ in range({BLOCKS})]

how = keep_freed_memory()
assert keep_freed_memory() == how
step()
before = faults()
step()
print(how, faults() - before, sep=";")
"""
PAGES_A_STEP = BLOCKS * (16 << 20) // os.sysconf("SC_PAGE_SIZE")


def _run(**environment: str) -> tuple[str, int]:
    """What is recorded, and the page faults of a second step."""
    words = [sys.executable, "-c", SCRIPT]
    plain = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        words, env=plain | environment, capture_output=True, text=True, check=True, timeout=60
    )
    how, _, faults = done.stdout.strip().rpartition(";")
    return how, int(faults)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="its allocator")
def test_what_a_step_frees_is_there_for_the_next() -> None:
    how, faults = _run()
    assert how == KEPT
    assert faults < PAGES_A_STEP / 100


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MALLOC_TRIM_THRESHOLD_", "1000"),
        ("GLIBC_TUNABLES", "glibc.malloc.mmap_threshold=100000"),
    ],
)
def test_a_setting_of_the_user_stays_and_is_named(name: str, value: str) -> None:
    how, faults = _run(**{name: value})
    assert how == f"set by {name}"
    if platform.libc_ver()[0] == "glibc":
        assert faults > PAGES_A_STEP / 2


def test_another_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.train import allocator

    for name in allocator._set_by_the_user():
        monkeypatch.delenv(name)
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert allocator.keep_freed_memory.__wrapped__() == DEFAULT
