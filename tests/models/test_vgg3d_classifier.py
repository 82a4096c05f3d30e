from __future__ import annotations

import pytest
import torch
from torch import nn

from models.vgg3d_classifier import VGG3DClassifier


def test_eleven_convolutions_halve_the_frame_five_times_and_time_never() -> None:
    with torch.device("meta"):
        model = VGG3DClassifier((3, 84, 84), 174)
        maps = torch.empty(2, 3, 72, 84, 84)
    shapes = []
    for layer in model.blocks:
        maps = layer(maps)
        if isinstance(layer, nn.Sequential):
            shapes.append((maps.shape[1], *maps.shape[2:]))
    sides = [42, 42, 21, 21, 21, 11, 11, 11, 6, 6, 3]
    widths = [32, 64, 128, 128, 128, 256, 256, 256, 512, 512, 512]
    assert shapes == [(w, 72, s, s) for w, s in zip(widths, sides, strict=True)]


def test_whole_channels_are_dropped_after_the_first_four_blocks() -> None:
    model = VGG3DClassifier((1, 32, 32), 3, width=2)
    kinds = [type(layer) for layer in model.blocks]
    dropped = [place for place, kind in enumerate(kinds) if kind is nn.Dropout3d]
    convolutions_before = [sum(k is nn.Sequential for k in kinds[:place]) for place in dropped]
    assert convolutions_before == [1, 3, 6, 9]
    assert {model.blocks[place].p for place in dropped} == {0.2}


@pytest.mark.parametrize("shape", [(1, 1, 1, 1, 1), (2, 3, 2, 33, 50), (1, 7, 3, 84, 84)])
def test_frames_of_any_size_and_clips_of_any_length_pass(shape: tuple[int, ...]) -> None:
    model = VGG3DClassifier((shape[2], *shape[3:]), 5, width=2).eval()
    with torch.no_grad():
        logits = model(torch.rand(shape))
    assert logits.shape == (shape[0], 5)
    assert bool(logits.isfinite().all())


def test_logits_do_not_depend_on_the_batch() -> None:
    torch.manual_seed(0)
    model = VGG3DClassifier((1, 32, 32), 5, width=4)
    with torch.no_grad():
        model(torch.rand(4, 4, 1, 32, 32))  # moves the running statistics off their start
    model.eval()
    clip = torch.rand(3, 4, 1, 32, 32)
    with torch.no_grad():
        apart = torch.cat([model(one[None]) for one in clip])
        torch.testing.assert_close(model(clip), apart)


def test_four_clips_of_four_classes_are_learnt_by_heart() -> None:
    """The loss falls twentyfold within 60 steps on a square that moves four ways."""
    torch.manual_seed(0)
    model = VGG3DClassifier((1, 32, 32), 4, width=4)
    clip, labels = torch.zeros(4, 6, 1, 32, 32), torch.arange(4)
    for b, (dy, dx) in enumerate(((0, 2), (0, -2), (2, 0), (-2, 0))):
        for t in range(6):
            clip[b, t, 0, 12 + t * dy : 20 + t * dy, 12 + t * dx : 20 + t * dx] = 1.0
    optimizer = torch.optim.SGD(model.parameters(), 0.02, momentum=0.9)
    first = model.training_loss(clip, labels)
    for _ in range(60):
        loss = model.training_loss(clip, labels)
        optimizer.zero_grad()
        loss.backward()
        assert all(p.grad is not None for p in model.parameters())
        optimizer.step()
    model.eval()
    with torch.no_grad():
        assert model.training_loss(clip, labels) < first / 20
        assert torch.equal(model(clip).argmax(1), labels)
