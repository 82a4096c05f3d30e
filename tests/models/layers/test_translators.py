"""The translators' blocks against their definitions."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.layers.self_attention import SelfAttention
from models.layers.translators import BLOCKS, IncepU, Place
from models.layers.translators.convmixer import ConvMixerBlock
from models.layers.translators.gsta import GSTABlock
from models.layers.translators.hornet import RecursiveGatedConvolution
from models.layers.translators.incepu import Inception
from models.layers.translators.mlpmixer import PositionMixer
from models.layers.translators.moganet import ChannelAggregation, GatedAggregation
from models.layers.translators.poolformer import PoolingMixer
from models.layers.translators.swin import ShiftedWindows
from models.layers.translators.tau import TemporalGate
from models.layers.translators.uniformer import GlobalBlock, LocalBlock
from models.layers.translators.van import GatedAttention, LargeKernelGate
from models.layers.translators.vit import HEADS


def place(
    width: int = 16,
    map_shape: tuple[int, int] = (8, 8),
    number: int = 0,
    *,
    changes_width: bool = False,
) -> Place:
    return Place(width, map_shape, 0.0, number, changes_width)


def test_gsta_is_gated_attention_then_a_feed_forward_layer_each_scaled() -> None:
    torch.manual_seed(0)
    block = GSTABlock(place()).double().eval()
    x = torch.randn(2, 16, 8, 8).double()
    attention = block[0].branch[1]
    enter, _, gate, leave = attention.layers
    near, far, mix = gate.kernel
    normed = block[0].branch[0](x)
    y = F.gelu(F.conv2d(normed, enter.weight))
    y = F.conv2d(y, near.weight, padding=2, groups=16)
    y = F.conv2d(y, far.weight, padding=9, dilation=3, groups=16)
    y = F.conv2d(y, mix.weight)
    y = F.conv2d(y[:, :16] * y[:, 16:].sigmoid(), leave.weight)
    middle = x + 0.01 * (normed + y)
    enter, deep, _, leave = block[1].branch[1]
    y = F.conv2d(block[1].branch[0](middle), enter.weight)
    y = F.gelu(F.conv2d(y, deep.weight, padding=1, groups=128))
    expected = middle + 0.01 * F.conv2d(y, leave.weight)
    torch.testing.assert_close(block(x), expected)


def test_taus_gates_are_of_channels_and_of_positions() -> None:
    torch.manual_seed(0)
    gate = TemporalGate(128).double()
    squeeze, _, widen, _ = gate.channels
    assert squeeze.weight.shape == (16, 128)
    x = torch.randn(2, 128, 8, 8).double()
    channels = (x.mean((2, 3)) @ squeeze.weight.T).relu() @ widen.weight.T
    expected = channels.sigmoid()[:, :, None, None] * gate.kernel(x) * x
    torch.testing.assert_close(gate(x), expected)


def test_inception_is_the_sum_of_four_kernels_in_eight_groups() -> None:
    torch.manual_seed(0)
    module = Inception(8, 16, 24).double()
    x = torch.randn(2, 8, 9, 9).double()
    squeezed, expected = module.squeeze(x), torch.zeros(2, 24, 9, 9).double()
    for kernel, (conv, norm, _) in zip((3, 5, 7, 11), module.branches, strict=True):
        assert conv.weight.shape == (24, 2, kernel, kernel)
        y = F.conv2d(squeezed, conv.weight, conv.bias, padding=kernel // 2, groups=8)
        expected += F.leaky_relu(F.group_norm(y, 8, norm.weight, norm.bias), 0.2)
    torch.testing.assert_close(module(x), expected)


def test_incepu_hands_its_maps_across_deepest_first() -> None:
    torch.manual_seed(0)
    module = IncepU(8, 16, 3)
    x = torch.randn(1, 8, 4, 4)
    a = module.down[0](x)
    b = module.down[1](a)
    y = module.up[1](torch.cat((module.up[0](module.down[2](b)), b), 1))
    torch.testing.assert_close(module(x), module.up[2](torch.cat((y, a), 1)))


def test_blocks_start_as_the_authors_start_them() -> None:
    torch.manual_seed(0)
    gsta, tau = BLOCKS["gsta"](place(64)), BLOCKS["tau"](place(64))

    def enter(block: nn.Module) -> Tensor:
        (attention,) = (m for m in block.modules() if isinstance(m, GatedAttention))
        weight: Tensor = attention.layers[0].weight
        return weight

    assert float(enter(gsta).detach().std()) == pytest.approx((2 / 64) ** 0.5, rel=0.05)
    assert float(enter(tau).detach().abs().max()) <= 64**-0.5  # PyTorch's own
    assert not any(m.bias.any() for m in gsta.modules() if isinstance(m, nn.Conv2d))


def test_vans_large_kernel_reaches_eleven_positions_and_scales_its_input() -> None:
    torch.manual_seed(0)
    gate = LargeKernelGate(2).double()
    x = torch.randn(1, 2, 25, 25).double().requires_grad_()
    (seen,) = torch.autograd.grad(gate.kernel(x)[0, :, 12, 12].sum(), x)
    reached = torch.zeros(25, 25, dtype=torch.bool)
    reached[1:24, 1:24] = True
    assert torch.equal(seen[0].abs().sum(0) > 0, reached)
    torch.testing.assert_close(gate(x), x * gate.kernel(x))


def test_hornet_multiplies_channels_order_by_order() -> None:
    torch.manual_seed(0)
    module = RecursiveGatedConvolution(16).double()
    x = torch.randn(2, 16, 8, 8).double()
    entered = module.enter(x)
    spread = F.conv2d(
        entered[:, 2:], module.spread.weight, module.spread.bias, padding=3, groups=30
    )
    y = entered[:, :2] * spread[:, :2]
    for widen, (start, end) in zip(module.widen, ((2, 6), (6, 14), (14, 30)), strict=True):
        y = widen(y) * spread[:, start:end]
    torch.testing.assert_close(module(x), module.leave(y))


def test_moganet_gates_contexts_of_three_sizes_of_details() -> None:
    torch.manual_seed(0)
    module = GatedAggregation(16).double()
    nn.init.normal_(module.detail)
    x = torch.randn(2, 16, 8, 8).double()
    y = module.enter(x)
    y = F.silu(y + module.detail * (y - y.mean((2, 3), keepdim=True)))
    near = F.conv2d(y, module.context.near.weight, module.context.near.bias, padding=2, groups=16)
    middle, far = module.context.middle, module.context.far
    contexts = (
        near[:, :2],
        F.conv2d(near[:, 2:8], middle.weight, middle.bias, padding=4, dilation=2, groups=6),
        F.conv2d(near[:, 8:], far.weight, far.bias, padding=9, dilation=3, groups=8),
    )
    context = module.context.mix(torch.cat(contexts, 1))
    expected = x + module.leave(F.silu(module.gate(y)) * F.silu(context))
    torch.testing.assert_close(module(x), expected)


def test_moganets_channels_are_set_off_from_their_common_map() -> None:
    torch.manual_seed(0)
    module = ChannelAggregation(8).double()
    nn.init.normal_(module.own)
    x = torch.randn(2, 8, 6, 6).double()
    inner = module.enter(x)
    assert inner.shape[1] == 64
    common = F.gelu(module.common[0](inner))
    assert common.shape[1] == 1
    torch.testing.assert_close(module(x), module.leave(inner + module.own * (inner - common)))


def test_convmixer_has_a_shortcut_beside_its_depthwise_convolution_alone() -> None:
    torch.manual_seed(0)
    block = ConvMixerBlock(place()).double().eval()
    x = torch.randn(2, 16, 12, 12).double()
    spread, _, norm = block[0].branch
    assert spread.weight.shape == (16, 1, 11, 11)
    y = x + norm(F.gelu(F.conv2d(x, spread.weight, padding=5, groups=16)))
    torch.testing.assert_close(block(x), block[3](F.gelu(F.conv2d(y, block[1].weight))))


def test_pooling_averages_only_what_is_on_the_map() -> None:
    x = torch.arange(12.0).view(1, 1, 3, 4)
    expected = (0 + 1 + 4 + 5) / 4 - 0
    assert PoolingMixer()(x)[0, 0, 0, 0].item() == expected
    assert not PoolingMixer()(torch.ones(1, 2, 5, 5)).any()


def test_mlp_mixer_mixes_positions_alike_in_every_channel() -> None:
    torch.manual_seed(0)
    module = PositionMixer(place(16, (2, 3)))
    x = torch.randn(2, 2, 3, 16)
    assert module.layers[0].weight.shape == (8, 6)
    by_channel = [module.layers(x[..., c].flatten(1)).view(2, 2, 3) for c in range(16)]
    torch.testing.assert_close(module(x), torch.stack(by_channel, -1))


def test_attention_is_among_all_positions_in_eight_heads() -> None:
    torch.manual_seed(0)
    module = SelfAttention(16, HEADS).double()
    x = torch.randn(2, 3, 4, 16).double()
    query, key, value = module.query_key_value(x.reshape(2, 12, 16)).split(16, -1)
    heads = []
    for head in range(8):
        part = slice(2 * head, 2 * head + 2)
        scores = query[..., part] @ key[..., part].transpose(1, 2) / 2**0.5
        heads.append(scores.softmax(-1) @ value[..., part])
    expected = module.project(torch.cat(heads, -1)).view(x.shape)
    torch.testing.assert_close(module(x), expected)


@pytest.mark.parametrize(
    ("map_shape", "window"),
    [((16, 16), (4, 4)), ((14, 14), (7, 7)), ((96, 64), (6, 8)), ((128, 128), (8, 8))],
)
def test_swins_windows_grow_with_the_map_and_shift_in_every_second_block(
    map_shape: tuple[int, int], window: tuple[int, int]
) -> None:
    even, odd = (ShiftedWindows(place(16, map_shape, number)).attention for number in (0, 1))
    assert even.window == odd.window == window
    assert (even.shift, odd.shift) == ((0, 0), (window[0] // 2, window[1] // 2))


def test_uniformer_is_local_first_and_where_channels_change() -> None:
    block = BLOCKS["uniformer"]
    assert isinstance(block(place(number=0)), LocalBlock)
    assert isinstance(block(place(number=1)), GlobalBlock)
    assert isinstance(block(place(number=7, changes_width=True)), LocalBlock)
