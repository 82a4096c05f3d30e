"""What the verb `check` prints."""

from pathlib import Path

import pytest

from bench.check import check
from bench.errors import UserError

BROKEN = """
from models.contract import FrameShape, Predictor, Recipe, Size


class Mine(Predictor):
    sizes = {"small": Size(Recipe("ours", learning_rate=1e-3, batch_size=2), {"width": 4})}

    def __init__(self, frame_shape: FrameShape, *, width: int) -> None:
        super().__init__(frame_shape)
        self.width = width

    def forward(self, context, horizon):
        raise RuntimeError(f"no width of {self.width}")
"""


def test_a_fault_is_named_with_its_line_and_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.py"
    file.write_text(BROKEN)
    assert check.check(f"{file}:Mine(width=7)") == 1
    *lines, summary = capsys.readouterr().out.splitlines()
    failed = [line for line in lines if line.startswith("FAIL")]
    assert failed[0].endswith("mine.py:13: RuntimeError: no width of 7")
    assert sum("no width of 7" in line for line in failed) == 1
    assert any(line.endswith(": the same as shape") for line in failed)
    assert summary.endswith(f"failed {len(failed)} of {len(lines)} checks")


@pytest.mark.parametrize(("subject", "quick"), [("copy_last", False), ("water_waves", True)])
def test_data_sets_to_check_a_model_on_are_not_ignored(subject: str, quick: bool) -> None:
    with pytest.raises(UserError, match="--on names the data sets"):
        check.check(subject, quick=quick, on=["moving_mnist"])


def test_a_sound_one_passes(capsys: pytest.CaptureFixture[str]) -> None:
    assert check.check("copy_last") == 0
    *lines, summary = capsys.readouterr().out.splitlines()
    assert all(line.startswith("ok    ") for line in lines)
    assert summary == f"copy_last: passed {len(lines)} checks"
