"""SEVIR: radar images of storms over the United States, each an area of 384 km for four hours."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from datasets.contract import Quantity, Spec, whole
from datasets.sources import sevir_h5
from datasets.video.cache import Cache
from datasets.video.dataset import SPLITS, SplitName, VideoDataset
from datasets.video.source import FrameFormat, Preparation

SIZES = (384, 128)
THRESHOLDS = (16, 74, 133, 160, 181, 219)
_MINUTES = 5  # from one radar image to the next
_STRIDE = 12  # images between the starts of held-out windows


class _Facts(BaseModel):
    files: int
    files_absent: int
    events_left_out: int


class _Tags(BaseModel):
    split: SplitName


class SEVIR(VideoDataset):
    """Vertically integrated liquid (VIL) as bytes, 384x384, an hour to predict from 65 minutes.

    Veillette, Samsi & Mattioli, "SEVIR: A Storm Event Imagery Dataset for Deep Learning
    Applications in Radar and Satellite Meteorology", NeurIPS 2020; as a benchmark after Gao et al.,
    "Earthformer", NeurIPS 2022. Events up to 1 January 2019 train, those up to 1 June 2019
    validate, later ones test. Events of which pixels are missing and those listed twice are left
    out. The thresholds are those of CSI-M.

    An event has 49 images, five minutes apart. As published, three held-out windows of each begin
    an hour apart, and share frames; intervals rest on events. Training windows begin anywhere,
    published ones at the same three places. SEVIR-LR is
    `sevir(size=128, minutes=10, context_frames=7, horizon=6)`: means over 3x3 pixels, rounded to
    bytes, and every second image.
    """

    name = "sevir"
    cluster_name = "event"

    def __init__(
        self,
        context_frames: int = 13,
        horizon: int = 12,
        *,
        size: int = 384,
        minutes: int = _MINUTES,
    ) -> None:
        """Open the cache.

        Args:
            context_frames: frames given.
            horizon: frames to predict.
            size: the side of the frames in pixels, 384 or 128.
            minutes: from one frame to the next, a multiple of 5.

        Raises:
            DataMissing: the images are not prepared here, or windows are longer than an event.
            ValueError: there is no such size, or no image after so many minutes.
        """
        if whole("minutes", minutes, _MINUTES) % _MINUTES:
            raise ValueError(f"minutes must be a multiple of {_MINUTES}, not {minutes}")
        cache = Cache.open(self.preparation(size=size))
        spec = Spec(
            cache.frames.shape[1:],
            context_frames,
            horizon,
            quantities=(Quantity("VIL", "", 0, 255),),
            thresholds=THRESHOLDS,
        )
        splits = {
            name: [clip for clip in cache.clips if clip.tags["split"] == name] for name in SPLITS
        }
        if cache.facts["files_absent"]:
            self.notice = (
                f"sevir: {cache.facts['files_absent']} of the {cache.facts['files']} files of VIL"
                " are not here: figures compare only with runs on the same files"
            )
        step = minutes // _MINUTES
        super().__init__(cache, splits, spec, frame_step=step, held_out_stride=_STRIDE)

    @classmethod
    def preparation(cls, *, size: int = SIZES[0], **_: Any) -> Preparation:
        """All whole events in a folder, in full or pooled."""
        if type(size) is not int or size not in SIZES:
            raise ValueError(f"size is {SIZES[0]} or {SIZES[1]} pixels, not {repr(size)[:80]}")
        return Preparation(
            name=cls.name if size == SIZES[0] else f"{cls.name}(size={size})",
            folder=f"{cls.name}-{size}x{size}",
            format=FrameFormat(1, size, size),
            find=sevir_h5.find,
            read=sevir_h5.read,
            get=sevir_h5.GET,
            homes=("sevir", "SEVIR"),
            facts=_Facts,
            tags=_Tags,
        )
