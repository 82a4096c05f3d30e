"""The artifacts of a store's cells, read and checked: good data, or the reason there is none."""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow.parquet as pq
from pandas.api.types import is_bool_dtype, is_float_dtype, is_integer_dtype

from bench.escape import one_line
from bench.score.metrics import PREDICTION

if TYPE_CHECKING:
    from bench.store.mlflow import Store

Found = TypeVar("Found")
LARGEST_BYTES = 2**31  # of one artifact in memory; a file may claim any size
LARGEST = 1e100  # of a figure; MLflow keeps an infinite one as the largest double
REASON = 200  # characters of a reason at most


class Damaged(Exception):
    """The artifact cannot be used; the message says why, in one line."""


class Artifacts:
    """Reads artifacts out of a store, each once, and keeps the reason for each it cannot use."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._read: dict[tuple[str, str], Any] = {}
        self._damage: dict[str, dict[str, str]] = {}

    def read(self, run_id: str, name: str, reader: Callable[[Path], Found]) -> Found | None:
        """What `reader` makes of the run's artifact `name`; None where it cannot be used."""
        key = run_id, name
        if key not in self._read:
            self._read[key] = None
            try:
                self._read[key] = reader(self._file(run_id, name))
            except MemoryError:
                self.refuse(run_id, name, "is larger than memory")
            except Exception as error:
                said = str(error) or type(error).__name__
                self.refuse(run_id, name, said if isinstance(error, Damaged) else _unread(said))
        found: Found | None = self._read[key]
        return found

    def refuse(self, run_id: str, name: str, reason: str) -> None:
        """From now on the run's artifact `name` cannot be used."""
        self._read[run_id, name] = None
        self._damage.setdefault(run_id, {})[name] = one_line(reason, REASON)

    def refuse_odd(self, name: str, shapes: Mapping[str, Hashable]) -> set[str]:
        """Refuse the artifacts `name` whose shapes, by run, are not those of most; these runs."""
        usual = Counter(shapes.values()).most_common(1)
        odd = {run_id for run_id, shape in shapes.items() if shape != usual[0][0]}
        for run_id in odd:
            self.refuse(run_id, name, "holds other clips or frames than those of the other cells")
        return odd

    def damage(self, run_id: str) -> str:
        """Why artifacts of the run cannot be used, of those that were read; "" where all can."""
        found = self._damage.get(run_id, {})
        return "; ".join(f"{name} {reason}" for name, reason in found.items())

    def _file(self, run_id: str, name: str) -> Path:
        path = self._store.artifact(run_id, name)
        if path is None:
            raise Damaged("is missing")
        if not path.is_file():
            raise Damaged("is no file")
        return path


def frame_table(path: Path) -> pd.DataFrame:
    """A predictor's scores: `sequence`, `frame` and metrics, a row per sequence x frame, in order.

    The number of the sequence's `cluster` is there where the table is not from before there were.

    Raises:
        Damaged: the file holds something else.
    """
    table = _table(path)
    _need_numbers(table, "sequence", "frame")
    table = table.sort_values(["sequence", "frame"], ignore_index=True)
    metrics = [metric for metric in PREDICTION if metric.name in table]
    lead = PREDICTION[0].name
    if lead not in table:
        raise Damaged(f"has no column {lead}")
    numbers = table.select_dtypes("number")
    negative = (numbers < 0).any()
    for metric in metrics:
        if not is_float_dtype(table[metric.name].dtype):
            raise Damaged(f"holds no numbers as {metric.name}")
        if metric.better == "lower" and negative[metric.name]:
            raise Damaged(f"holds a negative {metric.name}")
    sequence, frame = (table[name].to_numpy() for name in ("sequence", "frame"))
    horizon = int((sequence == sequence[0]).sum())
    counted = np.resize(np.arange(1, horizon + 1), len(table))
    if len(table) % horizon or (frame != counted).any() or not _same_in(horizon, sequence):
        raise Damaged("lacks frames or has some twice")
    if "cluster" in table:
        _need_numbers(table, "cluster")
        if not _same_in(horizon, table["cluster"].to_numpy()):
            raise Damaged("has a sequence of two clusters")
    table = numbers.where(numbers.abs() < LARGEST)
    if table[lead].isna().any():
        raise Damaged(f"has frames without {lead}")
    return table


def _same_in(rows: int, numbers: npt.NDArray[Any]) -> bool:
    """Whether each `rows` numbers in turn are the same."""
    by_turn = numbers.reshape(-1, rows)
    return bool((by_turn == by_turn[:, :1]).all())


def video_table(path: Path) -> pd.DataFrame:
    """A classifier's answers: `video`, `label`, `predicted` and `rank`, one row per test video.

    The number of the video's `cluster` is there where the table is not from before there were.

    Raises:
        Damaged: the file holds something else.
    """
    table = _table(path, ["video", "label", "predicted", "rank"], ["cluster"])
    _need_numbers(table, "video", "rank", *table.columns.intersection(["cluster"]))
    if table["video"].duplicated().any():
        raise Damaged("has a video twice")
    if (table["rank"] < 1).any():
        raise Damaged("holds a rank below 1")
    for column in ("label", "predicted"):
        if not table[column].map(lambda name: isinstance(name, str)).all():
            raise Damaged(f"holds no names as {column}")
    return table


def frames_shown(path: Path) -> dict[str, npt.NDArray[Any]]:
    """`context`, `truth`, `prediction` uint8 [S,T,C,H,W], `sequence` int and `why` str [S].

    Raises:
        Damaged: the file holds something else.
    """
    arrays = _arrays(path, ("context", "truth", "prediction", "sequence", "why"))
    missing = {"context", "truth", "prediction", "sequence"} - arrays.keys()
    if missing:
        raise Damaged(f"has no {min(missing)}")
    sequence = arrays["sequence"]
    if sequence.ndim != 1 or (len(sequence) and sequence.dtype.kind not in "iu"):
        raise Damaged("does not number its sequences")
    count = len(sequence)
    if len(np.unique(sequence)) < count:
        raise Damaged("has a sequence twice")
    arrays.setdefault("why", np.full(count, ""))
    if arrays["why"].shape != (count,) or (count and arrays["why"].dtype.kind != "U"):
        raise Damaged("gives no reason for each sequence")
    context, truth, prediction = (arrays[name] for name in ("context", "truth", "prediction"))
    for name, frames in (("context", context), ("truth", truth), ("prediction", prediction)):
        if frames.dtype != np.uint8 or frames.ndim != 5 or len(frames) != count:
            raise Damaged(f"holds no frames of its sequences as {name}")
        if count and not all(frames.shape):
            raise Damaged(f"has empty frames as {name}")
    if truth.shape != prediction.shape or context.shape[2:] != truth.shape[2:]:
        raise Damaged("predicts frames of another shape than the true ones")
    return arrays


def _unread(said: str) -> str:
    return f"cannot be read: {said}"


def _table(
    path: Path, columns: list[str] | None = None, besides: Collection[str] = ()
) -> pd.DataFrame:
    """The columns of a Parquet file, and those `besides` that it has, without other notes.

    Raises:
        Damaged: it has not got them, has no rows, or more than memory should hold.
    """
    with pq.ParquetFile(path) as file:
        there, size = file.schema_arrow.names, file.metadata.num_rows
        missing = set(columns or ()) - set(there)
        if missing:
            raise Damaged(f"has no column {min(missing)}")
        if len(set(there)) < len(there):
            raise Damaged("has a column twice")
        if not size:
            raise Damaged("has no rows")
        if size * len(columns or there) * 8 > LARGEST_BYTES:
            raise Damaged(f"claims {size:,} rows")
        wanted = columns and [*columns, *(name for name in besides if name in there)]
        return pd.DataFrame(file.read(wanted).to_pandas(ignore_metadata=True))


def _need_numbers(table: pd.DataFrame, *columns: str) -> None:
    for column in columns:
        kept = table.get(column)
        if kept is None or not is_integer_dtype(kept.dtype) or is_bool_dtype(kept.dtype):
            raise Damaged(f"holds no whole numbers as {column}")


def _arrays(path: Path, names: tuple[str, ...]) -> dict[str, npt.NDArray[Any]]:
    """Those of the arrays `names` that an .npz file holds; no object is ever unpickled.

    Raises:
        Damaged: they are larger than memory should hold.
    """
    with zipfile.ZipFile(path) as archive:
        if sum(member.file_size for member in archive.infolist()) > LARGEST_BYTES:
            raise Damaged("claims to hold more than memory should")
        found = {}
        for name in names:
            if f"{name}.npy" in archive.namelist():
                with archive.open(f"{name}.npy") as member:
                    _check_size(member, archive.getinfo(f"{name}.npy").file_size)
                with archive.open(f"{name}.npy") as member:
                    found[name] = np.lib.format.read_array(member, allow_pickle=False)
        return found


def _check_size(member: Any, size: int) -> None:
    """Raise Damaged where the head of an array claims more than the `size` bytes there are."""
    version = np.lib.format.read_magic(member)
    read = {(1, 0): np.lib.format.read_array_header_1_0}.get(
        version, np.lib.format.read_array_header_2_0
    )
    shape, _, kind = read(member)
    claimed = kind.itemsize
    for side in shape:
        claimed *= int(side)
    if claimed > size or kind.hasobject:
        raise Damaged("holds objects" if kind.hasobject else "claims more than it holds")
