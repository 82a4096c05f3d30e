"""Sources of the forms that data sets are made of, each enough to open one by its defaults."""

import csv
import gzip
import hashlib
import io
import json
import pickle
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from PIL import Image

from datasets import moving_fashion_mnist, moving_mnist_cifar
from datasets.sources.tfrecord import masked_crc
from datasets.ucf101_study import CLASSES as STUDY_CLASSES
from tests.datasets.video.counter import counter_video, picture

FASHION_TRAIN, FASHION_TEST = "train-images-idx3-ubyte.gz", "t10k-images-idx3-ubyte.gz"

HUMAN36M_SUBJECTS = ("S1", "S5", "S6", "S7", "S8", "S9", "S11")

TAXI_BEGIN = date(2015, 3, 1)
TAXI_PEAK = 1000.0
TAXI_CLOCK = 1 << np.arange(16)
"""Bits of the half hour, in the first row of the inflow."""

SEVIR_CLOCK = 1 << np.arange(12)
"""Bits of the image, counted over all events, in the first rows."""

WEATHER_RANGE = (200.0, 320.0)
WEATHER_CLOCK = 1 << np.arange(20)
"""Bits of the hour since 2010, in the first row."""


def arrays(folder: Path) -> None:
    """Sequences of a field that drifts."""
    np.save(folder / "arrays.npy", drifting((24, 24, 1, 16, 16))[:, :, 0])


def drifting(shape: tuple[int, int, int, int, int]) -> np.ndarray:
    """Sequences [N,T,C,H,W] of waves from -2 to 2 that drift, float32; no two frames are alike."""
    n, t, c, y, x = np.indices(shape)
    waves = np.sin(x / 3 + t / 7 + n) + np.sin(y / 2 - t / 9 + c + n * n)
    return waves.astype(np.float32)


def bair(folder: Path) -> None:
    """Two files that train or validate, and one that tests, of two sequences each."""
    for place, name in enumerate(("train/traj_0_to_1", "train/traj_2_to_3", "test/traj_0_to_1")):
        firsts = (64 * place, 64 * place + 32)
        examples = [bair_example(range(first, first + 30)) for first in firsts]
        tf_records(folder / "softmotion30_44k" / f"{name}.tfrecords", examples)


def bair_example(numbers: Iterable[int]) -> bytes:
    """A sequence that shows `numbers`; its other camera is white, its arm somewhere."""
    features = b""
    for place, number in enumerate(numbers):
        features += tf_bytes(f"{place}/image_main/encoded", b"\xff" * 12_288)
        features += tf_bytes(f"{place}/image_aux1/encoded", picture(number).tobytes())
        arm = np.array([number, -number, 1 / (1 + number), 0.5], "<f4").tobytes()
        features += tf_feature(f"{place}/action", _message(2, _message(1, arm)))
    return _message(1, features)


def tf_bytes(name: str, content: bytes) -> bytes:
    """A feature of an `Example` that is bytes."""
    return tf_feature(name, _message(1, _message(1, content)))


def tf_feature(name: str, value: bytes) -> bytes:
    """An entry of the map from names to features."""
    return _message(1, _message(1, name.encode()) + _message(2, value))


def _message(field: int, content: bytes) -> bytes:
    """A field of protobuf that holds `content`."""
    size, left = b"", len(content)
    while left > 0x7F:
        size, left = size + bytes([left & 0x7F | 0x80]), left >> 7
    return bytes([field << 3 | 2]) + size + bytes([left]) + content


def tf_records(path: Path, contents: Iterable[bytes]) -> None:
    """A file of TFRecords; the checksums of the contents, which nothing compares, are 0."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        for content in contents:
            length = struct.pack("<Q", len(content))
            file.write(length + struct.pack("<I", masked_crc(length)) + content + bytes(4))


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


def kitti_caltech(folder: Path) -> None:
    """PredNet's six files, and a sequence in one of Caltech's test sets."""
    kitti_part(folder, "train", {"city-2011_09_26_drive_0001_sync": 24, "road-b": 13})
    kitti_part(folder, "val", {"city-2011_09_26_drive_0005_sync": 25}, first=100)
    kitti_part(folder, "test", {"city-2011_09_26_drive_0104_sync": 12}, first=200)
    caltech_sequence(folder / "set06" / "V000.seq", range(300, 340))


def kitti_part(folder: Path, part: str, recordings: Mapping[str, int], first: int = 0) -> None:
    """The two files of a part as hickle 2 wrote them; yellow frames that count from `first` on."""
    frames = sum(recordings.values())
    names = [name for name, count in recordings.items() for _ in range(count)]
    with h5py.File(folder / f"X_{part}.hkl", "w") as file:
        file["data_0"] = np.stack([yellow(first + n) for n in range(frames)])
    with h5py.File(folder / f"sources_{part}.hkl", "w") as file:
        file["data_0"] = np.array(names, "S")


def yellow(number: int) -> np.ndarray:
    """The picture of `number` as uint8 RGB [128,160,3], in black and yellow."""
    return picture(number, 128, 160) * np.array([1, 1, 0], np.uint8)


def caltech_sequence(
    path: Path, numbers: Iterable[int], *, size: tuple[int, int] = (160, 128), behind: int = 8
) -> None:
    """A Norpix sequence of yellow frames that show `numbers`, (width, height) pixels each."""
    contents = []
    for number in numbers:
        image = io.BytesIO()
        Image.fromarray(yellow(number)).resize(size, Image.Resampling.NEAREST).save(image, "JPEG")
        contents.append(image.getvalue())
    head = bytearray(1024)
    struct.pack_into("<I20s", head, 0, 0xFEED, "Norpix seq".encode("utf-16-le"))
    struct.pack_into("<II", head, 28, 3, 1024)
    struct.pack_into("<9I", head, 548, *size, 24, 8, 0, 201, len(contents), 0, 0)
    path.parent.mkdir(parents=True, exist_ok=True)
    images = [struct.pack("<I", len(c) + 4) + c + b"\1" * 8 + bytes(behind - 8) for c in contents]
    path.write_bytes(bytes(head) + b"".join(images))


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


def sevir(folder: Path) -> None:
    """An event of each split, in two files."""
    sevir_file(folder, "SEVIR_VIL_STORMEVENTS_2018_0101_0630.h5", [0])
    sevir_file(folder, "SEVIR_VIL_RANDOMEVENTS_2019_0101_0630.h5", [1, 2])
    files = ["STORMEVENTS_2018", "RANDOMEVENTS_2019", "RANDOMEVENTS_2019"]
    times = ["2018-06-10 22:15:00", "2019-03-01 00:00:00", "2019-06-30 12:05:00"]
    rows = [
        sevir_row(number, f"SEVIR_VIL_{name}_0101_0630.h5", max(number - 1, 0), time)
        for number, (name, time) in enumerate(zip(files, times, strict=True))
    ]
    sevir_catalog(folder, rows)


def sevir_row(number: int, file: str, row: int, time: str, missing: object = 0.0) -> dict[str, Any]:
    """What the catalogue says of the radar images of an event."""
    return {
        "id": f"S{number}",
        "file_name": f"vil/{time[:4]}/{file}",
        "file_index": row,
        "img_type": "vil",
        "time_utc": time,
        "event_type": "Hail",
        "pct_missing": missing,
    }


def sevir_catalog(folder: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """The authors' list with these rows, each of which is of another kind of images too."""
    with (folder / "CATALOG.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        for row in rows:
            writer.writerow(row)
            infrared = str(row["file_name"]).replace("vil", "ir107").replace("VIL", "IR107")
            writer.writerow({**row, "img_type": "ir107", "file_name": infrared})


def sevir_file(folder: Path, name: str, numbers: Sequence[int]) -> Path:
    """A file of those events, in the folder of its year."""
    path = folder / "data" / "vil" / name.split("_")[3] / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        shape = (len(numbers), 384, 384, 49)
        vil = file.create_dataset("vil", shape, np.uint8, chunks=(1, 384, 384, 49))
        for place, number in enumerate(numbers):
            vil[place] = sevir_event(number)
        file["id"] = np.array([f"S{number}" for number in numbers], "S10")
    return path


def sevir_event(number: int) -> np.ndarray:
    """Images [384,384,49] of an event, each of which shows, in blocks of 3x3, which it is."""
    rows, columns = np.ogrid[:384, :384]
    images = (rows + 2 * columns)[..., None] + 3 * np.arange(49) + 40 * number
    images = (images % 256).astype(np.uint8)
    shown = 255 * ((49 * number + np.arange(49)) & SEVIR_CLOCK[:, None] > 0)
    images[:3, : 3 * len(SEVIR_CLOCK)] = np.repeat(shown, 3, axis=0)
    return images


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


def weatherbench(folder: Path) -> None:
    """The temperature of some days of a year of each split."""
    for year in (2010, 2016, 2017):
        weather_year(folder, year, np.arange(120))


def weather_year(
    folder: Path,
    year: int,
    hours: np.ndarray,
    field: str = "2m_temperature",
    key: str = "t2m",
    values: np.ndarray | None = None,
    levels: Sequence[int] = (),
) -> Path:
    """A file of the authors' form, of those hours of a year; each map shows how late it is."""
    path = folder / field / f"{field}_{year}_5.625deg.nc"
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file[key] = weather_maps(year, hours, levels) if values is None else values
        file["time"] = hours.astype(np.int64)
        file["time"].attrs["units"] = f"hours since {year}-01-01"
        file["lat"] = np.arange(32) * 5.625 - 87.1875
        file["lon"] = np.arange(64) * 5.625
        if levels:
            file["level"] = np.array(levels, np.int32)
    return path


def weather_maps(year: int, hours: np.ndarray, levels: Sequence[int] = ()) -> np.ndarray:
    """Maps [N,32,64], or [N,L,32,64], that drift around the Earth, of values in `WEATHER_RANGE`."""
    low, high = WEATHER_RANGE
    since_2010 = hours + (date(year, 1, 1) - date(2010, 1, 1)).days * 24
    longitudes = np.arange(64) * 5.625 - 3 * hours[:, None]
    waves = np.sin(np.radians(np.arange(32) * 5.625))[:, None]
    maps = low + (high - low) * (0.5 + 0.4 * waves * np.cos(np.radians(longitudes))[:, None])
    maps[:, 0, :20] = np.where(since_2010[:, None] & WEATHER_CLOCK > 0, high, low)
    if levels:
        maps = np.stack([maps + level / 10 for level in levels], axis=1)
    return maps.astype(np.float32)


SMALL_SOURCES: dict[str, Callable[[Path], None]] = {
    "arrays": arrays,
    "bair": bair,
    "frames": frames,
    "human36m": human36m,
    "kitti_caltech": kitti_caltech,
    "kth": kth,
    "moving_fashion_mnist": garments,
    "moving_mnist/cifar": backgrounds,
    "moving_mnist/official": moving_mnist_official,
    "sevir": sevir,
    "something_something_v2": something_something_v2,
    "taxibj": taxibj,
    "ucf101": ucf101,
    "ucf101/actions": ucf101,
    "ucf101/study": ucf101,
    "weatherbench": weatherbench,
}
"""What writes a source of each data set: into the folder that it is prepared from, or where nothing
is prepared, into the data folder. Data sets that are generated need none."""
