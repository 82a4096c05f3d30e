"""The report from a real MLflow store, in a process that never loads torch."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

SCRIPT = """
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from bench import records
from bench import report
from bench.store.mlflow import Point, Store

folder = Path(sys.argv[1])
store = Store(f"sqlite:///{folder / 'mlflow.db'}")
clip = np.random.default_rng(0).integers(0, 256, (1, 4, 1, 16, 16), np.uint8)
np.savez(folder / records.SHOWCASE, context=clip, truth=clip, prediction=clip, sequence=[0])
for model, size, mse in (("copy_last", "only", 0.05), ("convlstm", "small", 0.02)):
    tags = {records.KIND: "cell", records.DEVICE: "CPU", records.DATA_DIGEST: "feed"}
    run = store.begin("mnist", f"{model}/moving_mnist/0", tags)
    params = {"model": model, "size": size, "seed": 0, "dataset": "moving_mnist"}
    store.params(run, params | {"device": "cpu", "precision": "32", "budget": "4 steps"})
    scores = {"sequence": [0, 0], "frame": [1, 2], "mse": [mse, 2 * mse], "ssim": [0.9, 0.8]}
    pd.DataFrame(scores).to_parquet(folder / records.PER_FRAME_TABLE)
    points = [Point.now("test/mse", mse, 4), Point.now("model/parameters", mse < 0.05, 4)]
    for step in (1, 2, 4):
        points.append(Point.now(records.TRAIN_SECONDS, step / 10, step))
        points.append(Point.now(records.TRAIN_LOSS, mse / step, step))
    store.points(run, points)
    for name in (records.SHOWCASE, records.PER_FRAME_TABLE):
        store.attach(run, folder / name)
    store.end(run, records.Status.DONE)
report.build(store, "mnist", folder / "out")
assert "torch" not in sys.modules
"""


def test_mlflow_alone_makes_the_report(tmp_path: Path, empty_store: Path) -> None:
    shutil.copytree(empty_store, tmp_path, dirs_exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "out" / "report.html").read_text()
    assert "On MSE convlstm-small, the only trained model, has 0.0" in page
    assert "60\N{NO-BREAK SPACE}% below copy-last" in page
    pictures = {path.name for path in (tmp_path / "out" / "plots").glob("*.png")}
    assert pictures == {
        f"1-moving_mnist-{name}.png" for name in ("loss", "horizon-mse", "horizon-ssim", "frames-0")
    }
