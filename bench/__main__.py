"""`python -m bench`: runs a verb and reports a user's error in one line."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from bench.errors import UserError

EXIT_USAGE = 2


def main() -> None:
    """Run the verb on the command line and exit with its code."""
    arguments = sys.argv[1:]
    debug = "--debug" in arguments
    if sys.stdout is None:  # closed by who started us
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115  until we end
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # no locale's lack of a letter ends a verb
            stream.reconfigure(errors="backslashreplace")
    try:
        from bench import cli  # takes a while, in which Ctrl-C may come

        code = cli.main([word for word in arguments if word != "--debug"])
    except UserError as error:
        if debug:
            raise
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        code = EXIT_USAGE
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:  # the reader of our output has gone, as `head` does
        sys.stderr.close()
        code = 0
    sys.exit(code)


if __name__ == "__main__":
    main()
