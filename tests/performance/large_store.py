"""A store of cells whose true differences are known, and what a report of it takes and says.

    python -m tests.performance.large_store FOLDER [--tracking-uri URI] [--models 20]
        [--datasets 5] [--seeds 5]

Writes the cells into MLflow (SQLite in FOLDER, unless a URI is given), curves, tables by frame and
showcases with them, then times `report.build`, weighs the page, and counts how many of the 95 %
intervals between all pairs of models cover the true difference. A second call only reports.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from bench import records, report
from bench.report.cells import cell_table
from bench.report.scores import SequenceScores
from bench.report.section import sections
from bench.report.statistics.jackknife import RELATIVE, Pairs
from bench.report.statistics.significance import fixed
from bench.score.metrics import PREDICTION, RECORDED, columns
from bench.store.mlflow import Point, Store

SUITE = "large"
CONTEXT, HORIZON, SIDE = 10, 10, 64
DATASETS = ("moving_mnist", "kth", "ucf101", "human36m", "taxibj")
CURVE_POINTS, VALIDATIONS, SHOWCASE_CLIPS = 200, 10, 6
TRIVIAL_MSE = 0.03
STEP = 0.02  # of log MSE, from one model to the next
BY_SEED, BY_SEQUENCE, BY_BOTH = 0.03, 0.1, 0.1  # of log MSE, standard deviations

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class World:
    """The cells to make; equal ones make equal figures."""

    models: int = 20
    datasets: int = 5
    seeds: int = 5
    sequences: int = 1000

    def scores(self, dataset: int) -> Floats:
        """MSE of every sequence and frame: [models,seeds,sequences,horizon]."""
        random = np.random.default_rng(dataset)

        def spread(deviation: float, *shape: int) -> Floats:
            return deviation * random.standard_normal(shape)

        hard = spread(0.6, 1, 1, self.sequences, 1)
        drift = 0.15 * np.arange(HORIZON)
        log = (
            np.log(0.01)
            - (STEP * np.arange(self.models))[:, None, None, None]
            + hard
            + drift
            + spread(BY_SEED, self.models, self.seeds, 1, 1)
            + spread(BY_SEQUENCE, self.models, 1, self.sequences, 1)
            + spread(BY_BOTH, self.models, self.seeds, self.sequences, 1)
        )
        return np.asarray(np.exp(log))

    def model(self, number: int) -> str:
        """Its name; the first is the reference without parameters, which is the worst."""
        return f"model_{number:02d}" if number else "copy_last"


def fill(store: Store, world: World, folder: Path) -> None:
    """Write all cells of `world` into `store`."""
    for number, dataset in enumerate(DATASETS[: world.datasets]):
        scores = world.scores(number)
        for model in range(world.models):
            for seed in range(world.seeds if model else 1):
                _add(store, world.model(model), dataset, seed, scores[model, seed], folder)


def _add(store: Store, model: str, dataset: str, seed: int, mse: Floats, folder: Path) -> None:
    baseline = model == "copy_last"
    tags = {
        records.KIND: "cell",
        records.CELL: f"{model}/{dataset}/{seed}",
        records.STATUS: records.Status.DONE.value,
        records.COMMAND: f"python -m bench cell --suite {SUITE} --model {model} --seed {seed}",
        records.DEVICE: "Example GPU",
        records.COMMIT: "0123abcd",
        records.DATA_DIGEST: f"{DATASETS.index(dataset)}feedc0de" * 3,
        "bench.torch": "2.13.0",
    }
    run = store.begin(SUITE, f"{model}/{dataset}/{seed}", tags)
    store.params(run, _params(model, dataset, seed))
    table = _table(mse)
    store.points(run, [*_curves(mse, baseline), *_figures(table, baseline)])
    table.to_parquet(folder / records.PER_FRAME_TABLE)
    np.savez_compressed(folder / records.SHOWCASE, **_showcase(dataset, float(mse.mean())))
    for name in (records.PER_FRAME_TABLE, records.SHOWCASE):
        store.attach(run, folder / name)
    store.end(run, records.Status.DONE)


def _params(model: str, dataset: str, seed: int) -> dict[str, str]:
    return {
        "suite": SUITE,
        "model": model,
        "dataset": dataset,
        "seed": str(seed),
        "size": "only",
        "task": "prediction",
        "recipe": "published",
        "context_frames": str(CONTEXT),
        "horizon": str(HORIZON),
        "device": "cuda",
        "precision": "bf16",
        "budget": "600 s",
    }


def _table(mse: Floats) -> pd.DataFrame:
    """The table by frame that goes with MSE [sequences,horizon]."""
    sequences, horizon = mse.shape
    table = pd.DataFrame(
        {
            "sequence": np.repeat(np.arange(sequences), horizon),
            "frame": np.tile(np.arange(1, horizon + 1), sequences),
            "mse": mse.ravel(),
        }
    )
    error = table["mse"]
    table = table.assign(mae=3 * error, psnr=-10 * np.log10(error))
    table = table.assign(ssim=1 - 5 * error.clip(upper=0.2), lpips=8 * error)
    table["trivial_mse"] = TRIVIAL_MSE
    kept = (metric.name for metric in columns(PREDICTION) if metric.name not in table)
    return table.assign(**dict.fromkeys(kept, error))


def _figures(table: pd.DataFrame, baseline: bool) -> Iterator[Point]:
    final = CURVE_POINTS * 10
    error = float(table["mse"].mean())
    by_frame = table.groupby("frame").mean()
    for name, metric in RECORDED["prediction"].items():
        if metric.scope == "set":
            continue
        values = metric.of_means(by_frame)
        yield Point.now(metric.key, float(values.mean()), final)
        for frame, value in values.items():
            yield Point.now(f"horizon/{name}", value, int(str(frame)))
    costs = {
        "model/parameters": 0 if baseline else 1e5 / error,
        "model/flops_per_sample": 0 if baseline else 1e8 / error,
        "memory/peak_bytes": 2**30,
        "time/setup_seconds": 8.0,
        "speed/predict_frames_per_second": 10 / error**2,
    }
    if not baseline:
        costs |= {
            "train/steps": final,
            "train/samples": 16 * final,
            "time/waiting_seconds": 2.0,
            "speed/train_samples_per_second": 16 * final / 600,
        }
    for key, value in costs.items():
        yield Point.now(key, value, final)


def _curves(mse: Floats, baseline: bool) -> Iterator[Point]:
    if baseline:
        yield Point.now(records.TRAIN_SECONDS, 0.0, 0)
        return
    error = float(mse.mean())
    for number in range(1, CURVE_POINTS + 1):
        share, step = number / CURVE_POINTS, 10 * number
        yield Point.now(records.TRAIN_SECONDS, 600 * share, step)
        yield Point.now(records.TRAIN_LOSS, error * (1 + 1 / (10 * share)), step)
        if number % (CURVE_POINTS // VALIDATIONS) == 0:
            yield Point.now("val/mse", error * (1 + 1 / (20 * share)), step)


def _showcase(dataset: str, error: float) -> dict[str, npt.NDArray[np.generic]]:
    """Blobs that move over a texture, in colour for every second data set."""
    number = DATASETS.index(dataset)
    random, channels = np.random.default_rng(number), 3 if number % 2 else 1
    rows, columns = np.mgrid[:SIDE, :SIDE]
    starts = random.uniform(10, 40, (SHOWCASE_CLIPS, channels, 2))
    frames = np.arange(CONTEXT + HORIZON)[None, :, None, None, None]
    down, right = (starts[:, None, :, k, None, None] + (1 + k) * frames for k in (0, 1))
    clips = 200 * np.exp(-((rows - down) ** 2 + (columns - right) ** 2) / 60)
    clips += _smooth(random.uniform(0, 40, (channels, SIDE // 8, SIDE // 8)))
    truth = clips[:, CONTEXT:].clip(0, 255)
    wrong = np.random.default_rng(7).standard_normal((*truth.shape[:3], SIDE // 8, SIDE // 8))
    prediction = truth + _smooth(255 * np.sqrt(error) * wrong)
    return {
        "context": clips[:, :CONTEXT].clip(0, 255).astype(np.uint8),
        "truth": truth.astype(np.uint8),
        "prediction": prediction.clip(0, 255).astype(np.uint8),
        "sequence": np.arange(SHOWCASE_CLIPS),
        "why": np.repeat(["first", "worst for copy-last", "median for copy-last"], 2),
    }


def _smooth(coarse: Floats) -> Floats:
    """Frames [...,H/8,W/8] drawn out to [...,H,W], as what models get wrong is smooth."""
    for axis in (-2, -1):
        grid = (np.arange(SIDE) + 0.5) / 8 - 0.5
        below = np.clip(np.floor(grid).astype(int), 0, SIDE // 8 - 2)
        share = np.clip(grid - below, 0, 1)
        share = share[:, None] if axis == -2 else share
        low, high = np.take(coarse, below, axis), np.take(coarse, below + 1, axis)
        coarse = low + share * (high - low)
    return coarse


def coverage(store: Store, world: World) -> float:
    """The share of the intervals between all pairs of models that cover what is true."""
    scores, hits = SequenceScores(store), []
    for section in sections(cell_table(store, SUITE)):
        clusters = scores.clusters(section)
        pairs = Pairs(scores.of(section), RELATIVE, clusters=clusters, fixed=fixed(section))
        for a, b in combinations(range(1, world.models), 2):
            found = pairs.difference(world.model(a), world.model(b))
            true = 100 * np.expm1(STEP * (b - a))  # the higher the number, the better
            hits.append(found.low <= true <= found.high)
    return float(np.mean(hits))


def main() -> None:
    """Fill the store unless it is full, report, and print what that took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tracking-uri", default=None)
    for name in ("models", "datasets", "seeds", "sequences"):
        parser.add_argument(f"--{name}", type=int, default=getattr(World, name))
    arguments = vars(parser.parse_args())
    folder = arguments.pop("folder").absolute()
    folder.mkdir(parents=True, exist_ok=True)
    uri = arguments.pop("tracking_uri") or f"sqlite:///{folder / 'mlflow.db'}"
    world, store = World(**arguments), Store(uri, _say)
    if SUITE not in store.suites():
        began = time.perf_counter()
        fill(store, world, folder)
        _say(f"filled in {time.perf_counter() - began:.0f} s")
    began = time.perf_counter()
    page = report.build(store, SUITE, folder / "report")
    seconds = time.perf_counter() - began
    _say(f"{len(store.cells(SUITE))} cells: report in {seconds:.1f} s")
    _say(f"page {page.stat().st_size / 1e6:.1f} MB")
    _say(f"intervals that cover the true difference: {100 * coverage(store, world):.1f} %")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
