"""TaxiBJ: how many taxis enter and leave each cell of a grid over Beijing, by half hours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from datasets.contract import Spec
from datasets.sources import taxibj_h5, taxibj_npz
from datasets.video.cache import Cache
from datasets.video.dataset import SPLITS, SplitName, VideoDataset
from datasets.video.files import unique_files_under
from datasets.video.source import FrameFormat, Image, Preparation, Source, Sources, SourceWrong
from datasets.video.windows import Origin

_GET = (
    "BJ13_M32x32_T30_InOut.h5 to BJ16_M32x32_T30_InOut.h5 as the authors of DeepST released them"
    " (github.com/lucktroy/DeepST, data/TaxiBJ), or the field's dataset.npz"
)


class _Facts(BaseModel):
    form: Literal["h5", "npz"]
    files: list[str]
    passed_over: list[str] = []
    values_cut: int = 0


class _Tags(BaseModel):
    split: SplitName


class TaxiBJ(VideoDataset):
    """Inflow and outflow as the two channels of 32x32 frames, 4 half hours to predict from 4.

    Zhang, Zheng & Qi, "Deep Spatio-Temporal Residual Networks for Citywide Crowd Flows Prediction",
    AAAI 2017. Flows are scaled to [0,1] by the training maximum; larger ones that are held out are
    cut. Held-out windows start at every half hour, as published ones do, and so share frames.

    From the authors' files: whole days only, and no window crosses a gap; the last 28 days test,
    the 28 before them validate. From `dataset.npz`: windows of 4 -> 4, as they are in it; its test
    windows test, its last 1,344 training windows validate, and those that overlap a held-out window
    do not train. Published harnesses validate on test. The two forms give different test clips.

    Frames are uint16. The rounding error, of variance (1/65535)^2 / 12 = 1.9e-11, is 1e-7 of the
    published MSEs, which are near 1.5e-4 (a sum of 0.31 over a frame's 2,048 values). In 8 bits it
    would be 1 % of them, as much as separates the best published models.
    """

    name = "taxibj"
    cluster_name = "day"

    def __init__(self, context_frames: int = 4, horizon: int = 4) -> None:
        """Open the cache.

        Args:
            context_frames: half hours given.
            horizon: half hours to predict.

        Raises:
            DataMissing: the flows are not prepared here, or no run of half hours is long enough.
            ValueError: they were made of `dataset.npz`, whose windows are 4 -> 4.
        """
        cache = Cache.open(self.preparation())
        spec = Spec(cache.frames.shape[1:], context_frames, horizon, dtype=cache.frames.dtype)
        fixed = (taxibj_npz.CONTEXT_FRAMES, taxibj_npz.HORIZON)
        if cache.facts["form"] == "npz" and (context_frames, horizon) != fixed:
            raise ValueError(
                f"{taxibj_npz.NAME}, which the cache was made of, has windows of 4 -> 4 only; for"
                " others prepare taxibj from the authors' .h5 files"
            )
        splits = {
            name: [clip for clip in cache.clips if clip.tags["split"] == name] for name in SPLITS
        }
        self.notice = _notice(cache.facts)
        self._is_npz = cache.facts["form"] == "npz"
        super().__init__(cache, splits, spec, held_out_stride=1)

    def cluster_of(self, origin: Origin) -> str:
        """The day on which a window begins; of `dataset.npz` 48 windows on end are a day."""
        clip, first = origin
        if self._is_npz:  # each window is a clip of its own: `test#1`, `test#2`, ...
            return str((int(clip.name.rpartition("#")[2]) - 1) // taxibj_h5.HALF_HOURS)
        return f"{clip.name} {first // taxibj_h5.HALF_HOURS}"

    @classmethod
    def preparation(cls, **_: Any) -> Preparation:
        """All flows in a folder, from the authors' files, or from `dataset.npz` without these."""
        return Preparation(
            name=cls.name,
            folder="taxibj",
            format=FrameFormat(2, 32, 32, dtype="uint16"),
            find=_find,
            read=_read,
            get=_GET,
            homes=("taxibj", "TaxiBJ"),
            facts=_Facts,
            tags=_Tags,
        )


def _find(folder: Path) -> Sources:
    """What `folder` holds of TaxiBJ, in the form that is preferred.

    Raises:
        SourceWrong: nothing, a file twice, or one of another form.
    """
    flows = unique_files_under(folder, taxibj_h5.PATTERN)
    windows = unique_files_under(folder, taxibj_npz.NAME)
    if flows:
        found = taxibj_h5.find(flows)
        return Sources(found.videos, {**found.facts, "passed_over": [p.name for p in windows]})
    if windows:
        return taxibj_npz.find(windows[0])
    raise SourceWrong(f"{folder} holds nothing of TaxiBJ: get {_GET}")


def _read(source: Source, _: FrameFormat) -> Iterator[Image]:
    if source.paths[0].name == taxibj_npz.NAME:
        return taxibj_npz.read(source)
    return taxibj_h5.read(source)


def _notice(facts: Mapping[str, Any]) -> str | None:
    """What a user should know of the files that are here, and of flows that are cut."""
    parts = []
    if facts["form"] == "npz":
        other = "figures do not compare with runs on the authors' .h5 files"
        parts.append(f"windows of {taxibj_npz.NAME}; {other}")
    else:
        absent = [
            season
            for season in taxibj_h5.SEASONS
            if not any(name.startswith(season) for name in facts["files"])
        ]
        if absent:
            parts.append(
                f"without {', '.join(absent)}, so figures compare only with runs on the same files"
            )
    if facts.get("passed_over"):
        parts.append(f"from the .h5 files; {taxibj_npz.NAME} beside them was not used")
    if cut := facts.get("values_cut"):
        parts.append(f"{cut:,} held-out flows lie above the training maximum and are cut to it")
    return f"taxibj: {'; '.join(parts)}" if parts else None
