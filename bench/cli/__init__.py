"""The verbs and their flags; each verb imports its implementation when it runs."""

from __future__ import annotations

import sys
from typing import get_args

import tyro

from bench import PROGRAM
from bench.cli.data import Data
from bench.cli.look import Check, Ls, Speed
from bench.cli.mistakes import said_in_one_line
from bench.cli.options import OF_SEVERAL
from bench.cli.results import Cite, Diff, Predict, Report, Verify
from bench.cli.run import Cell, Rescore, Run, Tune
from bench.cli.store import Clean, Push, Ui
from bench.errors import UserError

Verb = (
    Run
    | Tune
    | Rescore
    | Clean
    | Push
    | Cell
    | Report
    | Cite
    | Ls
    | Check
    | Speed
    | Data
    | Predict
    | Verify
    | Diff
    | Ui
)


FIRST_STEPS = """\
nextframe, a benchmark harness for video prediction

  python -m bench run --suite quick   a first report, within three minutes
  python -m bench run --suite mnist   the main job
  python -m bench ls suites           what else there is; ls models, ls datasets
  python -m bench --help              every verb; VERB --help its options
"""


def main(arguments: list[str]) -> int:
    """Run the verb that `arguments` name, or say what to do first; its exit code.

    Raises:
        UserError: an argument is wrong.
    """
    if not arguments:
        sys.stdout.write(FIRST_STEPS)
        return 0
    _check_several(arguments)
    with said_in_one_line(arguments, get_args(Verb)):
        verb = tyro.cli(
            Verb,
            prog=PROGRAM,
            description="A benchmark harness for video prediction. (--debug shows tracebacks.)",
            args=arguments,
            config=(
                tyro.conf.OmitSubcommandPrefixes,
                tyro.conf.OmitArgPrefixes,
                tyro.conf.FlagCreatePairsOff,
            ),
        )
    return verb()


def _check_several(arguments: list[str]) -> None:
    """Raise UserError where a flag of several values is given twice, or without any.

    The parser takes the last, and for none what the suite says.
    """
    flags = [word.partition("=")[0].replace("_", "-") for word in arguments]
    for flag in OF_SEVERAL:
        if flags.count(flag) > 1:
            raise UserError(
                f"{flag} is given twice: give it once, with all that belongs to it: {flag} A B"
            )
        if flag in arguments:
            after = arguments[arguments.index(flag) + 1 :][:1]
            if not after or after[0].startswith("--"):
                raise UserError(f"{flag} names nothing: leave it out, or say what follows it")
