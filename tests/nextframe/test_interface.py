"""What the names of `nextframe` give, on the cells that the page has run."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import nextframe
from bench import records
from bench.report.statistics.interval import half_width
from bench.suite.suite import load_suite

SUITE = "first-steps"
TRAINED = [f"convlstm-small/moving_mnist/{seed}" for seed in (0, 1)]


def test_cells_are_a_row_each_with_the_recorded_figures(workplace: Path) -> None:
    cells = nextframe.cells(SUITE).set_index("cell")
    assert [*cells.index] == [*TRAINED, "copy_last/moving_mnist/0"]  # whose seed decides nothing
    assert set(cells["status"]) == {records.Status.DONE}
    assert cells["baseline"].tolist() == [False, False, True]
    assert cells.loc[TRAINED, "steps"].tolist() == [2, 2]
    assert cells["mse"].between(0, 1).all()
    assert cells["peak_bytes"].min() > 2**20
    assert "fewer than 100" in cells.loc[TRAINED[0], "marked"]


def test_scores_by_sequence_and_by_frame_have_the_means_of_the_cells(workplace: Path) -> None:
    cells = nextframe.cells(SUITE).set_index("cell")
    by_sequence = nextframe.scores(SUITE)
    by_frame = nextframe.scores(SUITE, by="frame")
    assert by_sequence.groupby("cell")["sequence"].nunique().eq(12).all()
    assert by_frame.groupby("cell")["frame"].apply(list).map(lambda f: f == [*range(1, 11)]).all()
    for table in (by_sequence, by_frame):
        for metric in ("mse", "ssim"):
            means = table.groupby("cell")[metric].mean()
            pd.testing.assert_series_equal(means, cells[metric], check_names=False, rtol=1e-5)


def test_what_scores_can_be_of_is_said() -> None:
    with pytest.raises(nextframe.UserError, match="by is 'sequence' or 'frame', not 'frames'"):
        nextframe.scores(SUITE, by="frames")  # type: ignore[arg-type]


def test_cells_say_whose_recipe_they_had(workplace: Path) -> None:
    cells = nextframe.cells(SUITE).set_index("cell")
    assert cells.loc[TRAINED, "recipe_from"].tolist() == ["ours, not tuned here"] * 2
    assert cells.loc["copy_last/moving_mnist/0", "recipe_from"] == ""


def test_a_model_whose_code_has_changed_is_loaded_with_a_warning(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.predict.trained.fingerprint.code_digest", lambda *_: "other")
    with pytest.warns(UserWarning, match="convlstm has changed since it was trained"):
        nextframe.load(TRAINED[0], device="cpu")


def test_curves_end_at_the_budget_and_at_the_recorded_seconds(workplace: Path) -> None:
    curves = nextframe.curves(SUITE)
    last = curves[curves["metric"] == "val/mse"].groupby("cell").last()
    assert [*last.index] == TRAINED
    assert last["steps"].tolist() == [2, 2]
    assert last["samples"].tolist() == [4, 4]
    seconds = nextframe.cells(SUITE).set_index("cell").loc[TRAINED, "train_seconds"]
    np.testing.assert_allclose(last["train_seconds"], seconds, rtol=0.05)
    assert not curves.duplicated(["cell", "metric", "steps"]).any()


def test_a_loaded_model_gives_the_tested_predictions(workplace: Path) -> None:
    model = nextframe.load(TRAINED[0], device="cpu")
    assert isinstance(model, nn.Module)
    assert not model.training
    assert not model.network.training
    assert (model.context_frames, model.horizon, model.classes) == (10, 10, ())
    clips = nextframe.open_dataset("moving_mnist").held_out("test")[:12]
    predicted = model.predict(clips[:, :10])
    error = (predicted - clips[:, 10:] / 255).pow(2).mean((1, 2, 3, 4))
    scores = nextframe.scores(SUITE).query("cell == @TRAINED[0]")
    np.testing.assert_allclose(error, scores["mse"], rtol=1e-4)


def test_clips_may_be_bytes_or_floats_tensors_or_arrays_of_any_length(workplace: Path) -> None:
    model = nextframe.load(TRAINED[0], device="cpu")
    clips = torch.randint(256, (2, 3, 1, 64, 64), dtype=torch.uint8)
    predicted = model.predict(clips, horizon=2)
    assert predicted.dtype == torch.float32
    assert predicted.shape == (2, 2, 1, 64, 64)
    assert not predicted.requires_grad
    for same in (clips.numpy(), clips / 255, (clips / 255).double().numpy()):
        torch.testing.assert_close(model.predict(same, horizon=2), predicted)
    with torch.no_grad():
        torch.testing.assert_close(model(clips / 255, 2).clamp(0, 1), predicted)


@pytest.mark.parametrize(
    ("clips", "horizon", "said"),
    [
        (torch.zeros(2, 3, 64, 64), None, r"are \[B,T,1,64,64\], not \[2, 3, 64, 64\]"),
        (torch.zeros(2, 0, 1, 64, 64), None, r"not \[2, 0, 1, 64, 64\]"),
        (torch.zeros(2, 3, 3, 64, 64), None, r"are \[B,T,1,64,64\]"),
        (torch.full((1, 3, 1, 64, 64), 255.0), None, "divide bytes by 255"),
        (torch.full((1, 3, 1, 64, 64), torch.nan), None, "a value that is NaN or infinite"),
        (torch.zeros(1, 3, 1, 64, 64, dtype=torch.int64), None, "not torch.int64"),
        (torch.zeros(1, 3, 1, 64, 64), 0, "from 1 on, not 0"),
        (torch.zeros(1, 3, 1, 64, 64), 2.5, "from 1 on, not 2.5"),
    ],
)
def test_clips_that_cannot_be_predicted_say_why(
    workplace: Path, clips: torch.Tensor, horizon: int | None, said: str
) -> None:
    with pytest.raises(nextframe.UserError, match=said):
        nextframe.load(TRAINED[0], device="cpu").predict(clips, horizon)


def test_diff_names_the_seed_and_compares_the_scores(workplace: Path) -> None:
    found = nextframe.diff(*TRAINED)
    assert [(row.name, row.first, row.second) for row in found.sections["settings"]] == [
        ("seed", "0", "1")
    ]
    cells = nextframe.cells(SUITE).set_index("cell")
    mse = next(score for score in found.scores if score.name == "test/mse")
    assert [mse.first, mse.second] == cells.loc[TRAINED, "mse"].tolist()


def test_models_are_compared_over_sequences_and_seeds(workplace: Path) -> None:
    scores = nextframe.scores(SUITE)
    (found,) = nextframe.statistics.differences(scores, "mse").to_dict("records")
    means = scores.groupby("label")["mse"].mean()
    wanted = 100 * (means[found["first"]] / means[found["second"]] - 1)
    assert found["difference"] == pytest.approx(wanted, rel=1e-5)
    assert found["low"] < found["difference"] < found["high"]
    assert not found["is_sure"]  # trained too briefly
    (long,) = nextframe.statistics.differences(scores.assign(marked="")).to_dict("records")
    assert long["is_sure"] == (found["low"] > 0 or found["high"] < 0)
    with pytest.raises(nextframe.UserError, match="ratio of means"):
        nextframe.statistics.differences(scores, "skill")
    with pytest.raises(nextframe.UserError, match="did you mean 'ssim'"):
        nextframe.statistics.differences(scores, "sim")
    for other in ("dataset", "data_digest", "device", "precision", "budget", "recipe"):
        two = pd.concat([scores, scores.assign(**{other: "another"})])
        with pytest.raises(nextframe.UserError, match=f"several {other}s .*another.*choose one"):
            nextframe.statistics.differences(two)
    for nothing in (nextframe.cells(SUITE), nextframe.scores(SUITE, by="frame"), scores.iloc[:0]):
        with pytest.raises(nextframe.UserError, match=r"rows of nextframe\.scores by sequence"):
            nextframe.statistics.differences(nothing)
    twice = nextframe.statistics.differences(pd.concat([scores, scores]), "mse")
    assert twice.to_dict("records") == [found]
    few = scores[scores["sequence"] < 9]
    (found,) = nextframe.statistics.differences(few).to_dict("records")
    assert np.isnan(found["low"])
    assert not found["is_sure"]
    with pytest.raises(nextframe.UserError, match="leave these cells out"):
        nextframe.statistics.differences(scores.iloc[1:])


def test_statistics_of_seeds() -> None:
    values = [0.1, 0.2, 0.4]
    assert nextframe.statistics.half_width(values) == half_width(values)
    low, high = np.array([0.1, 0.2, 0.1]), np.array([0.5, 0.6, 0.4])
    skill = nextframe.statistics.interquartile_mean([low, high])
    assert skill.low <= skill.value <= skill.high
    assert nextframe.statistics.probability_of_improvement([high], [low]).value == 1
    for wrong in ([], [np.array([])], [low, np.array([0.1, np.nan])], np.array([0.1, 0.2])):
        with pytest.raises(nextframe.UserError, match="an array of finite numbers"):
            nextframe.statistics.interquartile_mean(wrong)  # type: ignore[arg-type]
    with pytest.raises(nextframe.UserError, match="1 families of skills, the other 2"):
        nextframe.statistics.probability_of_improvement([high], [low, low])


def test_a_thread_may_run_a_suite(workplace: Path) -> None:
    suite = nextframe.suite("smoke", models=["copy_last"], evaluation={"test_clips": 2})
    with ThreadPoolExecutor(1) as pool:  # as of a window, or of a page in the web
        cells = pool.submit(nextframe.run, suite, "in-a-thread").result()
    assert [*cells["status"]] == [records.Status.DONE]


def test_a_suite_takes_settings_beside_its_own() -> None:
    suite = nextframe.suite("smoke", models=["conv*"], seeds=[3], evaluation={"test_clips": 5})
    own = load_suite("smoke")
    assert suite.models == ("convlstm",)
    assert suite.seeds == (3,)
    assert suite.evaluation == own.evaluation.model_copy(update={"test_clips": 5})
    assert suite.recipe == own.recipe
    with_options = nextframe.suite("smoke", models={"convlstm": {"layers": 3}})
    assert with_options.models == ("convlstm(layers=3)",)
    with pytest.raises(nextframe.UserError, match="models: Input should be a valid array"):
        nextframe.suite("smoke", models="convlstm")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"name": "own", "models": ["copy_last"], "datasets": ["moving_mnist"]}, "suite: budget"),
        ({"name": "own", "model": ["copy_last"]}, "unknown key, did you mean 'models'"),
        (
            {"name": "own", "models": ["x"], "datasets": ["moving_mnist"], "budget": "1steps"},
            "suite own: unknown model 'x'",
        ),
    ],
)
def test_a_suite_that_cannot_be_built_says_why(settings: dict[str, object], said: str) -> None:
    with pytest.raises(nextframe.UserError, match=said):
        nextframe.suite(**settings)


@pytest.mark.parametrize(
    ("reference", "frame_shape", "how", "said"),
    [
        ("convlstmm", (1, 64, 64), {}, "did you mean 'convlstm'"),
        ("convlstm", (1, 64, 64), {"size": "tiny"}, "unknown size of convlstm 'tiny'"),
        ("convlstm", (1, 64, 64), {"classes": 3}, "is for prediction: leave out the classes"),
        ("convlstm_classifier", (1, 64, 64), {}, "is for recognition: say how many classes"),
        ("simvp(hidden=-3)", (1, 64, 64), {}, "simvp"),
        ("convlstm", (1, -64, 64), {}, "height must be a whole number from 1"),
        ("convlstm", (1, 64.5, 64), {}, "height must be a whole number from 1"),
        ("convlstm", (64, 64), {}, r"frame_shape is \(C, H, W\), not \(64, 64\)"),
    ],
)
def test_a_model_that_cannot_be_built_says_why(
    reference: str, frame_shape: tuple[int, int, int], how: dict[str, object], said: str
) -> None:
    with pytest.raises(nextframe.UserError, match=said):
        nextframe.build_model(reference, frame_shape, **how)  # type: ignore[arg-type]


def test_of_a_model_of_a_fixed_window_the_lengths_are_said() -> None:
    frame = (1, 32, 32)
    windows = [
        nextframe.build_model("simvp", frame, size="small", **lengths).window_frames
        for lengths in ({}, {"context_frames": 4})
    ]
    assert windows == [10, 4]
    with pytest.raises(nextframe.UserError, match="window_frames must be 2 at least"):
        nextframe.build_model("mmvp(window_frames=1)", frame, size="small")


def test_models_are_built_for_any_frame_and_for_classes() -> None:
    classifier = nextframe.build_model("convlstm_classifier", (3, 32, 32), size="small", classes=5)
    assert classifier(torch.rand(2, 3, 3, 32, 32)).shape == (2, 5)
    asked = nextframe.build_model("convlstm(learning_rate=0.1)", (1, 32, 32), size="small")
    assert asked.name == "convlstm"  # fields of a recipe may stand behind a name, and build nothing
    padded = nextframe.build_model("maxvit", (1, 30, 30), size="small")
    assert padded(torch.rand(1, 2, 1, 30, 30), 2).shape == (1, 2, 1, 30, 30)


def test_arguments_of_a_wrong_kind_are_one_line(workplace: Path) -> None:
    wrong: list[tuple[Callable[[], object], str]] = [
        (lambda: nextframe.cells(None), "a suite or its name"),  # type: ignore[arg-type]
        (lambda: nextframe.cells(SUITE, ""), "the folder of the results is empty"),
        (lambda: nextframe.cells(SUITE, tracking_uri=Path("x")), "x is a path, where"),  # type: ignore[arg-type]
        (lambda: nextframe.load(None), "a run is named by its id"),  # type: ignore[arg-type]
        (lambda: nextframe.build_model("convlstm", (1, 32)), "cannot be built"),  # type: ignore[arg-type]
        (lambda: nextframe.build_model("convlstm", (1, 8, 8), classes=-1), "leave out the classes"),
    ]
    for call, said in wrong:
        with pytest.raises(nextframe.UserError, match=said):
            call()
    assert nextframe.suite("smoke", seeds=range(2)).seeds == (0, 1)
    assert nextframe.suite("smoke", seeds=np.arange(2)).seeds == (0, 1)


def test_missing_records_say_so(workplace: Path, tmp_path: Path) -> None:
    with pytest.raises(nextframe.UserError, match="there is no MLflow store"):
        nextframe.cells(SUITE, tmp_path / "none")
    with pytest.raises(nextframe.UserError, match=f"it has {SUITE}"):
        nextframe.cells("mnist")
    with pytest.raises(nextframe.UserError, match="or its name 'own'"):
        nextframe.cells("path/to/own.toml")
