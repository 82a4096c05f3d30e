"""Training steps of the catalogue's models on fake CUDA: told as JSON, or written as a table.

`python -m tests.fake_cuda` tells for every trained model at its small size what a step launches and
what is wrong with it; `--write` counts the published sizes too, which takes ten minutes, and writes
`results/reference/kernels.md`.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict

from bench import garbage
from tests.fake_cuda import guard


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fake_cuda", description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the table of kernels")
    parser.add_argument("models", nargs="*", help="only these; all by default")
    arguments = parser.parse_args()
    if why := guard.missing():
        sys.exit(f"error: {why}")
    garbage.look_seldom()
    guard.load()
    # They import torch, which looks for CUDA once.
    from tests.fake_cuda import sizes

    if arguments.write:
        sizes.write()
    else:
        steps = sizes.checked(arguments.models)
        print(json.dumps({name: [asdict(step) for step in each] for name, each in steps.items()}))  # noqa: T201


if __name__ == "__main__":
    main()
