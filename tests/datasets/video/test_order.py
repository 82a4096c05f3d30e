import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from datasets.video.order import Unordered, in_time

ORDERED: dict[str, Sequence[str]] = {
    "whole numbers": ["2.png", "10.png", "11.png"],
    "decimals of %g": ["0.png", "0.25.png", "0.5.png", "0.75.png", "1.png", "1.25.png"],
    "decimals of few digits": ["t1.05.png", "t1.1.png", "t1.15.png", "t1.2.png"],
    "parts of a version": [f"v1.{n}.png" for n in range(7, 13)],
    "signs": ["t_-2.png", "t_-1.png", "t_0.png", "t_1.png"],
    "signs of decimals": ["-0.50.png", "-0.25.png", "0.00.png", "+0.25.png"],
    "a sign behind a letter": ["t-1.png", "t0.png", "t1.png"],
    "hyphens": ["frame-1.png", "frame-2.png", "frame-10.png"],
    "spaced hyphens": ["take 1 - 1.png", "take 1 - 2.png", "take 1 - 10.png"],
    "an index and a time": ["f1_0.4.png", "f2_0.8.png", "f3_1.2.png", "f10_4.png"],
    "no numbers": ["a.png", "b.png", "c.png"],
    "suffixes mixed": ["img9.JPG", "IMG10.jpg", "img11.png"],
}


@pytest.mark.parametrize("kind", ORDERED)
def test_numbers_tell_the_order(kind: str) -> None:
    expected = [Path(name) for name in ORDERED[kind]]
    for given in (expected, expected[::-1], sorted(expected)):
        assert in_time(given)[0] == tuple(expected)


@pytest.mark.parametrize(
    ("numbers", "runs"),
    [
        ("1 2 3", [(0, 3)]),
        ("1 2 5 6", [(0, 2), (2, 4)]),
        ("5 10 15 25 30", [(0, 3), (3, 5)]),
        ("0.5 1.0 1.5 3.0", [(0, 3), (3, 4)]),
        ("100000001 149999999 200000003 300000002 350000000", [(0, 3), (3, 5)]),
        ("7 11", [(0, 2)]),
        ("7", [(0, 1)]),
    ],
)
def test_time_jumps_where_numbers_are_missing(numbers: str, runs: list[tuple[int, int]]) -> None:
    assert in_time(Path(f"f{number}.png") for number in numbers.split())[1] == tuple(runs)


UNORDERED: dict[str, Sequence[str]] = {
    "masks": ["1.png", "2.png", "1_mask.png", "2_mask.png"],
    "one mask": ["1.png", "1_mask.png"],
    "masks of another suffix": ["1.jpg", "1.png", "2.jpg", "2.png"],
    "a cover": ["1.png", "2.png", "cover.png"],
    "two cameras": ["cam1_1.png", "cam1_2.png", "cam2_1.png", "cam2_2.png"],
    "two people": ["anna1.png", "anna2.png", "bert1.png", "bert2.png"],
    "one number twice": ["1.png", "01.png", "2.png"],
    "a sign or a hyphen": ["t_-1.png", "t_-2.png", "t_-3.png"],
    "a decimal or two numbers": ["1.5.png", "1.10.png"],
    "letters and digits": ["3fa.png", "b07.png", "9cc.png"],
}


@pytest.mark.parametrize("kind", UNORDERED)
def test_names_that_tell_no_order_are_refused(kind: str) -> None:
    with pytest.raises(Unordered) as refusal:
        in_time(map(Path, UNORDERED[kind]))
    assert re.fullmatch(r"holds .*images .*", str(refusal.value))
    assert any(Path(name).stem in str(refusal.value) for name in UNORDERED[kind])
