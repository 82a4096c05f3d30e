"""The verb `data verify`: whether all frames of a cache are those that were prepared."""

from __future__ import annotations

import shlex
import sys

from bench import PROGRAM, as_started
from bench.data.prepare import preparation_of, whole_there
from bench.errors import UserError
from datasets.video.cache import cache_folder


def verify(reference: str) -> int:
    """Exit code 0 where every frame is as it was prepared; says so. Reads all of the cache.

    Raises:
        UserError: a frame is not, with the names of its clips; or there is no cache, or none that
            can be checked.
    """
    preparation = preparation_of(reference)
    if preparation is None:
        raise UserError(f"{reference} has no cache: there is nothing to verify")
    folder = cache_folder(preparation)
    said = whole_there(preparation)
    if said is None:
        raise UserError(
            f"{reference} is not prepared here: run `{as_started(preparation.command)}`"
        )
    if not said.digests:
        raise UserError(
            f"the cache in {folder} is from before there were digests: add them by"
            f" `{PROGRAM} data prepare {shlex.quote(preparation.name)}`"
        )
    sys.stdout.write(
        f"{preparation.name}: all {said.frames:,} frames of {len(said.clips):,} clips are as they"
        f" were prepared: {folder}\n"
    )
    return 0
