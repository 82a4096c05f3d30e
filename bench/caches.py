"""The folder of what is computed once and kept between processes; a home may be shared."""

from __future__ import annotations

import os
from pathlib import Path


def folder(kind: str) -> Path:
    """The folder of the kept things of one `kind`; where there is no home, below this folder."""
    caches = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111
    return Path(caches, "nextframe", kind)
