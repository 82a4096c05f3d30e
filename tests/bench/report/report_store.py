"""Stores of synthetic cells whose numbers are known, for the tests of the report."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from bench import records
from bench.report.cells import cell_table
from bench.report.scores import SequenceScores
from bench.report.section import Section, sections
from bench.report.statistics.best import best
from bench.report.statistics.significance import paired
from bench.report.table import Table, printed, summary
from bench.report.verdict import verdict

START = datetime(2026, 11, 1, tzinfo=UTC)
KEYS = itertools.count()
HORIZON = 10
HARDNESS = np.linspace(0.5, 1.5, 20)[:, None] * np.linspace(0.8, 1.2, HORIZON)
"""Of 20 test sequences and their frames; the mean is 1."""
TRIVIAL_MSE = 0.05
VALIDATION = {task: measure.key for task, measure in records.VALIDATION.items()}


@dataclass
class FakeRun:
    run_id: str
    name: str
    started: datetime
    params: dict[str, str]
    tags: dict[str, str]
    metrics: dict[str, float]

    @property
    def page(self) -> str:
        return f"http://127.0.0.1:5000/#/experiments/1/runs/{self.run_id}" if self.run_id else ""


@dataclass
class FakeStore:
    """The reading side of `bench.store.mlflow.Store`, in memory."""

    folder: Path
    runs: list[FakeRun] = field(default_factory=list)
    plan: list[FakeRun] = field(default_factory=list)
    curves: dict[tuple[str, str], list[tuple[int, float]]] = field(default_factory=dict)

    def suites(self) -> list[str]:
        return sorted({run.params["suite"] for run in self.runs})

    def cells_and_borrowed(self, suite: str) -> list[FakeRun]:
        return self.cells(suite)

    def planned(self, suite: str) -> list[FakeRun]:
        mine = [run for run in self.plan if run.params["suite"] == suite]
        status = {records.STATUS: records.Status.MISSING.value}
        return [replace(run, run_id="", tags=run.tags | status, metrics={}) for run in mine]

    def cells(self, suite: str) -> list[FakeRun]:
        mine = [run for run in self.runs if run.params["suite"] == suite]
        return sorted(mine, key=lambda run: run.started, reverse=True)

    def curve(self, run_id: str, metric: str) -> list[tuple[int, float]]:
        return self.curves.get((run_id, metric), [])

    def curves_of(self, run_id: str, metrics: Sequence[str]) -> list[list[tuple[int, float]]]:
        return [self.curve(run_id, metric) for metric in metrics]

    def artifact(self, run_id: str, path: str) -> Path | None:
        local = self.folder / run_id / path
        return local if local.exists() else None

    def add(
        self,
        model: str,
        mse: float | None,
        *,
        size: str = "small",
        seed: int = 0,
        status: records.Status = records.Status.DONE,
        baseline: bool = False,
        params: dict[str, str] | None = None,
        tags: dict[str, str] | None = None,
        metrics: dict[str, float] | None = None,
    ) -> str:
        run_id = f"run{len(self.runs)}"
        label = model if size == "only" else f"{model}-{size}"
        measured = {} if mse is None else _metrics(mse, baseline)
        self.runs.append(
            FakeRun(
                run_id=run_id,
                name=f"{label}/moving_mnist/{seed}",
                started=START + timedelta(minutes=len(self.runs)),
                params=_params(model, size, seed) | (params or {}),
                tags=_tags(label, seed, status) | (tags or {}),
                metrics=measured | (metrics or {}),
            )
        )
        if mse is not None:
            self.keep_scores(run_id, mse * HARDNESS)
            if not baseline:
                self._add_curves(run_id, mse)
            self._add_showcase(run_id, mse)
        return run_id

    def keep_scores(self, run_id: str, by_frame: npt.NDArray[np.float64]) -> None:
        """Store this MSE [sequences,horizon] as the run's table."""
        sequences, horizon = by_frame.shape
        rows = {
            "sequence": np.repeat(np.arange(sequences), horizon),
            "frame": np.tile(np.arange(1, horizon + 1), sequences),
            "cluster": np.repeat(np.arange(sequences), horizon),
            "mse": by_frame.ravel(),
            "ssim": 1 - 5 * by_frame.ravel(),
            "trivial_mse": (TRIVIAL_MSE * np.ones_like(by_frame)).ravel(),
        }
        (self.folder / run_id).mkdir(parents=True, exist_ok=True)
        pd.DataFrame(rows).to_parquet(self.folder / run_id / records.PER_FRAME_TABLE)

    def _add_curves(self, run_id: str, mse: float) -> None:
        steps = range(10, 410, 10)
        self.curves[run_id, records.TRAIN_SECONDS] = [(s, s * 0.3) for s in steps]
        self.curves[run_id, records.TRAIN_LOSS] = [(s, mse + 1 / s) for s in steps]
        self.curves[run_id, VALIDATION["prediction"]] = [(s, mse + 2 / s) for s in steps[::10]]

    def _add_showcase(self, run_id: str, mse: float) -> None:
        rows, columns = np.mgrid[:64, :64]
        clips = np.stack(
            [
                np.exp(-((rows - 20 - t) ** 2 + (columns - 12 - 2 * t) ** 2) / 60) * 255
                for t in range(10 + HORIZON)
            ]
        ).astype(np.uint8)[None, :, None]
        clips = np.concatenate([clips, clips[:, :, :, ::-1]])
        truth = clips[:, 10:]
        self.show(run_id, clips[:, :10], truth, (truth * (1 - 10 * mse)).astype(np.uint8))

    def show(
        self,
        run_id: str,
        context: npt.NDArray[np.uint8],
        truth: npt.NDArray[np.uint8],
        prediction: npt.NDArray[np.uint8],
    ) -> None:
        """Keep these frames [S,T,C,H,W] as what the run predicted."""
        (self.folder / run_id).mkdir(parents=True, exist_ok=True)
        np.savez(
            self.folder / run_id / records.SHOWCASE,
            context=context,
            truth=truth,
            prediction=prediction,
            sequence=np.array([3, 7, 11, 13, 17, 19])[: len(context)],
        )

    def add_classifier(
        self,
        model: str,
        said: Sequence[str],
        truth: Sequence[str],
        *,
        seed: int = 0,
        baseline: bool = False,
        params: dict[str, str] | None = None,
        tags: dict[str, str] | None = None,
        metrics: dict[str, float] | None = None,
    ) -> str:
        """A finished cell that named test video number i, of class `truth[i]`, `said[i]`."""
        right = float(np.mean(np.array(said) == np.array(truth)))
        measured = _recognition_metrics(right, baseline) | (metrics or {})
        classes = {"classes": str(len(set(truth))), "dataset": "actions", "suite": "actions"}
        posed = {"task": "recognition", "context_frames": "16", "horizon": "0", **classes}
        run_id = self.add(
            model,
            None,
            size="only" if baseline else "small",
            seed=seed,
            params=posed | (params or {}),
            tags=tags,
            metrics=measured,
        )
        if not baseline:
            steps = range(10, 410, 10)
            self.curves[run_id, records.TRAIN_SECONDS] = [(s, s * 0.3) for s in steps]
            self.curves[run_id, records.TRAIN_LOSS] = [(s, 1 - right + 9 / s) for s in steps]
            self.curves[run_id, VALIDATION["recognition"]] = [(s, 2 + 9 / s) for s in steps[::10]]
        (self.folder / run_id).mkdir(parents=True)
        named = pd.DataFrame({"video": range(len(truth)), "label": truth, "predicted": said})
        named = named.assign(cluster=range(len(truth)))
        named = named.assign(rank=(named["label"] != named["predicted"]) + 1, cross_entropy=1.5)
        named.to_parquet(self.folder / run_id / records.PER_VIDEO_TABLE)
        return run_id


def _params(model: str, size: str, seed: int) -> dict[str, str]:
    return {
        "model": model,
        "size": size,
        "dataset": "moving_mnist",
        "seed": str(seed),
        "suite": "mnist",
        "budget": "120 s",
        "budget.seconds": "120",
        "device": "cpu",
        "precision": "32",
        "recipe": "published",
        "recipe.learning_rate": "0.001",
        "context_frames": "10",
        "horizon": str(HORIZON),
        "test_sequences": "100",
    }


def _tags(label: str, seed: int, status: records.Status) -> dict[str, str]:
    return {
        records.KIND: "cell",
        records.STATUS: status.value,
        records.CELL: f"{label}/{seed}/{next(KEYS)}",
        records.COMMAND: f"python -m bench cell --cell {label}/moving_mnist/{seed}",
        records.DEVICE: "Example CPU, 2 cores",
        records.COMMIT: "0123abcd",
        records.DATA_DIGEST: "feedc0de" * 4,
        records.CLUSTER: "sequence",
        "bench.torch": "2.13.0",
    }


def _metrics(mse: float, baseline: bool) -> dict[str, float]:
    quality = {
        "test/mse": mse,
        "test/mae": 2 * mse,
        "test/psnr": -10 * float(np.log10(mse)),
        "test/ssim": 1 - 5 * mse,
        "test/lpips": 3 * mse,
        "test/skill": 1 - mse / TRIVIAL_MSE,
        "model/parameters": 0 if baseline else 7_440_000,
        "time/train_seconds": 0 if baseline else 120.4,
        "speed/predict_frames_per_second": 1e5 if baseline else 8 / mse,
        "memory/peak_bytes": 2**28 if baseline else 2**30,
    }
    return quality if baseline else quality | {"speed/train_samples_per_second": 1.5 / mse}


def _recognition_metrics(right: float, baseline: bool) -> dict[str, float]:
    quality = {
        "test/video_top1": right,
        "test/video_top5": (1 + right) / 2,
        "test/top1": right - 0.05,
        "test/top5": (1 + right) / 2 - 0.05,
        "test/cross_entropy": 2 - right,
        "model/parameters": 0 if baseline else 1_234_000,
        "time/train_seconds": 0 if baseline else 120.0,
        "speed/predict_frames_per_second": 1e6 if baseline else 1000 * right,
        "memory/peak_bytes": 2**30,
    }
    learned = {"time/waiting_seconds": 3.6, "speed/train_samples_per_second": 20 * right}
    return quality if baseline else quality | learned


def example(folder: Path) -> FakeStore:
    store = FakeStore(folder)
    store.add("copy_last", 0.05, size="only", baseline=True)
    store.add("mean_frame", 0.045, size="only", baseline=True)
    for seed, mse in enumerate((0.020, 0.021, 0.022)):
        store.add("predrnn", mse, seed=seed)
        store.add("convlstm", mse + 0.01, seed=seed)
    store.add("maxvit", 0.0399, tags={f"{records.NOT_MEASURED}lpips": "no <b>AlexNet</b> weights"})
    del store.runs[-1].metrics["test/lpips"]
    store.add(
        "maxvit",
        None,
        seed=1,
        status=records.Status.DIVERGED,
        tags={records.ERROR: "loss is NaN at step 40"},
    )
    store.add(
        "mine",
        None,
        size="only",
        status=records.Status.FAILED,
        tags={records.ERROR: "<script>alert('x')</script> a|b `c`", records.DATA_DIGEST: ""},
    )
    del store.runs[-1].tags[records.DATA_DIGEST]
    del store.runs[-1].tags[records.DEVICE]
    return store


def only_section(store: FakeStore, suite: str = "mnist") -> Section:
    (section,) = sections(cell_table(store, suite))
    return section


def table_of(store: FakeStore, section: Section) -> Table:
    """The printed table of `section` with the marks of the best."""
    figures = summary(section)
    return printed(section, figures, best(section, figures, SequenceScores(store)))


def verdict_of(store: FakeStore, section: Section) -> str:
    scores = SequenceScores(store)
    pairs = paired(section, scores.of(section), scores.clusters(section))
    return " ".join(verdict(section, summary(section), pairs))
