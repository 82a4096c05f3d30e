"""How often Python looks for garbage: seldom in a short verb, as usual where a model trains.

Imports make half a million objects that stay to the end. To look through them time and again, and
once more at the exit, takes a third of the CPU time of a short verb.
"""

from __future__ import annotations

import atexit
import gc

_USUAL = gc.get_threshold()
_SELDOM = (100_000, 50, 100)  # new objects, young collections, middle ones


def look_seldom() -> None:
    """From now on look once in 100,000 new objects, and at the exit of the process not at all."""
    gc.set_threshold(*_SELDOM)
    atexit.register(gc.freeze)


def look_as_usual() -> None:
    """From now on look as often as Python does, so that memory that is measured is not larger."""
    gc.set_threshold(*_USUAL)
