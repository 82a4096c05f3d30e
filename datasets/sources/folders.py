"""Where data and weights are: `$NEXTFRAME_DATA`, else `data/` here, and `shared/data` beside it."""

from __future__ import annotations

import os
from pathlib import Path


def data_folder() -> Path:
    """The folder that downloads and caches are written to."""
    return Path(os.environ.get("NEXTFRAME_DATA") or "data").absolute()


def find(*names: str) -> Path | None:
    """The first of `names` that exists in the data folder or one shared by sibling checkouts."""
    for folder in (data_folder(), Path("..", "shared", "data").absolute()):
        for name in names:
            if os.access(folder / name, os.F_OK):  # False, too, without permission
                return folder / name
    return None
