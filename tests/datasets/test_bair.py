import math
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from bench.check.dataset import checks_of
from datasets.bair import BAIR
from datasets.contract import DataMissing, covariates_of
from datasets.sources.tfrecord import bytes_of, masked_crc
from datasets.video.source import Damaged, SourceWrong
from tests.datasets.prepare_here import prepare_here
from tests.datasets.small_sources import bair, bair_example, tf_bytes, tf_records
from tests.datasets.video.counter import numbers_of


@pytest.fixture(scope="module")
def cached(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder in which six sequences in three files are prepared."""
    folder = tmp_path_factory.mktemp("bair")
    bair(folder / "source")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEXTFRAME_DATA", str(folder))
        prepare_here(BAIR.preparation(), folder / "source")
    return folder


@pytest.fixture
def here(cached: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEXTFRAME_DATA", str(cached))


def _firsts(clips: Tensor) -> set[int]:
    """The first frame of each clip; those after it must count on."""
    shown = numbers_of(clips)
    assert (shown.diff(dim=1) == 1).all()
    return set(shown[:, 0].tolist())


@pytest.mark.usefixtures("here")
def test_whole_sequences_of_camera_aux1_are_clips_and_one_file_validates() -> None:
    dataset = BAIR()
    assert (dataset.spec.context_frames, dataset.spec.horizon) == (2, 28)
    assert _firsts(dataset.held_out("test")[:]) == {128, 160}
    trained = _firsts(dataset.train_clips(40, torch.Generator().manual_seed(0)))
    validated = _firsts(dataset.held_out("validation")[:])
    assert {frozenset(trained), frozenset(validated)} == {frozenset({0, 32}), frozenset({64, 96})}
    assert dataset.clusters("test", 2).tolist() == [0, 1]


@pytest.mark.usefixtures("here")
def test_shorter_windows_lie_side_by_side_and_longer_ones_are_not_there() -> None:
    dataset = BAIR(4, 8)
    assert _firsts(dataset.held_out("test")[:]) == {128, 140, 160, 172}
    with pytest.raises(DataMissing, match="31 frames") as told:
        BAIR(2, 29)
    assert "\n" not in str(told.value)


@pytest.mark.usefixtures("here")
def test_actions_stand_beside_the_frames_that_they_are_taken_in() -> None:
    dataset = BAIR(4, 8, actions=True)
    assert len(dataset.spec.covariates) == 4
    for check in checks_of(dataset).values():
        check(dataset)
    clips, actions = dataset.train_clips_with_covariates(9, torch.Generator().manual_seed(0))
    test = dataset.held_out("test")
    for shown, told in ((clips, actions), (test[1:4], covariates_of(test, slice(1, 4)))):
        number = numbers_of(shown).float()
        wanted = torch.stack((number, -number, 1 / (1 + number), 0 * number + 0.5), 2)
        assert torch.equal(told, wanted)
    assert torch.equal(test[:], BAIR(4, 8).held_out("test")[:])


def test_files_without_actions_are_prepared_and_say_so_where_these_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.datasets.small_sources.bair_example", _without_action)
    bair(tmp_path)
    monkeypatch.setenv("NEXTFRAME_DATA", str(tmp_path / "data"))
    assert not prepare_here(BAIR.preparation(), tmp_path).damaged
    BAIR()
    with pytest.raises(DataMissing, match="remove it, and run `python -m bench data") as told:
        BAIR(actions=True)
    assert "\n" not in str(told.value)


def _without_action(numbers: range) -> bytes:
    return bair_example(numbers).replace(b"/action", b"/notion")


@pytest.mark.usefixtures("here")
def test_fewer_sequences_than_published_are_told() -> None:
    said = BAIR().notice or ""
    assert "4 of 43,264 train" in said
    assert "2 of 256 test" in said


@pytest.mark.usefixtures("empty_folder")
def test_one_line_says_what_to_get_and_how_to_prepare_it() -> None:
    with pytest.raises(DataMissing) as missing:
        BAIR()
    assert "\n" not in str(missing.value)
    for word in ("bair_robot_pushing_dataset_v0.tar", "softmotion30_44k", "data prepare bair"):
        assert word in str(missing.value)


def _written(path: Path, length: int, content: bytes) -> None:
    head = struct.pack("<Q", length)
    path.write_bytes(head + struct.pack("<I", masked_crc(head)) + content + bytes(4))


SMALL = b"\x0a\x81\x01" + tf_bytes("0/image_aux1/encoded", b"x" * 99)
BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "no bytes": (lambda path: path.write_bytes(b""), "holds no sequences"),
    "text": (
        lambda path: path.write_text("softmotion" * 9),
        "is no TFRecord file, or broken after",
    ),
    "cut in a record": (lambda path: path.write_bytes(path.read_bytes()[:-9]), "short in record 2"),
    "cut in a head": (lambda path: path.write_bytes(path.read_bytes() + b"1234"), "after record 2"),
    "a length too long": (lambda path: _written(path, 2**40, b"abc"), "is cut short in record 1"),
    "no Example": (lambda path: tf_records(path, [b"\xff" * 99]), "as no Example does"),
    "an empty Example": (lambda path: tf_records(path, [b""]), "0 bytes as frame 0 of sequence 1"),
    "29 frames": (lambda path: tf_records(path, [bair_example(range(29))]), "bytes as frame 29"),
    "29 actions": (
        lambda path: tf_records(
            path, [bair_example(range(30)).replace(b"29/action", b"29/notion")]
        ),
        "has 0 numbers as the action of frame 29 of sequence 1, not 4",
    ),
    "an action of no number": (
        lambda path: tf_records(
            path,
            [bair_example(range(30)).replace(struct.pack("<f", 7), struct.pack("<f", math.nan))],
        ),
        "has a number that is NaN or infinite beside frame 8",
    ),
    "small frames": (lambda path: tf_records(path, [SMALL]), "99 bytes as frame 0 of sequence 1"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_file_is_left_out_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    change, said = BROKEN[what]
    bair(tmp_path)
    path = tmp_path / "softmotion30_44k" / "train" / "traj_4_to_5.tfrecords"
    tf_records(path, [bair_example(range(30))] * 2)
    change(path)
    monkeypatch.setenv("NEXTFRAME_DATA", str(tmp_path / "data"))
    prepared = prepare_here(BAIR.preparation(), tmp_path, max_damaged_share=0.5)
    ((name, reason),) = ((it.name, it.reason) for it in prepared.damaged)
    assert name == "train/traj_4_to_5"
    assert said in reason
    assert len(BAIR().held_out("test")) == 2


@pytest.mark.parametrize("name", ["train/traj_0_to_1", "test/traj_0_to_1"])
def test_too_few_files_are_refused_in_one_line(tmp_path: Path, name: str) -> None:
    bair(tmp_path)
    (tmp_path / "softmotion30_44k" / f"{name}.tfrecords").unlink()
    with pytest.raises(SourceWrong, match=r"files in a folder \w+, of \d at least: get"):
        BAIR.preparation().find(tmp_path)


def test_checksums_are_those_of_tensorflow() -> None:
    crc = 0xE3069283  # the check value of CRC-32C, as published
    turned = (crc >> 15 | crc << 17) & 0xFFFFFFFF
    assert masked_crc(b"123456789") == (turned + 0xA282EAD8) % 2**32


@pytest.mark.parametrize("content", [b"\x0b", b"\x0d", b"\x80", b"\x80" * 11, b"\x0a\x05abc"])
def test_what_is_no_protobuf_is_damaged(content: bytes) -> None:
    with pytest.raises(Damaged):
        bytes_of(memoryview(content))


def test_other_fields_of_an_example_are_passed_over() -> None:
    numbers = b"\x10\x96\x01" + b"\x1d1234" + b"\x2112345678"
    example = numbers + bair_example(range(1)) + numbers
    assert list(bytes_of(memoryview(example))) == ["0/image_main/encoded", "0/image_aux1/encoded"]
