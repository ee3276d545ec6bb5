"""python -m fastprep.train: train AlexNet on pictures in HDF5 files, or on the demo's."""

from __future__ import annotations

import contextlib
import glob
import os
import sys

import tyro

from fastprep import demo
from fastprep.interrupt import as_by_ctrl_c, status_of
from fastprep.training import INTERRUPTED, Config, InputError, check, run


def main(argv: list[str] | None = None) -> int:
    """Run the command; return its exit status: 0, 2 for bad input, 130 when interrupted, 143 by SIGTERM, 129 by SIGHUP."""
    argv = sys.argv[1:] if argv is None else argv
    _quiet_tensorflow()
    with as_by_ctrl_c():
        try:
            config = parse(argv)
            check(config)
            if config.demo:
                demo.run(config)
            else:
                result = run(config)
                right = f"{result.best_accuracy:.2%} of the validation pictures right"
                print(f"best epoch {result.best_epoch}: {right}; all in {result.folder}")
        except KeyboardInterrupt as interrupt:
            with contextlib.suppress(OSError):  # the terminal may be gone
                print(f"\n{INTERRUPTED}", file=sys.stderr)
            return status_of(interrupt)
        except InputError as error:
            print(f"fastprep.train: {error}", file=sys.stderr)
            return 2
    return 0


def parse(argv: list[str]) -> Config:
    """Read the command line; the demo has defaults of its own."""
    defaults = demo.defaults(Config(), full="--full" in argv) if "--demo" in argv else Config()
    return tyro.cli(Config, args=argv, default=defaults, prog="python -m fastprep.train")


def _quiet_tensorflow() -> None:
    # 3 also hides the error about a CUDA driver that a machine without a GPU does not have
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2" if glob.glob("/dev/nvidia*") else "3")


if __name__ == "__main__":
    sys.exit(main())
