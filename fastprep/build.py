"""python -m fastprep.build: a folder of images -> train.h5, val.h5 and test.h5, with the mean inside."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import tyro
from tyro.conf import FlagCreatePairsOff

from fastprep.building.config import WORK, Config
from fastprep.building.run import run, warn
from fastprep.errors import DataError, InputError
from fastprep.system import as_by_ctrl_c, status_of


def main(argv: list[str] | None = None) -> int:
    """Run the command; return its exit status: 0, 2 for bad input, 130 when interrupted, 143 by SIGTERM, 129 by SIGHUP."""
    config = parse(sys.argv[1:] if argv is None else argv)
    with as_by_ctrl_c():
        try:
            run(config)
        except KeyboardInterrupt as interrupt:
            work = Path(config.out) / WORK
            left = f"what is done lies in {str(work)!r}; run it again to go on" if work.exists() else "nothing was written"
            with contextlib.suppress(OSError):  # the terminal may be gone
                print(f"\nfastprep.build: interrupted; {left}", file=sys.stderr)
            return status_of(interrupt)
        except (InputError, DataError, OSError) as error:
            warn(" ".join(str(error).split()))
            return 2
    return 0


def parse(argv: list[str]) -> Config:
    """Read the command line."""
    return tyro.cli(FlagCreatePairsOff[Config], args=argv, prog="python -m fastprep.build")


if __name__ == "__main__":
    sys.exit(main())
