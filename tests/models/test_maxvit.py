"""MaxViT: its blocks against their definitions, and frames beyond those of one pass."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from models.layers.window_partition import Partition
from models.maxvit import MaxViT, MBConv, PartitionAttention
from tests.models.windows import MAP_SHAPE, WINDOW, members


@pytest.mark.parametrize(("inputs", "outputs", "stride"), [(8, 8, 1), (8, 12, 1), (8, 16, 2)])
def test_block_is_a_pre_norm_bottleneck_beside_a_shortcut(
    inputs: int, outputs: int, stride: int
) -> None:
    torch.manual_seed(0)
    block = MBConv(inputs, outputs, stride).double().eval()
    x = torch.randn(2, inputs, 6, 8).double()
    norm, expand, norm2, _, depthwise, norm3, _, excite, project = block.branch

    inner = F.conv2d(norm(x), expand.weight)
    assert inner.shape[1] == 4 * outputs
    inner = F.gelu(norm2(inner), approximate="tanh")
    # TensorFlow's "same": a stride of 2 pads below and to the right alone.
    inner = F.pad(inner, (0, 1, 0, 1) if stride == 2 else (1, 1, 1, 1))
    inner = torch.cat(  # each channel by itself
        [
            F.conv2d(inner[:, [c]], depthwise.weight[[c]], stride=stride)
            for c in range(inner.shape[1])
        ],
        1,
    )
    inner = F.gelu(norm3(inner), approximate="tanh")
    squeezed = F.silu(excite.squeeze(F.adaptive_avg_pool2d(inner, 1)))
    assert squeezed.shape[1] == outputs // 4
    branch = project(inner * torch.sigmoid(excite.excite(squeezed)))

    shortcut = F.avg_pool2d(x, stride) if stride > 1 else x
    if inputs != outputs:
        shortcut = F.conv2d(shortcut, block.shortcut[-1].weight, block.shortcut[-1].bias)
    assert block(x).shape == (2, outputs, 6 // stride, 8 // stride)
    torch.testing.assert_close(block(x), shortcut + branch, rtol=0, atol=1e-10)


@pytest.mark.parametrize("partition", ["block", "grid"])
def test_layer_is_attention_among_the_members_of_each_window(partition: Partition) -> None:
    torch.manual_seed(0)
    layer = PartitionAttention(8, MAP_SHAPE, WINDOW, partition, head_width=4).double()
    torch.nn.init.normal_(layer.position_bias)
    x = torch.randn(2, *MAP_SHAPE, 8).double().requires_grad_()

    query, key, value = layer.query_key_value(layer.norm(x)).split(8, -1)
    bias = layer.position_bias.view(layer.heads, 2 * WINDOW[0] - 1, 2 * WINDOW[1] - 1)
    # A grid window's positions stand apart: offsets between them count in whole strides.
    strides = (
        (1, 1) if partition == "block" else (MAP_SHAPE[0] // WINDOW[0], MAP_SHAPE[1] // WINDOW[1])
    )
    mixed = []
    for y in range(MAP_SHAPE[0]):
        for u in range(MAP_SHAPE[1]):
            window_of = members(y, u, partition)
            for head in (slice(0, 4), slice(4, 8)):
                scores = torch.stack(
                    [
                        (query[:, y, u, head] * key[:, v, w, head]).sum(-1) / math.sqrt(4)
                        + bias[
                            head.start // 4,
                            (y - v) // strides[0] + WINDOW[0] - 1,
                            (u - w) // strides[1] + WINDOW[1] - 1,
                        ]
                        for v, w in window_of
                    ],
                    -1,
                )
                values = torch.stack([value[:, v, w, head] for v, w in window_of], 1)
                mixed.append((scores.softmax(-1)[..., None] * values).sum(1))
    attended = torch.stack(mixed, 1).view(2, *MAP_SHAPE, 8)
    expected = x + layer.project(attended)
    expected = expected + layer.feed_forward(expected)

    result = layer(x)
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-10)
    weights = torch.randn_like(result)
    leaves = [x, *layer.parameters()]
    ours = torch.autograd.grad((result * weights).sum(), leaves)
    theirs = torch.autograd.grad((expected * weights).sum(), leaves)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)


def test_blocks_drop_more_the_deeper_they_lie_and_none_when_they_predict() -> None:
    torch.manual_seed(0)
    model = MaxViT(
        (1, 16, 16), stem=8, widths=(8, 16), depths=(1, 3), head=8, window_frames=2, drop_path=0.4
    )
    rates = [m.drop_path.rate for m in model.modules() if isinstance(m, MBConv)]
    assert rates == pytest.approx([0.0, 0.1, 0.2, 0.3])
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert {norm.eps for norm in norms} == {1e-3}
    context = torch.rand(4, 2, 1, 16, 16)
    with torch.no_grad():
        model.eval()
        torch.testing.assert_close(model(context, 2), model(context, 2), rtol=0, atol=0)


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
    assert [m.map_shape for m in attention] == [(16, 16)] * 4 + [(8, 8)] * 4 + [(4, 4)] * 10 + [
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


def test_before_a_short_context_its_first_frame_is_repeated(model: MaxViT) -> None:
    context = torch.rand(2, 2, 1, 16, 16)
    padded = torch.cat((context[:, :1], context[:, :1], context), 1)
    with torch.no_grad():
        torch.testing.assert_close(model(context, 4), model.next_window(padded))


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
