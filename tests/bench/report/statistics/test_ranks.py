"""Ranks over data sets of a synthetic store whose figures are known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench import records, report
from bench.report import table
from bench.report.cells import cell_table
from bench.report.section import sections
from bench.report.statistics.ranks import Ranks, ranks
from tests.bench.report.report_store import FakeStore

MSE = {
    "moving_mnist": {"predrnn": 0.02, "convlstm": 0.03, "sith": 0.04},
    "kth": {"predrnn": 0.01, "convlstm": 0.005, "sith": 0.02},
    "taxibj": {"predrnn": 0.01, "convlstm": 0.02, "sith": 0.01},
}


def add(store: FakeStore, dataset: str, model: str, mse: float | None, **choices: str) -> None:
    of_dataset = {records.DATA_DIGEST: dataset}
    status = records.Status.DONE if mse else records.Status.FAILED
    params = {"dataset": dataset, **choices}
    store.add(model, mse, params=params, tags=of_dataset, status=status)


@pytest.fixture
def store(tmp_path: Path) -> FakeStore:
    store = FakeStore(tmp_path / "artifacts")
    for dataset, models in MSE.items():
        for model, mse in models.items():
            add(store, dataset, model, mse)
    return store


def of(store: FakeStore) -> list[Ranks]:
    parts = sections(cell_table(store, "mnist"))
    return ranks(parts, [table.summary(section) for section in parts])


def test_ranks_are_means_over_data_sets_and_ties_share(store: FakeStore) -> None:
    (found,) = of(store)
    assert found.title == "Mean rank over 3 data sets, small models"
    assert found.setting == (
        "120 s of training · Example CPU, 2 cores · precision 32 · each model's own recipe"
        " · commit 0123abcd"
    )
    assert found.datasets == ("taxibj", "kth", "moving_mnist")  # the newest first
    assert [(row.label, row.mean, row.ranks) for row in found.rows] == [
        ("predrnn-small", "1.50", ("1.5", "2", "1")),
        ("convlstm-small", "2.00", ("3", "1", "2")),
        ("sith-small", "2.50", ("1.5", "3", "3")),
    ]
    assert found.verdict.startswith("3 families of data sets: too few")
    assert found.left_out == ()


@pytest.fixture
def wide(store: FakeStore) -> FakeStore:
    """Six families."""
    for dataset in ("ucf101", "human36m", "frames(name='a')"):
        for model, mse in MSE["moving_mnist"].items():
            add(store, dataset, model, mse)
    return store


def test_six_families_have_a_verdict(wide: FakeStore) -> None:
    (found,) = of(wide)
    assert found.verdict == "predrnn-small ranks best: 1.25 on average; convlstm-small has 2.00."


def test_all_that_share_the_best_rank_are_named_and_none_that_only_rounds_to_it(
    tmp_path: Path,
) -> None:
    store = FakeStore(tmp_path / "alike")
    order = ["a", "b", "c"]
    for turn, dataset in enumerate(("moving_mnist", "kth", "taxibj", "ucf101", "bair", "sevir")):
        for place, model in enumerate(order[turn % 3 :] + order[: turn % 3]):
            add(store, dataset, model, 0.01 * (place + 1))
    (found,) = of(store)
    said = "a-small, b-small and c-small share the best mean rank, 2.00."
    assert found.verdict == said
    rows = (found.rows[0], *(replace(row, is_best=False) for row in found.rows[1:]))
    nearly = replace(found, rows=rows)
    assert nearly.verdict == "a-small ranks best: 2.00 on average; b-small has 2.00."


def test_data_sets_of_one_family_have_one_vote(store: FakeStore) -> None:
    for horizon in (20, 30, 40):
        for model in MSE["moving_mnist"]:
            add(store, f"moving_mnist(horizon={horizon})", model, MSE["moving_mnist"][model])
    (found,) = of(store)
    assert found.families == 3
    assert len(found.datasets) == 6
    assert {row.label: row.mean for row in found.rows}["convlstm-small"] == "2.00"


def test_skill_over_families_and_seeds_stands_beside(store: FakeStore) -> None:
    (single,) = of(store)
    assert single.best == "predrnn-small"
    assert {row.label: row.iqm for row in single.rows}["convlstm-small"] == "61.7"
    for dataset, models in MSE.items():
        for model, mse in models.items():
            for seed in (1, 2):
                store.add(
                    model,
                    mse + 0.001 * seed,
                    seed=seed,
                    params={"dataset": dataset},
                    tags={records.DATA_DIGEST: dataset},
                )
    (found,) = of(store)
    rows = {row.label: row for row in found.rows}
    assert rows[found.best].improvement == ""
    low, high = rows["sith-small"].iqm.partition("(")[2].rstrip(")").split(" to ")
    assert float(low) < found.skills["sith-small"].iqm.value * 100 < float(high)
    for run in store.runs:
        run.metrics.pop("test/skill", None)
    (old,) = of(store)
    assert old.skills == {}
    assert old.best == ""


def test_a_model_with_a_marked_cell_is_left_out_of_all_ranks(store: FakeStore) -> None:
    for dataset in ("moving_mnist", "kth", "taxibj"):
        add(store, dataset, "mine", 0.001)
    store.runs[-1].metrics[records.TRAIN_STEPS] = 39.0
    (found,) = of(store)
    assert "mine-small" in found.left_out
    assert "mine-small" not in {row.label for row in found.rows}
    assert found.best == "predrnn-small"


def test_who_did_not_finish_everywhere_is_left_out_of_all_ranks(store: FakeStore) -> None:
    for dataset in ("moving_mnist", "kth"):
        add(store, dataset, "mine", 0.001)
    add(store, "taxibj", "mine", None)
    (found,) = of(store)
    assert "mine-small" in found.left_out
    assert any("mine-small" in note for note in found.notes)


def test_who_ran_other_code_is_marked(store: FakeStore) -> None:
    for run in store.runs:
        run.tags[records.COMMON_CODE] = run.params["dataset"]
    run = next(run for run in store.runs if run.params["model"] == "convlstm")
    run.tags[records.COMMON_CODE] = "older"
    (found,) = of(store)
    assert [row.name for row in found.rows] == ["predrnn-small", "convlstm-small †", "sith-small"]
    assert found.notes[0].startswith("† Made by other code")
    ranked = {row.label: row.ranks for row in found.rows}
    assert ranked["predrnn-small"] == ("1.5", "2", "1")


def test_a_data_set_without_any_result_does_not_count(store: FakeStore) -> None:
    add(store, "human36m", "predrnn", None)
    (found,) = of(store)
    assert set(found.datasets) == set(MSE)


def test_only_one_setting_is_ranked_together(store: FakeStore) -> None:
    for model in ("predrnn", "convlstm"):
        add(store, "kth", model, 0.03, budget="600 s")
    (found,) = of(store)
    assert "120 s of training" in found.setting
    ranks_of = {row.label: row.ranks for row in found.rows}["convlstm-small"]
    ranked = dict(zip(found.datasets, ranks_of, strict=True))
    assert ranked == {"taxibj": "3", "kth": "1", "moving_mnist": "2"}
    for model in ("predrnn", "convlstm"):
        add(store, "taxibj", model, 0.03, budget="600 s")
    assert ["600 s" in table.setting for table in of(store)] == [True, False]


def test_one_data_set_or_one_model_has_no_ranks(tmp_path: Path) -> None:
    store = FakeStore(tmp_path)
    for model, mse in MSE["kth"].items():
        add(store, "kth", model, mse)
    assert of(store) == []
    add(store, "taxibj", "predrnn", 0.01)
    assert of(store) == []


@pytest.mark.usefixtures("undrawn")
def test_report_begins_with_the_ranks(store: FakeStore, tmp_path: Path) -> None:
    page = report.build(store, "mnist", tmp_path / "out").read_text(encoding="utf-8")
    markdown = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert page.index('id="overview"') < page.index("Mean rank over 3 data sets")
    assert page.index("Mean rank over 3 data sets") < page.index('id="section-1"')
    assert '<td class="figure" data-value="1.50">1.50</td>' in page
    row = next(line for line in markdown.splitlines() if line.startswith("| sith-small | 2.50 |"))
    assert row.endswith("| 1.5 | 3 | 3 |")
    assert "plots/0-0-profile.png" in markdown
    assert (tmp_path / "out" / "plots" / "0-0-profile.png").exists()
