"""How long a report of 20 models x 5 data sets x 5 seeds takes, and how large its page is.

python -m tests.report_time
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from bench import report
from tests.bench.report_store import FakeStore

MODELS, DATASETS, SEEDS, SEQUENCES = 20, 5, 5, 6


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = large(Path(folder) / "artifacts")
        began = time.process_time()
        page = report.build(store, "mnist", Path(folder) / "out")
        seconds = time.process_time() - began
        plots = [path.stat().st_size for path in page.parent.glob("plots/*.png")]
        print(f"report of {len(store.runs)} cells: {seconds:.1f} s of one core")  # noqa: T201
        print(f"page {page.stat().st_size / 1e6:.1f} MB")  # noqa: T201
        print(f"{len(plots)} PNGs, {sum(plots) / 1e6:.1f} MB")  # noqa: T201


def large(folder: Path) -> FakeStore:
    """A store of many cells with frames as cameras make them; two of the data sets in colour."""
    store, random = FakeStore(folder), np.random.default_rng(0)
    for dataset in range(DATASETS):
        truth = scene(random, channels=3 if dataset < 2 else 1)
        posed = {"dataset": f"data_set_{dataset}"}
        tags = {"bench.data_digest": f"{dataset}" * 32}
        for number in range(MODELS):
            mse = 0.02 + number / 1000
            blurred = gaussian_filter(
                truth[:, 10:].astype(float), (0, 0, 0, number / 8, number / 8)
            )
            for seed in range(SEEDS):
                steps = 400 * (1 + number % 4)
                spent = {"train/steps": steps, "train/samples": 16.0 * steps}
                name, size = (f"model_{number:02d}", "small") if number else ("copy_last", "only")
                run_id = store.add(
                    *(name, mse + seed / 2000),
                    size=size,
                    seed=seed,
                    baseline=number == 0,
                    params=posed,
                    tags=tags,
                    metrics=spent if number else {},
                )
                if seed == 0:
                    store.show(run_id, truth[:, :10], truth[:, 10:], blurred.astype(np.uint8))
    return store


def scene(random: np.random.Generator, channels: int) -> npt.NDArray[np.uint8]:
    """Soft shapes that drift under noise: uint8 [S,T,C,64,64]."""
    wide = random.normal(size=(SEQUENCES, 1, channels, 64, 128))
    soft = (
        gaussian_filter(wide, (0, 0, 0, 3, 3)) * 500 + gaussian_filter(wide, (0, 0, 0, 1, 1)) * 60
    )
    clips = np.concatenate([soft[..., 2 * t : 2 * t + 64] for t in range(20)], axis=1)
    noisy = 110 + clips + random.normal(size=clips.shape) * 4
    return noisy.clip(0, 255).astype(np.uint8)


if __name__ == "__main__":
    main()
