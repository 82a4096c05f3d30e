"""WeatherBench: hourly maps of the whole Earth's weather, such as the temperature at 2 m."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import torch
from pydantic import BaseModel
from torch import Tensor

from datasets.contract import LONGEST_CLIP, Quantity, Spec, whole
from datasets.sources import weatherbench_nc
from datasets.sources.weatherbench_nc import CHANNELS, COLUMNS, ROWS
from datasets.video.cache import Cache
from datasets.video.dataset import SPLITS, SplitName, VideoDataset
from datasets.video.source import FrameFormat, Image, Preparation, Source
from datasets.video.windows import Origin

_HOURS_OF_A_WEEK = 168


class _Facts(BaseModel):
    years: list[int]
    low: list[float]
    high: list[float]
    latitudes: list[float]
    climatology: list[float]
    held_out_values: int
    values_cut: int


class _Tags(BaseModel):
    split: SplitName
    variable: str
    low: str
    high: str


class WeatherBench(VideoDataset):
    """Maps of ERA5 on a grid of 5.625 degrees, 32x64, 12 hours to predict from 12.

    Rasp et al., "WeatherBench: A Benchmark Data Set for Data-Driven Weather Forecasting", JAMES
    2020; in video prediction after Tan et al., "OpenSTL", NeurIPS 2023. 2010 to 2015 train, 2016
    validates, 2017 and 2018 test; OpenSTL builds the same parts and validates on test. No window
    crosses a gap in time, or the end of a split.

    A held-out window begins an hour after the next frame of the one before it would be due: they
    share no frames, and those of whole days begin at every hour of the day in turn. Published ones
    begin at every hour (`held_out_stride=1`). Intervals rest on weeks, since the weather of one day
    is much like that of the next.

    OpenSTL takes relative humidity, temperature and wind at three levels (`variable="rtuv"`) every
    6 hours from 4 maps to 4, trains on 1979 to 2015, and skips hours twice, so that its maps lie
    36 hours apart; with `hours=6` they lie 6 hours apart here.

    Frames are uint16, each channel scaled to [0,1] by its range in training; held-out values beyond
    are cut, and the notice counts them. The rounding error has the variance (range/65535)^2 / 12:
    4e-7 K^2 for temperatures over 150 K, where published MSEs are near 1.1 K^2.
    """

    name = "weatherbench"
    cluster_name = "week"

    def __init__(
        self,
        context_frames: int = 12,
        horizon: int = 12,
        *,
        variable: str = "t2m",
        hours: int = 1,
        held_out_stride: int | None = None,
    ) -> None:
        """Open the cache.

        Args:
            context_frames: frames given.
            horizon: frames to predict.
            variable: "t2m"; "r", relative humidity at 1000 hPa; "uv10", wind as two channels;
                "tcc", cloud cover; or "rtuv", 12 channels: relative humidity, temperature and both
                components of wind at 150, 500 and 850 hPa.
            hours: from one frame of a window to its next.
            held_out_stride: hours between the starts of held-out windows (default: see above).

        Raises:
            DataMissing: the maps are not prepared here, or no run of hours is long enough.
            ValueError: there is no such variable, or a number is no whole one above 0.
        """
        whole("hours", hours, 1)
        whole("held_out_stride", held_out_stride or 1, 1)
        cache = Cache.open(self.preparation(variable=variable))
        facts = cache.facts
        spec = Spec(
            cache.frames.shape[1:],
            context_frames,
            horizon,
            dtype=cache.frames.dtype,
            quantities=tuple(
                Quantity(channel.quantity, channel.unit, low, high)
                for channel, low, high in zip(
                    CHANNELS[variable], facts["low"], facts["high"], strict=True
                )
            ),
            latitudes=tuple(facts["latitudes"]),
        )
        splits = {
            name: [clip for clip in cache.clips if clip.tags["split"] == name] for name in SPLITS
        }
        self.notice = _notice(facts)
        self._climatology = torch.tensor(facts["climatology"]).view(spec.frame_shape)
        stride = held_out_stride or min(spec.clip_frames * hours + 1, LONGEST_CLIP)
        super().__init__(cache, splits, spec, frame_step=hours, held_out_stride=stride)

    def cluster_of(self, origin: Origin) -> str:
        """The week in which a window begins, counted from the start of its run of hours."""
        return f"{origin.clip.name} {origin.first // _HOURS_OF_A_WEEK}"

    def climatology(self) -> Tensor:
        """The mean of all training hours, float32 [C,32,64] in [0,1]."""
        return self._climatology

    @classmethod
    def preparation(cls, *, variable: str = "t2m", **_: Any) -> Preparation:
        """All hours of 2010 to 2018 in a folder."""
        if not isinstance(variable, str) or variable not in CHANNELS:
            raise ValueError(f"variable is one of {', '.join(CHANNELS)}, not {repr(variable)[:80]}")
        return Preparation(
            name=cls.name if variable == "t2m" else f"{cls.name}(variable={variable!r})",
            folder=f"{cls.name}-{variable}",
            format=FrameFormat(len(CHANNELS[variable]), ROWS, COLUMNS, dtype="uint16"),
            find=partial(weatherbench_nc.find, variable=variable),
            read=_read,
            get=weatherbench_nc.get(variable),
            homes=("weatherbench", "weather_5_625deg"),
            facts=_Facts,
            tags=_Tags,
        )


def _read(source: Source, _: FrameFormat) -> Iterator[Image]:
    return weatherbench_nc.read(source)


def _notice(facts: Mapping[str, Any]) -> str | None:
    """A notice if years are absent, or values were cut."""
    parts = []
    absent = sorted(set(weatherbench_nc.YEARS) - set(facts["years"]))
    if absent:
        parts.append(
            f"without {', '.join(map(str, absent))}, so figures compare only with runs on the same"
            " years"
        )
    if facts["values_cut"]:
        parts.append(
            f"{facts['values_cut']:,} of the {facts['held_out_values']:,} held-out values lie"
            " outside the training range and are cut to it"
        )
    return f"weatherbench: {'; '.join(parts)}" if parts else None
