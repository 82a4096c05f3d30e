from pathlib import Path

import pytest

from bench.suite import catalogue, fingerprint
from bench.suite import cell as plan
from bench.suite import suite as suites
from bench.suite.cell import Cell

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
    return fingerprint.code_digest([catalogue.model(f"{folder}/mine.py:Mine")], "prediction")


@pytest.fixture(autouse=True)
def _fresh_helper(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(__import__("sys").modules, "helper", raising=False)


def test_comments_docstrings_and_layout_do_not_make_other_code(tmp_path: Path) -> None:
    other = SOURCE.replace('"""Doc."""', '"""Other words."""').replace("  # comment", "\n")
    first = _digest(tmp_path / "a")
    __import__("sys").modules.pop("helper")
    assert first == _digest(tmp_path / "b", other)


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
    first = _digest(tmp_path / "a")
    __import__("sys").modules.pop("helper")
    assert first != _digest(tmp_path / "b", **changed)


def test_the_code_of_a_model_reaches_its_layers_and_the_training_loop() -> None:
    tree_of = fingerprint.ast.parse("from bench.train import step\nimport models.contract")
    found = fingerprint._imported(tree_of, fingerprint.HOUSE / "models" / "x.py")
    assert {path.name for path in found} == {"step.py", "contract.py"}


def _cell(**overrides: object) -> Cell:
    suite = suites.load("smoke").with_overrides(device="cpu", **overrides)
    suite = suite.with_overrides(models=["convlstm"])
    return next(iter(plan.cells(plan.resolve_suite(suite), "smoke", ())))


def test_the_same_choice_is_the_same_cell_and_another_is_not() -> None:
    assert _cell().key == _cell().key
    others = [
        _cell(seeds=[1]),
        _cell(budget="5steps"),
        _cell(size="published"),
        _cell(precision="bf16"),
        _cell(evaluation={"test_clips": 9, "validation_clips": 4, "evaluations": 2}),
        _cell(recipe="published"),
    ]
    assert len({cell.key for cell in [_cell(), *others]}) == len(others) + 1


def test_the_name_of_a_cell_tells_its_size_and_its_command_runs_it() -> None:
    cell = _cell()
    assert cell.name == "convlstm-small/moving_mnist/0"
    assert "--model convlstm --dataset moving_mnist --seed 0 --budget 4steps" in cell.command


def test_models_on_one_data_set_have_common_code_and_other_data_sets_have_other() -> None:
    cells = [*plan.cells(suites.load("smoke"), "smoke", ())]
    assert len({cell.common_code_digest for cell in cells}) == 1
    assert len({cell.code_digest for cell in cells}) == len({cell.model for cell in cells})
    (other,) = plan.cells(
        suites.load("smoke").with_overrides(models=["copy_last"], datasets=["kth"]), "smoke", ()
    )
    assert other.common_code_digest != cells[0].common_code_digest
