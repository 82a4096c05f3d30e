"""nextframe as `pip install` leaves it, in an environment that has a package `datasets`, too.

Left out by default, as each takes a minute: `python -m pytest -m install`.
"""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.bench.conftest import ROOT

pytestmark = [pytest.mark.install, pytest.mark.timeout(900)]

pytest.importorskip("setuptools", "77")  # which builds it here

SOURCES = ("bench", "models", "datasets", "nextframe")
FILES = ("pyproject.toml", "setup.py", "README.md", "LICENSE")
NOT_OURS = 'raise SystemExit("this folder is not ours")'
OTHER = "def load_dataset(name): return [name] * 3"

MINE = '''
import numpy as np
import torch
from torch import nn

from datasets import load_dataset
from datasets.contract import Spec
from datasets.video.cache import Cache
from datasets.video.dataset import VideoDataset
from datasets.video.source import FrameFormat, Preparation, Source, Sources
from beside import Predictor, Recipe, Size

SPLITS = ("train", "validation", "test")


def find(folder):
    paths = sorted(folder.glob("*.npy"))
    return Sources([Source(p.stem, (p,), {"split": p.stem.split("_")[0]}) for p in paths])


def read(source, frame_format):
    assert len(load_dataset("x")) == 3
    yield from np.load(source.paths[0])


class Own(VideoDataset):
    """Clips of a user's own, read by a function in this file."""

    @classmethod
    def preparation(cls, **_):
        frame = FrameFormat(1, 8, 8)
        return Preparation(f"{__file__}:Own", "own", frame, find, read, "some clips", ())

    def __init__(self, context_frames=3, horizon=2):
        assert len(load_dataset("x")) == 3
        cache = Cache.open(self.preparation())
        of = {s: [c for c in cache.clips if c.tags["split"] == s] for s in SPLITS}
        super().__init__(cache, of, Spec((1, 8, 8), context_frames, horizon))


class Mine(Predictor):
    """The last frame, filtered."""

    sizes = {"only": Size(Recipe("test", learning_rate=1e-2, batch_size=2))}

    def __init__(self, frame_shape):
        super().__init__(frame_shape)
        self.filter = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, context, horizon):
        return self.filter(context[:, -1])[:, None].expand(-1, horizon, -1, -1, -1)
'''

SUITE = """
models = ["copy_last", "mine.py:Mine"]
datasets = ["mine.py:Own"]
budget = "4steps"
device = "cpu"

[evaluation]
test_clips = 2
validation_clips = 2
evaluations = 2
showcase_clips = 1
"""

FROM_PYTHON = """
import nextframe
import datasets
assert len(datasets.load_dataset("x")) == 3

suite = nextframe.suite("own.toml", seeds=[1])
cells = nextframe.run(suite)
assert set(cells["status"]) == {"done"}, cells
model = nextframe.load("Mine/Own/1")
clips = nextframe.open_dataset("mine.py:Own").held_out("test")[:1]
print(tuple(model.predict(clips, horizon=4).shape))
"""


@pytest.fixture(scope="module", params=["wheel", "editable"])
def programs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a new environment: nextframe, what it needs, and another `datasets`."""
    place = tmp_path_factory.mktemp(request.param)
    sources, new = place / "sources", place / "environment"
    for name in SOURCES:
        leave = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, sources / name, ignore=leave)
    for name in FILES:
        shutil.copy(ROOT / name, sources)
    _run(place, sys.executable, "-m", "venv", "--without-pip", new)
    libraries = next(new.glob("lib/python*/site-packages"))
    # As a line of a .pth file, a folder's own such files do not count: no other nextframe is there.
    needed = Path(torch.__file__).parents[1]
    (libraries / "needed.pth").write_text(f"{needed}\n", encoding="utf-8")
    (libraries / "datasets").mkdir()
    (libraries / "datasets" / "__init__.py").write_text(OTHER, encoding="utf-8")
    pip = [sys.executable, "-m", "pip"]
    alone = ["--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    if request.param == "wheel":
        _run(place, *pip, "wheel", *alone, "--wheel-dir", place, sources)
        what = [next(place.glob("*.whl"))]
        shutil.rmtree(sources)
    else:
        what = ["--editable", sources]
    _run(place, *pip, "--python", new / "bin" / "python", "install", *alone, *what)
    return new / "bin"


@pytest.fixture
def workplace(tmp_path: Path) -> Path:
    """A user's folder with folders that are called as ours are, some of them packages."""
    for name in ("bench", "models", "datasets"):
        (tmp_path / name).mkdir()
    for name in ("bench", "models"):
        (tmp_path / name / "__init__.py").write_text(NOT_OURS, encoding="utf-8")
    (tmp_path / "mine.py").write_text(MINE, encoding="utf-8")
    beside = "from models.contract import Predictor, Recipe, Size"
    (tmp_path / "beside.py").write_text(beside, encoding="utf-8")
    (tmp_path / "own.toml").write_text(SUITE, encoding="utf-8")
    (tmp_path / "clips").mkdir()
    clip = np.random.default_rng(0).integers(0, 256, (8, 1, 8, 8), np.uint8)
    for name in ("train_1", "train_2", "validation_1", "validation_2", "test_1", "test_2"):
        np.save(tmp_path / "clips" / f"{name}.npy", clip)
    return tmp_path


def _run(place: Path, *words: object) -> str:
    """What a command prints that is run in `place`, without this process's paths."""
    ours = ("PYTHONPATH", "MLFLOW_TRACKING_URI", "NEXTFRAME_DATA")
    variables = {name: value for name, value in os.environ.items() if name not in ours}
    line = [*map(str, words)]
    done = subprocess.run(
        line, cwd=place, env=variables, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_a_users_folders_and_another_datasets_hide_nothing(programs: Path, workplace: Path) -> None:
    nextframe = programs / "nextframe"
    _run(workplace, nextframe, "data", "prepare", "mine.py:Own", "--source", "clips")
    printed = _run(workplace, nextframe, "run", "--suite", "own.toml")
    assert "2/2" in printed
    assert "nextframe ui --tracking-uri" in printed
    (file, *_) = sorted(workplace.glob("results/own/cells/*.json"))
    _run(workplace, programs / "python", "-m", "nextframe", "cell", file)
    shape = _run(workplace, programs / "python", "-c", FROM_PYTHON).splitlines()[-1]
    assert shape == "(1, 4, 1, 8, 8)"


def test_one_name_is_installed(programs: Path, tmp_path: Path) -> None:
    code = """
import importlib.util, datasets
print([importlib.util.find_spec(name) for name in ("bench", "models")])
print(datasets.load_dataset.__module__, len(datasets.load_dataset("x")))
"""
    assert _run(tmp_path, programs / "python", "-c", code) == "[None, None]\ndatasets 3\n"
    for wheel in programs.parents[1].glob("*.whl"):
        names = zipfile.ZipFile(wheel).namelist()
        assert {name.split("/")[0].partition("-")[0] for name in names} == {"nextframe"}
        kept = {name.removeprefix("nextframe/") for name in names}
        wanted = {
            str(path.relative_to(ROOT))
            for folder in ("bench", "models", "datasets")
            for path in (ROOT / folder).rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }
        assert wanted <= kept
