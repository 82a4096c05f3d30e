"""The tables of models tested where they were not trained."""

from __future__ import annotations

import json
from pathlib import Path

from bench import records
from bench.report.cells import cell_table
from bench.report.elsewhere import elsewhere_tables, markdown
from bench.report.section import sections
from tests.bench.report.report_store import FakeStore


def add(
    store: FakeStore,
    dataset: str,
    mse: float,
    seed: int,
    further: dict[str, float],
    digest: str = "same",
) -> None:
    metrics = {records.elsewhere(n, "mse"): value for n, value in enumerate(further.values())}
    params = {"dataset": dataset, records.ALSO_TESTED_ON: json.dumps([*further])}
    tags = {records.DATA_DIGEST: digest}
    store.add("convlstm", mse, seed=seed, params=params, metrics=metrics, tags=tags)


def lines(store: FakeStore) -> list[str]:
    parts = sections(cell_table(store, "mnist"))
    return [*markdown(elsewhere_tables(parts))]


def test_rows_are_where_models_were_trained_and_columns_where_tested(tmp_path: Path) -> None:
    store = FakeStore(tmp_path)
    for seed, more in ((0, 0.0), (1, 0.001)):
        add(store, "kth", 0.01 + more, seed, {"moving_mnist": 0.08 + more, "ucf101": 0.05})
        add(store, "moving_mnist", 0.03 + more, seed, {"kth": 0.02, "ucf101": 0.06})
    text = "\n".join(lines(store))
    assert "## Tested on data sets that they were not trained on" in text
    assert "| model | trained on | moving_mnist | kth | ucf101 |" in text
    assert "| convlstm-small | kth | 0.08050 ± 0.00635 | 0.01050 ± 0.00635 | 0.05000 ± 0" in text
    assert "| convlstm-small | moving_mnist | 0.03050 ± 0.00635 | 0.02000 ± 0" in text


def test_of_a_data_set_with_other_test_clips_the_newest_count(tmp_path: Path) -> None:
    store = FakeStore(tmp_path)
    add(store, "kth", 0.01, 0, {"ucf101": 0.05}, digest="earlier")
    add(store, "kth", 0.02, 0, {"ucf101": 0.06}, digest="later")
    rows = [line for line in lines(store) if line.startswith("| convlstm-small | kth")]
    of_mse, _of_skill = rows
    assert of_mse == "| convlstm-small | kth | 0.02000 | 0.06000 |"


def test_what_was_not_tested_is_left_open_and_odd_records_say_nothing(tmp_path: Path) -> None:
    store = FakeStore(tmp_path)
    add(store, "kth", 0.01, 0, {"moving_mnist": 0.08})
    add(store, "moving_mnist", 0.03, 0, {})
    row = next(line for line in lines(store) if line.startswith("| convlstm-small | moving_mnist"))
    assert row == "| convlstm-small | moving_mnist | 0.03000 | — |"
    odd = FakeStore(tmp_path)
    odd.add("convlstm", 0.03, params={records.ALSO_TESTED_ON: "[1"})
    odd.add("maxvit", 0.03, params={records.ALSO_TESTED_ON: "3"})
    assert lines(odd) == []
