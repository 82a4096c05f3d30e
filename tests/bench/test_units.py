import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.train.budget import Budget, BudgetKind
from bench.units import budget, byte_size, duration, figure, of_budget


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0312, "0.0312"),
        (0.00894, "0.00894"),
        (0.5, "0.500"),
        (123.4, "123"),
        (999.7, "1,000"),
        (1310.0, "1,310"),
        (-2.5, "-2.50"),
        (1.23e-7, "1.23e-07"),
        (math.nan, "nan"),
        (math.inf, "inf"),
    ],
)
def test_a_figure_has_three_digits(value: float, text: str) -> None:
    assert figure(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 s"),
        (0.044, "0.044 s"),
        (1.3, "1.3 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (125.0, "2 min 5 s"),
        (3599.6, "1 h"),
        (3720.0, "1 h 2 min"),
        (86399.0, "1 d"),
        (86400 * 3 + 3600 * 4, "3 d 4 h"),
    ],
)
def test_a_duration_has_its_two_largest_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (512, "512 B"),
        (1536, "1.5 KiB"),
        (2**20 - 1, "1.0 MiB"),
        (690 * 2**20, "690 MiB"),
        (1.2 * 2**30, "1.2 GiB"),
        (9.96 * 2**30, "10 GiB"),
        (3 * 2**50, "3072 TiB"),
    ],
)
def test_bytes_are_counted_in_binary_units(count: float, text: str) -> None:
    assert byte_size(count) == text


@pytest.mark.parametrize(
    ("recorded", "text"),
    [
        ("120 s", "120 s"),
        ("4 steps", "4 steps"),
        ("100000 samples", "100,000 samples"),
        ("1e+13 flops", "10 TFLOPs"),
        ("200000000000 flops", "200 GFLOPs"),
        ("1.25e+15 flops", "1.25 PFLOPs"),
        ("1e+21 flops", "1000 EFLOPs"),
        ("1 flops", "1 FLOPs"),
        ("1.2.3 flops", "1.2.3 flops"),
        ("unknown", "unknown"),
        ("1 samples", "1 sample"),
        ("1 steps", "1 step"),
        ("", ""),
    ],
)
def test_a_budget_is_read_with_its_prefix(recorded: str, text: str) -> None:
    assert budget(recorded) == text


@given(st.sampled_from(["seconds", "steps", "samples", "flops"]), st.integers(1, 10**8 - 1))
def test_budgets_that_differ_read_differently(kind: BudgetKind, amount: int) -> None:
    texts = {budget(str(Budget(kind, float(a)))) for a in (amount, amount + 1)}
    assert len(texts) == 2


@given(st.sampled_from(["seconds", "steps", "samples", "flops"]), st.integers(1, 10**8))
def test_a_budget_may_be_typed_as_it_is_read(kind: BudgetKind, amount: int) -> None:
    typed = Budget.parse(budget(str(Budget(kind, float(amount)))).replace(",", ""))
    assert (typed.kind, typed.amount) == (kind, pytest.approx(amount, rel=1e-11))


@pytest.mark.parametrize(
    ("spent", "recorded", "text"),
    [
        (4.16e10, "1e+11 flops", "41.6/100 GFLOPs"),
        (0.0, "1e+13 flops", "0.00/10 TFLOPs"),
        (9.9996e12, "1e+13 flops", "10.0/10 TFLOPs"),
        (1310.0, "2000 steps", "1,310/2,000 steps"),
        (31.4, "120 s", "31/120 s"),
    ],
)
def test_what_is_spent_is_said_in_the_unit_of_the_budget(
    spent: float, recorded: str, text: str
) -> None:
    assert of_budget(spent, recorded) == text
