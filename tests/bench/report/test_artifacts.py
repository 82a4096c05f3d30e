"""Artifacts of every kind of damage: a reason each, and a report without them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bench import records, report
from bench.report.artifacts import Damaged, frame_table, frames_shown, video_table
from tests.bench.report.report_store import FakeStore

SEQUENCES, HORIZON = 4, 3
Arrays = dict[str, Any]


def frame_rows() -> pd.DataFrame:
    rows = {
        "sequence": np.repeat(np.arange(SEQUENCES), HORIZON),
        "frame": np.tile(np.arange(1, HORIZON + 1), SEQUENCES),
        "mse": np.linspace(0.01, 0.02, SEQUENCES * HORIZON),
        "ssim": 0.9,
    }
    return pd.DataFrame(rows)


def video_rows() -> pd.DataFrame:
    return pd.DataFrame({"video": [0, 1], "label": "run", "predicted": "jump", "rank": [1, 2]})


def shown() -> Arrays:
    frames = np.zeros((2, 5, 1, 4, 4), np.uint8)
    return {"context": frames, "truth": frames, "prediction": frames, "sequence": np.array([3, 7])}


class Unpickled:
    def __reduce__(self) -> tuple[object, tuple[()]]:
        return (pytest.fail, ())


TABLES: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "other columns": lambda table: table.rename(columns={"mse": "error"}),
    "NaN": lambda table: table.assign(mse=np.nan),
    "infinite": lambda table: table.assign(mse=np.inf),
    "beyond any figure": lambda table: table.assign(mse=1e300),
    "negative": lambda table: table.assign(mse=-0.1),
    "text": lambda table: table.assign(mse="0.1"),
    "lists": lambda table: table.assign(mse=[[1.0]] * len(table)),
    "sequences that are no numbers": lambda table: table.assign(sequence="a"),
    "truth values": lambda table: table.assign(sequence=True),
    "no rows": lambda table: table[:0],
    "a frame less": lambda table: table[1:],
    "each row twice": lambda table: pd.concat([table, table]),
    "frames from 2 on": lambda table: table.assign(frame=table["frame"] + 1),
}


@pytest.mark.parametrize("damage", TABLES)
def test_a_damaged_table_by_frame_is_refused(tmp_path: Path, damage: str) -> None:
    TABLES[damage](frame_rows()).to_parquet(tmp_path / "table")
    with pytest.raises(Damaged):
        frame_table(tmp_path / "table")


def test_a_sound_table_by_frame_is_read_as_it_is(tmp_path: Path) -> None:
    frame_rows().assign(note="text").to_parquet(tmp_path / "table")
    pd.testing.assert_frame_equal(frame_table(tmp_path / "table"), frame_rows())


@pytest.mark.parametrize(
    "changed",
    [{"rank": 0}, {"rank": "1"}, {"video": 0}, {"label": None}, {"predicted": 3}],
    ids=str,
)
def test_a_damaged_table_of_videos_is_refused(tmp_path: Path, changed: dict[str, object]) -> None:
    video_rows().to_parquet(tmp_path / "table")
    assert len(video_table(tmp_path / "table")) == 2
    video_rows().assign(**changed).to_parquet(tmp_path / "table")  # type: ignore[arg-type]
    with pytest.raises(Damaged):
        video_table(tmp_path / "table")


FRAMES: dict[str, Callable[[Arrays], object]] = {
    "floats": lambda arrays: arrays.update(truth=arrays["truth"] / 2),
    "other sides": lambda arrays: arrays.update(prediction=arrays["prediction"][..., :3]),
    "no sides": lambda arrays: arrays.update({k: arrays[k][..., :0] for k in [*arrays][:3]}),
    "one dimension less": lambda arrays: arrays.update(context=arrays["context"][0]),
    "an array less": lambda arrays: arrays.pop("truth"),
    "a sequence twice": lambda arrays: arrays.update(sequence=np.array([3, 3])),
    "sequences in halves": lambda arrays: arrays.update(sequence=np.array([0.5, 1])),
    "one reason": lambda arrays: arrays.update(why=np.array(["first"])),
    "objects": lambda arrays: arrays.update(why=np.array([Unpickled(), None], object)),
}


@pytest.mark.parametrize("damage", FRAMES)
def test_damaged_frames_are_refused_and_nothing_is_unpickled(tmp_path: Path, damage: str) -> None:
    arrays, path = shown(), tmp_path / "frames.npz"
    np.savez(path, **arrays)
    assert frames_shown(path).keys() == {*arrays, "why"}
    FRAMES[damage](arrays)
    np.savez(path, **arrays)
    with pytest.raises(Damaged):
        frames_shown(path)


@pytest.mark.parametrize("shape", [(10**6, 10**6, 1, 64, 64), (2**62, 4), (10, 10**9, 1, 1, 1)])
def test_frames_that_claim_more_than_there_is_are_not_made_room_for(
    tmp_path: Path, shape: tuple[int, ...]
) -> None:
    head = io.BytesIO()
    fields = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(head, fields)
    with zipfile.ZipFile(tmp_path / "frames.npz", "w") as archive:
        for name in shown():
            archive.writestr(f"{name}.npy", head.getvalue() + b"\0" * 100)
    with pytest.raises(Damaged):
        frames_shown(tmp_path / "frames.npz")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def half_the_sequences(path: Path) -> None:
    table = pd.read_parquet(path)
    table[table["sequence"] < 10].to_parquet(path)


def narrow(path: Path) -> None:
    with np.load(path) as stored:
        arrays = {
            name: array[..., :32] if array.ndim == 5 else array for name, array in stored.items()
        }
    np.savez(path, **arrays)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "cut": cut,
    "garbage": lambda path: path.write_bytes(bytes(range(256)) * 9),
    "missing": Path.unlink,
    "folder": folder,
}


@pytest.mark.usefixtures("undrawn")
def test_damaged_artifacts_cost_their_cells_the_plots_and_no_more(tmp_path: Path) -> None:
    store = FakeStore(tmp_path / "artifacts")
    store.add("copy_last", 0.05, size="only", baseline=True)
    for name, mse in (("good", 0.020), ("fair", 0.030)):
        store.add(name, mse)
    damaged = {}
    for name, artifact in (("table", records.PER_FRAME_TABLE), ("frames", records.SHOWCASE)):
        odd = half_the_sequences if name == "table" else narrow
        for kind, damage in (DAMAGE | {"odd": odd}).items():
            run = store.add(f"{kind}-{name}", 0.01)
            damage(store.folder / run / artifact)
            damaged[f"{kind}-{name}-small"] = artifact
    page = report.build(store, "mnist", tmp_path / "out")
    markdown = page.with_name("report.md").read_text()
    sheet = pd.read_csv(page.with_name("table.csv")).set_index("label")
    for label, artifact in damaged.items():
        assert f"| {label} ‡ | 1 seed | 0.01000" in markdown
        assert sheet.loc[label, "damaged"].startswith(f"seed 0: {artifact} ")
    assert pd.isna(sheet.loc["good-small", "damaged"])
    (alone,) = (line for line in markdown.splitlines() if "only figures: " in line)
    assert "good-small, fair-small" in alone
    assert "-table-small" not in alone
    assert page.read_text().count("<small>and its error</small>") == 2 * (3 + 6)
