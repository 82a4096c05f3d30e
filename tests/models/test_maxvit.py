from __future__ import annotations

import pytest
import torch

from models.layers.partition_attention import PartitionAttention
from models.maxvit import MaxViT


@pytest.fixture(scope="module")
def model() -> MaxViT:
    torch.manual_seed(0)
    return MaxViT(
        (1, 16, 16), stem=8, widths=(8, 16), depths=(1, 2), head=8, window_frames=4
    ).eval()


def test_each_stage_halves_the_map_and_holds_block_then_grid_attention() -> None:
    with torch.device("meta"):
        model = MaxViT((1, 64, 64))
    attention = [m for m in model.modules() if isinstance(m, PartitionAttention)]
    assert [m.partition for m in attention] == ["block", "grid"] * (2 + 2 + 5 + 2)
    assert [m.size for m in attention] == [(16, 16)] * 4 + [(8, 8)] * 4 + [(4, 4)] * 10 + [
        (2, 2)
    ] * 4
    maps = [model.stem(torch.empty(1, 10, 64, 64, device="meta"))]
    for stage in model.stages:
        maps.append(stage(maps[-1]))
    shapes = [(64, 32), (64, 16), (128, 8), (256, 4), (512, 2)]
    assert [tuple(m.shape[1:3]) for m in maps] == shapes


def test_published_size_has_the_parameters_of_maxvit_t_and_a_decoder() -> None:
    with torch.device("meta"):
        model = MaxViT((1, 64, 64), **MaxViT.sizes["published"].options)
    count = sum(p.numel() for part in (model.stem, model.stages) for p in part.parameters())
    assert count / 1e6 == pytest.approx(30.4, abs=0.3)  # 31 M with the classifier it lacks here


def test_a_short_context_is_led_in_by_its_first_frame(model: MaxViT) -> None:
    context = torch.rand(2, 2, 1, 16, 16)
    led_in = torch.cat((context[:, :1], context[:, :1], context), 1)
    with torch.no_grad():
        torch.testing.assert_close(model(context, 4), model.next_window(led_in))


def test_a_long_context_ends_in_the_frames_that_are_read(model: MaxViT) -> None:
    context = torch.rand(2, 7, 1, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(model(context, 4), model.next_window(context[:, 3:]))


def test_a_long_horizon_reads_its_own_predictions(model: MaxViT) -> None:
    context = torch.rand(2, 4, 1, 16, 16)
    with torch.no_grad():
        first = model.next_window(context)
        second = model.next_window(first)
        expected = torch.cat((first, second[:, :2]), 1)
        torch.testing.assert_close(model(context, 6), expected)


def test_every_pixel_of_the_context_can_move_every_predicted_pixel() -> None:
    torch.manual_seed(0)
    model = MaxViT((1, 32, 32), stem=8, widths=(8, 16), depths=(1, 1), head=8).eval()
    context = torch.rand(1, 10, 1, 32, 32).requires_grad_()
    model(context, 1)[0, 0, 0, 0, 0].backward()
    assert context.grad is not None
    assert bool((context.grad != 0).all())


def test_frames_that_cannot_be_halved_are_refused() -> None:
    with pytest.raises(ValueError, match=r"multiples of 32 .* not 48 x 64"):
        MaxViT((1, 48, 64))


def test_no_weight_depends_on_its_memory_layout(model: MaxViT) -> None:
    assert all(p.is_contiguous() for p in model.parameters())
