"""The folder of what is computed once on a machine and kept between processes."""

from __future__ import annotations

import os
from pathlib import Path


def folder(kind: str) -> Path:
    """The folder of the kept things of one `kind`; where there is no home, below this folder."""
    caches = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111
    return Path(caches, "nextframe", kind)
