"""The harness: trains every model x data set pair under one budget and compares them."""

__version__ = "0.1.0"

PACKAGE = __name__.partition(".")[0]
"""What Python is to run as this program: `nextframe`, or `bench` where it has its plain name."""
PROGRAM = "python -m bench" if PACKAGE == "bench" else "nextframe"
"""How a command line begins."""


def as_started(text: str) -> str:
    """`text` of a data set, whose command lines begin as this program's do."""
    return text.replace("python -m bench", PROGRAM)
