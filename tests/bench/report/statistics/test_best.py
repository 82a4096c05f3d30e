"""The mark of the best is shared by all that cannot be told from it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench import records, report
from bench.report.scores import SequenceScores
from bench.report.statistics.best import best
from bench.report.statistics.significance import paired
from bench.report.table import Table, against_copy_last, summary
from tests.bench.report.report_store import HORIZON, FakeStore, only_section, table_of, verdict_of

CLOSE = {"a": 0.0200, "b": 0.0201, "far": 0.0400}


def _store(
    folder: Path, models: dict[str, float], seeds: int = 3, noise: float = 0.05
) -> FakeStore:
    """A store of `models` with so many seeds, whose scores vary by sequence; and a baseline."""
    store, random = FakeStore(folder), np.random.default_rng(0)
    hardness = np.linspace(0.5, 1.5, 40)[:, None]
    for model, mse in {"copy_last": 0.07, **models}.items():
        plain = model == "copy_last"
        for seed in range(1 if plain else seeds):
            by_frame = mse * hardness * random.normal(1, noise, (40, HORIZON))
            size = "only" if plain else "small"
            mean = float(by_frame.mean())
            run = store.add(model, mean, size=size, seed=seed, baseline=plain)
            store.keep_scores(run, by_frame)
    return store


def _bold(table: Table, column: str) -> set[str]:
    place = [column.name for column in table.columns].index(column)
    return {row.label for row in table.rows if row.entries[place].best}


def _regroup(store: FakeStore, clusters: Sequence[int]) -> None:
    """Give the test sequences of every run these clusters, each a person."""
    for run in store.runs:
        path = store.folder / run.run_id / records.PER_FRAME_TABLE
        scores = pd.read_parquet(path)
        scores["cluster"] = np.asarray(clusters)[scores["sequence"]]
        scores.to_parquet(path)
        run.tags[records.CLUSTER] = "person"


@pytest.mark.parametrize("column", ["mse", "skill", "ssim"])
def test_what_cannot_be_told_from_the_best_shares_the_mark(tmp_path: Path, column: str) -> None:
    store = _store(tmp_path, CLOSE)
    assert _bold(table_of(store, only_section(store)), column) == {"a-small", "b-small"}


def test_what_is_surely_worse_has_none(tmp_path: Path) -> None:
    store = _store(tmp_path, {"a": 0.02, "b": 0.03}, noise=0.01)
    assert _bold(table_of(store, only_section(store)), "mse") == {"a-small"}


def test_the_marks_are_those_of_the_comparisons_of_the_table(tmp_path: Path) -> None:
    store = _store(tmp_path, {f"m{n}": 0.02 + 0.0005 * n for n in range(8)}, seeds=2)
    section, scores = only_section(store), SequenceScores(store)
    pairs = paired(section, scores.of(section), scores.clusters(section))
    assert pairs is not None
    ranked = summary(section)["label"].tolist()
    alike = {label for label in ranked if not pairs.difference(label, ranked[0]).is_sure}
    assert 1 < len(alike) < len(ranked)
    assert _bold(table_of(store, section), "mse") == alike


def test_a_measure_without_scores_by_sequence_has_no_mark_but_costs_have(tmp_path: Path) -> None:
    store = _store(tmp_path, {"a": 0.02, "b": 0.03})
    table = table_of(store, only_section(store))
    assert not _bold(table, "lpips")
    assert len(_bold(table, "train_samples_per_second")) == 1


def test_skill_against_copy_last_has_the_marks_of_its_metric(tmp_path: Path) -> None:
    store = _store(tmp_path, CLOSE)
    section = only_section(store)
    figures = summary(section)
    skills = against_copy_last(section, figures, best(section, figures, SequenceScores(store)))
    assert skills is not None
    assert _bold(skills, "mse_skill") == _bold(skills, "ssim_skill") == {"a-small", "b-small"}


def test_nothing_worse_than_copying_is_marked(tmp_path: Path) -> None:
    store = _store(tmp_path, {"a": 0.0708, "b": 0.0712}, noise=0.1)
    section = only_section(store)
    figures = summary(section)
    scores = SequenceScores(store)
    pairs, marks = (
        paired(section, scores.of(section), scores.clusters(section)),
        best(section, figures, scores),
    )
    assert pairs is not None
    assert not pairs.difference("copy_last", "a-small").is_sure
    assert marks.labels["mse"] == {"copy_last"}
    assert "nothing worse than copying the last frame" in marks.note
    skills = against_copy_last(section, figures, marks)
    assert skills is not None
    assert not _bold(skills, "mse_skill")
    assert not _bold(table_of(store, section), "skill")


def test_with_one_seed_no_quality_is_marked_and_the_note_says_why(tmp_path: Path) -> None:
    store = _store(tmp_path, {"a": 0.02, "b": 0.09}, seeds=1)
    table = table_of(store, only_section(store))
    assert not _bold(table, "mse")
    assert "one seed" in table.bold
    assert table.bold in table.note
    assert _bold(table, "predict_frames_per_second")


def test_one_seed_that_is_not_the_best_takes_the_mark_from_nobody(tmp_path: Path) -> None:
    store = _store(tmp_path, {"a": 0.02, "b": 0.03}, noise=0.01)
    store.add("c", 0.025)
    store.keep_scores(store.runs[-1].run_id, np.full((40, HORIZON), 0.025))
    assert _bold(table_of(store, only_section(store)), "mse") == {"a-small"}
    store.add("d", 0.015)
    store.keep_scores(store.runs[-1].run_id, np.full((40, HORIZON), 0.015))
    assert not _bold(table_of(store, only_section(store)), "mse")


def test_nobody_is_best_where_the_scores_that_are_left_say_another_is(tmp_path: Path) -> None:
    store = _store(tmp_path, {"b": 0.02}, noise=0.01)
    for seed, mse in enumerate((0.010, 0.010, 0.050)):
        run = store.add("a", mse, seed=seed)
        store.keep_scores(run, mse * np.linspace(0.5, 1.5, 40)[:, None] * np.ones((40, HORIZON)))
    (tmp_path / run / records.PER_FRAME_TABLE).unlink()
    section = only_section(store)
    assert not _bold(table_of(store, section), "mse")
    said = verdict_of(store, section)
    assert "b-small has the best figure of 2 trained models" in said
    assert "a-small beats b-small on MSE" in said


def test_models_without_seeds_are_marked_among_themselves(tmp_path: Path) -> None:
    store = _store(tmp_path, {})
    store.add("mean_frame", 0.03, size="only", baseline=True)
    store.keep_scores(store.runs[-1].run_id, np.full((40, HORIZON), 0.03))
    assert _bold(table_of(store, only_section(store)), "mse") == {"mean_frame"}


@pytest.mark.parametrize(("persons", "said"), [(4, "only 4 persons"), (20, "20 persons")])
def test_the_note_says_how_many_clusters_there_are(tmp_path: Path, persons: int, said: str) -> None:
    store = _store(tmp_path, {"a": 0.02, "b": 0.05})
    _regroup(store, [n % persons for n in range(40)])
    assert said in table_of(store, only_section(store)).bold


def test_of_classifiers_the_share_of_videos_is_compared(tmp_path: Path) -> None:
    store, truth = FakeStore(tmp_path), ["a", "b"] * 60
    for seed in (0, 1):
        store.add_classifier("good", [*truth[:-8], *"aaaaaaaa"], truth, seed=seed)
        store.add_classifier("like", [*"bbbbbbbb", *truth[8:]], truth, seed=seed)
        store.add_classifier("poor", ["a"] * 120, truth, seed=seed)
    table = table_of(store, only_section(store, "actions"))
    assert _bold(table, "video_top1") == {"good-small", "like-small"}
    assert not _bold(table, "cross_entropy")  # no video's is stored


def test_of_one_cluster_nothing_is_marked(tmp_path: Path) -> None:
    store = _store(tmp_path, {"a": 0.02, "b": 0.05})
    _regroup(store, [0] * 40)
    table = table_of(store, only_section(store))
    assert not _bold(table, "mse")
    assert "only 1 person" in table.bold


@pytest.mark.usefixtures("undrawn")
def test_page_and_markdown_have_the_marks_of_the_terminal(tmp_path: Path) -> None:
    store = _store(tmp_path / "artifacts", CLOSE)
    page = report.build(store, "mnist", tmp_path / "out")
    markdown = page.with_name("report.md").read_text(encoding="utf-8")
    rows = [line for line in markdown.splitlines() if line.startswith(("| a-", "| b-", "| far"))]
    assert ["**" in row.split("|")[3] for row in rows[:3]] == [True, True, False]
    table = table_of(store, only_section(store))
    for text in (page.read_text(encoding="utf-8"), markdown):
        assert table.bold in text
