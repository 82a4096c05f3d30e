"""Where `bench`, `models` and `datasets` are found, in processes of their own and in this one."""

import subprocess
import sys
from pathlib import Path

import pytest

import bench
import models.contract
from bench.suite import catalogue, fingerprint
from datasets.moving_mnist import MovingMNIST
from models.copy_last import CopyLast
from tests.bench.conftest import ROOT, environment, run_here

NOT_OURS = 'raise SystemExit("this folder is not ours")'
OTHER = "def load_dataset(name): return [name]"

MINE = """
from datasets import load_dataset
from datasets.contract import Spec
from models.contract import Predictor, Size
from nextframe.models.contract import Predictor as Same
from beside import Recipe

assert Same is Predictor
assert load_dataset("a") == ["a"]

class Mine(Predictor):
    sizes = {"only": Size(Recipe("test", learning_rate=1e-3, batch_size=1))}

    def forward(self, context, horizon):
        from models import copy_last  # when it is called, too
        return copy_last.CopyLast(self.frame_shape)(context, horizon)
"""

IN_A_PROCESS = """
import sys
import nextframe

import datasets
assert datasets.load_dataset("a") == ["a"]

from nextframe.bench.suite import catalogue, costs, fingerprint
from nextframe.models.contract import Predictor
import torch

mine = catalogue.model("mine.py:Mine")
assert issubclass(mine, Predictor)
assert mine((1, 8, 8))(torch.rand(1, 2, 1, 8, 8), 3).shape == (1, 3, 1, 8, 8)
ours = catalogue.all_models()
assert {cls.__module__.rpartition(".")[0] for cls in ours.values()} == {"nextframe.models"}
assert costs.is_of_the_house(ours["copy_last"]) and not costs.is_of_the_house(mine)
plain = {name for name in sys.modules if name.partition(".")[0] in ("bench", "models")}
assert not plain, plain
print(fingerprint.code_digest(ours["copy_last"], catalogue.dataset("moving_mnist")))
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A user's folder with packages named as ours are."""
    for name in ("bench", "models"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(NOT_OURS, encoding="utf-8")
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "__init__.py").write_text(OTHER, encoding="utf-8")
    (tmp_path / "mine.py").write_text(MINE, encoding="utf-8")
    (tmp_path / "beside.py").write_text("from models.contract import Recipe", encoding="utf-8")
    return tmp_path


def _output(place: Path, *words: str) -> str:
    line = [sys.executable, *words]
    done = subprocess.run(
        line, cwd=place, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_folders_of_the_same_names_hide_nothing_of_ours_and_stay_what_they_are(place: Path) -> None:
    digest = _output(place, "-c", IN_A_PROCESS).strip()
    assert digest == fingerprint.code_digest(CopyLast, MovingMNIST)  # so cells are the same


def test_the_command_is_that_of_bench_among_such_folders(place: Path) -> None:
    words = ["ls", "suites", "--format", "csv"]
    assert _output(place, "-m", "nextframe", *words) == run_here(*words).stdout


def test_the_program_is_called_as_it_was_started(place: Path) -> None:
    code = (
        "import nextframe.bench as b; print(b.PROGRAM); print(b.as_started('python -m bench ui'))"
    )
    assert _output(place, "-c", code).split("\n")[:2] == ["nextframe", "nextframe ui"]
    assert bench.PROGRAM == "python -m bench"


def test_where_bench_has_its_plain_name_so_have_the_others(place: Path) -> None:
    import nextframe.models.contract

    import nextframe

    assert nextframe.models.contract is models.contract
    assert nextframe.UserError is bench.errors.UserError
    assert models.contract.__spec__ is not None
    assert models.contract.__spec__.name == "models.contract"
    text = MINE.replace("from datasets import load_dataset", "").replace("load_dataset", "list")
    (place / "mine.py").write_text(text, encoding="utf-8")
    assert issubclass(catalogue.model(f"{place / 'mine.py'}:Mine"), models.contract.Predictor)


def test_a_users_file_counts_what_it_imports_by_either_name(tmp_path: Path) -> None:
    digests = []
    for name in ("models", "nextframe.models"):
        path = tmp_path / f"{name}.py"
        path.write_text(f"from {name}.contract import Predictor", encoding="utf-8")
        imported = fingerprint._read(path.read_bytes()).imports
        digests.append(fingerprint._first_party(imported, path, tmp_path))
    package = ROOT / "models"
    assert digests[0] == digests[1] == {package / "__init__.py", package / "contract.py"}
