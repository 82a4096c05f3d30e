"""AlexNet's features: by matrix products as by PyTorch's convolutions, without any weights."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.score.alexnet import Layers, Products, Weights
from bench.score.winograd import Convolution


def random_weights() -> Weights:
    """Of few channels, as large as keeps the features' size from layer to layer."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(6, 3, 11, 11), (5, 6, 5, 5), (7, 5, 3, 3), (4, 7, 3, 3), (3, 4, 3, 3)]
    filters = [torch.randn(shape, generator=generator) for shape in shapes]
    return [(f * (2 / f[0].numel()) ** 0.5, f.flatten(1)[:, 0] / 10) for f in filters]


@pytest.mark.parametrize("shape", [(1, 64, 64), (3, 31, 31), (1, 40, 133), (3, 97, 128)])
@pytest.mark.parametrize(("slope", "offset"), [(2, -1), (1, 0)])
def test_products_equal_the_layers(
    shape: tuple[int, int, int], slope: float, offset: float
) -> None:
    frames = torch.rand(5, *shape, generator=torch.Generator().manual_seed(1))
    weights = random_weights()
    ways = [[*way(weights)(frames, slope, offset)] for way in (Products, Layers)]
    assert len(ways[0]) == 5
    for ours, expected in zip(*ways, strict=True):
        largest = float(expected.max())
        assert largest > 0.1
        torch.testing.assert_close(ours, expected, rtol=0, atol=1e-5 * largest)


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 20),
    st.integers(1, 20),
    st.integers(1, 3),
    st.integers(1, 4),
    st.sampled_from([3, 5]),
)
def test_a_winograd_convolution_is_one(
    height: int, width: int, count: int, channels: int, kernel: int
) -> None:
    generator = torch.Generator().manual_seed(height)
    maps = torch.randn(count, channels, height, width, generator=generator)
    weight = torch.randn(4, channels, kernel, kernel, generator=generator)
    bias = torch.randn(4, generator=generator)
    expected = F.conv2d(maps.double(), weight.double(), bias.double(), padding=kernel // 2)
    found = Convolution(weight, bias)(maps.permute(2, 3, 0, 1)).permute(2, 3, 0, 1)
    tolerance = 1e-5 * float(expected.abs().max())
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=tolerance)
