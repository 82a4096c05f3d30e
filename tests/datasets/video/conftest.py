from pathlib import Path

import pytest


@pytest.fixture
def cache_home(empty_folder: Path) -> Path:
    """The folder in which caches are made, beside no shared data."""
    return empty_folder / "cache"
