"""What a cell records of itself before it runs."""

from pathlib import Path

import pytest

from bench import records
from bench.run.record import Record
from bench.suite.settle import settle
from bench.suite.suite import load_suite


@pytest.mark.parametrize(
    ("model", "paper"),
    [("convlstm", "https://arxiv.org/abs/1506.04214"), ("copy_last", None)],
)
def test_the_publication_of_the_model_is_recorded(model: str, paper: str | None) -> None:
    suite = load_suite("smoke").with_overrides(models=[model], device="cpu", budget="4steps")
    record = Record.of(settle(suite)[0], results=Path(), command="", parent="")
    assert record.tags.get(records.PAPER) == paper
