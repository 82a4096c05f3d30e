"""How long training is expected to take where the budget is an amount of work."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import torch

from bench import records
from bench.run import estimate, plan
from bench.run.record import Record
from bench.run.recorded import Recorded
from bench.store.mlflow import RecordedCell
from bench.suite.cell import Cell
from bench.suite.settle import settle
from bench.suite.suite import load_suite

RATE = 8.0  # samples a second of the earlier cell


@dataclass
class Kept:
    """A store of these runs of the suite and of another one."""

    ours: list[RecordedCell] = field(default_factory=list)
    others: list[RecordedCell] = field(default_factory=list)

    def cells(self, _: str) -> list[RecordedCell]:
        return self.ours

    def done_elsewhere(self, _: str) -> list[RecordedCell]:
        return self.others


def _recorded(*ours: RecordedCell, others: tuple[RecordedCell, ...] = ()) -> Recorded:
    store: Any = Kept([*ours], [*others])
    return Recorded(store, "smoke")


def _cell(budget: str, model: str = "convlstm", **overrides: object) -> Cell:
    suite = load_suite("smoke").with_overrides(models=[model], device="cpu", budget=budget)
    return settle(suite.with_overrides(**overrides))[0]


def _run(cell: Cell, rate: float = RATE) -> RecordedCell:
    """A finished run of `cell`, which took `rate` samples a second."""
    record = Record.of(cell, results=Path(), command="", parent="")
    tags = record.tags | {records.STATUS: "done"}
    flops = 100 * rate * (cell.cost.train_flops or 0.0)
    metrics = {"train/samples": 100 * rate, "train/flops": flops, "time/train_seconds": 100.0}
    return RecordedCell("r", cell.name, "", datetime.now(UTC), record.params, tags, metrics)


@pytest.mark.parametrize("others", [False, True])
@pytest.mark.parametrize("kind", ["flops", "samples", "steps"])
def test_an_earlier_cell_tells_by_its_samples_a_second(kind: str, others: bool) -> None:
    earlier = _run(_cell("120s", seeds=[5]))
    recorded = _recorded(others=(earlier,)) if others else _recorded(earlier)
    flops = _cell("1steps").cost.train_flops
    assert flops
    amount = {"flops": 400 * flops, "samples": 400, "steps": 200}[kind]  # batches of two
    found = estimate.training_seconds(_cell(f"{amount!r}{kind}"), recorded)
    assert found == (pytest.approx(400 / RATE), "earlier")


@pytest.mark.parametrize(
    "other",
    [
        {"model": "predrnn"},
        {"size": "published"},
        {"datasets": ["moving_mnist(horizon=5)"]},
        {"precision": "bf16"},
    ],
)
def test_another_model_size_or_shape_tells_nothing(other: dict[str, Any]) -> None:
    recorded = _recorded(_run(_cell("120s", **other)))
    found = estimate.training_seconds(_cell("1e12flops"), recorded)
    assert found
    assert found.basis == "speed"


def test_another_machine_and_a_cell_that_never_trained_tell_nothing() -> None:
    run = _run(_cell("120s"))
    away = replace(run, tags=run.tags | {records.DEVICE: "another CPU, 2 threads"})
    idle = replace(run, metrics={"train/samples": 0.0, "time/train_seconds": 0.0})
    without = replace(run, metrics={})
    failed = replace(run, tags=run.tags | {records.STATUS: "failed"})
    recorded = _recorded(away, idle, without, failed)
    found = estimate.training_seconds(_cell("1e12flops"), recorded)
    assert found
    assert found.basis == "speed"


def test_without_a_record_the_speed_of_the_cores_tells_and_the_threads_stay() -> None:
    threads = torch.get_num_threads()
    found = estimate.training_seconds(_cell("1e12flops"), _recorded())
    twice = estimate.training_seconds(_cell("2e12flops"), _recorded())
    assert found
    assert twice
    assert 0.1 < found.seconds < 10_000
    assert twice.seconds == pytest.approx(2 * found.seconds)
    assert torch.get_num_threads() == threads


def test_of_the_same_flops_those_that_move_more_take_longer() -> None:
    cells = [_cell("1e12flops", model) for model in ("convlstm", "swinlstm_b")]
    few, many = (cell.cost.train_bytes / (cell.cost.train_flops or 1) for cell in cells)
    assert few < many
    quick, slow = (estimate.training_seconds(cell, _recorded()) for cell in cells)
    assert quick
    assert slow
    assert quick.seconds < slow.seconds


def test_larger_batches_spare_calls() -> None:
    cell = _cell("1000samples")
    small, large = (
        cell.model_copy(update={"recipe": replace(cell.recipe, batch_size=batch)})
        for batch in (1, 100)
    )
    times = [estimate.training_seconds(each, _recorded()) for each in (small, large)]
    assert times[0]
    assert times[1]
    assert times[0].seconds > times[1].seconds


def test_a_long_clip_is_not_counted_for_the_plan() -> None:
    long = {"datasets": ["moving_mnist/long(context_frames=100)"]}
    cell = _cell("1e12flops", **long)
    assert estimate.training_seconds(cell, _recorded()) is None


def test_only_trained_cells_of_a_budget_of_work_have_training_seconds_in_the_plan(
    tmp_path: Path,
) -> None:
    cells = [_cell("1e12flops"), _cell("1e12flops", "copy_last"), _cell("120s")]
    found = plan.plan(cells, tmp_path, _recorded(_run(cells[0], rate=1e9)), force="*")
    assert [cell.basis for cell in found] == ["earlier", "budget", "budget"]
    assert [cell.training_seconds is not None for cell in found] == [True, False, False]


def test_batches_of_several_sizes_are_said_under_a_budget_in_steps() -> None:
    def remark(budget: str, *models: str, **more: object) -> str:
        return " ".join(plan.settings([_cell(budget, model, **more) for model in models]).remarks)

    own = {"recipe": "published", "size": "published"}
    said = remark("4steps", "convlstm", "copy_last", "lmc_memory", **own)
    assert "16 to 128 clips" in said
    assert remark("4steps", "convlstm", "predrnn") == ""
    assert remark("4samples", "convlstm", "lmc_memory", **own) == ""
