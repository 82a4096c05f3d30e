import contextlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.check.check import check
from bench.errors import UserError
from bench.suite import catalogue, fingerprint
from bench.suite.reference import Reference, is_file_reference
from bench.suite.settle import settle
from bench.suite.suite import load_suite, select
from models.contract import Predictor


def test_the_house_has_the_models_and_data_sets_of_the_main_job() -> None:
    models = {"convlstm", "predrnn", "maxvit", "copy_last", "mean_frame"}
    assert models <= set(catalogue.all_models())
    assert {"moving_mnist", "moving_mnist/official"} <= set(catalogue.all_datasets())


def test_each_name_is_found_without_the_list_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    models, datasets = catalogue.all_models(), catalogue.all_datasets()
    assert all(catalogue.model(name) is cls for name, cls in models.items())
    assert all(catalogue.dataset(name) is cls for name, cls in datasets.items())
    monkeypatch.setattr(catalogue, "_found", pytest.fail)  # which imports every module
    catalogue.all_models.cache_clear()
    catalogue.all_datasets.cache_clear()
    assert catalogue.model("convlstm") is models["convlstm"]
    assert catalogue.dataset("moving_mnist/long") is datasets["moving_mnist/long"]


def test_an_unknown_name_suggests_the_near_one() -> None:
    with pytest.raises(UserError, match="did you mean 'convlstm'"):
        catalogue.model("convltsm")


@pytest.mark.parametrize("name", ["ours:Base", "mine.py"])
@pytest.mark.parametrize(
    "asked", [catalogue.model, check, lambda name: select([name], ["convlstm"], ["convlstm"])]
)
def test_a_name_that_looks_like_a_file_is_told_its_form(
    asked: Callable[[str], object], name: str
) -> None:
    with pytest.raises(UserError, match=r"name a class of a file as path/to/file\.py:Class"):
        asked(name)


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
    assert is_file_reference(f"{user_models}:Tiny(width=3)")
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


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("convlstm(width='x')", "width='x' is of the wrong type: Input should be a valid integer"),
        ("convlstm(width=True)", "width=True is of the wrong type"),
        ("convlstm(width=8.5)", r"width=8\.5 is of the wrong type"),
        ("convlstm(width=None)", "width=None is of the wrong type"),
        ("convlstm(peephole=1)", "peephole=1 is of the wrong type"),
        ("convlstm(width=8)(kernel=3)", "write name"),
        ("convlstm(width=8) or _(kernel=3)", "write name"),
        ("convlstm(width=8, width=9)", "write name"),
        ("convlstm(**{})", "write name"),
        ("convlstm(**{'width': 8})", "write name"),
        ("convlstm(width={1, 2})", "write name"),
        ("convlstm(width=1e999)", "write name"),
        ("convlstm(width={[]: 1})", "write name"),
        ("convlstm(width=10**10000)", "write name"),
        ("convlstm(width=b'x')", "write name"),
        ("convlstm(width=[[[[[[[1]]]]]]])", "write name"),
        (f"convlstm(width={'(' * 1500}1{')' * 1500})", "write name"),
        (f"convlstm(width={'-' * 3000}1)", "write name"),
        (f"convlstm(width='{'x' * 5000}')", "5,018 characters: write at most"),
        ("convlstm(\nwidth=8)", "holds a line end"),
        ("conv\0lstm", "control character"),
        ("conv\udcfflstm", "UTF-8"),
        ("\u2028convlstm", "holds a line end"),
        ("", "unknown model ''"),
        (f"{'x' * 300}/{'y' * 300}.py:Mine", "there is no file"),
    ],
)
def test_no_mistake_in_a_reference_passes_or_is_more_than_a_line(
    reference: str, message: str
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        catalogue.model(reference)
    assert "\n" not in str(caught.value)


@given(
    st.text()
    | st.lists(
        st.sampled_from([*"([{}]),=:'\"*-\\\n", "a", "x.py:", "width", "8", "1e999", "None"])
    ).map("".join)
    | st.dictionaries(st.text("abc", min_size=1), st.lists(st.integers() | st.text())).map(
        lambda options: f"n({', '.join(f'{k}={v!r}' for k, v in options.items())})"
    )
)
def test_any_text_is_a_reference_or_a_users_error(text: str) -> None:
    with contextlib.suppress(UserError):
        reference = Reference.parse(text)
        assert Reference.parse(reference.label(reference.name)) == reference


@pytest.mark.parametrize("option", ["width=-3", "width=0", "patch=0", "width=1" + "0" * 150])
def test_an_option_that_no_model_can_be_built_with_is_told_before_the_run(option: str) -> None:
    suite = load_suite("smoke").with_overrides(models=[f"convlstm({option})"], device="cpu")
    with pytest.raises(UserError, match="does not work on moving_mnist") as caught:
        settle(suite)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "reference",
    [
        "moving_mnist(horizon=100000)",
        "moving_mnist(context_frames=100000)",
        "moving_mnist/long(horizon=100000)",
        "moving_mnist/time_reversed(horizon=100000)",
        "moving_mnist(horizon=0)",
        "moving_mnist(horizon=-1)",
        "moving_mnist(horizon=True)",
        "moving_mnist(horizon=2.5)",
        "moving_mnist(train_share='much')",
    ],
)
def test_clips_that_nobody_means_are_refused(reference: str) -> None:
    with pytest.raises(UserError, match=r"horizon|context_frames|train_share"):
        catalogue.open_dataset(reference)


def _write(path: Path, text: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return str(path)


MINE = "from models.copy_last import CopyLast\nclass Mine(CopyLast):\n    name = 'mine'\n"


@pytest.mark.parametrize(
    "place", ["my model.py", "with (parens)/a.py", '#1/it\'s "mine".py', "größe.py", "a.py:b/c.py"]
)
def test_a_file_may_have_any_name(tmp_path: Path, place: str) -> None:
    text = MINE + "    def __init__(self, frame_shape, *, width: int = 1):\n"
    reference = _write(tmp_path / place, text + "        super().__init__(frame_shape)\n") + ":Mine"
    assert catalogue.model(reference).name == "mine"
    assert catalogue.model(f"{reference}(width=3)") is catalogue.model(reference)
    assert catalogue.absolute(f"{reference}(width=3)") == f"{reference}(width=3)"
    suite = _write(
        tmp_path / "own (1) #2.toml",
        f"models = [{json.dumps(reference)}]\ndatasets = ['moving_mnist']\nbudget = '1s'\n",
    )
    assert load_suite(suite).models == (reference,)


def test_two_files_of_one_name_are_two_modules_with_neighbours_of_their_own(tmp_path: Path) -> None:
    classes = []
    for folder in "ab":
        _write(tmp_path / folder / "beside.py", f"PLACE = {folder!r}\n")
        text = f"from beside import PLACE\n{MINE}    place = PLACE\n    number = {ord(folder)}\n"
        classes.append(catalogue.model(_write(tmp_path / folder / "same.py", text) + ":Mine"))
    assert [cls.place for cls in classes] == ["a", "b"]  # type: ignore[attr-defined]
    assert len({fingerprint.code_digest(cls) for cls in classes}) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import sys\nsys.exit(3)", "cannot be imported: mine.py:2: SystemExit: 3"),
        (
            "class Odd(BaseException): ...\nraise Odd('a\\nb')",
            "cannot be imported: mine.py:2: Odd: a b",
        ),
        ("def f(:", "cannot be imported: SyntaxError"),
        (MINE.replace("'mine'", "'a\\nb'"), r"the name of .*Mine is 'a\\nb'"),
        (MINE.replace("'mine'", "'a$b$'"), "the name of"),
        (MINE.replace("'mine'", "''"), "the name of"),
        (MINE.replace("'mine'", "'x' * 101"), "the name of"),
        (MINE.replace("'mine'", "7"), "the name of .*Mine is 7: give it letters"),
        (MINE.replace("'mine'", "'\\udcff'"), "the name of"),
        (MINE.replace("'mine'", "'../mine'"), "the name of"),
        (MINE + "    sizes = {}\n", "the sizes of"),
        ("", "unknown model in mine.py 'Mine': there are: none"),
        (
            "from torch import nn\nclass Mine(nn.Module): ...",
            "Mine in mine.py is no model: derive a model from Predictor or Classifier of models",
        ),
        (
            "from models.contract import Predictor\nclass Mine(Predictor): ...",
            "Mine in mine.py lacks forward: see docs/extend.md",
        ),
        (
            "from datasets.contract import Dataset\nclass Mine(Dataset):\n"
            "    def held_out(self, split): ...",
            "Mine in mine.py lacks train_clips: see",
        ),
        (
            "from datasets.pushed_disc import PushedDisc\nclass Mine(PushedDisc): ...",
            "Mine in mine.py is no model: name it where its own kind is asked",
        ),
        (MINE + "    sizes = {'only': 3}\n", "the sizes of"),
        (
            MINE + "    from models.contract import Recipe\n    Recipe('', float('nan'), 4)\n",
            "learning_rate of a recipe is a number above 0, not nan",
        ),
    ],
)
def test_a_file_that_is_no_model_says_so_in_a_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        catalogue.model(_write(tmp_path / "mine.py", text) + ":Mine")
    assert "\n" not in str(caught.value)


TYPED = """
from collections.abc import Callable
from pathlib import Path
from typing import Literal
class Typed(CopyLast):
    def __init__(self, frame_shape, *, place: Path = Path(), size: int | tuple[int, int] = 1,
                 how: Literal["a", "b"] = "a", share: float = 0, odd: "NoSuch" = 1, free=None):
        super().__init__(frame_shape)
"""


def test_options_are_checked_by_the_annotations_of_a_users_class(tmp_path: Path) -> None:
    texts = MINE + TYPED.replace('"NoSuch"', "type(print)"), MINE + TYPED
    typed, unknown = (_write(tmp_path / f"{n}.py", text) for n, text in enumerate(texts))
    fine = "place='x', size=[3, 4], how='b', share=1, odd=3, free=[None, {'a': 1.5}]"
    assert catalogue.model(f"{typed}:Typed({fine})")
    assert catalogue.model(f"{unknown}:Typed(size='x')")  # annotations that cannot be told
    for wrong in ("place=3", "size='x'", "size=(1, 2, 3)", "how='c'", "share='x'", "share=True"):
        with pytest.raises(UserError, match="wrong type"):
            catalogue.model(f"{typed}:Typed({wrong})")


def test_a_label_that_no_database_holds_is_refused(tmp_path: Path) -> None:
    reference = _write(tmp_path / "mine.py", MINE + TYPED) + f":Typed(free='{'x' * 300}')"
    suite = load_suite("smoke").with_overrides(models=[reference], device="cpu")
    with pytest.raises(UserError, match="200 at most"):
        settle(suite)


def test_what_a_file_prints_is_no_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    catalogue.model(_write(tmp_path / "mine.py", "print('hello')\n" + MINE) + ":Mine")
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", "hello\n")


def test_a_file_may_declare_its_encoding(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("# -*- coding: latin-1 -*-\n# größer\n" + MINE, encoding="latin-1")
    assert fingerprint.code_digest(catalogue.model(f"{path}:Mine"))
