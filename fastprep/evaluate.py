"""python -m fastprep.evaluate: how good one or several trained networks are, by centre crop and by ten-crop."""

from __future__ import annotations

import contextlib
import sys

import tyro
from tyro.conf import FlagCreatePairsOff

from fastprep.errors import DataError, InputError, input_errors
from fastprep.evaluation.config import Config
from fastprep.evaluation.run import run
from fastprep.system import as_by_ctrl_c, status_of


def main(argv: list[str] | None = None) -> int:
    """Run the command; return its exit status: 0, 2 for bad input, 130 when interrupted, 143 by SIGTERM, 129 by SIGHUP."""
    config = parse(sys.argv[1:] if argv is None else argv)
    with as_by_ctrl_c():
        try:
            with input_errors(DataError, ValueError, OSError):
                run(config)
        except KeyboardInterrupt as interrupt:
            with contextlib.suppress(OSError):  # the terminal may be gone
                print("\nfastprep.evaluate: interrupted; nothing was written", file=sys.stderr)
            return status_of(interrupt)
        except InputError as error:
            print(f"fastprep.evaluate: {error}", file=sys.stderr)
            return 2
    return 0


def parse(argv: list[str]) -> Config:
    """Read the command line."""
    return tyro.cli(FlagCreatePairsOff[Config], args=argv, prog="python -m fastprep.evaluate")


if __name__ == "__main__":
    sys.exit(main())
