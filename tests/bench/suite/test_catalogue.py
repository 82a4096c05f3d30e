from pathlib import Path

import pytest

from bench.errors import UserError
from bench.suite import catalogue
from bench.suite.reference import Reference
from models.contract import Predictor


def test_the_house_has_the_models_and_data_sets_of_the_main_job() -> None:
    models = {"convlstm", "predrnn", "maxvit", "copy_last", "mean_frame"}
    assert models <= set(catalogue.all_models())
    assert {"moving_mnist", "moving_mnist/official"} <= set(catalogue.all_datasets())


def test_an_unknown_name_suggests_the_near_one() -> None:
    with pytest.raises(UserError, match="did you mean 'convlstm'"):
        catalogue.model("convltsm")


def test_a_users_file_is_a_first_class_citizen(user_models: Path) -> None:
    cls = catalogue.model(f"{user_models}:Tiny")
    assert issubclass(cls, Predictor)
    assert cls.name == "Tiny"


def test_a_class_that_is_not_in_the_file_suggests_the_near_one(user_models: Path) -> None:
    with pytest.raises(UserError, match="did you mean 'Tiny'"):
        catalogue.model(f"{user_models}:Tyni")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no file .*absent\.py"):
        catalogue.model(f"{tmp_path}/absent.py:Mine")


def test_a_file_that_does_not_import_says_why(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import no_such_module_anywhere", encoding="utf-8")
    with pytest.raises(UserError, match="no_such_module_anywhere"):
        catalogue.model(f"{tmp_path}/broken.py:Mine")


def test_a_users_file_may_import_its_neighbours(tmp_path: Path, user_models: Path) -> None:
    (tmp_path / "other.py").write_text("from mine import Tiny as Neighbour", encoding="utf-8")
    assert catalogue.model(f"{tmp_path}/other.py:Neighbour").name == "Tiny"


def test_a_model_of_one_size_has_it_whatever_is_asked() -> None:
    assert catalogue.size_of(catalogue.model("copy_last"), "published")[0] == "only"
    with pytest.raises(UserError, match="size of convlstm 'tiny'"):
        catalogue.size_of(catalogue.model("convlstm"), "tiny")


def test_options_are_written_behind_the_name() -> None:
    written = Reference.parse("convlstm(peephole=True, width=8)")
    assert (written.name, written.options) == ("convlstm", {"peephole": True, "width": 8})
    assert written.label("convlstm") == "convlstm(peephole=True, width=8)"
    assert Reference.parse("convlstm").label("convlstm") == "convlstm"
    assert catalogue.model("convlstm(peephole=True)") is catalogue.model("convlstm")


def test_options_of_a_users_file_are_written_behind_the_class(user_models: Path) -> None:
    assert catalogue.is_file_reference(f"{user_models}:Tiny(width=3)")
    with pytest.raises(UserError, match=r"unknown option of .*Tiny 'width'"):
        catalogue.model(f"{user_models}:Tiny(width=3)")


def test_an_option_without_a_default_may_be_given(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        "from models.copy_last import CopyLast\n"
        "class Wide(CopyLast):\n"
        "    def __init__(self, frame_shape, *, width):\n"
        "        super().__init__(frame_shape)\n"
    )
    assert catalogue.model(f"{path}:Wide(width=64)").name == "Wide"
    with pytest.raises(UserError, match="did you mean 'width'"):
        catalogue.model(f"{path}:Wide(witdh=64)")


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("convlstm(peephol=True)", "unknown option of convlstm 'peephol': did you mean 'peephole'"),
        ("convlstm(8)", "write name"),
        ("convlstm(width=)", "write name"),
        ("convlstm(width=__import__('os'))", "write name"),
        ("convlstm(width=8", "write name"),
    ],
)
def test_a_mistake_in_options_is_told(reference: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        catalogue.model(reference)


def test_a_data_set_opens_with_its_options() -> None:
    spec = catalogue.open_dataset("moving_mnist(context_frames=3, horizon=4)").spec
    assert (spec.context_frames, spec.horizon) == (3, 4)
    with pytest.raises(UserError, match="context_frames"):
        catalogue.open_dataset("moving_mnist(context_frames='many')")
