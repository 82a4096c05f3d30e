"""What is wrong with a user's own file ends a run before it begins, and never the process."""

import io
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from bench import caches
from bench.check import check
from bench.errors import UserError
from bench.run import own_files
from bench.run.own_files import _End, require_sound
from tests.bench.conftest import Bench

CRASHES = """
import ctypes
from models.contract import Predictor, Recipe, Size

class Mine(Predictor):
    sizes = {"only": Size(Recipe("test", learning_rate=1e-2, batch_size=2))}

    def forward(self, context, horizon):
        ctypes.string_at(0)
"""
PICKY = """
import torch
from torch import nn
from models.contract import Predictor, Recipe, Size

class Mine(Predictor):
    sizes = {"only": Size(Recipe("test", learning_rate=1e-2, batch_size=2))}

    def __init__(self, frame_shape):
        super().__init__(frame_shape)
        self.step = nn.Conv2d(4, 4, 3, padding=1)  # four grey frames to four
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, context, horizon):
        return self.step(context.squeeze(2)).unsqueeze(2)
"""
NOT_THERE = """
from datasets.contract import DataMissing, Dataset, Spec

class Clips(Dataset):
    def __init__(self):
        raise DataMissing("get it")

    train_clips = held_out = None
"""


def _here(reference: str, on: Sequence[str]) -> _End:
    """What a check in a process of its own ends with, without one."""
    with redirect_stdout(io.StringIO()) as out:
        code = check.check(reference, quick=True, on=on)
    return _End(code, out.getvalue(), "")


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is announced; nothing has been checked before."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return []


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_files, "_checked", _here)


def test_a_crash_is_told_with_its_line_and_nothing_is_written(
    bench: Bench, user_suite: Path, told: list[str], tmp_path: Path
) -> None:
    (tmp_path / "crashes.py").write_text(CRASHES)
    before = sorted((tmp_path / "results").rglob("*"))
    model = f"{tmp_path}/crashes.py:Mine"
    ended = bench("run", "--suite", user_suite, "--models", model, checked=True)
    assert ended.returncode == 2
    first, last = ended.stderr.splitlines()
    assert first == "checking crashes.py ..."
    assert last.startswith(f"error: {model}: crashes.py:9: ")
    assert last.endswith("crashes with SIGSEGV")
    assert sorted((tmp_path / "results").rglob("*")) == before
    assert not caches.folder("checked").exists()


def test_one_that_never_ends_is_ended(
    tmp_path: Path, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "endless.py").write_text("while True:\n    pass\n")
    monkeypatch.setattr(own_files, "LONGEST_SECONDS", 0.5)
    model, data = f"{tmp_path}/endless.py:Model", f"{tmp_path}/endless.py:Clips"
    with pytest.raises(UserError, match="not done after 0 s: the model cannot be built"):
        require_sound([model], [], told.append)
    require_sound([], [data], told.append)
    assert told[-1].startswith(f"note: {data}: ")  # it may be slow to open


@pytest.mark.usefixtures("here")
def test_what_passed_is_checked_again_once_its_code_differs(
    user_models: Path, told: list[str]
) -> None:
    models = [f"{user_models}:Tiny", "convlstm"]
    for _ in range(2):
        require_sound(models, ["moving_mnist"], told.append)
    assert told == ["checking mine.py ..."]
    text = user_models.read_text()
    user_models.write_text(f"# a comment\n{text}")
    require_sound(models, ["moving_mnist"], told.append)
    assert len(told) == 1
    user_models.write_text(f"WIDTH = 1\n{text}")
    require_sound(models, ["moving_mnist"], told.append)
    assert len(told) == 2


@pytest.mark.usefixtures("here")
def test_a_broken_promise_is_told_as_check_tells_it(user_models: Path, told: list[str]) -> None:
    for _ in range(2):  # for it is not kept
        with pytest.raises(UserError, match=r"Raises: mine.py:\d+: LookupError: no such key"):
            require_sound([f"{user_models}:Raises"], [], told.append)
    with pytest.raises(UserError, match="a training loss is inf"):
        require_sound([f"{user_models}:Diverges"], [], told.append)


@pytest.mark.usefixtures("here")
def test_a_model_of_some_frames_and_lengths_is_for_the_data_sets_that_have_them(
    tmp_path: Path, told: list[str]
) -> None:
    (tmp_path / "picky.py").write_text(PICKY)
    grey, colour = "moving_mnist(context_frames=4, horizon=4)", "water_waves"
    require_sound([f"{tmp_path}/picky.py:Mine"], [colour, grey], told.append)
    assert told == ["checking picky.py ..."]
    with pytest.raises(UserError, match=r"picky.py:\d+: RuntimeError"):
        require_sound([f"{tmp_path}/picky.py:Mine"], [colour], told.append)


@pytest.mark.usefixtures("here")
def test_data_that_are_missing_are_left_to_the_plan(tmp_path: Path, told: list[str]) -> None:
    (tmp_path / "clips.py").write_text(NOT_THERE)
    for _ in range(2):
        require_sound([], [f"{tmp_path}/clips.py:Clips"], told.append)
    assert told == ["checking clips.py ..."] * 2
