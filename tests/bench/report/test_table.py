"""The tables and verdicts of a synthetic store whose numbers are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench import records, report
from bench.errors import UserError
from bench.report import table
from bench.report.cells import cell_table
from bench.report.columns import COLUMNS, count
from bench.report.scores import SequenceScores
from bench.report.section import EVALUATION, Section, sections
from bench.report.statistics.interval import half_width
from bench.report.statistics.predictability import with_predictability
from bench.report.statistics.significance import fixed
from bench.suite.suite import Evaluation
from tests.bench.report.report_store import (
    HORIZON,
    FakeStore,
    example,
    only_section,
    table_of,
    verdict_of,
)


@pytest.fixture
def store(tmp_path: Path) -> FakeStore:
    return example(tmp_path / "artifacts")


def printed(section: Section) -> dict[str, table.Row]:
    rows = table.printed(section, table.summary(section)).rows
    return {f"{row.label} {row.seeds}": row for row in rows}


def entries(section: Section) -> dict[str, dict[str, table.Entry]]:
    """The figures of each row by column."""
    content = table.printed(section, table.summary(section))
    names = [column.name for column in content.columns]
    return {
        f"{row.label} {row.seeds}": dict(zip(names, row.entries, strict=True))
        for row in content.rows
    }


def test_table_is_sorted_by_mse_and_keeps_what_did_not_finish(store: FakeStore) -> None:
    assert list(printed(only_section(store))) == [
        "predrnn-small 0 1 2",
        "convlstm-small 0 1 2",
        "maxvit-small 0",
        "mean_frame 0",
        "copy_last 0",
        "maxvit-small 1",
        "mine 0",
    ]


def test_models_that_take_no_covariates_are_named_once(tmp_path: Path) -> None:
    store = FakeStore(tmp_path)
    for seed in (0, 1):
        for model in ("convlstm", "simvp"):
            store.add(model, 0.03, seed=seed, tags={records.NOT_SHOWN: "push down, push right"})
        store.add("predrnn_v2", 0.01, seed=seed)
    section = only_section(store)
    said = (
        "Take no covariates (push down, push right), so shown frames only:"
        " convlstm-small, simvp-small."
    )
    assert table.printed(section, table.summary(section)).note.count(said) == 1


def test_figures_are_means_with_t_intervals(store: FakeStore) -> None:
    rows = entries(only_section(store))
    row = rows["predrnn-small 0 1 2"]
    assert row["mse"].text == "0.02100"
    assert row["mse"].half_width == "± 0.00248"  # 4.3027 * 0.001 / sqrt(3)
    assert row["skill"].text == "58.0"
    assert row["parameters"].text == "7.44 M"
    assert row["peak_bytes"].text == "1,024"
    assert rows["maxvit-small 0"]["mse"].half_width == ""


def test_the_cheapest_is_marked_and_ties_share_it(store: FakeStore) -> None:
    rows = entries(only_section(store))
    cheapest = {name for name, row in rows.items() if row["peak_bytes"].best}
    assert cheapest == {"predrnn-small 0 1 2", "convlstm-small 0 1 2", "maxvit-small 0"}
    assert not any(row["parameters"].best for row in rows.values())
    assert not any(row["mse"].best for row in rows.values())  # where nothing was compared


def test_missing_and_failed_figures_carry_their_reason(store: FakeStore) -> None:
    section = only_section(store)
    lpips = entries(section)["maxvit-small 0"]["lpips"]
    assert (lpips.text, lpips.reason) == ("not measured", "no <b>AlexNet</b> weights")
    diverged = printed(section)["maxvit-small 1"]
    assert diverged.status == "diverged"
    assert diverged.reason == "loss is NaN at step 40"
    assert diverged.command.endswith("maxvit-small/moving_mnist/1")
    assert all(entry.text == "" for entry in diverged.entries)


def test_newest_run_of_a_cell_counts(store: FakeStore) -> None:
    store.add("maxvit", 0.01, seed=1)
    assert entries(only_section(store))["maxvit-small 0 1"]["mse"].text == "0.02495"


def test_waiting_is_a_share_of_training_where_it_was_recorded(store: FakeStore) -> None:
    assert "waiting_share" not in entries(only_section(store))["maxvit-small 0"]
    store.add("maxvit", 0.0399, metrics={"time/waiting_seconds": 30.1})
    rows = entries(only_section(store))
    assert rows["maxvit-small 0"]["waiting_share"].text == "25.0"  # of 120.4 s
    assert rows["predrnn-small 0 1 2"]["waiting_share"].text == "—"
    assert rows["copy_last 0"]["waiting_share"].text == "—"


def _trained_for(budget: str, **batches: int) -> FakeStore:
    """A store of models trained for 500 steps of so many clips, and a baseline."""
    store = FakeStore(Path())
    base = {"train/steps": 0.0, "train/samples": 0.0, "model/parameters": 0.0, "test/mse": 0.07}
    store.add("copy_last", None, size="only", params={"budget": budget}, metrics=base)
    for model, batch in batches.items():
        spent = {"train/steps": 500.0, "train/samples": 500.0 * batch, "train/flops": 1.25e16}
        metrics = {**spent, "model/parameters": 1e6, "test/mse": 0.03}
        store.add(model, None, params={"budget": budget}, metrics=metrics)
    return store


def test_what_was_spent_is_shown_in_every_unit_that_was_recorded(store: FakeStore) -> None:
    spent = ("steps", "samples", "train_flops")
    assert not {*spent} & entries(only_section(store))["maxvit-small 0"].keys()
    row = entries(only_section(_trained_for("1.25e+16 flops", maxvit=16)))["maxvit-small 0"]
    assert [row[name].text for name in spent] == ["500", "8 k", "12.5 P"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (999.4, "999"),
        (999.7, "1 k"),
        (999_960, "1 M"),
        (7_440_000, "7.44 M"),
        (1.2e7, "12 M"),
        (1.5e21, "1500 E"),
    ],
)
def test_a_large_number_is_short_and_has_no_exponent(value: float, text: str) -> None:
    assert count(value) == text


def test_a_rate_ends_in_no_point() -> None:
    (rate,) = (c for c in COLUMNS["prediction"] if c.name == "train_samples_per_second")
    assert [rate.write(value) for value in (99.97, 99.94, 1234.5)] == ["100", "99.9", "1,234"]


def test_a_budget_is_read_plainly_wherever_it_is_said() -> None:
    store = _trained_for("1e+13 flops", maxvit=16, convlstm=16)
    section = only_section(store)
    assert "10 TFLOPs of training" in section.setting
    assert "after 10 TFLOPs of training on moving_mnist" in verdict_of(store, section)


@pytest.mark.parametrize(
    ("budget", "batches", "said"),
    [
        ("500 steps", {"maxvit": 4, "convlstm": 160, "predrnn": 16}, "4 to 160 clips"),
        ("500 steps", {"maxvit": 16, "convlstm": 16}, ""),
        ("500 steps", {}, ""),
        ("1e+13 flops", {"maxvit": 4, "convlstm": 160}, ""),
    ],
)
def test_batches_that_differ_are_told_where_steps_are_the_budget(
    budget: str, batches: dict[str, int], said: str
) -> None:
    section = only_section(_trained_for(budget, **batches))
    note = table.printed(section, table.summary(section)).note
    assert said in note
    assert bool(said) == bool(note)


def test_what_cannot_be_compared_has_its_own_section(store: FakeStore) -> None:
    store.add("convlstm", 0.03, params={"precision": "bf16"})
    store.add("convlstm", 0.02, size="published")
    store.add("convlstm", 0.09, tags={records.DATA_DIGEST: "other"})
    store.add("gpu", 0.01, tags={records.DEVICE: "Example GPU"}, params={"device": "cuda"})
    parts = sections(cell_table(store, "mnist"))
    assert [
        (section.device, section.precision, section.size, section.data_digest[:4])
        for section in parts
    ] == [
        ("Example GPU", "32", "small", "feed"),
        ("Example CPU, 2 cores", "32", "small", "othe"),
        ("Example CPU, 2 cores", "32", "published", "feed"),
        ("Example CPU, 2 cores", "bf16", "small", "feed"),
        ("Example CPU, 2 cores", "32", "small", "feed"),
    ]
    models = [set(section.cells["model"]) for section in parts]
    assert models[0] == {"gpu", "copy_last", "mean_frame"}
    assert models[1] == {"convlstm"}  # the baselines were measured on other data
    assert models[2] == {"convlstm", "mine", "copy_last", "mean_frame"}


def test_rows_of_a_model_that_was_evaluated_in_several_ways_say_how(store: FakeStore) -> None:
    for samples, mse in (("4", 0.021), ("10", 0.023)):
        store.add("sampler", mse, params={"samples": samples, "evaluations": "10"})
    store.add("oft", 0.024, params={"evaluations": "10"})
    store.add("oft", 0.025, params={"evaluations": "20"}, seed=1)
    for often in ("10", "20"):  # of no concern to what is not trained
        store.add("still", 0.03, size="only", baseline=True, params={"evaluations": often})
    table = table_of(store, only_section(store))
    figures = {row.label: (row.entries[0].value, row.n) for row in table.rows}
    assert figures["sampler-small (4 samples)"] == (0.021, 1)
    assert figures["sampler-small (10 samples)"] == (0.023, 1)
    assert figures["oft-small (10 evaluations)"] == (0.024, 1)
    assert figures["oft-small (20 evaluations)"] == (0.025, 1)
    assert figures["still"] == (0.03, 1)


def test_every_setting_of_an_evaluation_that_figures_depend_on_parts_rows() -> None:
    of_no_figure = {"showcase_clips", "target", "also_test_on"}
    in_the_data_digest = {"test_clips"}
    assert {*Evaluation.model_fields} == {*EVALUATION} | of_no_figure | in_the_data_digest


def test_borrowed_baseline_shows_quality_but_no_cost(store: FakeStore) -> None:
    store.add("gpu", 0.01, tags={records.DEVICE: "Example GPU"}, params={"device": "cuda"})
    first = sections(cell_table(store, "mnist"))[0]
    rows = entries(first)
    assert rows["copy_last 0"]["mse"].text == "0.05000"
    assert rows["copy_last 0"]["predict_frames_per_second"].text == "—"
    assert rows["gpu-small 0"]["skill"].text == "80.0"


def test_verdict_says_what_the_numbers_say(store: FakeStore) -> None:
    section = only_section(store)
    said = verdict_of(store, section)
    assert said.startswith(
        "On MSE predrnn-small has the best figure of 3 trained models: 0.02100, 58 % below copy"
    )  # one of the others has one seed
    assert (
        "predrnn-small beats convlstm-small on MSE: 32 % lower, 95 % interval 19 to 43 %, 3 seeds"
    ) in said
    assert "All 3 trained models have a better MSE than every baseline, 2 of them surely." in said
    assert "2 cells without a result" in said


def test_verdict_begins_with_what_no_model_beats(store: FakeStore) -> None:
    for run in store.runs:
        if run.params["model"] == "copy_last":
            run.metrics["test/ssim"], run.metrics["test/lpips"] = 0.99, 0.001
    said = verdict_of(store, only_section(store))
    assert said.startswith("No trained model beats copying the last frame on SSIM; on MSE predrnn")
    for run in store.runs:
        run.metrics.setdefault("test/lpips", 0.5)  # one was not measured: it might be ahead
    said = verdict_of(store, only_section(store))
    assert said.startswith(
        "No trained model beats copying the last frame on SSIM or LPIPS; on MSE predrnn-small"
    )
    for run in store.runs:
        if run.params["model"] == "copy_last":
            run.metrics["test/mse"] = 0.001
    said = verdict_of(store, only_section(store))
    assert said.startswith("No trained model beats copying the last frame on MSE, SSIM or LPIPS;")


@pytest.mark.parametrize(
    ("mse", "said"),
    [(0.0001, "more than 99 % below"), (0.0004, "99 % below"), (0.0, "100 % below")],
)
def test_only_what_is_perfect_is_all_of_it_below_copy_last(
    tmp_path: Path, mse: float, said: str
) -> None:
    store = FakeStore(tmp_path / "artifacts")
    store.add("copy_last", 0.05, size="only", baseline=True)
    store.add("good", 0.01)
    store.runs[-1].metrics["test/mse"] = mse
    assert f", {said} copy-last," in verdict_of(store, only_section(store))


def test_verdict_calls_nobody_best_of_one(tmp_path: Path) -> None:
    store = FakeStore(tmp_path / "artifacts")
    store.add("copy_last", 0.05, size="only", baseline=True)
    store.add("alone", 0.03)
    said = verdict_of(store, only_section(store))
    assert said.startswith("On MSE alone-small, the only trained model, has 0.03000, 40 % below")
    assert "best" not in said


def test_verdict_names_those_who_share_the_best_place(store: FakeStore) -> None:
    for seed, mse in enumerate((0.019, 0.021, 0.025)):
        store.add("close", mse, seed=seed)
    said = verdict_of(store, only_section(store))
    assert said.startswith(
        "On MSE predrnn-small (0.02100) and close-small (0.02167) share the best place of 4 trained"
        " models, for they cannot be told apart after 120 s of training on moving_mnist. "
    )


def test_verdict_admits_what_it_cannot_tell(store: FakeStore) -> None:
    for seed, mse in enumerate((0.019, 0.021, 0.025)):
        store.add("close", mse, seed=seed)
    section = only_section(store)
    assert "cannot be told apart" in verdict_of(store, section)
    store.runs = [run for run in store.runs if run.params["seed"] == "0"]
    section = only_section(store)
    said = verdict_of(store, section)
    assert "close-small has the better MSE, 5 % lower than predrnn-small" in said
    assert "no interval" in said
    assert "by figures alone" in said
    assert "beat" not in said
    for run in store.folder.rglob(records.PER_FRAME_TABLE):
        run.unlink()
    assert "Without scores of several sequences it cannot be told" in verdict_of(store, section)


def test_verdict_without_a_finished_model(store: FakeStore) -> None:
    store.runs = [run for run in store.runs if run.params["model"] in ("copy_last", "mine")]
    section = only_section(store)
    assert verdict_of(store, section).startswith("No trained model has finished")


def test_verdict_names_the_baseline_that_nothing_beats(store: FakeStore) -> None:
    for run in store.runs:
        if run.params["model"] == "mean_frame":
            run.metrics["test/mse"] = 0.001
    section = only_section(store)
    said = verdict_of(store, section)
    assert said.startswith("No trained model beats mean_frame on MSE; on MSE predrnn-small has")


def test_rows_trained_step_by_step_are_marked_where_others_were_replayed(
    store: FakeStore,
) -> None:
    def shown() -> table.Table:
        return table.printed(only_section(store), table.summary(only_section(store)))

    why = "eager: mine.py:7 reads the value of a tensor"
    for run in store.runs:
        run.tags[records.STEP] = why
    assert shown().note == ""
    for run in store.runs:
        if run.params["model"] == "convlstm":
            run.tags[records.STEP] = "graph"
    assert f"predrnn-small, {why}" in shown().note
    marked = {row.label for row in shown().rows if "§" in row.name}
    assert "predrnn-small" in marked
    assert "convlstm-small" not in marked


@pytest.mark.parametrize(
    ("mean", "half_width", "written"),
    [
        (0.0374, 0.0003, ("0.03740", "0.00030")),
        (0.00101, 3e-5, ("0.00101", "0.00003")),
        (5.77e-5, 2.1e-6, ("0.0000577", "0.0000021")),
        (4.6e-6, 0.0, ("0.00000460", "0.00000000")),
        (0.0, 0.0, ("0.00000", "0.00000")),
    ],
)
def test_small_errors_keep_three_digits(
    mean: float, half_width: float, written: tuple[str, str]
) -> None:
    mse = COLUMNS["prediction"][0]
    assert (mse.write(mean), mse.write(half_width, mean)) == written


def test_the_caption_says_what_was_tested_and_by_which_code(store: FakeStore) -> None:
    for run in store.runs:
        run.params["test_clips"] = "1000"
        run.tags[records.COMMIT] = "0123456789-dirty"
    assert only_section(store).setting.endswith(" (1,000 clips) · commit 01234567 (dirty)")
    store.runs[0].tags[records.COMMIT] = "89abcdef01"
    assert only_section(store).setting.endswith(" (1,000 clips)")


def test_rows_made_by_other_code_are_marked(store: FakeStore) -> None:
    assert table.printed(only_section(store), table.summary(only_section(store))).note == ""
    digests = {records.CODE_DIGEST: "new", records.COMMON_CODE: "c"}
    for run in store.runs:
        run.tags |= digests
    other = {records.COMMON_CODE: "d", records.COMMIT: "89abcdef012-dirty"}
    store.add("swinlstm", 0.05, tags=digests)
    for run in store.runs:
        if run.params["model"] == "convlstm":
            run.tags |= other
    section = only_section(store)
    marked = {name: row.other_code for name, row in printed(section).items() if row.other_code}
    assert marked == {"convlstm-small 0 1 2": "89abcdef (dirty)"}
    assert table.printed(section, table.summary(section)).note == (
        "† Made by other code than the rest: convlstm-small at commit 89abcdef (dirty)."
    )


def test_seeds_of_earlier_code_are_another_row(store: FakeStore) -> None:
    for run in store.runs:
        if run.params["model"] == "predrnn":
            run.tags[records.CODE_DIGEST] = "old-code" if run.params["seed"] == "0" else "new"
    section = only_section(store)
    assert {"predrnn-small 1 2", "predrnn-small (earlier code old-co) 0"} <= printed(section).keys()


def test_skill_is_the_way_from_copy_last_to_perfect(store: FakeStore) -> None:
    section = only_section(store)
    content = table.against_copy_last(section, table.summary(section))
    assert content is not None
    names = [column.name for column in content.columns]
    rows = {
        row.label: dict(zip(names, (entry.text for entry in row.entries), strict=True))
        for row in content.rows
    }
    errors = dict.fromkeys(("mse_skill", "mae_skill", "ssim_skill"), "10.0")
    assert rows["mean_frame"] == errors | {"lpips_skill": "10.0", "psnr_gain": "0.46"}
    errors = dict.fromkeys(errors, "20.2")
    assert rows["maxvit-small"] == errors | {"lpips_skill": "—", "psnr_gain": "0.98"}
    assert "copy_last" not in rows
    store.runs = [run for run in store.runs if run.params["model"] != "copy_last"]
    section = only_section(store)
    assert table.against_copy_last(section, table.summary(section)) is None


def test_the_predictability_horizon_ends_before_the_first_frame_without_skill(
    store: FakeStore,
) -> None:
    by_frame = np.full((3, HORIZON), 0.04)
    by_frame[1, 6] = 0.5  # one clip, and the mean of the frame with it
    run_id = store.add("sith", 0.04)
    store.keep_scores(run_id, by_frame)
    old = store.add("deepsith", 0.04)
    path = store.folder / old / records.PER_FRAME_TABLE
    pd.read_parquet(path).drop(columns="trivial_mse").to_parquet(path)
    section = with_predictability(only_section(store), SequenceScores(store))
    content = table.beyond_mean_error(table.summary(section))
    assert content is not None
    found = {row.label: row.entries[-1].text for row in content.rows}
    assert found["sith-small"] == "6.0"
    assert found["deepsith-small"] == "—"
    assert found["predrnn-small"] == "10.0"
    assert table.beyond_mean_error(table.summary(only_section(store))) is None


def test_records_from_before_a_measure_have_no_column_of_it(store: FakeStore) -> None:
    for run in store.runs:
        run.metrics.pop("test/skill", None)
    section = only_section(store)
    content = table.printed(section, table.summary(section))
    assert "skill" not in [column.name for column in content.columns]


def test_a_metric_of_some_data_sets_alone_has_a_column_where_it_was_measured(
    store: FakeStore,
) -> None:
    def found() -> tuple[set[str], set[str]]:
        section = only_section(store)
        summary = table.summary(section)
        printed = {column.name for column in table.printed(section, summary).columns}
        return printed, {*table.csv([summary]).splitlines()[0].split(",")}

    figures = {"csi", "rmse_by_area", "acc"}
    for names in found():
        assert not figures & names
    store.add("sith", 0.04, metrics={"test/csi": 0.31})
    for names in found():
        assert figures & names == {"csi"}


def test_terminal_gets_the_same_tables_by_title(store: FakeStore) -> None:
    keys = {run.tags[records.CELL] for run in store.runs}
    scores = SequenceScores(store)
    (title,) = tables = report.tables(cell_table(store, "mnist"), keys, scores)
    assert title.startswith("moving_mnist, small models · 10 → 10 frames · 120 s of training")
    section = only_section(store)
    assert tables[title] == table_of(store, section)


def test_terminal_gets_only_tables_of_the_cells_it_asks_for(store: FakeStore) -> None:
    longer = {"budget": "600 s", "budget.seconds": "600"}
    store.add("convlstm", 0.02, seed=7, params=longer)
    baselines = [run.tags[records.CELL] for run in store.runs[:2]]
    newest = store.runs[-1].tags[records.CELL]
    cells, scores = cell_table(store, "mnist"), SequenceScores(store)
    (title,) = report.tables(cells, [newest, *baselines], scores)
    assert "600 s of training" in title
    assert len(report.tables(cells, baselines, scores)) == 2


def test_another_suite_is_shown_beside_under_its_name(store: FakeStore) -> None:
    store.add("convlstm", 0.028, params={"suite": "longer"})
    store.add("convlstm", 0.01, params={"suite": "longer", "budget": "600 s"})
    store.add("copy_last", 0.05, size="only", baseline=True, params={"suite": "longer"})
    both = cell_table(store, "mnist", "longer")
    assert {(s.budget, s.size) for s in sections(both)} == {
        ("120 s", "small"),
        ("600 s", "small"),
    }
    shared = next(s for s in sections(both) if s.budget == "120 s")
    assert list(printed(shared)) == [
        "predrnn-small 0 1 2",
        "convlstm-small (longer) 0",
        "convlstm-small 0 1 2",
        "maxvit-small 0",
        "mean_frame 0",
        "copy_last 0",
        "maxvit-small 1",
        "mine 0",
    ]


@pytest.mark.parametrize(("suite", "other"), [("mnits", None), ("mnist", "mnits")])
def test_a_suite_without_cells_is_one_line_that_names_those_with(
    store: FakeStore, suite: str, other: str | None
) -> None:
    with pytest.raises(UserError, match=r"no cell of the suite 'mnits' .* it has mnist"):
        cell_table(store, suite, other)


def skip(store: FakeStore, model: str, dataset: str, *, seed: int = 0) -> None:
    """A cell that found no data, and so never knew its task's frames or their digest."""
    reason = {records.ERROR: f"{dataset} is not here: get it"}
    store.add(
        model,
        None,
        seed=seed,
        status=records.Status.SKIPPED,
        params={"dataset": dataset},
        tags=reason,
    )
    run = store.runs[-1]
    for name in ("context_frames", "horizon"):
        del run.params[name]
    del run.tags[records.DATA_DIGEST]


def test_a_setting_says_no_more_of_recipes_than_is_so(store: FakeStore) -> None:
    tuned = {"recipe": "tuned", "recipe.trials": "5"}
    store.add("a", 0.02, params=tuned)
    assert "tuned recipes" in only_tuned(store).split(" · ")
    store.add("own", 0.03, params={"recipe": "tuned"})
    assert "tuned recipes where there are some" in only_tuned(store).split(" · ")


def only_tuned(store: FakeStore) -> str:
    found = sections(cell_table(store, "mnist"))
    (setting,) = (section.setting for section in found if section.recipe == "tuned")
    return setting


def test_cell_skipped_before_its_task_was_known_joins_its_table(store: FakeStore) -> None:
    skip(store, "late", "moving_mnist")
    row = printed(only_section(store))["late-small 0"]
    assert (row.status, row.reason) == ("skipped", "moving_mnist is not here: get it")


def test_data_set_nobody_has_is_the_last_section_and_says_what_to_get(store: FakeStore) -> None:
    for seed in (0, 1):
        skip(store, "predrnn", "kth", seed=seed)
    skip(store, "convlstm", "kth")
    first, last = sections(cell_table(store, "mnist"))
    assert (first.dataset, last.dataset) == ("moving_mnist", "kth")
    assert last.setting == (
        "120 s of training · Example CPU, 2 cores · precision 32 · each model's own recipe"
        " · commit 0123abcd"
    )
    assert list(printed(last)) == ["convlstm-small 0", "predrnn-small 0 1"]
    said = verdict_of(store, last)
    assert said == "Nothing ran on kth: kth is not here: get it"


def test_skipping_a_cell_does_not_void_what_it_gave_before(store: FakeStore) -> None:
    before = list(printed(only_section(store)))
    skip(store, "predrnn", "moving_mnist", seed=1)
    assert list(printed(only_section(store))) == before


@pytest.mark.usefixtures("undrawn")
def test_a_cell_of_the_plan_that_has_not_begun_is_a_row(store: FakeStore, tmp_path: Path) -> None:
    store.plan = store.runs[2:5]
    store.runs = [run for run in store.runs if run is not store.plan[0]]
    section = only_section(store)
    row = printed(section)["predrnn-small 0"]
    assert (row.status, row.command) == ("missing", store.plan[0].tags[records.COMMAND])
    assert "predrnn-small seed 0: not run yet" in verdict_of(store, section)
    page = report.build(store, "mnist", tmp_path / "out").read_text(encoding="utf-8")
    assert "<strong>not run yet</strong>" in page
    assert "predrnn-small 1 2" in printed(section)


def test_cells_that_ended_alike_share_a_row(store: FakeStore) -> None:
    for seed in (1, 0, 2):
        skip(store, "late", "moving_mnist", seed=seed)
    section = only_section(store)
    row = printed(section)["late-small 0 1 2"]
    assert row.command.count("python -m bench cell") == 3
    said = verdict_of(store, section)
    assert "5 cells without a result" in said
    assert "late-small seeds 0 1 2: skipped" in said


def test_intervals_cover_what_they_promise() -> None:
    random = np.random.default_rng(0)
    samples = random.normal(1.0, 0.1, (2000, 2, 3))
    covered = np.mean([abs(a.mean() - 1) <= half_width(a) for a, _ in samples])
    assert 0.935 < covered < 0.965
    assert np.isnan(half_width([1.0]))


def test_a_baseline_that_is_done_needs_no_other_seed(store: FakeStore) -> None:
    before = list(printed(only_section(store)))
    for seed, status in enumerate((records.Status.SKIPPED, records.Status.MISSING), start=1):
        store.add("copy_last", None, size="only", seed=seed, status=status)
    store.add("convlstm", None, seed=7, status=records.Status.SKIPPED)
    assert {*printed(only_section(store))} == {*before, "convlstm-small 7"}


def test_only_a_baseline_of_one_seed_owes_nothing_to_it(store: FakeStore) -> None:
    assert fixed(only_section(store)) == {"copy_last", "mean_frame"}
    store.add("mean_frame", 0.046, size="only", baseline=True, seed=1)  # so it draws samples
    store.add("copy_last", None, size="only", seed=1, status=records.Status.FAILED)
    assert fixed(only_section(store)) == {"copy_last"}
