"""Earthformer: its published counts, what its cuboids and global vectors see, and long horizons."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from models.earthformer import (
    CuboidAttention,
    Cuboids,
    Earthformer,
    attend_to_both,
    divide,
    rejoin,
)

SEVIR = {
    "stem": ((16, 3), (64, 2), (128, 2)),
    "depths": (1, 1),
    "vectors": 8,
    "positions": "t+h+w",
    "window_frames": 13,
    "predicted_frames": 12,
    "output_convolutions": 2,
}


CUBOIDS = [Cuboids((3, 1, 1)), Cuboids((1, 2, 3)), Cuboids((1, 2, 3), "grid")]


@pytest.mark.parametrize("cuboids", CUBOIDS)
def test_a_map_divided_and_rejoined_is_itself(cuboids: Cuboids) -> None:
    x = torch.rand(2, 3, 4, 6, 5)
    assert torch.equal(rejoin(divide(x, cuboids), (3, 4, 6), cuboids), x)


@pytest.mark.parametrize(
    ("cuboids", "frames", "rows", "columns"),
    [
        (CUBOIDS[0], [0, 1, 2], [1], [2]),
        (CUBOIDS[1], [1], [0, 1], [0, 1, 2]),
        (CUBOIDS[2], [1], [1, 3], [0, 2, 4]),
    ],
)
def test_a_token_sees_its_own_cuboid(
    cuboids: Cuboids, frames: list[int], rows: list[int], columns: list[int]
) -> None:
    torch.manual_seed(0)
    layer = CuboidAttention(8, (3, 4, 6), cuboids, 2, 0.0)
    x = torch.randn(1, 3, 4, 6, 8, requires_grad=True)
    y, _ = layer(x, None)
    (y[0, 1, 1, 2] * torch.randn(8)).sum().backward()
    assert x.grad is not None
    seen = (x.grad[0].abs().sum(-1) > 0).nonzero().tolist()
    assert seen == [[t, h, w] for t in frames for h in rows for w in columns]


def test_two_sets_share_one_softmax_with_a_query_for_each() -> None:
    torch.manual_seed(0)

    def heads(tokens: int) -> Tensor:
        return torch.randn(2, 2, tokens, 4).double()

    q, k, v, q_2, k_2, v_2 = heads(3), heads(5), heads(5), heads(3), heads(2), heads(2)
    bias = torch.randn(2, 3, 5).double()
    scores = torch.cat((q @ k.mT / 2 + bias, q_2 @ k_2.mT / 2), -1)
    expected = F.softmax(scores, -1) @ torch.cat((v, v_2), -2)
    torch.testing.assert_close(attend_to_both((q, k, v), (q_2, k_2, v_2), bias, 0.0), expected)


def test_global_vectors_carry_what_any_token_holds_to_the_next_layer() -> None:
    torch.manual_seed(0)
    first, second = (
        CuboidAttention(8, (2, 2, 2), Cuboids((2, 1, 1)), 2, 0.0, vectors=True, updates=updates)
        for updates in (True, False)
    )
    x = torch.randn(1, 2, 2, 2, 8, requires_grad=True)
    y, vectors = second(*first(x, torch.randn(1, 3, 8)))
    assert vectors is not None
    (y[0, 0, 0, 0] * torch.randn(8)).sum().backward()
    assert x.grad is not None
    assert bool((x.grad.abs().sum(-1) > 0).all())


def small(**options: object) -> Earthformer:
    torch.manual_seed(0)
    given = {"stem": ((8, 2),), "depths": (1, 1), "dropout": 0.0, **options}
    return Earthformer((1, 16, 16), **given)  # type: ignore[arg-type]


@pytest.mark.parametrize("pattern", ["axial", "divided", "local_global"])
@pytest.mark.parametrize("vectors", [0, 2])
def test_every_parameter_learns_whatever_the_pattern(pattern: str, vectors: int) -> None:
    model = small(pattern=pattern, vectors=vectors, window_frames=3, predicted_frames=2)
    (model(torch.rand(2, 3, 1, 16, 16), 2) * torch.randn(2, 2, 1, 16, 16)).sum().backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_a_long_horizon_reads_its_own_predictions() -> None:
    model = small(window_frames=3, predicted_frames=2)
    context = torch.rand(2, 3, 1, 16, 16)
    with torch.no_grad():
        first = model.next_frames(context)
        second = model.next_frames(torch.cat((context[:, 2:], first), 1))
        torch.testing.assert_close(model(context, 3), torch.cat((first, second[:, :1]), 1))


def test_norms_and_biases_do_not_decay() -> None:
    model = small()
    decayed, others = model.parameter_groups(model.sizes["published"].recipe)
    ids = {id(parameter) for parameter in others["params"]}
    assert others["weight_decay"] == 0
    assert len(ids) + len(decayed["params"]) == len([*model.parameters()])
    names = {name for name, parameter in model.named_parameters() if id(parameter) in ids}
    assert {"encoder.0.0.attentions.0.norm.weight", "start.bias"} <= names
    assert not {"start.weight", "past.tables.0"} & names


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pattern": "radial"}, "axial or divided"),
        ({"positions": "none"}, r"t\+hw or t\+h\+w"),
        ({"stem": ((6, 2),)}, "multiples of 4"),
    ],
)
def test_unknown_words_and_odd_channels_are_refused(
    options: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        small(**options)


def test_four_sequences_are_learnt_by_heart(learns_by_heart: Callable[..., None]) -> None:
    torch.manual_seed(0)
    learns_by_heart(
        Earthformer(
            (1, 32, 32),
            stem=((8, 2), (16, 2)),
            depths=(1, 1),
            dropout=0.0,
            window_frames=2,
            predicted_frames=3,
        )
    )
