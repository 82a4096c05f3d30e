"""Numbers nearer to 0 than float32 holds in full, in a cell's own process: they are 0 there."""

import subprocess
from pathlib import Path

from tests.bench.conftest import command, environment

MODEL = """
from pathlib import Path
import torch
from models.contract import Predictor

class Tiny(Predictor):
    def forward(self, context, horizon):
        if not context.is_meta:
            filters, maps = torch.full((8, 8, 3, 3), 1e-20), torch.full((8, 8, 64, 64), 1e-20)
            products = torch.nn.functional.conv2d(maps, filters)
            said = f"{torch.get_num_threads()} threads: {products.count_nonzero()} above 0"
            Path(__file__).with_name("said").write_text(said)
        return context[:, -1:].expand(-1, horizon, -1, -1, -1)
"""


def test_no_thread_of_a_cell_computes_with_them(tmp_path: Path) -> None:
    (tmp_path / "tiny.py").write_text(MODEL, encoding="utf-8")
    few = ("evaluation.test_clips=2", "evaluation.validation_clips=2")
    words = ("--models", f"{tmp_path}/tiny.py:Tiny", "--launch-options", "cpus=2", "--set", *few)
    done = subprocess.run(
        command("run", "--suite", "smoke", "--results", str(tmp_path / "results"), *words),
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "said").read_text(encoding="utf-8") == "2 threads: 0 above 0"
