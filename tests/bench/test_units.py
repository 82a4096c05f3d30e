import math

import pytest

from bench.units import byte_size, duration, figure


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
        (690 * 2**20, "690 MiB"),
        (1.2 * 2**30, "1.2 GiB"),
        (9.96 * 2**30, "10 GiB"),
        (3 * 2**50, "3072 TiB"),
    ],
)
def test_bytes_are_counted_in_binary_units(count: float, text: str) -> None:
    assert byte_size(count) == text
