import json
import random
import socket
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from matplotlib.image import imread
from torch import Tensor

from bench.score import lpips as perceptual
from bench.score.alexnet import Products
from bench.score.lpips import Perceptual, WeightsMissing
from bench.score.metric import NotMeasured
from bench.score.outside import lpips, lpips_network
from datasets.sources.folders import find

CPU = torch.device("cpu")
FOLDER = find("lpips/alexnet_torchvision_features.npz")


@pytest.fixture(scope="module")
def metric() -> Perceptual:
    if not FOLDER:
        pytest.skip("AlexNet's weights are not in the data folder")
    return Perceptual.load(CPU)


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty hub cache and an empty data folder; the result is the hub's checkpoint folder."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(perceptual, "find", lambda *names: None)
    perceptual._download.cache_clear()
    return tmp_path / "checkpoints"


def image(name: str) -> Tensor:
    path = find(f"lpips/imgs/{name}.png")
    if not path:
        pytest.skip("the reference images are not in the data folder")
    return torch.from_numpy(imread(path)[..., :3]).permute(2, 0, 1)


def test_the_published_reference_values(metric: Perceptual) -> None:
    predictions = torch.stack([image("ex_p0"), image("ex_p1")])
    distances = metric(predictions, image("ex_ref").expand(2, -1, -1, -1)).tolist()
    assert distances == pytest.approx([0.721881, 0.137566], abs=1e-5)
    expected = find("lpips/expected.json")
    assert expected
    assert distances == pytest.approx(
        json.loads(expected.read_text())["published_alex_v0.1"], abs=5e-4
    )


@pytest.mark.parametrize(("slope", "offset"), [(2, -1), (1, 0)])
@pytest.mark.parametrize("shape", [(1, 64, 64), (3, 40, 33), (1, 31, 100), (3, 128, 95)])
def test_batches_equal_the_package_one_frame_at_a_time(
    metric: Perceptual, shape: tuple[int, int, int], slope: int, offset: int
) -> None:
    prediction, truth = torch.rand(2, 2, 3, *shape)
    prediction[0] = (truth[0] + 0.01 * prediction[0]).clamp(0, 1)
    distances = metric(prediction, truth, slope, offset)
    expected = lpips(slope, offset).compute(prediction.numpy(), truth.numpy())
    assert distances.shape == (2, 3)
    np.testing.assert_allclose(distances, expected, rtol=2e-4, atol=1e-6)
    np.testing.assert_allclose(distances[0], expected[0], rtol=2e-3, atol=1e-7)


def test_the_outside_network_is_the_packages(metric: Perceptual) -> None:
    assert type(lpips_network()).__module__ == "lpips.lpips"


def test_frames_are_taken_in_parts(metric: Perceptual, monkeypatch: pytest.MonkeyPatch) -> None:
    prediction, truth = torch.rand(2, 6, 1, 40, 33)
    whole = metric(prediction, truth)
    monkeypatch.setattr(Products, "pixels_at_once", 4 * 40 * 33)  # a whole chunk and a rest
    torch.testing.assert_close(metric(prediction, truth), whole, rtol=1e-5, atol=1e-6)


def test_equal_frames_have_no_distance_and_order_does_not_matter(metric: Perceptual) -> None:
    prediction, truth = torch.rand(2, 3, 1, 32, 32)
    assert metric(truth, truth).tolist() == [0, 0, 0]
    distances = metric(prediction, truth)
    assert distances.min() > 0
    torch.testing.assert_close(distances, metric(truth, prediction))


def test_a_broken_frame_spoils_no_other(metric: Perceptual) -> None:
    prediction, truth = torch.rand(2, 3, 1, 32, 32)
    sound = metric(prediction, truth)
    prediction[1, 0, 5, 5] = torch.nan
    assert metric(prediction, truth).isnan().tolist() == [False, True, False]
    assert torch.equal(metric(prediction, truth)[::2], sound[::2])


def test_float32_and_no_gradient_whatever_the_caller_runs_under(metric: Perceptual) -> None:
    prediction, truth = torch.rand(2, 3, 1, 32, 32)
    with torch.autocast("cpu", torch.bfloat16):
        distances = metric(prediction.requires_grad_(), truth)
    assert not distances.requires_grad
    torch.testing.assert_close(distances, metric(prediction, truth), rtol=0, atol=0)


def test_the_smallest_frame_that_alexnet_takes(metric: Perceptual) -> None:
    assert metric(torch.rand(1, 1, 31, 31), torch.rand(1, 1, 31, 31)).isfinite()
    with pytest.raises(RuntimeError, match="too small"):
        lpips_network()(torch.rand(1, 3, 30, 31), torch.rand(1, 3, 30, 31))
    with pytest.raises(NotMeasured, match="at least 31x31, not 16x64"):
        metric(torch.rand(1, 1, 16, 64), torch.rand(1, 1, 16, 64))


def test_two_channels_are_not_measured(metric: Perceptual) -> None:
    with pytest.raises(NotMeasured, match="not 2 channels"):
        metric(torch.rand(1, 2, 40, 40), torch.rand(1, 2, 40, 40))


def test_loading_leaves_the_random_state_and_the_terminal_alone(
    metric: Perceptual, capfd: pytest.CaptureFixture[str]
) -> None:
    state = torch.get_rng_state(), random.getstate()
    Perceptual.load(CPU)
    assert torch.equal(torch.get_rng_state(), state[0])
    assert random.getstate() == state[1]
    assert capfd.readouterr() == ("", "")


def test_the_hub_cache_comes_first(metric: Perceptual, nowhere: Path) -> None:
    assert FOLDER
    nowhere.mkdir()
    torch.save(perceptual.read(FOLDER), nowhere / "alexnet-owt-7be5be79.pth")
    prediction, truth = torch.rand(2, 2, 1, 32, 32)
    again = Perceptual.load(CPU)(prediction, truth)
    torch.testing.assert_close(again, metric(prediction, truth), rtol=0, atol=0)


def test_a_failed_download_is_one_reason_and_is_not_tried_again(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def refuse(url: str, target: str, hash_prefix: str, progress: bool) -> None:
        tried.append((Path(url).name, Path(target), hash_prefix))
        raise URLError("no route to host")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    for _ in range(2):
        with pytest.raises(WeightsMissing, match=r"^no ImageNet.*no route to host.*$") as caught:
            Perceptual.load(CPU)
        assert "\n" not in str(caught.value)
    name = "alexnet-owt-7be5be79.pth"
    assert tried == [(name, nowhere / name, "7be5be79")]


def test_a_server_that_never_answers_does_not_hang_us(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        monkeypatch.setattr(perceptual, "_URL", f"http://127.0.0.1:{port}/weights.pth")
        monkeypatch.setattr(perceptual, "_SILENCE_SECONDS", 0.2)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        with pytest.raises(WeightsMissing, match="timed out"):
            Perceptual.load(CPU)
    assert socket.getdefaulttimeout() is None
    assert list(nowhere.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 cut short"])
def test_a_broken_file_is_a_reason(nowhere: Path, content: bytes) -> None:
    nowhere.mkdir()
    (nowhere / "alexnet-owt-7be5be79.pth").write_bytes(content)
    with pytest.raises(WeightsMissing, match="unusable") as caught:
        Perceptual.load(CPU)
    assert "\n" not in str(caught.value)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_cuda_agrees_with_the_cpu(metric: Perceptual) -> None:
    prediction, truth = torch.rand(2, 8, 1, 64, 64)
    on_cuda = Perceptual.load(torch.device("cuda"))(prediction.cuda(), truth.cuda())
    torch.testing.assert_close(on_cuda.cpu(), metric(prediction, truth), rtol=1e-5, atol=1e-5)
