import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from datasets.contract import DataMissing, Dataset
from datasets.human36m import Human36M
from datasets.video.cache import Cache
from datasets.video.source import Sources, SourceWrong
from tests.datasets.prepare_here import prepare_here
from tests.datasets.small_sources import HUMAN36M_SUBJECTS, human36m_clip, human36m_images
from tests.datasets.video.counter import number

LAST = 196
"""The number of the last extracted frame of each clip; every fifth from 1 makes 40."""

STARTS = (1, 21, 26, 96, 161)
"""Where the test list's windows start in each clip."""

LEAK = "10 windows of test.txt show no test subject"


def _lists(folder: Path) -> None:
    """Lists of the published form. The test list names training subjects too, as that one does."""
    line = "images/{}_,{}".format
    clips = {subject: human36m_clip(subject) for subject in HUMAN36M_SUBJECTS}
    train = [line(clips[subject], start) for subject in HUMAN36M_SUBJECTS[:5] for start in (1, 51)]
    tested = [line(clips[it], start) for it in ("S1", "S8", "S11", "S9") for start in STARTS]
    (folder / "train.txt").write_text("\n".join(train))
    (folder / "test.txt").write_text("\r\n".join(tested) + "\r\n")


@pytest.fixture(scope="module")
def extracted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every fifth frame of a clip of each subject, and the lists."""
    folder = tmp_path_factory.mktemp("human36m")
    human36m_images(folder / "images", range(1, LAST + 1, 5))
    _lists(folder)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, extracted: Path) -> Iterator[None]:
    """The frames prepared at 16x16 pixels."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEXTFRAME_DATA", str(tmp_path_factory.mktemp("data")))
        prepare_here(Human36M.preparation(size=16), extracted)
        yield


@pytest.fixture(scope="module")
def dataset(data: None) -> Dataset:
    return Human36M(size=16)


@pytest.fixture
def copy(tmp_path: Path, extracted: Path) -> Path:
    """The extracted frames, to be broken."""
    return shutil.copytree(extracted, tmp_path / "copy")


def _find(folder: Path) -> Sources:
    return Human36M.preparation().find(folder)


def _windows(clips: Tensor) -> set[tuple[str, int]]:
    """Subject and first frame of windows, whose frames must be each the fifth after the last."""
    windows = set()
    for clip in clips.numpy():
        shown = [number(frame) for frame in clip]
        assert shown == list(range(shown[0], shown[0] + 5 * len(shown), 5))
        windows.add((HUMAN36M_SUBJECTS[shown[0] // 1024], shown[0] % 1024))
    return windows


def test_test_windows_are_the_listed_ones_of_s9_and_s11(dataset: Dataset) -> None:
    test = dataset.held_out("test")
    expected = {(subject, start) for subject in ("S9", "S11") for start in STARTS}
    assert len(test) == len(expected)
    assert _windows(test[:]) == expected
    assert LEAK in (dataset.notice or "")


def test_subjects_are_in_one_split_each(dataset: Dataset) -> None:
    trained = _windows(dataset.train_clips(400, torch.Generator().manual_seed(0)))
    assert {subject for subject, _ in trained} == {"S1", "S5", "S6", "S7"}
    assert {start for _, start in trained} == set(range(1, LAST - 7 * 5 + 1, 5))
    validated = _windows(dataset.held_out("validation")[:])
    assert validated == {("S8", start) for start in range(1, LAST, 8 * 5)}


def test_windows_of_one_subject_are_a_cluster(dataset: Dataset) -> None:
    test = dataset.held_out("test")
    clusters = dataset.clusters("test", len(test)).tolist()
    shown = [HUMAN36M_SUBJECTS[number(clip[0].numpy()) // 1024] for clip in test[:]]
    assert len(set(zip(clusters, shown, strict=True))) == len(set(clusters)) == 2


def test_windows_beyond_the_end_of_their_clip_are_left_out(data: None) -> None:
    longer = Human36M(4, 5, size=16)
    assert _windows(longer.held_out("test")[:]) == {
        (subject, start) for subject in ("S9", "S11") for start in STARTS[:-1]
    }
    for word in (LEAK, "2 of its windows"):
        assert word in (longer.notice or "")


def test_of_all_extracted_frames_every_fifth_is_taken(
    tmp_path: Path, extracted: Path, data: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    human36m_images(tmp_path / "images", range(1, LAST + 4))
    _lists(tmp_path)
    fifths = Cache.open(Human36M.preparation(size=16))
    monkeypatch.setenv("NEXTFRAME_DATA", str(tmp_path / "data"))
    prepare_here(Human36M.preparation(size=16), tmp_path)
    every = Cache.open(Human36M.preparation(size=16))
    assert every.clips == fifths.clips
    at = torch.arange(fifths.frames.shape[0])
    assert torch.equal(every.frames.gather(at), fifths.frames.gather(at))


def test_the_lists_of_strpm_itself_are_read(copy: Path) -> None:
    before = _find(copy).facts
    for name in ("train.txt", "test.txt"):
        text = (copy / name).read_text()
        (copy / name).write_text(
            text.replace("images/", "E:/human3.6m/S1/,").replace("\n", ",71\n")
        )
    assert _find(copy).facts == before


def test_clips_that_are_not_here_or_not_listed_are_left_out(copy: Path) -> None:
    for image in (copy / "images").glob("S9_*"):
        image.unlink()
    for image in (copy / "images").glob("S1_*"):
        image.rename(image.with_name(image.name.replace("S1_Walking", "S1_Eating")))
    found = _find(copy)
    assert [video.name for video in found.videos] == sorted(
        map(human36m_clip, ("S5", "S6", "S7", "S8", "S11"))
    )
    assert found.facts["absent_clips"] == 2


def test_a_clip_that_lacks_a_frame_is_damaged(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (copy / "images" / f"{human36m_clip('S9')}_000096.jpg").unlink()
    monkeypatch.setenv("NEXTFRAME_DATA", str(tmp_path / "data"))
    prepared = prepare_here(Human36M.preparation(size=16), copy, max_damaged_share=0.2)
    assert [(each.name, each.reason) for each in prepared.damaged] == [
        (human36m_clip("S9"), "frame 96 is missing")
    ]
    dataset = Human36M(size=16)
    assert _windows(dataset.held_out("test")[:]) == {("S11", start) for start in STARTS}
    assert dataset.notice is not None
    assert "5 of its windows of S9 and S11 lack frames" in dataset.notice


def test_where_all_listed_windows_are_too_long_the_data_are_missing(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (copy / "test.txt").write_text(f"images/{human36m_clip('S9')}_,161")
    monkeypatch.setenv("NEXTFRAME_DATA", str(tmp_path / "data"))
    prepare_here(Human36M.preparation(size=16), copy)
    assert _windows(Human36M(size=16).held_out("test")[:]) == {("S9", 161)}
    with pytest.raises(DataMissing, match=r"test\.txt names no window of 9 frames"):
        Human36M(4, 5, size=16)


def _no_test_list(folder: Path) -> None:
    (folder / "test.txt").unlink()


def _no_images(folder: Path) -> None:
    (folder / "images").rename(folder / "frames")


def _other_images(folder: Path) -> None:
    for image in (folder / "images").iterdir():
        image.rename(image.with_suffix(".png"))


def _other_numbers(folder: Path) -> None:
    for image in (folder / "images").iterdir():
        image.rename(image.with_name(f"{image.stem[:-1]}0.jpg"))


def _no_s8(folder: Path) -> None:
    for image in (folder / "images").glob("S8_*"):
        image.unlink()


def _a_line_of_another_form(folder: Path) -> None:
    with (folder / "train.txt").open("a") as train:
        train.write("\n\nimages/S1_Walking_1.54138969_000001.jpg")


def _a_window_between(folder: Path) -> None:
    clip = human36m_clip("S9")
    (folder / "test.txt").write_text(f"images/{clip}_,1\nimages/{clip}_,22\n")


WRONG: dict[str, tuple[Callable[[Path], None], str]] = {
    "no list": (_no_test_list, "there is no test.txt in"),
    "no images": (_no_images, "there is no images in"),
    "other images": (_other_images, "holds no frames numbered 000001, 000006, ..."),
    "other numbers": (_other_numbers, "holds no frames numbered 000001, 000006, ..."),
    "nobody validates": (_no_s8, "holds no listed clip of S8"),
    "another form": (_a_line_of_another_form, "train.txt, line 12: 'images/S1_Walking_1.5413"),
    "another phase": (_a_window_between, "test.txt, line 2: frame 22 is not one of 1, 6, 11"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_folder_is_told_in_one_line(copy: Path, wrong: str) -> None:
    break_it, told = WRONG[wrong]
    break_it(copy)
    with pytest.raises(SourceWrong) as complaint:
        _find(copy)
    assert told in str(complaint.value)
    assert "\n" not in str(complaint.value)


def test_sizes_lie_apart_and_are_told_with_the_command(empty_folder: Path) -> None:
    assert Human36M.preparation().folder == "human36m-256x256"
    assert Human36M.preparation(size=128, horizon=8).folder == "human36m-128x128"
    with pytest.raises(DataMissing, match=r"data prepare 'human36m\(size=128\)' --source"):
        Human36M(size=128)
