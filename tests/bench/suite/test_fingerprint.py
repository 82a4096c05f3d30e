"""What makes a cell train again, what scores it anew, and what does neither."""

import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bench.errors import UserError
from bench.literature import conventions, published
from bench.suite import catalogue, fingerprint
from bench.suite import data as data_of_cells
from bench.suite.cell import Cell, read
from bench.suite.settle import settle
from bench.suite.suite import load_suite
from bench.train import hardware
from datasets.moving_mnist import MovingMNIST

SOURCE = '''"""Doc."""
from models.contract import Predictor
from helper import gain

class Mine(Predictor):
    """Doc."""
    def forward(self, context, horizon):  # comment
        return context[:, -1:].expand(-1, horizon, -1, -1, -1) * gain
'''


def _digest(folder: Path, source: str = SOURCE, helper: str = "gain = 1\n") -> str:
    folder.mkdir()
    (folder / "helper.py").write_text(helper, encoding="utf-8")
    (folder / "mine.py").write_text(source, encoding="utf-8")
    sys.modules.pop("helper", None)
    return fingerprint.code_digest(catalogue.model(f"{folder}/mine.py:Mine"))


def test_comments_docstrings_and_layout_do_not_make_other_code(tmp_path: Path) -> None:
    other = SOURCE.replace('"""Doc."""', '"""Other words."""').replace("  # comment", "\n")
    assert _digest(tmp_path / "a") == _digest(tmp_path / "b", other)


@pytest.mark.parametrize(
    "changed",
    [
        {"source": SOURCE.replace("-1:]", "-2:-1]")},
        {"helper": "gain = 2\n"},
    ],
)
def test_code_that_acts_otherwise_is_other_code_also_in_a_neighbour(
    tmp_path: Path, changed: dict[str, str]
) -> None:
    assert _digest(tmp_path / "a") != _digest(tmp_path / "b", **changed)


@pytest.mark.parametrize("changed", ["__init__.py", "b.py", "inner/c.py", "inner/__init__.py"])
def test_packages_beside_a_users_file_count_however_they_import(
    tmp_path: Path, changed: str
) -> None:
    files = {
        "mine.py": "from pk.a import gain\nclass Mine:\n    pass\n",
        "pk/__init__.py": "offset = 0\n",
        "pk/a.py": "from .b import gain\nfrom .inner import c\n",
        "pk/b.py": "gain = 1\n",
        "pk/inner/__init__.py": "depth = 2\n",
        "pk/inner/c.py": "from ..b import gain\nimport pk.b\nlevel = 3\n",
        "pk/other.py": "never = 0\n",
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content, encoding="utf-8")
    before = fingerprint.file_digest(tmp_path / "mine.py")
    (tmp_path / "pk" / "other.py").write_text("never = 1\n", encoding="utf-8")
    assert fingerprint.file_digest(tmp_path / "mine.py") == before
    file = tmp_path / "pk" / changed
    file.write_text(file.read_text(encoding="utf-8") + "more = 1\n", encoding="utf-8")
    assert fingerprint.file_digest(tmp_path / "mine.py") != before


def test_the_code_of_a_package_counts_where_a_model_imports_names_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read, read_bytes = set(), Path.read_bytes

    def reading(path: Path) -> bytes:
        read.add(path.relative_to(fingerprint.REPOSITORY).as_posix())
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", reading)
    fingerprint.file_digest(fingerprint.REPOSITORY / "models" / "simvp.py")
    translators = fingerprint.REPOSITORY / "models" / "layers" / "translators"
    assert {f"models/layers/translators/{file.name}" for file in translators.glob("*.py")} <= read


def _cell(**overrides: object) -> Cell:
    suite = load_suite("smoke").with_overrides(device="cpu", models=["convlstm"])
    return settle(suite.with_overrides(**overrides))[0]


EVALUATION = {"test_clips": 8, "validation_clips": 4, "evaluations": 2, "showcase_clips": 2}


@pytest.mark.parametrize(
    "overrides",
    [
        {"seeds": [1]},
        {"budget": "5steps"},
        {"size": "published"},
        {"precision": "bf16"},
        {"recipe": "published"},
        {"evaluation": EVALUATION | {"evaluations": 3}},
        {"evaluation": EVALUATION | {"validation_clips": 3}},
        {"datasets": ["moving_mnist(horizon=9)"]},
        {"models": ["convlstm(kernel=3)"]},
    ],
)
def test_another_choice_is_trained_anew(overrides: dict[str, object]) -> None:
    assert _cell(**overrides).trained != _cell().trained


@pytest.mark.parametrize("variable", ["NVIDIA_TF32_OVERRIDE", "ONEDNN_DEFAULT_FPMATH_MODE"])
def test_coarser_arithmetic_is_trained_anew(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    before = _cell().trained
    monkeypatch.setenv(variable, "1")
    assert _cell().trained != before


def test_another_release_of_torch_is_trained_anew_and_another_build_of_it_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = []
    for version in ("2.12.1+cpu", "2.12.1+cu130", "2.13.0+cpu"):
        monkeypatch.setattr(torch, "__version__", version)
        found.append(_cell().trained)
    assert found[0] == found[1] != found[2]


@pytest.mark.parametrize(("budget", "same"), [("60s", False), ("4steps", True), ("1e9flops", True)])
def test_only_seconds_are_worth_another_amount_on_another_device(
    monkeypatch: pytest.MonkeyPatch, budget: str, same: bool
) -> None:
    found = []
    for name in ("Slow CPU, 2 threads", "Fast CPU, 64 threads"):
        monkeypatch.setattr(hardware, "device_name", lambda _, name=name: name)
        found.append(_cell(budget=budget).trained)
    assert (found[0] == found[1]) is same


CLIPS = torch.arange(4 * 6, dtype=torch.uint8).view(2, 3, 1, 2, 2)


def _digest_of(*, add: int = 0, label: int = 0) -> str | None:
    labels = torch.full((2,), label)
    return fingerprint.training_digest(lambda count, generator: (CLIPS + add, labels))


def test_other_training_clips_or_labels_have_another_digest() -> None:
    assert len({_digest_of(), _digest_of(add=1), _digest_of(label=1)}) == 3
    assert _digest_of() == _digest_of()


def test_clips_that_cannot_be_drawn_or_come_otherwise_each_time_have_no_digest() -> None:
    def fails(count: int, generator: torch.Generator) -> tuple[torch.Tensor, ...]:
        raise LookupError("no such file")

    assert fingerprint.training_digest(fails) is None
    assert fingerprint.training_digest(lambda count, generator: (torch.rand(count),)) is None


def test_other_training_clips_are_trained_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    before, draw = _cell().trained, MovingMNIST.train_clips
    data_of_cells.training_digest.cache_clear()
    monkeypatch.setattr(MovingMNIST, "train_clips", lambda *given: draw(*given).flip(1))
    assert _cell().trained != before
    data_of_cells.training_digest.cache_clear()


def test_other_test_clips_are_scored_anew() -> None:
    other = _cell(evaluation=EVALUATION | {"test_clips": 7})
    assert (other.trained == _cell().trained, other.scored == _cell().scored) == (True, False)


def test_other_clusters_of_the_same_clips_are_scored_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    before = _cell()
    assert before.scored == _cell().scored
    halves = lambda self, split, count: torch.arange(count) // 2  # noqa: E731
    monkeypatch.setattr(MovingMNIST, "clusters", halves)
    after = _cell()
    assert (after.trained == before.trained, after.scored == before.scored) == (True, False)
    monkeypatch.setattr(MovingMNIST, "clusters", lambda self, split, count: torch.arange(1))
    with pytest.raises(UserError, match=r"clusters of moving_mnist are .* one for each test clip"):
        _ = _cell().scored


def test_a_newly_published_figure_scores_anew_the_cells_that_it_is_compared_with(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def digests() -> list[tuple[str, str]]:
        return [(cell.trained, cell.scored) for cell in (_cell(), _cell(models=["predrnn"]))]

    known, before = published.all_rows(), digests()
    row = next(row for row in known if row.model == "convlstm" and row.convention == "predrnn")
    monkeypatch.setattr(conventions, "all_rows", lambda: (*known, replace(row, model="simvp")))
    assert digests() == before
    new = replace(row, figures=row.figures | {"lpips": "0.2"})
    monkeypatch.setattr(conventions, "all_rows", lambda: (*known, new))
    (trained, scored), other = digests()
    assert (trained, other) == (before[0][0], before[1])
    assert scored != before[0][1]


@pytest.mark.parametrize(
    "overrides",
    [
        {"name": "renamed"},
        {"evaluation": EVALUATION | {"showcase_clips": 5}},
        {"recipe": {"source": "other words", "learning_rate": 1e-3, "batch_size": 2}},
        {"limits": {"silence_seconds": 77}},
    ],
)
def test_names_showcase_and_sources_change_nothing(overrides: dict[str, object]) -> None:
    assert _cell(**overrides).scored == _cell().scored


def test_a_suite_of_more_models_has_the_same_cells() -> None:
    mine = settle(load_suite("mnist").with_overrides(device="cpu", models=["convlstm"]))
    more = settle(load_suite("mnist-all").with_overrides(device="cpu", models=["convlstm"]))
    assert mine[0].scored == more[0].scored


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the harness, to be edited, that digests are taken of."""
    shutil.copytree(fingerprint.REPOSITORY / "bench", tmp_path / "bench")
    monkeypatch.setattr(fingerprint, "REPOSITORY", tmp_path)
    fingerprint.harness_digest.cache_clear()
    yield tmp_path
    fingerprint.harness_digest.cache_clear()


def _digests() -> tuple[str, str]:
    fingerprint.harness_digest.cache_clear()
    return fingerprint.harness_digest("trained"), fingerprint.harness_digest("scored")


@pytest.mark.parametrize(
    ("file", "trains", "scores"),
    [
        ("train/loop.py", True, False),
        ("train/budget.py", True, False),
        ("train/hardware.py", True, False),
        ("train/curves.py", True, False),
        ("score/metrics.py", False, True),
        ("score/lpips.py", False, True),
        ("report/columns.py", False, False),
        ("records.py", False, False),
        ("run/worker.py", False, False),
        ("suite/cell.py", False, False),
    ],
)
def test_a_change_of_the_harness_costs_what_depends_on_it(
    copy: Path, file: str, trains: bool, scores: bool
) -> None:
    before, path = _digests(), copy / "bench" / file
    path.write_text(path.read_text(encoding="utf-8") + "\nCHANGED = 1\n", encoding="utf-8")
    after = _digests()
    assert (before[0] != after[0], before[1] != after[1]) == (trains, scores)


def test_a_label_a_unit_or_a_definition_is_no_part_of_a_figure(copy: Path) -> None:
    before, path = _digests(), copy / "bench" / "score" / "metrics.py"
    text = path.read_text(encoding="utf-8")
    relabelled = text.replace('label="MSE"', 'label="Error"').replace('unit="dB"', 'unit="decibel"')
    assert relabelled != text
    path.write_text(relabelled, encoding="utf-8")
    assert _digests() == before
    path.write_text(relabelled.replace("frames.mse", "frames.mae"), encoding="utf-8")
    assert _digests() != before


def test_what_is_trained_imports_nothing_that_its_digest_leaves_out() -> None:
    heavy = {"bench.score", "bench.run", "bench.report", "bench.console", "bench.suite"}
    for path in (fingerprint.REPOSITORY / "bench/train").glob("*.py"):
        tree = fingerprint.ast.parse(path.read_text(encoding="utf-8"))
        for node in tree.body:  # at import time: what is for type checkers only is deeper
            if isinstance(node, fingerprint.ast.ImportFrom) and node.module:
                assert ".".join(node.module.split(".")[:2]) not in heavy, path


def test_a_cell_is_the_same_when_read_from_its_file(tmp_path: Path) -> None:
    for suite in ("smoke", "ucf101-study"):
        for cell in settle(load_suite(suite).with_overrides(device="cpu", seeds=[3])):
            again = read(cell.write(tmp_path))
            assert again == cell
            if suite == "smoke":
                assert (again.scored, again.params) == (cell.scored, cell.params)


def test_a_cell_is_refused_where_the_data_are_not_those_it_was_settled_with() -> None:
    cell = _cell()
    cell.check_data()
    other = cell.model_copy(update={"settled_data": {"test": "0" * 32}})
    with pytest.raises(UserError, match="test clips of moving_mnist"):
        other.check_data()


def test_the_name_of_a_cell_tells_its_size_and_its_command_names_its_file() -> None:
    cell = _cell()
    assert cell.name == "convlstm-small/moving_mnist/0"
    assert cell.command(Path("results")).endswith(f"cell {cell.file(Path('results'))}")


def test_models_on_one_data_set_have_common_code_and_other_data_sets_have_other() -> None:
    cells = settle(load_suite("smoke"))
    assert len({cell.common_code_digest for cell in cells}) == 1
    assert len({cell.code_digest for cell in cells}) == len({cell.model for cell in cells})
    (other,) = settle(load_suite("smoke").with_overrides(models=["copy_last"], datasets=["kth"]))
    assert other.common_code_digest != cells[0].common_code_digest
