import itertools
import math
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from datasets.contract import DataMissing, HeldOutName
from datasets.moving_mnist import (
    LongMovingMNIST,
    MovingMNIST,
    OfficialMovingMNIST,
    render,
    trajectories,
)
from datasets.sources import digits, download
from datasets.sources.folders import find

unit = st.floats(0, 1)
angles = st.floats(0, math.tau)


@pytest.fixture(scope="module")
def on_official_digits(official_files: list[Path]) -> MovingMNIST:
    return MovingMNIST()


def _path(y: float, x: float, angle: float, frames: int = 20) -> list[list[int]]:
    start = torch.tensor([[[y, x]]], dtype=torch.float64)
    corners = trajectories(start, torch.tensor([[angle]], dtype=torch.float64), frames)
    return corners[0, 0].tolist()


def test_official_sequences_are_reproduced(official_files: list[Path]) -> None:
    path = find("moving_mnist/official_test_5seq.npz")
    if path is None:
        pytest.skip("the five official sequences are not in the data folder")
    with np.load(path) as official:
        truth = torch.tensor(official["seq"])
        chosen, corners = official["digit_t10k_index"], torch.tensor(official["yx"]).long()
    images = torch.tensor(digits.load().test[chosen])
    assert torch.equal(render(images, corners.transpose(1, 2))[:, :, 0], truth)


@given(st.integers(0, 2**32))
def test_rendering_pastes_each_digit_and_keeps_the_brighter_pixel(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(256, (2, 3, 28, 28), generator=generator, dtype=torch.uint8)
    corners = torch.randint(37, (2, 3, 4, 2), generator=generator)
    expected = torch.zeros(2, 4, 1, 64, 64, dtype=torch.uint8)
    for clip, digit, frame in np.ndindex(2, 3, 4):
        y, x = corners[clip, digit, frame].tolist()
        patch = expected[clip, frame, 0, y : y + 28, x : x + 28]
        patch.copy_(torch.maximum(patch, images[clip, digit]))
    assert torch.equal(render(images, corners), expected)


def test_no_clips_are_rendered_to_none() -> None:
    images, corners = torch.zeros(0, 2, 28, 28, dtype=torch.uint8), torch.zeros(0, 2, 5, 2).long()
    assert render(images, corners).shape == (0, 5, 1, 64, 64)


@given(unit, unit, angles)
def test_digits_drift_at_constant_speed_and_turn_at_edges_only(
    y: float, x: float, angle: float
) -> None:
    path = _path(y, x, angle)
    for axis, speed in ((0, 3.6 * abs(math.sin(angle))), (1, 3.6 * abs(math.cos(angle)))):
        places = [place[axis] for place in path]
        assert all(0 <= place <= 36 for place in places)
        direction = 0
        for before, after in itertools.pairwise(places):
            heading = (after > before) - (after < before)
            if heading and heading == -direction:
                assert before in (0, 36)
            direction = heading or direction
            if before not in (0, 36) and after not in (0, 36):
                assert abs(abs(after - before) - speed) <= 1


@given(unit, unit, angles)
def test_a_longer_horizon_continues_the_path(y: float, x: float, angle: float) -> None:
    assert _path(y, x, angle, 30)[:20] == _path(y, x, angle)


def test_first_frame_is_recorded_after_a_step() -> None:
    assert _path(0.5, 0.5, math.pi / 2, 2) == [[21, 18], [25, 18]]


def test_a_digit_stops_at_the_edge_before_it_turns() -> None:
    assert _path(0.95, 0.5, math.pi / 2, 3) == [[36, 18], [32, 18], [28, 18]]
    assert _path(0.5, 0.05, math.pi, 3) == [[18, 0], [18, 3], [18, 7]]


def test_every_split_shows_its_own_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    train, validation, test = (np.full((3, 28, 28), ink, np.uint8) for ink in (10, 20, 30))
    monkeypatch.setattr(digits, "load", lambda: digits.Pools(train, validation, test))
    dataset = MovingMNIST()
    drawn = dataset.train_clips(16, torch.Generator().manual_seed(0))
    assert set(drawn.flatten().tolist()) == {0, 10}
    assert set(dataset.held_out("validation")[:16].flatten().tolist()) == {0, 20}
    assert set(dataset.held_out("test")[:16].flatten().tolist()) == {0, 30}


@pytest.mark.usefixtures("on_substitute")
def test_a_share_of_the_training_digits_leaves_the_rest_as_it_is() -> None:
    whole = MovingMNIST()
    pools = {}
    for share in (1e-9, 0.01, 0.1, 1.0):
        part = MovingMNIST(train_share=share)
        images = part._train_digits[torch.device("cpu")]
        pools[share] = {image.numpy().tobytes() for image in images}
        assert len(images) == max(1, 4000 * share)
        for side in ("validation", "test"):
            assert part.digest(side, 8) == whole.digest(side, 8)
    assert pools[1e-9] < pools[0.01] < pools[0.1] < pools[1.0]
    for wrong in (0, 2, float("nan")):
        with pytest.raises(ValueError, match="train_share is above 0 and at most 1, not"):
            MovingMNIST(train_share=wrong)


def test_training_draws_every_digit_and_every_start(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = np.stack([np.full((28, 28), ink, np.uint8) for ink in range(1, 9)])
    monkeypatch.setattr(digits, "load", lambda: digits.Pools(pool, pool, pool))
    clips = MovingMNIST(1, 1).train_clips(2_000, torch.Generator().manual_seed(0))
    for shown in (clips, MovingMNIST(1, 1).held_out("test")[:2_000]):
        brightest = shown.flatten(1).amax(1)
        # The larger of two uniform draws from 1..8 is k in (2k - 1) of 64 cases.
        shares = torch.bincount(brightest.long(), minlength=9)[1:] / len(shown)
        expected = (2 * torch.arange(1, 9) - 1) / 64
        torch.testing.assert_close(shares, expected, atol=0.03, rtol=0)
        ink = (shown[:, 0, 0] > 0).double().mean(0)
        torch.testing.assert_close(ink, ink.flip(0), atol=0.06, rtol=0)
        torch.testing.assert_close(ink, ink.T, atol=0.06, rtol=0)


@pytest.mark.parametrize(
    ("split", "digest"),
    [
        ("validation", "b23c45173d3ca35e3326867b2c7c466b"),
        ("test", "01924953d69625f000ffa39f97c0cbfe"),
    ],
)
def test_held_out_pixels_are_the_same_everywhere(
    on_official_digits: MovingMNIST, split: HeldOutName, digest: str
) -> None:
    assert len(on_official_digits.held_out(split)) == 10_000
    assert on_official_digits.digest(split, 1_000) == digest


def test_a_longer_horizon_continues_the_held_out_clips(on_official_digits: MovingMNIST) -> None:
    longer = MovingMNIST(context_frames=10, horizon=30).held_out("test")[5:9]
    assert longer.shape[1] == 40
    assert torch.equal(longer[:, :20], on_official_digits.held_out("test")[5:9])


def test_substitute_digits_come_with_a_notice_and_another_digest(
    on_official_digits: MovingMNIST, request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue("on_substitute")
    substitute = MovingMNIST()
    assert on_official_digits.notice is None
    assert substitute.notice is not None
    for split in ("validation", "test"):
        assert substitute.digest(split, 50) != on_official_digits.digest(split, 50)


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, substitute_folder: Path) -> Path:
    """Where `moving_mnist/mnist_test_seq.npy` goes, in a data folder with the substitute digits."""
    shutil.copytree(substitute_folder / "mnist", tmp_path / "mnist")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NEXTFRAME_DATA", str(tmp_path))
    (tmp_path / "moving_mnist").mkdir()
    return tmp_path / "moving_mnist" / "mnist_test_seq.npy"


def _sequences() -> np.ndarray:
    return np.random.default_rng(0).integers(256, size=(20, 12, 64, 64), dtype=np.uint8)


def test_official_variant_tests_on_the_published_clips(published: Path) -> None:
    sequences = _sequences()
    np.save(published, sequences)
    dataset = OfficialMovingMNIST()
    clips = dataset.held_out("test")
    assert len(clips) == 12
    expected: Tensor = torch.tensor(sequences).transpose(0, 1).unsqueeze(2)
    assert torch.equal(clips[:], expected)
    assert torch.equal(clips[7:8], expected[7:8])
    shorter = OfficialMovingMNIST(5, 1)
    assert torch.equal(shorter.held_out("test")[2:5], expected[2:5, :6])
    plain = MovingMNIST()
    assert dataset.digest("validation", 20) == plain.digest("validation", 20)
    draws = [data.train_clips(3, torch.Generator().manual_seed(0)) for data in (dataset, plain)]
    assert torch.equal(*draws)


def test_official_variant_downloads_its_file(
    published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def moving_mnist(root: str, download: bool) -> None:
        Path(root, "MovingMNIST").mkdir()
        np.save(Path(root, "MovingMNIST", published.name), _sequences())

    torchvision = SimpleNamespace(datasets=SimpleNamespace(MovingMNIST=moving_mnist))
    monkeypatch.setattr(download, "import_torchvision", lambda: torchvision)
    assert len(OfficialMovingMNIST().held_out("test")) == 12
    assert published.exists()


@pytest.mark.usefixtures("published")
def test_official_variant_says_what_to_get_and_where_it_goes() -> None:
    with pytest.raises(DataMissing) as missing:
        OfficialMovingMNIST()
    message = str(missing.value)
    assert "\n" not in message
    for word in ("mnist_test_seq.npy", "cs.toronto.edu", "moving_mnist/", "NEXTFRAME_DATA"):
        assert word in message


@pytest.mark.parametrize(
    "wrong", [_sequences()[:10], _sequences()[..., :32], _sequences().astype(np.float32)]
)
def test_official_variant_refuses_another_array(published: Path, wrong: np.ndarray) -> None:
    np.save(published, wrong)
    with pytest.raises(DataMissing, match="not uint8"):
        OfficialMovingMNIST()


@pytest.mark.parametrize("kept_bytes", [0, 40, 100_000])
def test_official_variant_refuses_a_truncated_file(published: Path, kept_bytes: int) -> None:
    np.save(published, _sequences())
    published.write_bytes(published.read_bytes()[:kept_bytes])
    with pytest.raises(DataMissing, match="not uint8"):
        OfficialMovingMNIST()


def test_official_variant_has_twenty_frames_and_no_more(published: Path) -> None:
    np.save(published, _sequences())
    with pytest.raises(ValueError, match="20 frames"):
        OfficialMovingMNIST(horizon=11)


def test_long_clips_end_in_the_same_frames_whatever_the_context() -> None:
    short, long = (LongMovingMNIST(frames).held_out("test")[3:5] for frames in (4, 200))
    assert long.shape == (2, 210, 1, 64, 64)
    assert torch.equal(short, long[:, -14:])


def test_long_clips_are_the_motion_of_the_short_ones_later() -> None:
    whole = LongMovingMNIST(2000).held_out("validation")[:1]
    assert torch.equal(whole[:, :20], MovingMNIST().held_out("validation")[:1])


def test_a_context_beyond_the_longest_is_refused() -> None:
    with pytest.raises(ValueError, match="to 2,000, not 2001"):
        LongMovingMNIST(2001)
