"""Numbers beside frames: what a data set that has some must do, whatever it is read from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.check.dataset import CHECKS, COVARIATE_CHECKS, checks_of
from datasets.contract import Clips, Covariate, Dataset, HeldOutName, Spec
from datasets.pushed_disc import FARTHEST, PushedDisc
from datasets.video.cache import Clip
from datasets.video.windows import FixedWindows, RandomWindows

WIND = Covariate("wind", "m/s")


def _noise(count: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (count, 4, 1, 8, 8), generator=generator, dtype=torch.uint8)


def _winds(clips: Tensor) -> Tensor:
    """A number beside each frame: its mean brightness."""
    return clips.float().mean((2, 3, 4))[..., None]


class _Clips:
    def __init__(self, clips: Tensor, winds: Callable[[Tensor], Tensor] = _winds) -> None:
        self._clips, self._winds = clips, winds

    def __len__(self) -> int:
        return len(self._clips)

    def __getitem__(self, window: slice, /) -> Tensor:
        return self._clips[window]

    def covariates(self, window: slice, /) -> Tensor:
        return self._winds(self._clips[window])


class Windy(Dataset):
    """Noise that keeps every promise; each of its subclasses breaks one."""

    name = "windy"
    spec = Spec((1, 8, 8), 3, 1, covariates=(WIND,))

    def train_clips(self, count: int, generator: torch.Generator) -> Tensor:
        return torch.randint(256, (count, 4, 1, 8, 8), generator=generator, dtype=torch.uint8)

    def train_clips_with_covariates(
        self, count: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        clips = self.train_clips(count, generator)
        return clips, _winds(clips)

    def held_out(self, split: HeldOutName) -> Clips:
        return _Clips(_noise(5, {"validation": 1001, "test": 1002}[split]))


class OtherClips(Windy):
    def train_clips_with_covariates(
        self, count: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        torch.rand(1, generator=generator)
        return super().train_clips_with_covariates(count, generator)


class OneOfAClip(Windy):
    def train_clips_with_covariates(
        self, count: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        clips, winds = super().train_clips_with_covariates(count, generator)
        return clips, winds[:, :1]


class NotANumber(Windy):
    def train_clips_with_covariates(
        self, count: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        clips, winds = super().train_clips_with_covariates(count, generator)
        return clips, winds * torch.nan


class ForeignRandomness(Windy):
    def train_clips_with_covariates(
        self, count: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        clips, winds = super().train_clips_with_covariates(count, generator)
        return clips, winds + torch.rand_like(winds)


class OtherEachTime(Windy):
    def held_out(self, split: HeldOutName) -> Clips:
        return _Clips(_noise(5, 1001), lambda clips: _winds(clips) + torch.rand(1))


class InDouble(Windy):
    def held_out(self, split: HeldOutName) -> Clips:
        return _Clips(_noise(5, 1001), lambda clips: _winds(clips).double())


BROKEN = {
    OtherClips: "train clips have covariates",
    OneOfAClip: "train clips have covariates",
    NotANumber: "train clips have covariates",
    ForeignRandomness: "the generator decides the covariates",
    OtherEachTime: "held out covariates are fixed",
    InDouble: "held out covariates are fixed",
}


def test_a_sound_data_set_passes() -> None:
    checks = checks_of(Windy())
    assert checks.keys() == {*CHECKS, *COVARIATE_CHECKS}
    for check in checks.values():
        check(Windy())


@pytest.mark.parametrize(("broken", "promise"), BROKEN.items())
def test_a_broken_promise_is_noticed_in_one_line(broken: type[Dataset], promise: str) -> None:
    with pytest.raises(AssertionError) as complaint:
        COVARIATE_CHECKS[promise](broken())
    assert str(complaint.value)
    assert "\n" not in str(complaint.value)


def test_every_check_has_been_seen_to_fail() -> None:
    assert set(BROKEN.values()) == set(COVARIATE_CHECKS)


def test_the_digest_is_of_the_numbers_too() -> None:
    class Calm(Windy):
        def held_out(self, split: HeldOutName) -> Clips:
            return _Clips(_noise(5, 1002), lambda clips: 0 * _winds(clips))

    class Untold(Windy):
        spec = Spec((1, 8, 8), 3, 1)

    digests = {each().digest("test", 5) for each in (Windy, Calm, Untold)}
    assert len(digests) == 3


@pytest.mark.parametrize("more", [{"covariates": (WIND, WIND)}, {"classes": ("a", "b")}])
def test_a_spec_says_what_cannot_be(more: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="covariates"):
        Spec((1, 8, 8), 3, 1, **{"covariates": (WIND,), **more})


class _Numbered:
    """Frames that show their number."""

    def gather(self, indices: Tensor) -> Tensor:
        return indices.byte()[..., None, None, None].expand(*indices.shape, 1, 2, 2)


def test_windows_take_the_numbers_of_their_frames() -> None:
    beside = torch.arange(30).float()[:, None] * torch.tensor([1.0, -1.0])
    clips = [Clip("a", 0, 12, {}), Clip("b", 12, 18, {})]
    random = RandomWindows(_Numbered(), clips, 3, 2, lambda n: range(n)[::-1], beside)
    fixed = FixedWindows(_Numbered(), clips, 3, 2, covariates=beside)
    drawn, numbers = random.draw_with_covariates(50, torch.Generator().manual_seed(0))
    assert torch.equal(drawn, random.draw(50, torch.Generator().manual_seed(0)))
    for shown, found in ((drawn, numbers), (fixed[1:4], fixed.covariates(slice(1, 4)))):
        frame = shown[:, :, 0, 0, 0].float()
        assert torch.equal(found, torch.stack((frame, -frame), 2))


def _centres(clips: Tensor) -> Tensor:
    """The centre of mass (y, x) of each frame, in pixels [N,T,2]."""
    weight = clips[:, :, 0].double()
    pixel = torch.arange(64).double() + 0.5
    down, right = weight.sum(3) @ pixel, weight.sum(2) @ pixel
    return torch.stack((down, right), 2) / weight.sum((2, 3))[..., None]


def test_a_push_moves_the_disc_in_the_next_frame_until_an_edge_stops_it() -> None:
    dataset = PushedDisc(3, 5)
    pairs = [
        dataset.train_clips_with_covariates(20, torch.Generator().manual_seed(0)),
        (dataset.held_out("test")[:20], dataset.held_out("test").covariates(slice(20))),  # type: ignore[attr-defined]
    ]
    for clips, pushes in pairs:
        moved, wanted = _centres(clips).diff(dim=1), FARTHEST * pushes[:, :-1].double()
        assert (moved.abs() <= wanted.abs() + 0.05).all()
        free = (moved - wanted).abs() < 0.05
        assert 0.75 < float(free.double().mean()) < 1
        assert pushes.aminmax().min < -0.95
        assert pushes.aminmax().max > 0.95


def test_held_out_discs_are_the_same_everywhere_and_told_or_not() -> None:
    told, untold = PushedDisc(), PushedDisc(pushes=False)
    assert told.digest("test", 100) == "e3fca2ec2cd531f25c0893b4e446bd21"
    assert untold.digest("test", 100) == "e4aefe9d9f27a9217fbeac3bce71670d"
    assert torch.equal(told.held_out("validation")[:3], untold.held_out("validation")[:3])
    longer = PushedDisc(4, 20).held_out("test")
    assert torch.equal(longer[2:4][:, :14], told.held_out("test")[2:4])


@pytest.mark.parametrize("name", ["", "a\nb", "\x1b[31m", 3])
def test_a_covariate_is_named_by_printable_text(name: Any) -> None:
    with pytest.raises(ValueError, match="named by printable text"):
        Covariate(name)


@pytest.mark.parametrize("names", ["push", ("push", "pull")])
def test_names_alone_are_no_covariates(names: Any) -> None:
    with pytest.raises(ValueError, match="a tuple of Covariate, not"):
        Spec((1, 8, 8), 3, 1, covariates=names)
