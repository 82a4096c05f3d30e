"""The verb data, and its own verbs."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from bench.cli.options import UserPath, unset


@dataclass(frozen=True)
class DataPrepare:
    """Decode the files of a data set, once; goes on where it was interrupted."""

    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME")]
    """Its name, with options, or path/to/file.py:Class."""
    source: Annotated[UserPath | None, unset("PATH")] = None
    """Folder that holds its files (default: looked for in the data folder)."""
    workers: Annotated[int | None, unset("N")] = None
    """Processes that decode (default: one a CPU)."""
    max_damaged: Annotated[float, tyro.conf.arg(metavar="SHARE")] = 0.05
    """Share of the files that may be damaged; these are left out and named."""

    def __call__(self) -> int:
        """Make the cache."""
        from bench.data import prepare

        return prepare.prepare_data(self.name, self.source, self.workers, self.max_damaged)


@dataclass(frozen=True)
class DataStatus:
    """List the data sets and which are prepared."""

    name: Annotated[str | None, tyro.conf.Positional, unset("[NAME]")] = None
    """Only this one, with options (default: all)."""
    format: Literal["table", "json", "csv"] = "table"

    def __call__(self) -> int:
        """Print the list."""
        from bench.console import waiting

        with waiting("looking at the data"):
            from bench.data import status

            found = status.found(self.name)
        return status.show(found, self.format)


@dataclass(frozen=True)
class DataVerify:
    """Check that every frame of a prepared data set is as it was prepared."""

    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME")]
    """Its name, with options, or path/to/file.py:Class."""

    def __call__(self) -> int:
        """Print the outcome."""
        from bench.console import waiting

        with waiting("starting"):
            from bench.data import verify
        return verify.verify(self.name)


@dataclass(frozen=True)
class DataShow:
    """Draw some clips of a data set: a contact sheet (PNG) and an animation (GIF)."""

    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME")]
    """Its name, with options, or path/to/file.py:Class."""
    out: Annotated[UserPath | None, unset("PATH")] = None
    """Folder to write to (default: results/data/NAME)."""
    split: Literal["train", "validation", "test"] = "train"
    """Where the clips are from; those to train on are drawn with seed 0."""
    clips: Annotated[int, tyro.conf.arg(metavar="N")] = 4
    """How many."""

    def __call__(self) -> int:
        """Write the pictures and print where they are."""
        from bench.console import waiting

        with waiting(f"drawing clips of {self.name}"):
            from bench.data import show

            pictures = show.draw(self.name, self.out, self.split, self.clips)
        sys.stdout.writelines(f"{picture}\n" for picture in pictures)
        return 0


@dataclass(frozen=True)
class Data:
    """Prepare data sets, list their state, check one, draw clips of one."""

    verb: (
        Annotated[DataPrepare, tyro.conf.subcommand("prepare")]
        | Annotated[DataStatus, tyro.conf.subcommand("status")]
        | Annotated[DataVerify, tyro.conf.subcommand("verify")]
        | Annotated[DataShow, tyro.conf.subcommand("show")]
    )

    def __call__(self) -> int:
        """Run the chosen verb."""
        return self.verb()
