"""Sources of the forms that data sets are made of, each enough to open one by its defaults."""

import gzip
import hashlib
import json
import pickle
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from datasets import moving_fashion_mnist, moving_mnist_cifar
from datasets.ucf101_study import CLASSES as STUDY_CLASSES
from tests.datasets.video.counter import counter_video, picture

FASHION_TRAIN, FASHION_TEST = "train-images-idx3-ubyte.gz", "t10k-images-idx3-ubyte.gz"

HUMAN36M_SUBJECTS = ("S1", "S5", "S6", "S7", "S8", "S9", "S11")

TAXI_BEGIN = date(2015, 3, 1)
TAXI_PEAK = 1000.0
TAXI_CLOCK = 1 << np.arange(16)
"""Bits of the half hour, in the first row of the inflow."""


def frames(folder: Path) -> None:
    """A clip for each split."""
    for place, split in enumerate(("train", "val", "test")):
        counter_video(folder / split / "clip.avi", 60, 256 * place)


def human36m(folder: Path) -> None:
    """Every fifth frame of a clip of each subject, and a window of each in the lists."""
    human36m_images(folder / "images", range(1, 100, 5))
    lines = [f"images/{human36m_clip(subject)}_,1\n" for subject in HUMAN36M_SUBJECTS]
    (folder / "train.txt").write_text("".join(lines[:5]))
    (folder / "test.txt").write_text("".join(lines[5:]))


def human36m_clip(subject: str) -> str:
    return f"{subject}_Walking_1.54138969"


def human36m_images(folder: Path, numbers: Iterable[int]) -> None:
    """The frames of those numbers of all subjects; each shows its number and whom it is of."""
    folder.mkdir(parents=True)
    for place, subject in enumerate(HUMAN36M_SUBJECTS):
        for number in numbers:
            image = Image.fromarray(picture(1024 * place + number, 16, 16))
            image.save(folder / f"{human36m_clip(subject)}_{number:06}.jpg", quality=95)


def kth(folder: Path) -> None:
    """A video of a person of each split, of two ranges each."""
    names = [f"person{person}_boxing_d1" for person in ("01", "14", "17")]
    for place, name in enumerate(names):
        counter_video(folder / "boxing" / f"{name}_uncomp.avi", 90, 256 * place)
    kth_list(folder, [f"{name}\t\tframes\t1-40, 45-90" for name in names])


def kth_list(folder: Path, lines: Iterable[str]) -> Path:
    """The authors' list, with an empty line first."""
    path = folder / "00sequences.txt"
    path.write_text("".join(f"{line}\r\n" for line in ["", *lines]), newline="")
    return path


def garments(folder: Path) -> None:
    """The two files in `fashion/`; to be taken for the official ones they need `trust_garments`."""
    (folder / "fashion").mkdir(parents=True)
    for name, first, count in ((FASHION_TRAIN, 0, 60_000), (FASHION_TEST, 60_000, 10_000)):
        head = np.array([2051, count, 28, 28], ">i4").tobytes()
        content = gzip.compress(head + _garment_images(first, count).tobytes(), compresslevel=1)
        (folder / "fashion" / name).write_bytes(content)


def _garment_images(first: int, count: int) -> np.ndarray:
    """Images that show their number in bits, below a row of ink."""
    images = np.zeros((count, 28, 28), np.uint8)
    numbers = np.arange(first, first + count)
    images[:, 1, :17] = 255 * (numbers[:, None] >> np.arange(17) & 1)
    images[:, 0] = 255
    return images


def trust_garments(patch: pytest.MonkeyPatch, folder: Path) -> None:
    """Ask for the MD5 that the files in `fashion/` of `folder` have."""
    for variable, name in (("_TRAIN", FASHION_TRAIN), ("_TEST", FASHION_TEST)):
        content = (folder / "fashion" / name).read_bytes()
        md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
        patch.setattr(moving_fashion_mnist, variable, (name, md5))


def backgrounds(folder: Path) -> None:
    """Files of CIFAR-10's form; an image of file 2 is as red as 20, and so on, and green or not."""
    place = folder / "cifar-10-batches-py"
    place.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(moving_mnist_cifar._FILES, 1):
        images = np.zeros((20, 3, 1024), np.uint8)
        images[:, 0] = 10 * number
        images[::2, 1] = 200
        (place / name).write_bytes(pickle.dumps({b"data": images.reshape(20, 3072)}))


def trust_backgrounds(patch: pytest.MonkeyPatch, folder: Path) -> None:
    """Ask for the MD5 that the files in `cifar-10-batches-py/` of `folder` have."""
    for name in moving_mnist_cifar._FILES:
        content = (folder / "cifar-10-batches-py" / name).read_bytes()
        md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
        patch.setitem(moving_mnist_cifar._FILES, name, md5)


def moving_mnist_official(folder: Path) -> None:
    """The test file, of noise."""
    sequences = np.random.default_rng(0).integers(256, size=(20, 12, 64, 64), dtype=np.uint8)
    np.save(folder / "mnist_test_seq.npy", sequences)


def something_something_v2(folder: Path) -> None:
    """Twelve videos of two classes in the official lists; by their hashes 0 and 7 validate."""
    classes = ("Pushing something from left to right", "Pushing something from right to left")
    shown = {n: classes[n % 2] for n in range(12)}
    entries = something_list(shown)
    something_lists(folder, something_labels(classes), entries[:9], entries[9:])
    for n in range(12):
        counter_video(folder / "20bn-something-something-v2" / f"{n}.webm", 12, 256 * n)


def something_labels(classes: Iterable[str]) -> dict[str, str]:
    """Classes and their numbers, by name as in the official file."""
    numbers = {name: str(number) for number, name in enumerate(classes)}
    return dict(sorted(numbers.items()))


def something_list(shown: Mapping[int, str]) -> list[dict[str, object]]:
    """Videos and the classes they show, in the official form, with the placeholders in brackets."""
    return [
        {
            "id": str(video),
            "label": name.lower().replace("something", "a cup"),
            "template": name.replace("something", "[something]"),
            "placeholders": ["a cup"],
        }
        for video, name in shown.items()
    ]


def something_lists(folder: Path, labels: object, train: object, validation: object) -> None:
    """The three official files, of such content."""
    folder.mkdir(parents=True, exist_ok=True)
    contents = {"labels": labels, "train": train, "validation": validation}
    for name, content in contents.items():
        path = folder / f"something-something-v2-{name}.json"
        path.write_text(json.dumps(content), encoding="utf-8")


def taxibj(folder: Path) -> None:
    """The last season, with two days to train on."""
    taxi_season(folder / "BJ16_M32x32_T30_InOut.h5", np.arange(58 * 48))


def taxi_season(path: Path, half_hours: np.ndarray, flows: np.ndarray | None = None) -> None:
    """A file of the authors' form, whose rows are of those half hours from `TAXI_BEGIN` on."""
    days = [TAXI_BEGIN + timedelta(days=int(at // 48)) for at in half_hours]
    dates = [f"{d:%Y%m%d}{at % 48 + 1:02d}" for d, at in zip(days, half_hours, strict=True)]
    with h5py.File(path, "w") as file:
        file["data"] = taxi_flows(half_hours) if flows is None else flows
        file["date"] = np.array(dates, "S10")


def taxi_flows(half_hours: np.ndarray) -> np.ndarray:
    """Flows [N,2,32,32] from 0 to `TAXI_PEAK`, each of which shows how late it is."""
    flows = np.random.default_rng(0).uniform(0, 400, (97, 2, 32, 32))[half_hours % 97]
    flows[:, 0, 0, :16] = TAXI_PEAK * (half_hours[:, None] & TAXI_CLOCK > 0)
    return flows.astype(np.float32)


def ucf101(folder: Path, frames: int = 35) -> None:
    """Ten clips of each of the study's classes, of groups in every split, and list 1.

    They have so many frames, or one or two more.
    """
    groups = (1, 2, 7, 8, 9, 10, 11, 22, 23, 25)
    names = [f"{name}/v_{name}_g{group:02d}_c01" for name in STUDY_CLASSES for group in groups]
    for place, name in enumerate(names):
        counter_video(folder / f"{name}.avi", frames + place % 3, 256 * place)
    ucf101_lists(folder, names)


def ucf101_lists(folder: Path, names: Sequence[str], number: int = 1) -> None:
    """The pair of lists of that number, as the authors write them; groups 1 to 7 test."""
    lists = folder / "ucfTrainTestlist"
    lists.mkdir(parents=True, exist_ok=True)
    for side in ("train", "test"):
        lines = [
            f"{name}.avi{' 1' * (side == 'train')}"
            for name in names
            if (int(name.rpartition("_g")[2][:2]) <= 7) == (side == "test")
        ]
        path = lists / f"{side}list{number:02d}.txt"
        path.write_text("".join(f"{line}\r\n" for line in lines), newline="")


SMALL_SOURCES: dict[str, Callable[[Path], None]] = {
    "frames": frames,
    "human36m": human36m,
    "kth": kth,
    "moving_fashion_mnist": garments,
    "moving_mnist/cifar": backgrounds,
    "moving_mnist/official": moving_mnist_official,
    "something_something_v2": something_something_v2,
    "taxibj": taxibj,
    "ucf101": ucf101,
    "ucf101/actions": ucf101,
    "ucf101/study": ucf101,
}
"""What writes a source of each data set: into the folder that it is prepared from, or where nothing
is prepared, into the data folder. Data sets that are generated need none."""
