import gc
import os
from collections.abc import Generator, Iterator
from functools import cache
from types import SimpleNamespace
from typing import NoReturn
from urllib.error import URLError

import pytest
from hypothesis import settings

# Tests run side by side, and so do their child processes: one thread each. Before torch's import.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# How long an example takes on a shared machine says nothing about the code.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None]:
    """Leaves modules and tests alone in the search for garbage: they stay, and are millions."""
    gc.disable()
    yield
    gc.freeze()
    gc.set_threshold(10_000)  # new objects; at 700 it takes a twentieth of the time
    gc.enable()


def _refuse(root: str, download: bool) -> NoReturn:
    raise URLError("tests download nothing")


@pytest.fixture(autouse=True)
def _denormals_are_numbers() -> Iterator[None]:
    """A cell has none in its process, which this one is in many tests; Hypothesis asks for them."""
    import torch

    torch.set_flush_denormal(False)
    yield
    torch.set_flush_denormal(False)


@pytest.fixture(scope="session", autouse=True)
def _no_data_downloads(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test downloads a data set; where MNIST is absent, a temporary folder has the substitute.

    So the processes that tests start try no download either, and the user's folder stays as it is.
    """
    # Not in the process that hands out the tests.
    from datasets.sources import digits, download
    from datasets.sources.folders import find

    offline = SimpleNamespace(
        datasets=SimpleNamespace(MNIST=_refuse, MovingMNIST=_refuse, FashionMNIST=_refuse)
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(download, "import_torchvision", lambda: offline)
        # A text file that takes seconds to parse.
        patch.setattr(digits, "mnist_data", cache(digits.mnist_data))
        if digits.load_official() is None:
            patch.setenv("NEXTFRAME_DATA", str(tmp_path_factory.mktemp("data")))
            digits.load()
        elif official := find("mnist", "MNIST"):  # tests go to other folders, and find it there
            patch.setenv("NEXTFRAME_DATA", str(official.resolve().parent))
        yield
