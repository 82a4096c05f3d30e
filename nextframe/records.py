"""What a store holds of cells: figures, scores and curves as DataFrames, models, differences."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bench.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

    from bench.compare.diff import Diff
    from bench.report.scores import Scores
    from bench.report.section import Section
    from bench.store.mlflow import Store
    from bench.suite.suite import Suite
    from nextframe.trained import TrainedModel

WHO = ["cell", "label", "model", "size", "dataset", "seed", "baseline"]
"""Which cell a row is of; `label` is the model with its size, as tables call it."""
SETTING = ["budget", "recipe", "recipe_from", "device", "precision"]
"""`recipe` is what the suite asked for, `recipe_from` whose a model's is, as tables say it."""
COMPARABLE = ["data_digest", "budget", "recipe", "device", "precision"]
"""What must agree where models are compared; `data_digest` is of the test clips."""
HOW = ["status", "reason", "marked", "started", "run_id", "key"]


def cells(
    suite: Suite | str, results: str | Path = "results", *, tracking_uri: str | None = None
) -> pd.DataFrame:
    """A row for each cell of `suite`: which it is, its setting, how it ended, and its figures.

    Of several runs of one cell it is the newest. Figures have the names of the README's tables
    (`mse`, `ssim`, `train_seconds`, `peak_bytes`), in their units: shares in [0,1], bytes. `marked`
    says why a cell decides nothing, and is "" where it may.

    Args:
        suite: the suite, or its name.
        results: the folder of the store.
        tracking_uri: MLflow's store (default: $MLFLOW_TRACKING_URI, else SQLite in `results`).

    Raises:
        UserError: there is no such store, or it holds no cell of the suite.
    """
    import pandas as pd

    from bench.report.columns import COLUMNS
    from bench.report.recipes import origin
    from bench.score.metrics import RECORDED

    found = pd.concat([part.cells for part in _sections(_store(results, tracking_uri), suite)])
    # A baseline stands in several sections; where it is lent to another device its costs are blank.
    found = found.loc[found.notna().sum(axis=1).sort_values(ascending=False, kind="stable").index]
    found = found.drop_duplicates(["run_id", "key"]).sort_values(
        ["dataset", "budget", "label", "seed"], kind="stable", ignore_index=True
    )
    found["recipe_from"] = found["facts"].map(origin).mask(found["baseline"], "")
    figures = {m.key: m.name for metrics in RECORDED.values() for m in metrics.values()}
    figures |= {c.measure.key: c.name for columns in COLUMNS.values() for c in columns}
    there = [key for key in figures if key in found and found[key].notna().any()]
    return found[[*WHO, *SETTING, *HOW, *there]].rename(columns=figures)


def scores(
    suite: Suite | str,
    results: str | Path = "results",
    *,
    by: Literal["sequence", "frame"] = "sequence",
    tracking_uri: str | None = None,
) -> pd.DataFrame:
    """The scores of each finished cell of `suite` by test sequence, or by predicted frame.

    A row is one cell and one `sequence`, with its `cluster` (sequences of one person, say, are not
    independent of each other), or one `frame` from 1 on, a mean over sequences. A classifier's
    sequence is a video, and it has no frames. `skill` and `sharpness` are ratios of means.

    Args:
        suite: the suite, or its name.
        results: the folder of the store.
        by: what a row is of.
        tracking_uri: MLflow's store (default: $MLFLOW_TRACKING_URI, else SQLite in `results`).

    Raises:
        UserError: there is no such store, it holds no cell of the suite, or `by` is neither.
    """
    import pandas as pd

    if by not in ("sequence", "frame"):
        raise UserError(f"by is 'sequence' or 'frame', not {by!r}")
    from bench.report.cells import each
    from bench.report.scores import SequenceScores

    store = _store(results, tracking_uri)
    read, parts = SequenceScores(store), {}
    for section in _sections(store, suite):
        for cell in each(section.done):
            stored = read.of_run(cell["run_id"], section.task)
            if stored is None:
                continue
            table = stored.by_frame if by == "frame" else _by_sequence(stored)
            if table is not None:
                who = [*WHO, *COMPARABLE, "marked"]
                told = {name: cell[name] for name in (*who, "run_id")}
                parts[cell["run_id"]] = table.assign(**told)[[*who, *table.columns, "run_id"]]
    if not parts:
        return pd.DataFrame()
    every = pd.concat(parts.values(), ignore_index=True)
    return every.sort_values(["dataset", "label", "seed"], kind="stable", ignore_index=True)


def curves(
    suite: Suite | str, results: str | Path = "results", *, tracking_uri: str | None = None
) -> pd.DataFrame:
    """The training curves of the trained cells of `suite`: a row is one cell, metric and step.

    `metric` is `train/loss` or that of validation, such as `val/mse`; beside its `value` stand the
    `train_seconds`, `steps` and `samples` that had been spent.

    Args:
        suite: the suite, or its name.
        results: the folder of the store.
        tracking_uri: MLflow's store (default: $MLFLOW_TRACKING_URI, else SQLite in `results`).

    Raises:
        UserError: there is no such store, or it holds no cell of the suite.
    """
    import pandas as pd

    from bench.report.curves import Curves

    store = _store(results, tracking_uri)
    read, parts = Curves(store), []
    for section in _sections(store, suite):
        found = read.of(section).drop(columns=["label", "model"])
        parts.append(section.done[[*WHO, "budget", "run_id"]].merge(found, on="run_id"))
    every = pd.concat(parts, ignore_index=True)
    return every.drop_duplicates(["run_id", "metric", "steps"]).reset_index(drop=True)


def load(
    cell: str,
    results: str | Path = "results",
    *,
    tracking_uri: str | None = None,
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto",
) -> TrainedModel:
    """The trained model of a finished cell, in evaluation mode, from MLflow alone.

    Warns where the code of the model has changed since.

    Args:
        cell: its name, such as `convlstm-small/ucf101/0` (its newest finished run), or a run's id.
        results: the folder of the store.
        tracking_uri: MLflow's store (default: $MLFLOW_TRACKING_URI, else SQLite in `results`).
        device: where to compute.

    Raises:
        UserError: there is no such finished cell, or its model or weights are not what they were.
    """
    from bench.predict import trained
    from bench.store.address import store_uri
    from nextframe.trained import TrainedModel

    found = trained.load(cell, store_uri(tracking_uri, Path(results)), device)
    if found.notice:
        warnings.warn(found.notice, stacklevel=2)
    return TrainedModel(found)


def diff(
    first: str,
    second: str,
    results: str | Path = "results",
    *,
    tracking_uri: str | None = None,
) -> Diff:
    """What differs between two runs: settings, code, data, environment, scores and costs.

    Args:
        first: the name of a cell (its newest run), or a run's id.
        second: the other.
        results: the folder of the store.
        tracking_uri: MLflow's store (default: $MLFLOW_TRACKING_URI, else SQLite in `results`).

    Raises:
        UserError: there is none of them.
    """
    from bench.compare.diff import compare
    from bench.compare.recorded import Recorded
    from bench.store.named import newest

    store = _store(results, tracking_uri)
    return compare(*(Recorded(store, newest(store, each)) for each in (first, second)))


def _store(results: str | Path, tracking_uri: str | None) -> Store:
    """The store, which must be there."""
    from bench.store.address import store_uri
    from bench.store.mlflow import Store

    if not str(results):
        raise UserError("the folder of the results is empty: write . for the folder you are in")
    uri = None if tracking_uri is None else str(tracking_uri)
    return Store(store_uri(uri, Path(results)), create=False)


def _by_sequence(scores: Scores) -> pd.DataFrame:
    """The scores of each `sequence`, with the number of its `cluster`."""
    table = scores.by_sequence.rename_axis("sequence").reset_index()
    of = table["sequence"] if scores.clusters is None else scores.clusters
    table.insert(1, "cluster", of.to_numpy())
    return table


def _sections(store: Store, suite: Suite | str) -> list[Section]:
    """The parts of `suite` whose cells may be compared; the name of each is its `cell`."""
    from bench.report.cells import cell_table
    from bench.report.section import sections

    name = suite if isinstance(suite, str) else getattr(suite, "name", None)
    if not isinstance(name, str):
        raise UserError(f"give a suite or its name, not {suite!r:.40}")
    if name.endswith(".toml"):
        raise UserError(f"{name} is a file: give the suite, or its name {Path(name).stem!r}")
    return sections(cell_table(store, name).rename(columns={"name": "cell"}))
