"""PredFormer: which tokens see each other, its published counts, and frames beyond one pass."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from models.predformer import GatedTransformer, PredFormer, sinusoids


@pytest.mark.parametrize("tokens", ["s", "t", "f"])
def test_a_transformer_mixes_the_tokens_that_its_letter_names(tokens: str) -> None:
    torch.manual_seed(0)
    block = GatedTransformer(tokens, 1, 8, 4, 2)
    x = torch.randn(2, 3, 4, 8).requires_grad_()
    (block(x)[0, 1, 2] * torch.randn(8)).sum().backward()
    assert x.grad is not None
    seen = x.grad.abs().sum(-1) > 0
    expected = torch.zeros(2, 3, 4, dtype=torch.bool)
    where: dict[str, tuple[slice | int, slice | int]] = {
        "s": (1, slice(None)),
        "t": (slice(None), 2),
        "f": (slice(None), slice(None)),
    }
    expected[(0, *where[tokens])] = True
    assert torch.equal(seen, expected)


def test_position_codes_are_sines_and_cosines_in_turn() -> None:
    codes = sinusoids(7, 4)
    angles = torch.tensor([5.0, 5.0 / 100])
    torch.testing.assert_close(codes[5, 0::2], angles.sin())
    torch.testing.assert_close(codes[5, 1::2], angles.cos())


def small(order: str = "tsst", dropout: float = 0.0) -> PredFormer:
    torch.manual_seed(0)
    return PredFormer(
        (1, 16, 16), order=order, repeats=1, width=16, head=8, window_frames=3, dropout=dropout
    )


def test_each_dropout_follows_what_the_authors_drop_in_training_alone() -> None:
    model, context = small(dropout=1.0), torch.rand(2, 3, 1, 16, 16)
    same = small()
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(context, 3), same.eval()(context, 3))
        layer = model.train().transformers[0].layers[0]  # type: ignore[index, union-attr]
        x = torch.randn(2, 5, 16)
        assert torch.equal(layer(x), x)  # nothing of either branch is left
        feed_forward = layer.feed_forward[1]
        feed_forward.project.bias.fill_(1.0)
        feed_forward.dropout.p = 0.5
        kept = feed_forward(x)
    assert 0.3 < float((kept == 0).float().mean()) < 0.7


def test_a_long_horizon_reads_its_own_predictions() -> None:
    model = small()
    context = torch.rand(2, 3, 1, 16, 16)
    with torch.no_grad():
        first = model.next_window(context)
        expected = torch.cat((first, model.next_window(first)[:, :1]), 1)
        torch.testing.assert_close(model(context, 4), expected)


@pytest.mark.parametrize("order", ["", "tsx"])
def test_an_unknown_order_is_refused(order: str) -> None:
    with pytest.raises(ValueError, match="letters of s, t and f"):
        small(order)


def test_heads_must_split_the_width() -> None:
    with pytest.raises(ValueError, match="multiple of head 32, not 40"):
        PredFormer((1, 16, 16), width=40)


def test_four_sequences_are_learnt_by_heart(learns_by_heart: Callable[..., None]) -> None:
    torch.manual_seed(0)
    learns_by_heart(PredFormer((1, 32, 32), repeats=1, width=64))
