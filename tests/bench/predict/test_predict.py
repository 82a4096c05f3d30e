"""`bench predict`: a finished cell's model, loaded from MLflow alone, on clips of a user's own."""

import csv
import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import av
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn

from bench import cli, pictures, records
from bench.errors import UserError
from bench.predict import trained
from bench.predict.own_clips import OwnClips, Window, find
from bench.store.mlflow import Store
from bench.suite import catalogue, fingerprint
from bench.train.task import task_for
from datasets.contract import Spec
from datasets.video.names import printable
from datasets.video.source import FrameFormat
from tests.bench.conftest import SUITE, run_here

OWN = '''
import torch
from torch import nn
from datasets.contract import Dataset, Spec
from models.contract import Predictor, Recipe, Classifier, Size


class Filter(Predictor):
    """The last frame, filtered, over and over."""

    sizes = {"only": Size(Recipe("test", learning_rate=1e-2, batch_size=2), {"side": 3})}

    def __init__(self, frame_shape, *, side):
        super().__init__(frame_shape)
        self.filter = nn.Conv2d(frame_shape[0], frame_shape[0], side, padding=side // 2)
        self.dropout = nn.Dropout()

    def forward(self, context, horizon):
        frames = [context[:, -1]]
        for _ in range(horizon):
            frames.append(self.dropout(self.filter(frames[-1])))
        return torch.stack(frames[1:], 1)

    def training_loss(self, batch):
        last, first = batch.context[:, -1], batch.future[:, 0]
        return nn.functional.mse_loss(self.filter(last), first)


class Brightness(Classifier):
    """The mean of all pixels, times a weight a class."""

    def __init__(self, frame_shape, classes):
        super().__init__(frame_shape, classes)
        self.weight = nn.Parameter(torch.arange(classes).float() * 20)

    def forward(self, clip):
        return clip.mean((1, 2, 3, 4))[:, None] * self.weight


class Noise(Dataset):
    """Colours that tell nothing."""

    def __init__(self, context_frames=4, horizon=2, *, frame_step=1):
        self.spec = Spec((3, 16, 24), context_frames, horizon)
        self.frame_step = frame_step

    def train_clips(self, count, generator):
        shape = count, self.spec.clip_frames, *self.spec.frame_shape
        return torch.randint(256, shape, generator=generator, dtype=torch.uint8)

    def held_out(self, split):
        seed = {"validation": 1, "test": 2}[split]
        return self.train_clips(8, torch.Generator().manual_seed(seed))
'''
CLASS_NAMES = ("dark", "dim", "grey", "pale", "bright", "white")
COPY_LAST, FILTER = "copy_last/Noise/0", "Filter/Noise/0"
SHAPE = 16, 24, 3
Predict = Callable[..., int]
Frames = NDArray[np.uint8]


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("own") / "own.py"
    path.write_text(OWN, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, empty_store: Path, own: Path) -> Path:
    """A results folder with a finished cell of a user's own model, and runs as others leave."""
    folder = tmp_path_factory.mktemp("cells") / "results"
    shutil.copytree(empty_store, folder)
    suite = folder / "own.toml"
    text = SUITE.format(models=own).replace("moving_mnist", f"{own}:Noise")
    suite.write_text(text.replace("Tiny", "Filter"), encoding="utf-8")
    words = ("run", "--suite", suite, "--models", f"{own}:Filter", "--datasets", f"{own}:Noise")
    done = run_here(*words, "--results", folder, "--device", "cpu", report=False)
    assert done.returncode == 0, done.stdout + done.stderr
    store = Store(f"sqlite:///{folder}/mlflow.db")
    _record(store, folder, "copy_last", f"{own}:Noise")
    _record(
        store, folder, "copy_last", f"{own}:Noise(frame_step=3)", dataset="Noise/3", frame_step=3
    )
    _record(store, folder, "mean_frame", f"{own}:Noise", status="interrupted")
    return folder


def _record(
    store: Store,
    folder: Path,
    model: str,
    dataset_reference: str,
    *,
    weights: Mapping[str, torch.Tensor] = MappingProxyType({}),
    classes: Sequence[str] = (),
    status: str = "done",
    **params: object,
) -> str:
    """The id of a run as a cell leaves it."""
    given: dict[str, object] = {"model": model.rpartition(":")[2], "dataset": "Noise"}
    given |= {"suite": "made", "size": "only", "frame_shape": "3x16x24", "context_frames": 4}
    given |= {"frame_step": 1}
    given |= {"horizon": 0 if classes else 2}
    given |= {records.MODEL_REFERENCE: model, records.DATASET_REFERENCE: dataset_reference}
    given |= params
    tags = {records.KIND: "cell"}
    run_id = store.begin(str(given["suite"]), f"{given['model']}/{given['dataset']}/0", tags)
    store.params(run_id, given)
    path = folder / records.CHECKPOINT
    save_file(dict(weights), path, {records.CLASSES: json.dumps(classes)} if classes else None)
    store.attach(run_id, path)
    store.end(run_id, records.Status(status))
    return run_id


@pytest.fixture
def predict(results: Path, tmp_path: Path) -> Predict:
    """The exit code of `bench predict`, here in this process; it writes to `tmp_path / "out"`."""

    def run(model: str, place: Path, *arguments: object) -> int:
        words = ["predict", "--model", model, "--input", place, "--out", tmp_path / "out"]
        return cli.main([*map(str, [*words, "--results", results, "--device", "cpu", *arguments])])

    return run


def _clip(frames: int, seed: int = 0) -> Frames:
    """Random frames [T,H,W,C], in the size of the models."""
    return np.random.default_rng(seed).integers(0, 256, (frames, *SHAPE), dtype=np.uint8)


def _write_images(folder: Path, frames: Frames) -> None:
    """Images without zero padding, so that text order is another."""
    folder.mkdir(parents=True)
    for number, frame in enumerate(frames, 1):
        Image.fromarray(frame).save(folder / f"{number}.png")


def _write_video(path: Path, frames: Frames) -> None:
    """Without loss."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "bgr0"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def _picture(path: Path) -> Frames:
    with Image.open(path) as picture:
        return np.asarray(picture)


def _names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_the_22nd_frame_of_every_clip_of_11_frames(predict: Predict, tmp_path: Path) -> None:
    """What the course study asked for, with a model whose prediction is known exactly."""
    clips = {name: _clip(11, seed) for seed, name in enumerate(("a", "b", "deeper/c"))}
    for name, frames in clips.items():
        _write_images(tmp_path / "clips" / name, frames)
    assert predict(COPY_LAST, tmp_path / "clips", "--horizon", 11) == 0
    numbers = range(12, 23)
    assert _names(tmp_path / "out") == [f"{c}/frame_{n:04}.png" for c in clips for n in numbers]
    for name, frames in clips.items():
        for number in numbers:
            picture = _picture(tmp_path / "out" / name / f"frame_{number:04}.png")
            assert np.array_equal(picture, frames[-1])


@pytest.mark.parametrize("form", ["images", "video.avi", "array.npy"])
def test_a_clip_of_more_than_a_hundred_frames_is_continued_in_every_form(
    predict: Predict, tmp_path: Path, form: str
) -> None:
    frames, place = _clip(123), tmp_path / form
    if form == "images":
        _write_images(place, frames)
    elif form == "video.avi":
        _write_video(place, frames)
    else:
        np.save(place, frames)
    assert predict(COPY_LAST, place) == 0
    names = [f"{place.stem}/frame_0124.png", f"{place.stem}/frame_0125.png"]
    assert _names(tmp_path / "out") == names
    assert np.array_equal(_picture(tmp_path / "out" / names[0]), frames[-1])


def test_a_trained_model_predicts_what_its_weights_say_through_png_and_npy(
    predict: Predict, tmp_path: Path, results: Path
) -> None:
    clips = np.stack([_clip(5, seed) for seed in range(20)])  # more than a batch
    np.save(tmp_path / "clips.npy", clips)
    store = Store(f"sqlite:///{results}/mlflow.db")
    (run,) = [run for run in store.cells("own") if run.name == FILTER]
    weights = load_file(store.artifact(run.run_id, records.CHECKPOINT) or "")
    convolution = nn.Conv2d(3, 3, 3, padding=1)
    convolution.load_state_dict({k.removeprefix("filter."): v for k, v in weights.items()})
    expected = [torch.from_numpy(clips[:, -1]).permute(0, 3, 1, 2) / 255]
    with torch.no_grad():
        for _ in range(3):
            expected.append(convolution(expected[-1]))
    rounded = (torch.stack(expected[1:], 1).clamp(0, 1) * 255).round().byte()
    truth = rounded.permute(0, 1, 3, 4, 2).numpy()

    assert predict(run.run_id, tmp_path / "clips.npy", "--horizon", 3, "--format", "npy") == 0
    written = np.load(tmp_path / "out" / "predictions.npy")
    assert (written.dtype, written.shape) == (np.uint8, (20, 3, *SHAPE))
    assert np.abs(written.astype(int) - truth).max() <= 1  # a batch of another size rounds so
    assert (written == truth).mean() > 0.999
    names = json.loads((tmp_path / "out" / "names.json").read_text())
    assert names == [f"clips#{number}" for number in range(1, 21)]
    assert _names(tmp_path / "out") == ["names.json", "predictions.npy"]

    shutil.rmtree(tmp_path / "out")
    assert predict(FILTER, tmp_path / "clips.npy", "--horizon", 3) == 0
    for name, prediction in zip(names, written, strict=True):
        for number, frame in enumerate(prediction, 6):
            picture = _picture(tmp_path / "out" / name / f"frame_{number:04}.png")
            assert np.array_equal(picture, frame)


@pytest.mark.parametrize("form", ["gif", "mp4"])
def test_an_animation_shows_context_and_prediction_within_other_borders(
    predict: Predict, tmp_path: Path, form: str
) -> None:
    frames = np.broadcast_to(np.arange(0, 180, 20, np.uint8)[:, None, None, None], (9, *SHAPE))
    _write_video(tmp_path / "clip.mkv", frames)
    assert predict(FILTER, tmp_path / "clip.mkv", "--format", form) == 0
    assert _names(tmp_path / "out") == [f"clip.{form}"]
    with av.open(str(tmp_path / "out" / f"clip.{form}")) as container:
        shown = [frame.to_ndarray(format="rgb24").astype(int) for frame in container.decode()]
    assert len(shown) == 4 + 2
    middles = [picture[picture.shape[0] // 2, picture.shape[1] // 2, 0] for picture in shown[:4]]
    assert np.abs(np.array(middles) - [100, 120, 140, 160]).max() < 8  # the last four frames
    for picture, colour in zip(shown, [pictures.GIVEN] * 4 + [pictures.PREDICTED] * 2, strict=True):
        assert np.abs(picture[0, picture.shape[1] // 2] - colour).max() < 60


def test_damaged_clips_are_named_and_skipped(
    predict: Predict, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "clips"
    _write_video(folder / "good.avi", _clip(9))
    (folder / "text.avi").write_text("no video")
    np.save(folder / "wrong.npy", np.zeros((9, *SHAPE)))
    _write_images(folder / "one", _clip(1))
    (folder / ".hidden.avi").write_text("none")
    assert predict(COPY_LAST, folder, "--format", "npy") == 1
    told = capsys.readouterr()
    assert "predicted 2 frames after each clip, 1 in all" in told.out
    left_out = [line.removeprefix("left out: ") for line in told.err.splitlines()]
    for words in ("1 as a single image (one/", "text: ", "wrong: holds float64, not uint8"):
        assert sum(line.startswith(words) for line in left_out) == 1
    assert np.load(tmp_path / "out" / "predictions.npy").shape == (1, 2, *SHAPE)


def test_short_clips_are_continued_from_what_there_is_and_told(
    predict: Predict, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for frames in (2, 9, 3):
        np.save(tmp_path / f"{frames}.npy", _clip(frames))
        shutil.move(tmp_path / f"{frames}.npy", _folder(tmp_path / "clips") / f"{frames}.npy")
    assert predict(COPY_LAST, tmp_path / "clips") == 0
    assert "2 of them are shorter than the 4 frames" in capsys.readouterr().out
    assert _names(tmp_path / "out")[:2] == ["2/frame_0003.png", "2/frame_0004.png"]


def _folder(path: Path) -> Path:
    path.mkdir(exist_ok=True)
    return path


def test_what_is_in_the_folder_is_kept_unless_it_is_to_be_overwritten(
    predict: Predict, tmp_path: Path
) -> None:
    np.save(tmp_path / "clip.npy", _clip(9))
    mine = _folder(tmp_path / "out") / "mine.txt"
    mine.write_text("kept")
    with pytest.raises(UserError, match="--overwrite"):
        predict(COPY_LAST, tmp_path / "clip.npy")
    assert _names(tmp_path / "out") == ["mine.txt"]
    assert predict(COPY_LAST, tmp_path / "clip.npy", "--overwrite", "--horizon", 5) == 0
    assert predict(COPY_LAST, tmp_path / "clip.npy", "--overwrite", "--horizon", 1) == 0
    assert _names(tmp_path / "out") == ["clip/frame_0010.png", "mine.txt"]


@pytest.mark.parametrize(
    ("style", "taken"),
    [
        ("png", "clip/frame_0010.png"),
        ("npy", "predictions.npy"),
        ("mp4", "clip.mp4"),
        ("gif", "clip.gif"),
    ],
)
def test_what_cannot_be_written_is_told_and_leaves_no_part_of_a_file(
    predict: Predict, tmp_path: Path, style: str, taken: str
) -> None:
    np.save(tmp_path / "clip.npy", _clip(9))
    (tmp_path / "out" / taken / "mine").mkdir(parents=True)
    with pytest.raises(UserError, match="out cannot be written to: "):
        predict(COPY_LAST, tmp_path / "clip.npy", "--overwrite", "--format", style)
    assert _names(tmp_path / "out") == []


@pytest.mark.parametrize(
    ("model", "place", "more", "message"),
    [
        ("copy_lats/Noise/0", "clip.npy", (), f"did you mean '{COPY_LAST}'?"),
        ("0" * 32, "clip.npy", (), "unknown cell"),
        ("mean_frame/Noise/0", "clip.npy", (), "its run is interrupted"),
        (COPY_LAST, "absent.mp4", (), "absent.mp4"),
        (COPY_LAST, "x" * 300, (), "cannot be read: File name too long"),
        (COPY_LAST, "clip.npy", ("--horizon", 0), "from 1 on"),
        (COPY_LAST, "clip.npy", ("--horizon", -1), "from 1 on"),
        (COPY_LAST, "clip.npy", ("--horizon", 100_000), "ask for fewer frames"),
        (COPY_LAST, "clip.npy", ("--device", "mps"), "no mps device"),
        (COPY_LAST, "clip.npy", ("--results", "nowhere"), "no MLflow store"),
        (COPY_LAST, "empty", (), "holds no clips"),
        (COPY_LAST, "broken", (), "no clip can be read, such as text: "),
        (COPY_LAST, "twice", (), "two clips are named clip: rename"),
        (COPY_LAST, "loop", (), "loop/again links to a folder whose clips are here already"),
    ],
)
def test_a_mistake_is_one_line_and_writes_nothing(
    predict: Predict,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    model: str,
    place: str,
    more: tuple[object, ...],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("clip.npy", _clip(9))
    (_folder(tmp_path / "broken") / "text.avi").write_text("no video")
    _folder(tmp_path / "empty")
    (_folder(tmp_path / "loop") / "again").symlink_to(tmp_path / "loop")
    for name in ("clip.avi", "clip.npy"):
        (_folder(tmp_path / "twice") / name).touch()
    with pytest.raises(UserError) as error:
        predict(model, tmp_path / place, *more)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "nowhere").exists()


def test_a_cell_that_several_suites_have_run_is_the_newest_of_them(
    predict: Predict, tmp_path: Path, results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "clip.npy", _clip(9))
    store, own = Store(f"sqlite:///{results}/mlflow.db"), {"dataset": "Noise/twice"}
    for suite in ("first", "second"):
        newest = _record(store, tmp_path, "copy_last", "moving_mnist", suite=suite, **own)
        time.sleep(0.01)  # MLflow counts in milliseconds
    assert predict("copy_last/Noise/twice/0", tmp_path / "clip.npy") == 0
    told = f"copy_last/Noise/twice/0 of the suite second, run {newest}"
    assert told in capsys.readouterr().out


def test_frames_are_taken_and_numbered_in_the_steps_of_the_data_set(
    predict: Predict, tmp_path: Path
) -> None:
    frames = np.broadcast_to(np.arange(20, dtype=np.uint8)[:, None, None, None], (20, *SHAPE))
    np.save(tmp_path / "clip.npy", frames)
    assert predict("copy_last/Noise/3/0", tmp_path / "clip.npy") == 0
    assert _names(tmp_path / "out") == ["clip/frame_0023.png", "clip/frame_0026.png"]


def test_a_model_whose_size_has_changed_since_is_refused(
    predict: Predict, tmp_path: Path, results: Path, own: Path
) -> None:
    np.save(tmp_path / "clip.npy", _clip(9))
    store, model = Store(f"sqlite:///{results}/mlflow.db"), f"{own}:Filter"
    changed: dict[str, object] = {"dataset": "Noise/changed", "model.side": 5}
    run = _record(store, tmp_path, model, f"{own}:Noise", **changed)
    with pytest.raises(UserError, match=r"side \(then 5, now 3\)"):
        predict(run, tmp_path / "clip.npy")
    other = {"filter.weight": torch.zeros(3, 3, 7, 7)}
    run = _record(
        store, tmp_path, model, f"{own}:Noise", weights=other, **changed | {"model.side": 3}
    )
    with pytest.raises(UserError, match="has changed since it was trained"):
        predict(run, tmp_path / "clip.npy")


def test_code_that_has_changed_since_is_told(
    predict: Predict,
    tmp_path: Path,
    results: Path,
    own: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    np.save(tmp_path / "clip.npy", _clip(9))
    store, model = Store(f"sqlite:///{results}/mlflow.db"), f"{own}:Filter"
    run = _record(
        store,
        tmp_path,
        model,
        f"{own}:Noise",
        weights={"filter.weight": torch.zeros(3, 3, 3, 3), "filter.bias": torch.zeros(3)},
        **{"dataset": "Noise/code", "model.side": 3},
    )
    code = fingerprint.code_digest(catalogue.model(model))
    for digest, said in ((code, False), ("0" * 32, True)):
        store.tag(run, {records.MODEL_CODE: digest})
        assert predict(run, tmp_path / "clip.npy", "--overwrite") == 0
        assert ("note: Filter has changed since it was trained" in capsys.readouterr().err) is said


def test_a_model_of_other_sizes_than_the_frames_has_not_changed(
    predict: Predict, tmp_path: Path, results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What pads frames for it is no code of the model."""
    np.save(tmp_path / "clip.npy", _clip(9))
    cls = catalogue.model("simvp")
    _, size = catalogue.size_of(cls, "small")
    padded = task_for(cls, Spec((3, 18, 26), 4, 2)).build(cls, size.options)
    assert type(padded) is not cls
    run = _record(
        Store(f"sqlite:///{results}/mlflow.db"),
        tmp_path,
        "simvp",
        "moving_mnist",
        weights=padded.state_dict(),
        dataset="Noise/padded",
        frame_shape="3x18x26",
        size="small",
        **{f"model.{name}": value for name, value in size.options.items()},
    )
    code = {records.MODEL_CODE: fingerprint.code_digest(cls)}
    Store(f"sqlite:///{results}/mlflow.db").tag(run, code)
    assert predict(run, tmp_path / "clip.npy") == 0
    assert "has changed" not in capsys.readouterr().err


def _damage(store: Store, run: str, content: bytes | None) -> None:
    """Put `content`, or a folder, in the place of the run's weights."""
    path = store.artifact(run, records.CHECKPOINT)
    assert path is not None
    if content is None:
        path.unlink()
        path.mkdir()
    else:
        path.write_bytes(content)


@pytest.mark.parametrize(
    "content",
    [b"", b"garbage" * 99, (2**40).to_bytes(8, "little") + b"{}", None],
    ids=["empty", "garbage", "a head of a terabyte", "a folder"],
)
def test_damaged_weights_are_told_in_one_line(
    predict: Predict, tmp_path: Path, results: Path, own: Path, content: bytes | None
) -> None:
    np.save(tmp_path / "clip.npy", _clip(9))
    store = Store(f"sqlite:///{results}/mlflow.db")
    run = _record(store, tmp_path, "copy_last", f"{own}:Noise", dataset="Noise/damaged")
    _damage(store, run, content)
    with pytest.raises(UserError, match=r"are damaged: .*; run the cell again$"):
        predict(run, tmp_path / "clip.npy")
    assert not (tmp_path / "out").exists()


def test_frames_that_no_picture_has_are_predicted_from_python_alone(
    predict: Predict, tmp_path: Path, results: Path, own: Path
) -> None:
    np.save(tmp_path / "clip.npy", _clip(9))
    store = Store(f"sqlite:///{results}/mlflow.db")
    shape = {"dataset": "Noise/two", "frame_shape": "2x16x24"}
    run = _record(store, tmp_path, "copy_last", f"{own}:Noise", **shape)
    with pytest.raises(UserError, match=r"frames of 2 channels, which no picture has: use nextfr"):
        predict(run, tmp_path / "clip.npy")
    model = trained.load(run, f"sqlite:///{results}/mlflow.db", "cpu").model
    assert model(torch.rand(1, 4, 2, 16, 24), 2).shape == (1, 2, 2, 16, 24)


FILTER_OF = {"filter.weight": (3, 3, 3, 3), "filter.bias": (3,)}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"frame_shape": "3x-1xa"}, "recorded with frame_shape '3x-1xa'"),
        ({"frame_shape": "16x24"}, "recorded with frame_shape '16x24'"),
        ({"context_frames": "many"}, "recorded with context_frames 'many'"),
        ({"horizon": "0"}, "odd settings: horizon"),
        ({records.MODEL_REFERENCE: "gone.py:Filter"}, "gone.py"),
        ({records.DATASET_REFERENCE: "gone.py:Noise"}, "gone.py"),
        ({records.MODEL_REFERENCE: "copy_last(side=3)"}, "side"),
        ({"fill": float("nan")}, " holds what is no number"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_run_that_fits_no_model_is_told_in_one_line(
    predict: Predict,
    tmp_path: Path,
    results: Path,
    own: Path,
    changed: dict[str, object],
    message: str,
) -> None:
    np.save(tmp_path / "clip.npy", _clip(9))
    store = Store(f"sqlite:///{results}/mlflow.db")
    fill, data = changed.get("fill", 0.0), changed.get(records.DATASET_REFERENCE, f"{own}:Noise")
    weights = {name: torch.full(shape, float(str(fill))) for name, shape in FILTER_OF.items()}
    params = {"model.side": 3, "dataset": "Noise/odd"} | changed
    params = {name: params[name] for name in params.keys() - {"fill", records.DATASET_REFERENCE}}
    run = _record(store, tmp_path, f"{own}:Filter", str(data), weights=weights, **params)
    with pytest.raises(UserError) as error:
        predict(run, tmp_path / "clip.npy")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("style", ["png", "npy", "mp4", "gif"])
def test_clips_of_any_name_are_written_apart(predict: Predict, tmp_path: Path, style: str) -> None:
    names = ["a\nb", "$x$|`c`", "=1+1", "\udcff", "x" * 250 + "1", "x" * 250 + "2", " ", "é" * 120]
    for name in names:
        np.save(_folder(tmp_path / "clips") / f"{name}.npy", _clip(5))
    assert predict(COPY_LAST, tmp_path / "clips", "--format", style, "--horizon", 1) == 0
    if style == "npy":
        read = json.loads((tmp_path / "out" / "names.json").read_text(encoding="utf-8"))
        assert sorted(read) == sorted(map(printable, names))
    else:
        assert len(_names(tmp_path / "out")) == len(names)


@pytest.mark.parametrize("out", ["clips", "clips/inside", "."])
def test_predictions_never_touch_the_clips_they_continue(
    predict: Predict, tmp_path: Path, out: str
) -> None:
    for number in range(1, 6):
        path = tmp_path / "clips" / "one" / f"frame_{number:04}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(_clip(1)[0]).save(path)
    before = _names(tmp_path)
    with pytest.raises(UserError, match="overlap"):
        predict(COPY_LAST, tmp_path / "clips", "--overwrite", "--out", tmp_path / out)
    assert _names(tmp_path) == before


def test_a_model_is_given_memory_that_holds_no_later_frame() -> None:
    images = list(_clip(40))
    for middle in (False, True):
        shown = Window(4, 2, middle).of(images)
        whole = shown if shown.base is None else shown.base
        assert whole.nbytes == 4 * images[0].nbytes


def test_a_model_that_fails_on_a_clip_is_told_in_one_line(
    predict: Predict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise LookupError("no such\nframe")

    np.save(tmp_path / "clip.npy", _clip(9))
    monkeypatch.setattr("models.copy_last.CopyLast.forward", fail)
    with pytest.raises(UserError, match="cannot predict: LookupError: no such frame"):
        predict(COPY_LAST, tmp_path / "clip.npy")


def test_a_classifier_names_the_five_likeliest_classes_of_each_clip(
    predict: Predict, tmp_path: Path, results: Path, own: Path
) -> None:
    store = Store(f"sqlite:///{results}/mlflow.db")
    run = _record(
        store,
        tmp_path,
        f"{own}:Brightness",
        f"{own}:Noise",
        weights={"weight": torch.arange(len(CLASS_NAMES)).float() * 20},
        classes=CLASS_NAMES,
        task="recognition",
    )
    for name, value in (("bright", 255), ("middle", 0)):
        clip = np.full((11, *SHAPE), value, np.uint8)
        clip[3:7] = 255 if name == "bright" else 25  # what is looked at
        np.save(_folder(tmp_path / "clips") / f"{name}.npy", clip)
    assert predict(run, tmp_path / "clips") == 0
    with (tmp_path / "out" / "recognised.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["clip"] for row in rows] == ["bright"] * 5 + ["middle"] * 5
    assert [row["rank"] for row in rows] == list("12345") * 2
    for name, brightness in (("bright", 1.0), ("middle", 25 / 255)):
        chances = (torch.arange(6) * 20 * brightness).softmax(0)
        said = {row["class"]: float(row["probability"]) for row in rows if row["clip"] == name}
        assert list(said) == list(reversed(CLASS_NAMES))[:5]
        expected = [float(chances[CLASS_NAMES.index(shown)]) for shown in said]
        assert list(said.values()) == pytest.approx(expected, abs=2e-6)


@pytest.mark.parametrize(
    ("frames", "step", "middle", "shown"),
    [
        (9, 1, False, [5, 6, 7, 8]),
        (9, 2, False, [2, 4, 6, 8]),
        (6, 2, False, [1, 3, 5]),
        (2, 1, False, [0, 1]),
        (9, 1, True, [2, 3, 4, 5]),
        (9, 2, True, [1, 3, 5, 7]),
        (3, 1, True, [0, 1, 2, 2]),
        (4, 2, True, [0, 2, 3, 3]),
    ],
)
def test_what_a_model_is_shown_of_a_clip(
    tmp_path: Path, frames: int, step: int, middle: bool, shown: list[int]
) -> None:
    clips = np.broadcast_to(
        np.arange(frames, dtype=np.uint8)[:, None, None, None], (2, frames, 4, 4, 1)
    )
    np.save(tmp_path / "clips.npy", clips)
    window = Window(4, step, middle)
    for clip in OwnClips(find(tmp_path / "clips.npy"), FrameFormat(1, 4, 4), window):
        assert clip.frames == frames
        assert clip.shown[:, 0, 0, 0].tolist() == shown


def test_clips_of_several_in_one_source(tmp_path: Path) -> None:
    np.savez(tmp_path / "sim.npz", a=np.zeros((3, 8, 8), np.uint8), b=np.ones((9, 4, 4), np.uint8))
    for n in (1, 2, 3, 7, 8):
        _folder(tmp_path / "walk")
        Image.fromarray(np.full((4, 4), n, np.uint8)).save(tmp_path / "walk" / f"{n}.png")
    clips = OwnClips(find(tmp_path), FrameFormat(1, 4, 4), Window(2, 1, middle=False))
    shown = {clip.name: clip.shown[:, 0, 0, 0].tolist() for clip in clips}
    assert shown == {"sim#1": [0, 0], "sim#2": [1, 1], "walk#1": [2, 3], "walk#2": [7, 8]}


def test_what_is_wrong_at_the_end_of_a_source_is_found(tmp_path: Path) -> None:
    _folder(tmp_path / "walk")
    for n in (1, 2, 3, 7, 8, 9):
        mode = "RGB" if n in (1, 3, 8) else "L"
        Image.new(mode, (4, 4)).save(tmp_path / "walk" / f"{n}.png")
    clips = OwnClips(find(tmp_path), FrameFormat(1, 4, 4), Window(2, 1, middle=False))
    list(clips)
    assert ["in turns" in it.reason for it in clips.damaged] == [True]


def test_batches_hold_clips_of_one_length_in_their_order(tmp_path: Path) -> None:
    for number, frames in enumerate((9, 9, 9, 3, 3, 9)):
        np.save(tmp_path / f"{number}.npy", _clip(frames))
    clips = OwnClips(find(tmp_path), FrameFormat(3, 4, 4), Window(4, 1, middle=False))
    names = [[clip.name for clip in batch] for batch in clips.batches(2)]
    assert names == [["0", "1"], ["2"], ["3", "4"], ["5"]]
