import subprocess
import sys

import numpy as np

from bench.train.hardware import peak_memory_bytes
from tests.bench.conftest import ROOT, environment

PRINT_PEAK = "from bench.train import hardware; print(hardware.peak_memory_bytes('cpu'))"


def test_the_memory_of_a_process_is_its_own_and_not_its_parents() -> None:
    held = np.ones(1 << 29, np.uint8)  # more than the imports of a child take
    assert peak_memory_bytes("cpu") > held.nbytes
    child = subprocess.run(
        [sys.executable, "-c", PRINT_PEAK],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert 0 < int(child.stdout) < held.nbytes
