import contextlib
import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import UserError
from bench.train.budget import Budget, BudgetKind, Clock
from bench.train.conditions import Calibration


@pytest.mark.parametrize(
    ("text", "kind", "amount"),
    [
        ("60s", "seconds", 60),
        ("5m", "seconds", 300),
        ("1.5 h", "seconds", 5400),
        ("2000steps", "steps", 2000),
        ("100000 samples", "samples", 100_000),
        ("1e15flops", "flops", 1e15),
    ],
)
def test_budgets_are_written_as_people_write_them(text: str, kind: str, amount: float) -> None:
    assert Budget.parse(text) == Budget(kind, amount)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["", "60", "s", "-5s", "0s", "5 parsecs", "1.2.3s"])
def test_what_is_no_budget_is_refused_with_the_forms_that_are(text: str) -> None:
    with pytest.raises(UserError, match="write 60s"):
        Budget.parse(text)


@pytest.mark.parametrize(
    "text",
    ["inf", "nans", "1e999steps", "0.5steps", "1.5samples", "0.0001flops", "1e30steps", "1e9h"],
)
def test_an_amount_that_nobody_means_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="write 60s"):
        Budget.parse(text)


@pytest.mark.parametrize("amount", [math.nan, math.inf, -1.0, 0.0])
def test_a_budget_is_above_zero_wherever_it_comes_from(amount: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        Budget("seconds", amount)


@given(st.text() | st.from_regex(r"[0-9.]{1,12}(e[+-]?[0-9]{1,4})? ?[a-z]{1,7}", fullmatch=True))
def test_any_text_is_a_budget_or_a_users_error(text: str) -> None:
    with contextlib.suppress(UserError):
        budget = Budget.parse(text)
        assert Budget.parse(budget.exactly) == budget


@given(st.sampled_from(["seconds", "steps", "samples"]), st.integers(1, 10**8))
def test_a_budget_reads_back_what_it_writes(kind: str, amount: int) -> None:
    budget = Budget(kind, float(amount))  # type: ignore[arg-type]
    assert Budget.parse(str(budget)) == budget


@pytest.fixture
def passing(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Lets time pass, on a clock of the test's own."""
    now = 100.0

    def passes(seconds: float) -> None:
        nonlocal now
        now += seconds

    monkeypatch.setattr("bench.train.budget.time.perf_counter", lambda: now)
    return passes


def test_time_outside_a_running_stretch_is_free(passing: Callable[[float], None]) -> None:
    clock = Clock(Budget("seconds", 10), lambda: None)
    for _ in range(2):
        with clock.running():
            passing(3)
            assert clock.seconds in (3, 6)
        passing(50)
    assert (clock.seconds, clock.progress) == (6, 0.6)


def test_the_device_is_waited_for_at_both_ends_of_a_stretch() -> None:
    waits: list[str] = []
    clock = Clock(Budget("seconds", 10), lambda: waits.append("wait"))
    with clock.running():
        waits.append("work")
    assert waits == ["wait", "work", "wait"]


def test_work_that_the_device_finishes_late_is_counted(passing: Callable[[float], None]) -> None:
    clock = Clock(Budget("seconds", 10), lambda: passing(2))
    with clock.running():
        passing(1)
    assert clock.seconds == 3


@pytest.mark.parametrize(
    ("budget", "progress"),
    [("10steps", 0.3), ("12samples", 1.0), ("4800flops", 0.5), ("48samples", 0.25)],
)
def test_progress_is_the_fraction_spent(budget: str, progress: float) -> None:
    clock = Clock(Budget.parse(budget), lambda: None, flops_per_sample=200)
    for _ in range(3):
        clock.count_step(samples=4)
    assert clock.progress == pytest.approx(progress)


@given(st.integers(1, 10**6), st.integers(1, 10**4))
def test_training_ends_at_the_step_nearest_to_the_end_of_the_budget(
    amount: int, batch: int
) -> None:
    clock = Clock(Budget("samples", amount), lambda: None)
    before = max(0, amount // batch - 3)  # of the end are a few steps
    clock.restore(clock.state() | {"steps": before, "samples": before * batch})
    while not clock.reaches(1.0):
        clock.count_step(batch)
    assert clock.steps >= 1
    if clock.steps > 1:
        assert abs(clock.samples - amount) <= batch / 2
        assert clock.overspend == pytest.approx(clock.samples / amount - 1)


@pytest.mark.parametrize("kind", ["seconds", "steps", "samples", "flops"])
def test_one_step_is_always_taken(kind: BudgetKind) -> None:
    clock = Clock(Budget(kind, 1), lambda: None, flops_per_sample=1000)
    clock.calibrate(Calibration(step_seconds=50.0, step_cpu_seconds=50.0))
    assert not clock.reaches(1.0)
    with clock.running():
        clock.count_step(16)
        assert clock.reaches(1.0)


@pytest.mark.parametrize(("left", "begun"), [(0.6, True), (0.4, False)])
def test_in_seconds_the_length_of_recent_steps_decides(
    passing: Callable[[float], None], left: float, begun: bool
) -> None:
    clock = Clock(Budget("seconds", 40 + left), lambda: None)
    clock.calibrate(Calibration(step_seconds=30.0, step_cpu_seconds=30.0))  # on another machine
    for _ in range(40):
        assert not clock.reaches(1.0)
        with clock.running():
            passing(1.0)
            clock.count_step(4)
    assert clock.reaches(1.0) is not begun


def test_steps_that_the_device_has_still_to_run_are_foreseen(
    passing: Callable[[float], None],
) -> None:
    queued = 0

    def synchronize() -> None:
        nonlocal queued
        passing(2.0 * queued)
        queued = 0

    clock = Clock(Budget("seconds", 20), synchronize)
    clock.calibrate(Calibration(step_seconds=2.0, step_cpu_seconds=0.1))
    with clock.running():
        while not clock.reaches(1.0):
            clock.count_step(4)
            queued += 1
    assert (clock.steps, clock.seconds) == (10, 20)


def test_a_clock_of_an_older_checkpoint_goes_on() -> None:
    clock = Clock(Budget("steps", 10), lambda: None)
    clock.restore({"seconds": 3.0, "waiting_seconds": 1.0, "steps": 2, "samples": 8})
    assert (clock.steps, clock.seconds) == (2, 3.0)


def test_a_restored_clock_goes_on_where_it_was() -> None:
    first = Clock(Budget("steps", 10), lambda: None)
    with first.running():
        first.count_step(4, waiting_seconds=0.25)
        first.count_step(4, waiting_seconds=0.5)
    second = Clock(Budget("steps", 10), lambda: None)
    second.restore(first.state())
    assert (second.steps, second.samples, second.seconds) == (2, 8, first.seconds)
    assert second.waiting_seconds == first.waiting_seconds == 0.75
    assert second.conditions.metrics() == first.conditions.metrics() != {}


def test_flops_cannot_be_a_budget_where_they_cannot_be_counted() -> None:
    with pytest.raises(UserError, match="FLOPs can be counted"):
        Clock(Budget("flops", 1e9), lambda: None, flops_per_sample=None)
