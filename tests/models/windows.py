"""The windows of a small map, straight from the definitions of the papers."""

from models.layers.window_partition import Partition

MAP_SHAPE, WINDOW = (6, 8), (3, 2)


def members(y: int, x: int, partition: Partition) -> list[tuple[int, int]]:
    """The positions that (y, x) shares a window with, straight from the paper's definitions."""
    (height, width), (p, q) = MAP_SHAPE, WINDOW
    positions = [(v, u) for v in range(height) for u in range(width)]
    if partition == "block":
        return [(v, u) for v, u in positions if (v // p, u // q) == (y // p, x // q)]
    rows, columns = height // p, width // q
    return [(v, u) for v, u in positions if (v % rows, u % columns) == (y % rows, x % columns)]
