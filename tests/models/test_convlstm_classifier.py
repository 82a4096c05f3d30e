from __future__ import annotations

import torch
from torch.testing import assert_close

from models.convlstm_classifier import ConvLSTMClassifier, MeanConv3d


def test_the_mean_of_a_convolution_needs_no_convolution() -> None:
    torch.manual_seed(0)
    layer = MeanConv3d(3, 4).double()
    for size in ((5, 6, 7), (1, 2, 3), (2, 1, 1)):
        x = torch.randn(2, 3, *size).double().requires_grad_()
        convolved = torch.nn.functional.conv3d(x, layer.weight, layer.bias, padding=1)
        ours, expected = layer(x), convolved.mean((2, 3, 4))
        assert_close(ours, expected, rtol=0, atol=1e-10)
        leaves, weights = [x, *layer.parameters()], torch.randn(2, 4).double()
        gradients = torch.autograd.grad((ours * weights).sum(), leaves)
        expected_gradients = torch.autograd.grad((expected * weights).sum(), leaves)
        assert_close(gradients, expected_gradients, rtol=0, atol=1e-10)


def test_any_number_of_frames_gives_scores_that_do_not_depend_on_the_batch() -> None:
    torch.manual_seed(0)
    model = ConvLSTMClassifier((3, 8, 12), 5, width=4, features=6)
    for frames in (1, 2, 21):
        clip = torch.rand(3, frames, 3, 8, 12)
        with torch.no_grad():
            scores = model(clip)
            assert scores.shape == (3, 5)
            assert_close(scores[1:2], model(clip[1:2]))


def test_the_first_frame_and_every_parameter_take_part() -> None:
    torch.manual_seed(0)
    model = ConvLSTMClassifier((1, 8, 12), 3, width=4, features=6)
    clip = torch.rand(2, 5, 1, 8, 12).requires_grad_()
    model.training_loss(clip, torch.tensor([0, 2])).backward()
    assert clip.grad is not None
    assert bool(clip.grad[:, 0].any())
    assert all(p.grad is not None and bool(p.grad.any()) for p in model.parameters())


def test_four_clips_of_four_classes_are_learnt_by_heart_within_200_steps() -> None:
    """Squares that move right, left, down or up: the still frames alone do not tell them apart."""
    torch.manual_seed(0)
    model = ConvLSTMClassifier((1, 16, 16), 4, width=8, features=16)
    clip, labels = torch.zeros(4, 4, 1, 16, 16), torch.arange(4)
    for t in range(4):
        there, back = slice(2 * t + 2, 2 * t + 6), slice(8 - 2 * t, 12 - 2 * t)
        clip[0, t, 0, 6:10, there] = clip[1, t, 0, 6:10, back] = 1
        clip[2, t, 0, there, 6:10] = clip[3, t, 0, back, 6:10] = 1
    optimizer = torch.optim.Adam(model.parameters(), 1e-2, fused=True)
    first = model.training_loss(clip, labels).item()
    for _ in range(200):
        optimizer.zero_grad()
        loss = model.training_loss(clip, labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if loss.item() < first / 20:
            break
    assert loss.item() < first / 20
    assert torch.equal(model(clip).argmax(1), labels)
