"""The Fréchet video distance, with a network in I3D's place."""

import warnings
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torch import Tensor

from bench.score import fvd
from bench.score.frame_scores import FrameScorer, FrameScores
from bench.score.metric import ClipFacts, NotMeasured
from bench.score.metrics import METRICS
from bench.score.outside import frechet_distance
from datasets.contract import Quantity, Spec

FVD = [METRICS["prediction"][name] for name in ("mse", "fvd")]
CPU = torch.device("cpu")


def moments(features: Tensor) -> Tensor:
    """The sums of features [N,D] that come as clips."""
    return fvd.sums(lambda clips: clips[:, 0, 0, 0, : features.shape[1]], clips_of(features))


def clips_of(features: Tensor) -> Tensor:
    """Clips [N,1,1,224,224] in [0,1] whose first row, on [-1,1], begins with the `features`."""
    clips = torch.zeros(len(features), 1, 1, fvd.SIDE, fvd.SIDE)
    clips[..., 0, : features.shape[1]] = (features[:, None, None] + 1) / 2
    return clips


def drawn(count: int, seed: int, shift: float = 0.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(6, 6, generator=generator)
    return 0.1 * torch.randn(count, 6, generator=generator) @ mixing + shift


def test_the_distance_is_that_of_scipys_matrix_root() -> None:
    first, second = drawn(50, 0), drawn(40, 1, shift=0.3)
    found = fvd.distance(torch.stack((moments(first), moments(second))))
    a, b = (x.double().numpy() for x in (first, second))
    root = sqrtm(np.cov(a.T) @ np.cov(b.T)).real
    shift = ((a.mean(0) - b.mean(0)) ** 2).sum()
    expected = shift + np.trace(np.cov(a.T) + np.cov(b.T) - 2 * root)
    assert found == pytest.approx(expected, rel=1e-4)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-6)


def test_closed_forms() -> None:
    features = drawn(30, 2)
    same = moments(features)
    assert fvd.distance(torch.stack((same, same))) == pytest.approx(0, abs=1e-6)
    moved = moments(features + 0.25)
    assert fvd.distance(torch.stack((same, moved))) == pytest.approx(6 * 0.25**2, rel=1e-3)
    centred = features - features.mean(0)
    stretched = torch.stack((moments(centred), moments(3 * centred)))
    variance = float(centred.double().var(0).sum())  # of n - 1
    assert fvd.distance(stretched) == pytest.approx((3 - 1) ** 2 * variance, rel=1e-3)


def test_fewer_clips_than_features_have_a_distance_too() -> None:
    first, second = drawn(4, 3), drawn(4, 4)
    found = fvd.distance(torch.stack((moments(first), moments(second))))
    expected = frechet_distance(first.double().numpy(), second.double().numpy())
    assert found == pytest.approx(expected, rel=1e-4)


def test_sums_of_batches_are_those_of_all_clips() -> None:
    features = drawn(20, 5)
    parts = sum(moments(part) for part in features.split(7))
    torch.testing.assert_close(parts, moments(features), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("shape", [(1, 64, 64), (3, 48, 96), (3, 300, 240)])
def test_clips_are_prepared_as_i3d_takes_them(shape: tuple[int, int, int]) -> None:
    clips = torch.rand(2, 3, *shape)
    found = fvd.prepared(clips)
    assert found.shape == (2, 3, 3, fvd.SIDE, fvd.SIDE)
    assert found.min() >= -1
    assert found.max() <= 1
    even = fvd.prepared(torch.full((1, 2, *shape), 0.75))
    torch.testing.assert_close(even, torch.full_like(even, 0.5))
    assert torch.equal(found[:, 0], found[:, 2]) == (shape[0] == 1)
    column = torch.zeros(1, 1, *shape)
    column[..., shape[2] // 2 - 1 : shape[2] // 2 + 1] = 1
    middle = fvd.prepared(column)
    assert middle.max() > 0
    torch.testing.assert_close(middle, middle.flip(-1), rtol=0, atol=1e-3)


class Means(torch.nn.Module):
    """The mean of each colour over the first and over the last frame."""

    def forward(
        self,
        clips: Tensor,
        rescale: bool = True,
        resize: bool = True,
        return_features: bool = False,
    ) -> Tensor:
        if rescale or resize or not return_features:
            raise ValueError("not what FVD asks for")
        means = clips.mean((3, 4))
        return torch.cat((means[:, :, 0], means[:, :, -1]), 1)


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file in the place of I3D's, in the data folder."""
    monkeypatch.setenv("NEXTFRAME_DATA", str(tmp_path))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    path = tmp_path / "fvd" / fvd.FILE
    path.parent.mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(Means()).save(str(path))
    return path


def test_the_network_is_asked_for_the_features_of_clips_as_they_are(weights: Path) -> None:
    clips = torch.rand(2, 3, 4, 8, 9)
    found = fvd.read(weights, CPU)(clips)
    torch.testing.assert_close(found, Means()(clips, False, False, True))


def test_weights_are_found_or_the_reason_is_given(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fvd.weights_file() == weights
    with pytest.raises(NotMeasured, match="FVD needs an accelerator"):
        fvd.loaded(CPU)
    weights.write_bytes(b"no network")
    with pytest.raises(NotMeasured, match=r"I3D in .*i3d_torchscript.pt are unusable"):
        fvd.read(weights, CPU)
    weights.unlink()
    monkeypatch.chdir(weights.parents[1])
    with pytest.raises(NotMeasured, match=r"put i3d_torchscript.pt into fvd/ of the data folder"):
        fvd.loaded(CPU)


def facts(count: int, context: int = 5, horizon: int = 5, channels: int = 3) -> ClipFacts:
    return ClipFacts(Spec((channels, 8, 9), context, horizon), count)


def dark(clips: ClipFacts, given: Tensor, at_once: int = 100) -> FrameScores:
    """The scores of predictions that are too dark."""
    scorer, context = FrameScorer(clips, FVD), clips.spec.context_frames
    for part in given.split(at_once):
        truth = part[:, context:]
        scorer.add(truth * 0.8, truth, part[:, :context], torch.ones(truth.shape[:2]))
    return scorer.scores({}, 1.0)


def test_the_clips_that_are_compared_have_their_context(monkeypatch: pytest.MonkeyPatch) -> None:
    features = partial(Means(), rescale=False, resize=False, return_features=True)
    monkeypatch.setattr(fvd, "loaded", lambda device: features)
    monkeypatch.setattr(fvd, "SIDE", 16)
    clips, given = facts(256), torch.rand(12, 10, 3, 8, 9)
    found = dark(clips, given).means()["fvd"]
    predicted = torch.cat((given[:, :5], given[:, 5:] * 0.8), 1)
    expected = [features(fvd.prepared(x)).double().numpy() for x in (predicted, given)]
    assert found == pytest.approx(frechet_distance(*expected), rel=1e-3)
    assert dark(clips, given, at_once=7).means()["fvd"] == pytest.approx(found, rel=1e-6)


def test_few_or_short_clips_and_maps_have_none_and_no_reason() -> None:
    metric = METRICS["prediction"]["fvd"]
    rain = Spec((1, 8, 9), 5, 5, quantities=(Quantity("rain", "mm/h", 0, 9),))
    others = (facts(255), facts(256, horizon=4), facts(256, channels=2), ClipFacts(rain, 256))
    assert metric.belongs(facts(256))
    assert not any(metric.belongs(clips) for clips in others)
    short = dark(facts(256, horizon=4), torch.rand(4, 9, 3, 8, 9))
    assert short.not_measured == {}


def test_without_weights_nothing_is_computed_and_the_reason_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEXTFRAME_DATA", str(tmp_path))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.chdir(tmp_path)
    found = dark(facts(256), torch.rand(4, 10, 3, 8, 9))
    assert found.not_measured.keys() == {"fvd"}
    assert "no weights of I3D" in found.not_measured["fvd"]
    assert {*found.means()} == {"mse"}
