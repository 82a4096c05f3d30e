from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from models.deepsith_classifier import DeepSITHClassifier, MemoryLinear
from models.sith import LogMemory

FRAME = (3, 10, 12)


@pytest.fixture
def double_precision() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def small(classes: int = 4) -> DeepSITHClassifier:
    torch.manual_seed(0)
    return DeepSITHClassifier(FRAME, classes, width=4, picture=8, features=16)


def test_published_size_has_the_published_parameters() -> None:
    with torch.device("meta"):
        model = DeepSITHClassifier(
            (3, 64, 64), 174, **DeepSITHClassifier.sizes["published"].options
        )
        logits = model(torch.empty(2, 60, 3, 64, 64))
    assert sum(p.numel() for p in model.parameters()) == 6_277_458
    assert logits.shape == (2, 174)


def literal_layer(layer: MemoryLinear, memory: LogMemory, x: Tensor) -> Tensor:
    """The memory of all features first, flattened node by node, then the linear layer."""
    return F.relu(F.linear(memory(x).flatten(2), layer.linear.weight, layer.linear.bias))


def test_logits_and_gradients_are_those_of_the_published_order(double_precision: None) -> None:
    model = small()
    clip = torch.rand(2, 7, *FRAME)
    ours = model(clip)

    frames = F.conv2d(clip.flatten(0, 1), model.see.weight, model.see.bias).view(2, 7, -1)
    hidden = literal_layer(model.first, model.first.memory, frames)
    hidden = literal_layer(model.second, model.second.memory, hidden)
    drawn, looks = model.draw[0], model.look
    pictures = F.linear(hidden, drawn.weight, drawn.bias).view(2, 1, 7, 8, 8)
    seen = F.conv3d(pictures, looks.weight, looks.bias, padding=(0, 1, 1)).sigmoid()
    theirs = F.linear(seen.mean((2, 3, 4)), model.classifier.weight, model.classifier.bias)

    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)
    leaves, weights = list(model.parameters()), torch.randn(2, 4)
    torch.testing.assert_close(
        torch.autograd.grad((ours * weights).sum(), leaves),
        torch.autograd.grad((theirs * weights).sum(), leaves),
        rtol=0,
        atol=1e-10,
    )


@pytest.mark.parametrize("frames", [1, 2, 3, 60, 200])
def test_clips_of_any_length_are_taken(frames: int) -> None:
    logits = small()(torch.rand(2, frames, *FRAME))
    assert logits.shape == (2, 4)
    assert bool(logits.isfinite().all())


def test_the_first_frame_of_a_short_clip_is_repeated() -> None:
    model, clip = small(), torch.rand(2, 2, *FRAME)
    torch.testing.assert_close(model(clip), model(torch.cat((clip[:, :1], clip), 1)))


def test_every_parameter_has_a_gradient() -> None:
    model = small()
    model.training_loss(torch.rand(2, 5, *FRAME), torch.tensor([0, 3])).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert bool((parameter.grad != 0).any()), name


def test_four_clips_of_four_classes_are_learnt_by_heart() -> None:
    """The loss falls twentyfold within 300 steps."""
    model, labels = small(), torch.arange(4)
    clip = torch.rand(4, 8, *FRAME, generator=torch.Generator().manual_seed(0))
    optimizer = torch.optim.Adam(model.parameters(), 1e-2, fused=True)
    first = model.training_loss(clip, labels).item()
    for _ in range(300):
        optimizer.zero_grad()
        loss = model.training_loss(clip, labels)
        loss.backward()
        optimizer.step()
        if loss.item() < first / 20:
            return
    pytest.fail(f"the loss went from {first:.4f} to {loss.item():.4f} only")


def test_a_frame_smaller_than_the_kernel_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 3"):
        DeepSITHClassifier((3, 2, 64), 4)
