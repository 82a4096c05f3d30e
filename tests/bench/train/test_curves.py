import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import records
from bench.train.budget import Budget, Clock
from bench.train.curves import LOSS_POINTS, Curves


def _curves(steps: int) -> tuple[Clock, Curves]:
    clock = Clock(Budget("steps", steps), lambda: None)
    return clock, Curves(clock, "val/cross_entropy")


def _train(clock: Clock, curves: Curves, until: float) -> None:
    """Steps whose loss is their number, told in stretches that end at the marks."""
    while clock.progress < until:
        mark, losses = curves.next_mark, []
        while clock.progress < min(mark, until):
            losses.append(float(clock.steps))
            clock.count_step(1)
        curves.add_losses(losses, {}, due=clock.progress >= mark)


def _loss_points(curves: Curves) -> list[tuple[int, float]]:
    return [(p.step, p.value) for p in curves.points if p.key == records.TRAIN_LOSS]


@given(st.integers(1, 3000))
def test_the_loss_curve_covers_every_step_once(steps: int) -> None:
    clock, curves = _curves(steps)
    _train(clock, curves, 1.0)
    points = _loss_points(curves)
    assert len(points) == min(steps, LOSS_POINTS)
    assert points[-1][0] == steps
    starts = [0, *(step for step, _ in points)]
    covered = [(b - a) * mean for a, b, (_, mean) in zip(starts, starts[1:], points, strict=False)]
    assert sum(covered) == pytest.approx(sum(range(steps)))


@given(st.integers(2, 1000), st.floats(0.05, 0.95))
def test_a_kill_changes_no_point(steps: int, killed_at: float) -> None:
    clock, whole = _curves(steps)
    _train(clock, whole, 1.0)
    first_clock, first = _curves(steps)
    _train(first_clock, first, killed_at)
    second_clock, second = _curves(steps)
    second_clock.restore(first_clock.state())
    second.restore(first.state())
    _train(second_clock, second, 1.0)
    assert _loss_points(second) == _loss_points(whole)


def test_every_point_has_its_training_seconds() -> None:
    clock, curves = _curves(3)
    _train(clock, curves, 1.0)
    curves.add_validation(0.5)
    timed = [p.step for p in curves.points if p.key == records.TRAIN_SECONDS]
    assert timed == sorted({p.step for p in curves.points})


def test_the_best_validation_is_the_lowest() -> None:
    _, curves = _curves(3)
    assert [curves.add_validation(mse) for mse in (0.5, 0.7, 0.4, float("nan"))] == [
        True,
        False,
        True,
        False,
    ]
    assert curves.best_validation == 0.4
    assert curves.validation()["val/best_cross_entropy"] == 0.4
    assert set(curves.validation()) == {"val/cross_entropy", "val/best_cross_entropy"}
