"""Options that are none are refused in one line, at once, before anything is opened or made."""

from typing import Any

import pytest
import torch

from datasets.arrays import Arrays
from datasets.bair import BAIR
from datasets.contract import LONGEST_CLIP, DataMissing, Spec, names_in
from datasets.frames import Frames
from datasets.human36m import Human36M
from datasets.kitti_caltech import KittiCaltech
from datasets.kth import KTH
from datasets.moving_mnist import LongMovingMNIST, MovingMNIST, OfficialMovingMNIST
from datasets.moving_mnist_cifar import CifarMovingMNIST
from datasets.moving_mnist_noisy import NoisyMovingMNIST
from datasets.moving_mnist_seq2seq import Seq2SeqMovingMNIST
from datasets.nbody_mnist import NBodyMNIST
from datasets.pushed_disc import PushedDisc
from datasets.sevir import SEVIR
from datasets.something_something_v2 import SomethingSomethingV2
from datasets.sources.train_share import share_count
from datasets.stochastic_moving_mnist import StochasticMovingMNIST
from datasets.ucf101 import UCF101, UCF101Actions
from datasets.video.source import FrameFormat
from datasets.water_waves import WaterWaves
from datasets.weatherbench import WeatherBench

NO_NUMBERS: list[Any] = [
    0,
    -1,
    1.5,
    1e9,
    100_000,
    10**30,
    float("nan"),
    float("inf"),
    True,
    "10",
    None,
    (),
    [3],
]
NO_SIZES: list[Any] = ["x", (0, 0), 0, -1, (64,), (64, 64, 64), (64, True), 1e9, 10**6, None, {}]


@pytest.mark.parametrize("number", NO_NUMBERS)
@pytest.mark.parametrize(
    "cls",
    [
        Arrays,
        MovingMNIST,
        LongMovingMNIST,
        OfficialMovingMNIST,
        Seq2SeqMovingMNIST,
        CifarMovingMNIST,
        NoisyMovingMNIST,
        StochasticMovingMNIST,
        NBodyMNIST,
        PushedDisc,
        WaterWaves,
    ],
)
def test_numbers_of_frames_are_checked_before_files_are_looked_for(
    empty_folder: object, cls: Any, number: Any
) -> None:
    for option in ("context_frames", "horizon"):
        with pytest.raises(ValueError, match=option) as told:
            cls(**{option: number})
        assert "\n" not in str(told.value)
        assert len(str(told.value)) < 200


@pytest.mark.parametrize("number", NO_NUMBERS)
def test_a_spec_has_whole_numbers_of_frames(number: Any) -> None:
    with pytest.raises(ValueError, match="context_frames"):
        Spec((1, 8, 8), number, 1)
    with pytest.raises(ValueError, match="horizon"):
        Spec((1, 8, 8), 1, number)
    assert Spec((1, 8, 8), LONGEST_CLIP, 1).clip_frames == LONGEST_CLIP + 1


@pytest.mark.parametrize("size", NO_SIZES)
@pytest.mark.parametrize("cls", [Frames, KTH, Human36M, SEVIR, SomethingSomethingV2, UCF101])
def test_sizes_are_checked(empty_folder: object, cls: Any, size: Any) -> None:
    with pytest.raises(ValueError) as told:  # noqa: PT011  (each says it in its words)
        cls(size=size)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("cls", "options"),
    [
        (Arrays, {"validation": 0.0}),
        (Arrays, {"validation": 1}),
        (Arrays, {"validation": True}),
        (Arrays, {"validation": float("nan")}),
        (Arrays, {"test": ""}),
        (Arrays, {"test": "8:8"}),
        (Arrays, {"test": "3, x"}),
        (Arrays, {"test": "-1"}),
        (Arrays, {"test": "9" * 20}),
        (Arrays, {"test": (1, 2)}),
        (Arrays, {"value_range": (1, 0)}),
        (Arrays, {"value_range": (0, float("inf"))}),
        (Arrays, {"value_range": (0, 1, 2)}),
        (Arrays, {"value_range": "01"}),
        (Frames, {"name": ""}),
        (Frames, {"name": "a/b"}),
        (Frames, {"name": 3}),
        (Frames, {"name": "x" * 300}),
        (Frames, {"channels": True}),
        (Frames, {"channels": 1.0}),
        (Frames, {"channels": []}),
        (Frames, {"fit": "squeeze"}),
        (Frames, {"fit": []}),
        (Frames, {"frame_step": 0}),
        (Frames, {"frame_step": 10**9}),
        (Frames, {"frame_step": True}),
        (Frames, {"frames_per_second": 0}),
        (Frames, {"frames_per_second": float("nan")}),
        (Frames, {"frames_per_second": "25"}),
        (KittiCaltech, {"tested_on": "city"}),
        (KittiCaltech, {"tested_on": []}),
        (KTH, {"actions": 3}),
        (KTH, {"actions": [["walking"]]}),
        (KTH, {"actions": "flying"}),
        (UCF101, {"frame_order": "backwards"}),
        (UCF101, {"frame_order": []}),
        (SEVIR, {"minutes": 7}),
        (SEVIR, {"minutes": "5"}),
        (SEVIR, {"minutes": 0}),
        (SEVIR, {"size": 384.0}),
        (SomethingSomethingV2, {"augment": "no"}),
        (WeatherBench, {"variable": "t3m"}),
        (WeatherBench, {"variable": []}),
        (WeatherBench, {"hours": 0}),
        (WeatherBench, {"hours": 1.5}),
        (WeatherBench, {"held_out_stride": -1}),
        (NoisyMovingMNIST, {"kind": "loud"}),
        (NoisyMovingMNIST, {"kind": []}),
    ],
)
def test_other_options_are_checked(empty_folder: object, cls: Any, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError) as told:  # noqa: PT011  (each says it in its words)
        cls(**options)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("share", [0, -1, 1.5, float("nan"), True, "half", None])
def test_shares_are_checked(empty_folder: object, share: Any) -> None:
    with pytest.raises(ValueError, match="train_share"):
        MovingMNIST(train_share=share)
    with pytest.raises(ValueError, match="train_share"):
        share_count(share, 100)


@pytest.mark.parametrize("names", [3, None, [3], [["a"]], {"a": 1}])
def test_names_are_one_or_several(names: Any) -> None:
    with pytest.raises(ValueError, match="classes must be"):
        names_in("classes", names)
    assert names_in("classes", "a") == {"a"}
    assert names_in("classes", ["a", "b"]) == names_in("classes", ("a", "b")) == {"a", "b"}


def test_what_is_right_gets_as_far_as_the_data(empty_folder: object) -> None:
    shipped = (
        BAIR,
        Frames,
        Human36M,
        KittiCaltech,
        KTH,
        SEVIR,
        SomethingSomethingV2,
        UCF101,
        UCF101Actions,
        WeatherBench,
    )
    for cls in shipped:
        with pytest.raises(DataMissing, match="is not prepared here"):
            cls()
    assert FrameFormat(3, 8, 8, frames_per_second=29.97).shape == (3, 8, 8)
    assert Spec((1, 8, 8), 1, 1, dtype=torch.uint16).clip_frames == 2
