"""Videos, decoded once into a memory-mapped cache that clips are drawn from."""
