"""`bench data`: preparing, listing and showing data sets, here one in a user's own file."""

import io
import json
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench import cli, pictures
from bench.console.bar import Bar
from bench.errors import UserError
from datasets.moving_mnist import MovingMNIST
from datasets.video.cache import MANIFEST
from datasets.video.growing import JOURNAL

OWN = '''
from datasets.contract import Spec
from datasets.video.cache import Cache
from datasets.video.dataset import LabelledVideoDataset, VideoDataset
from datasets.video.decode import read_frames
from datasets.video.source import FrameFormat, Preparation, Source, Sources

SPLITS = ("train", "validation", "test")


def find(folder):
    paths = sorted(folder.glob("*.npy"))
    return Sources([Source(p.stem, (p,), {"split": p.stem.split("_")[0]}) for p in paths])


def split(cache):
    return {s: [c for c in cache.clips if c.tags["split"] == s] for s in SPLITS}


class OfBlocks:
    @classmethod
    def preparation(cls, *, size=8, channels=3, **_):
        name = f"{__file__}:Blocks" + ("" if size == 8 else f"(size={size})")
        frame = FrameFormat(channels, size, size)
        folder = f"blocks-{channels}x{size}"
        return Preparation(name, folder, frame, find, read_frames, "some blocks", ("blocks",))


class Blocks(OfBlocks, VideoDataset):
    """Frames of one value each."""

    def __init__(self, context_frames=3, horizon=2, *, size=8, channels=3):
        cache = Cache.open(self.preparation(size=size, channels=channels))
        spec = Spec(cache.frames.shape[1:], context_frames, horizon)
        super().__init__(cache, split(cache), spec)


class Named(OfBlocks, LabelledVideoDataset):
    """The same, to be recognised."""

    def __init__(self):
        cache = Cache.open(self.preparation())
        spec = Spec(cache.frames.shape[1:], 4, 0, classes=("even", "odd"))
        label = lambda clip: spec.classes[int(clip.name[-1]) % 2]
        super().__init__(cache, split(cache), spec, label)
'''
VALUES = np.arange(0, 240, 20, dtype=np.uint8)  # of the frames of every clip
Cli = Callable[..., str]


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("own") / "blocks.py"
    path.write_text(OWN, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source")
    clip = np.broadcast_to(VALUES[:, None, None, None], (len(VALUES), 4, 4, 3))
    for name in ("train_1", "train_2", "train_3", "validation_1", "test_1", "test_2"):
        np.save(folder / f"{name}.npy", clip)
    return folder


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, own: Path, source: Path) -> Path:
    """A data folder in which the blocks are prepared."""
    data = tmp_path_factory.mktemp("prepared")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEXTFRAME_DATA", str(data))
        assert cli.main(["data", "prepare", f"{own}:Blocks", "--source", str(source)]) == 0
    return data


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data folder beside no other."""
    monkeypatch.setenv("NEXTFRAME_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "data"


@pytest.fixture
def bench(capsys: pytest.CaptureFixture[str]) -> Cli:
    """What `bench ARGUMENTS` prints, here in this process."""

    def run(*arguments: object) -> str:
        assert cli.main([*map(str, arguments)]) == 0
        return capsys.readouterr().out

    return run


def _rows(bench: Cli, *arguments: object) -> dict[str, dict[str, object]]:
    rows = json.loads(bench("data", "status", *arguments, "--format", "json"))
    return {row["name"]: row for row in rows}


def test_prepare_says_what_there_is_and_does_nothing_twice(
    bench: Cli, data: Path, own: Path, source: Path
) -> None:
    words = ("data", "prepare", f"{own}:Blocks", "--source", source, "--workers", "1")
    first = bench(*words)
    assert "prepared in" in first
    assert f"6 clips, 72 frames, 14 KiB: {data / 'cache' / 'blocks-3x8'}" in first
    assert "windows of 3 frames 3x8x8, then 2 more" in first
    assert "clips: 3 train, 1 validation, 2 test" in first
    assert "held-out windows: 2 validation, 4 test" in first
    before = (data / "cache" / "blocks-3x8" / "frames.npy").stat().st_mtime_ns
    again = bench(*words)
    assert "already prepared: 6 clips, 72 frames" in again
    assert (data / "cache" / "blocks-3x8" / "frames.npy").stat().st_mtime_ns == before


def test_prepare_finds_the_files_at_home_and_needs_none_once_prepared(
    bench: Cli, data: Path, own: Path, source: Path
) -> None:
    shutil.copytree(source, data / "blocks")
    assert "prepared in" in bench("data", "prepare", f"{own}:Blocks", "--workers", "1")
    shutil.rmtree(data / "blocks")
    told = bench("data", "prepare", f"{own}:Blocks")
    assert "already prepared" in told
    assert "clips: 3 train" in told


def test_prepare_without_files_says_what_to_get_where_to_put_it_and_the_command(
    data: Path, own: Path
) -> None:
    with pytest.raises(UserError) as error:
        cli.main(["data", "prepare", f"{own}:Blocks(size=4)"])
    message = str(error.value)
    assert "get some blocks" in message
    assert str(data / "blocks") in message
    assert f"python -m bench data prepare '{own}:Blocks(size=4)' --source FOLDER" in message
    assert "\n" not in message
    assert not data.exists()


def test_the_first_ten_damaged_ones_are_named_and_the_rest_counted(
    bench: Cli, data: Path, own: Path, source: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(source, broken)
    for number in range(12):
        (broken / f"train_9{number:02}.npy").write_bytes(b"")
    words = ["data", "prepare", f"{own}:Blocks", "--source", str(broken), "--workers", "1"]
    with pytest.raises(UserError, match=r"12 of the 18 .* --max-damaged 0\.67"):
        cli.main(words)
    assert _rows(bench, f"{own}:Blocks")[f"{own}:Blocks"]["state"] == "partly prepared"
    told = bench(*words, "--max-damaged", 0.67)
    assert "12 damaged, left out:" in told
    assert "    train_909: " in told
    assert "train_910" not in told
    assert f"and 2 more: {data / 'cache' / 'blocks-3x8' / MANIFEST}" in told


def test_an_interrupted_preparation_says_that_it_goes_on(
    data: Path,
    own: Path,
    source: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("bench.data.prepare.prepare", interrupted)
    with pytest.raises(KeyboardInterrupt):
        cli.main(["data", "prepare", f"{own}:Blocks", "--source", str(source)])
    assert capsys.readouterr().err == "interrupted: the same line goes on from here\n"


def test_a_cache_that_no_task_can_be_posed_on_is_prepared_and_says_why(
    data: Path, own: Path, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (f"{own}:Blocks(horizon=20)", "--source", str(source), "--workers", "1")
    with pytest.raises(UserError, match=r"cannot be opened: .*23 frames long"):
        cli.main(["data", "prepare", *words])
    assert "prepared in" in capsys.readouterr().out


def test_a_data_set_without_a_cache_is_opened_and_described(
    bench: Cli, own: Path, prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = bench("data", "prepare", "moving_mnist(horizon=3)")
    assert "moving_mnist(horizon=3): ready; it needs no cache" in told
    assert "windows of 10 frames 1x64x64, then 3 more" in told
    assert "held-out windows: 10,000 validation, 10,000 test" in told
    monkeypatch.setenv("NEXTFRAME_DATA", str(prepared))
    assert "one of 2 classes" in bench("data", "prepare", f"{own}:Named")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["prepare", "moving_mnist", "--source", "."], "leave out --source"),
        (["prepare", "moving_mnist(sizes=3)"], "unknown option of moving_mnist 'sizes'"),
        (["prepare", "moving_mnits"], "did you mean 'moving_mnist'?"),
        (["prepare", "OWN:Blocks", "--source", "absent"], "absent does not exist"),
        (["prepare", "OWN:Blocks", "--source", "."], "get some blocks"),
        (["prepare", "OWN:Blocks", "--max-damaged", "5"], "from 0 to 1"),
        (["prepare", "OWN:Blocks", "--max-damaged", "nan"], "from 0 to 1"),
        (["prepare", "OWN:Blocks", "--max-damaged", "-1"], "from 0 to 1"),
        (["prepare", "OWN:Blocks", "--workers", "0"], "from 1 to"),
        (["prepare", "OWN:Blocks", "--workers", "-3"], "from 1 to"),
        (["prepare", "OWN:Blocks", "--workers", "100000"], "from 1 to"),
        (["verify", "moving_mnist"], "has no cache"),
        (["verify", "OWN:Blocks"], "is not prepared here"),
        (["show", "OWN:Blocks"], "is not prepared here"),
        (["show", "moving_mnist", "--clips", "0"], "from 1 to 100"),
        (["show", "moving_mnist", "--clips", "1000000000"], "from 1 to 100"),
        (["status", "moving_mnits"], "did you mean 'moving_mnist'?"),
    ],
)
def test_a_mistake_is_one_line_and_writes_nothing(
    data: Path, tmp_path: Path, own: Path, words: list[str], message: str
) -> None:
    with pytest.raises(UserError) as error:
        cli.main(["data", *(word.replace("OWN", str(own)) for word in words)])
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert not [path for path in tmp_path.rglob("*.np[yz]") if path.is_file()]
    assert not (tmp_path / "results").exists()


def test_status_tells_ready_missing_and_interrupted_caches_apart(
    bench: Cli, data: Path, own: Path, prepared: Path, source: Path
) -> None:
    shutil.copytree(prepared / "cache", data / "cache")
    ready = _rows(bench, f"{own}:Blocks")[f"{own}:Blocks"]
    assert ready["state"] == "ready"
    assert [ready[split] for split in ("train", "validation", "test")] == [3, 1, 2]
    assert (ready["frames"], ready["damaged"]) == (72, 0)
    assert ready["where"] == str(data / "cache" / "blocks-3x8")
    assert isinstance(ready["size"], int)
    assert ready["size"] > 72 * 3 * 8 * 8

    absent = _rows(bench, f"{own}:Blocks(size=4)")[f"{own}:Blocks(size=4)"]
    assert absent["state"] == "not prepared"

    partial = data / "cache" / "blocks-3x2.partial"
    partial.mkdir()
    (partial / JOURNAL).write_text("heading\nfirst\nsecond\n")
    begun = _rows(bench, f"{own}:Blocks(size=2)")[f"{own}:Blocks(size=2)"]
    assert begun["state"] == "partly prepared"
    assert "2 files done" in str(begun["note"])
    assert _rows(bench)["blocks-3x2"]["state"] == "partly prepared"

    manifest = data / "cache" / "blocks-3x8" / MANIFEST
    manifest.write_text(manifest.read_text().replace('"format": ', '"format": 9'))
    assert _rows(bench, f"{own}:Blocks")[f"{own}:Blocks"]["state"] == "damaged"


def test_status_lists_every_data_set_and_caches_made_with_options_and_opens_no_generated_one(
    bench: Cli, data: Path, own: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"{own}:Blocks(size=4)"
    bench("data", "prepare", name, "--source", source, "--workers", "1")

    def refuse(self: MovingMNIST) -> None:
        raise AssertionError("opened")

    monkeypatch.setattr(MovingMNIST, "__init__", refuse)
    rows = _rows(bench)
    assert rows["moving_mnist"]["state"] == "not cached"
    assert rows["ucf101"]["state"] == "not prepared"
    assert (rows[name]["state"], rows[name]["train"]) == ("ready", 3)
    table = bench("data", "status")
    assert all(row in table for row in rows)
    assert "KiB" in table
    assert str(data / "cache") in table
    assert "data prepare NAME" in table


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_show_draws_the_frames_of_the_clips_in_their_order(
    bench: Cli, data: Path, own: Path, prepared: Path, tmp_path: Path, split: str
) -> None:
    shutil.copytree(prepared / "cache", data / "cache")
    words = ("data", "show", f"{own}:Blocks", "--split", split, "--clips", 2)
    told = bench(*words, "--out", tmp_path / "out")
    sheet, animation = map(Path, told.split())
    assert sheet.parent == animation.parent == tmp_path / "out"
    with Image.open(sheet) as picture:
        pixels = np.asarray(picture)
    middles = pixels[pixels.shape[0] // 3, :, 0][_middles(pixels.shape[1], 5)].astype(int)
    assert (np.diff(middles) == 20).all()  # one frame after the other, each 20 brighter
    with Image.open(animation) as picture:
        assert picture.n_frames == 5
        shown, borders = [], []
        for frame in range(5):
            picture.seek(frame)
            colours = np.asarray(picture.convert("RGB")).astype(int)
            shown.append(colours[colours.shape[0] // 2, 20, 0])
            borders.append(tuple(colours[0, 0]))
    assert (np.diff(shown) == 20).all()
    assert shown[0] == middles[0]
    assert borders == [pictures.GIVEN] * 3 + [pictures.PREDICTED] * 2
    again = sheet.read_bytes()
    bench(*words, "--out", tmp_path / "out")
    assert sheet.read_bytes() == again


def _middles(width: int, columns: int) -> list[int]:
    return [int((column + 0.5) * width / columns) for column in range(columns)]


def test_pictures_stay_in_their_folder_whatever_the_options_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    clips = np.random.default_rng(0).integers(0, 255, (10, 6, 8, 8), np.uint8)
    np.save(tmp_path / "x.npy", clips)
    monkeypatch.setenv("NEXTFRAME_DATA", str(tmp_path / "a" / "b" / "c"))
    (tmp_path / "a" / "b" / "c").mkdir(parents=True)
    asked = "arrays(path='../../../x.npy', axes='NTHW', context_frames=3, horizon=3)"
    assert cli.main(["data", "show", asked]) == 0
    (sheet,) = tmp_path.rglob("train.png")
    assert sheet.parent.parent == tmp_path / "results" / "data"


def test_pictures_that_cannot_be_written_are_told(
    own: Path, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEXTFRAME_DATA", str(prepared))
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file/out cannot be written to: Not a directory"):
        cli.main(["data", "show", f"{own}:Blocks", "--out", str(tmp_path / "file" / "out")])


def test_show_writes_the_class_above_each_labelled_clip(
    bench: Cli, data: Path, own: Path, prepared: Path, tmp_path: Path
) -> None:
    shutil.copytree(prepared / "cache", data / "cache")
    told = bench("data", "show", f"{own}:Named", "--split", "test", "--clips", 2)
    sheet = Path(told.split()[0])
    assert sheet == Path("results", "data", "Named", "test.png")
    with Image.open(sheet) as picture:
        titled = np.asarray(picture.convert("L"))
    above = [titled[row : row + pictures.LINE - 4, :40].min() for row in _tops(titled.shape[0])]
    assert max(above) < 128  # ink above both rows


def _tops(height: int) -> list[int]:
    first = pictures.LINE + pictures.GAP // 2
    return [first, first + (height - pictures.LINE - pictures.GAP) // 2]


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((5, 1, 64, 64), (5, 128, 128, 3)),
        ((5, 3, 240, 320), (5, 96, 128, 3)),
        ((5, 2, 32, 32), (5, 128, 256 + pictures.GAP, 3)),
        ((5, 3, 128, 128), (5, 128, 128, 3)),
    ],
)
def test_frames_of_any_size_and_channels_can_be_looked_at(
    shape: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    frames = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    assert pictures.shown(frames, longest_side=128).shape == expected


def test_two_channels_stand_side_by_side_in_grey() -> None:
    frames = np.stack([np.full((3, 4, 4), value, np.uint8) for value in (10, 200)], axis=1)
    shown = pictures.shown(frames)
    assert (shown[:, :, 0] == 10).all()
    assert (shown[:, :, -1] == 200).all()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_bar_in_a_pipe_is_a_line_every_ten_seconds() -> None:
    now, stream = [0.0], io.StringIO()
    with Bar("preparing x", stream, clock=lambda: now[0]) as bar:
        for done in range(41):
            now[0] = done
            bar.show(100 + done, 200, 5 * (100 + done), damaged=done // 20)
    assert stream.getvalue().splitlines() == [
        "preparing x: 110/200, 5.00 frames/s, 1 min 30 s left",
        "preparing x: 120/200, 5.00 frames/s, 1 damaged, 1 min 20 s left",
        "preparing x: 130/200, 5.00 frames/s, 1 damaged, 1 min 10 s left",
        "preparing x: 140/200, 5.00 frames/s, 2 damaged, 1 min left",
    ]


def test_a_bar_on_a_terminal_draws_itself_and_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    stream = Terminal()
    with Bar("preparing x", stream) as bar:
        bar.show(3, 4, 30, 0)
    assert "preparing x" in stream.getvalue()
    assert "3/4" in stream.getvalue()
    assert stream.getvalue().rstrip().endswith("\x1b[2K")


def _refused(*arguments: object) -> str:
    """The line in which `bench data ARGUMENTS` is refused."""
    with pytest.raises(UserError) as error:
        cli.main(["data", *map(str, arguments)])
    message = str(error.value)
    assert "\n" not in message
    return message


def _paste(bench: Cli, line: str) -> str:
    """What the command between the accents of `line` prints."""
    words = shlex.split(line.split("`")[1])
    assert words[:3] == ["python", "-m", "bench"]
    return bench(*words[3:])


@pytest.mark.parametrize("spoilt", ["{", '{"format": 0}'])
def test_the_remedy_of_a_damaged_manifest_works_when_it_is_pasted(
    bench: Cli, data: Path, own: Path, source: Path, spoilt: str
) -> None:
    name = f"{own}:Blocks(size=4)"
    bench("data", "prepare", name, "--source", source, "--workers", "1")
    (data / "cache" / "blocks-3x4" / MANIFEST).write_text(spoilt)
    row = _rows(bench)[name]
    assert row["state"] == "damaged"
    assert "prepared in" in _paste(bench, str(row["note"]))
    assert _rows(bench)[name]["state"] == "ready"


def test_an_interrupted_preparation_is_listed_with_the_line_that_goes_on(
    bench: Cli, data: Path, own: Path, source: Path
) -> None:
    name = f"{own}:Blocks(size=4)"
    bench("data", "prepare", name, "--source", source, "--workers", "1")
    folder = data / "cache" / "blocks-3x4"
    (folder / MANIFEST).unlink()
    (folder / JOURNAL).write_text("heading\n")
    folder.rename(folder.with_suffix(".partial"))
    row = _rows(bench)[name]
    assert row["state"] == "partly prepared"
    assert "prepared in" in _paste(bench, str(row["note"]))


def test_verify_reads_every_frame(
    bench: Cli, data: Path, own: Path, prepared: Path, source: Path
) -> None:
    shutil.copytree(prepared / "cache", data / "cache")
    name = f"{own}:Blocks"
    assert "all 72 frames of 6 clips" in bench("data", "verify", name)
    path = data / "cache" / "blocks-3x8" / "frames.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    told = _refused("verify", name)
    assert "somewhere in test_1" in told
    assert "somewhere in test_1" in _refused("show", name)
    assert "in place of an older cache" in _paste(bench, told)
    assert "all 72 frames" in bench("data", "verify", name)


def test_prepare_without_a_source_checks_what_is_there_and_adds_digests(
    bench: Cli, data: Path, own: Path, prepared: Path
) -> None:
    shutil.copytree(prepared / "cache", data / "cache")
    manifest = data / "cache" / "blocks-3x8" / MANIFEST
    old = json.loads(manifest.read_text())
    del old["digests"]
    manifest.write_text(json.dumps(old))
    told = _refused("verify", f"{own}:Blocks")
    assert "already prepared" in _paste(bench, told)
    assert "all 72 frames" in bench("data", "verify", f"{own}:Blocks")


@pytest.mark.parametrize("place", ["a file", "a link to itself", "nothing"])
def test_a_data_folder_that_is_none_is_told(
    bench: Cli, tmp_path: Path, own: Path, source: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.chdir(tmp_path)
    data = tmp_path / "place"
    if place == "a file":
        data.touch()
    elif place == "a link to itself":
        data.symlink_to(data)
    monkeypatch.setenv("NEXTFRAME_DATA", "" if place == "nothing" else str(data))
    words = ("prepare", f"{own}:Blocks", "--source", source, "--workers", "1")
    if place == "nothing":
        assert "prepared in" in bench("data", *words)
        assert (tmp_path / "data" / "cache").is_dir()
    else:
        assert "cannot be written" in _refused(*words)
        assert "cannot be written" in _refused("show", "moving_mnist")
    bench("data", "status")
