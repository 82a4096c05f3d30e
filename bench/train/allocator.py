"""What becomes of the memory that a training step frees: the process keeps it for the next one.

glibc gives large blocks back to the kernel as they are freed, and the next step waits for every
page of them again: tens of thousands of page faults a step, each of which clears 4 KiB. The next
step needs the same blocks, so that what is kept adds nothing to the peak but a few per cent.
"""

from __future__ import annotations

import ctypes
import os
import platform
from functools import cache

# Parameters of mallopt, from glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4

DEFAULT = "default"
KEPT = "keeps freed memory"


@cache
def keep_freed_memory() -> str:
    """`KEPT`: this process gives no memory back to the kernel until it ends.

    `DEFAULT` where its C library is not glibc. Where the user's environment sets the allocator, the
    names of those variables: nothing is changed then.
    """
    if theirs := _set_by_the_user():
        return f"set by {', '.join(theirs)}"
    if platform.libc_ver()[0] != "glibc":
        return DEFAULT
    mallopt = ctypes.CDLL(None).mallopt
    # All blocks lie in the heap, and its free end is never cut off.
    return KEPT if mallopt(_MMAP_MAX, 0) and mallopt(_TRIM_THRESHOLD, -1) else DEFAULT


def _set_by_the_user() -> list[str]:
    """The variables that set glibc's allocator or put another in its place."""
    return sorted(
        name
        for name, value in os.environ.items()
        if name.startswith("MALLOC_")
        or (name in ("GLIBC_TUNABLES", "LD_PRELOAD") and "malloc" in value)
    )
