"""python -m fastprep.build: turn a folder of images into train.h5, val.h5 and test.h5."""

from __future__ import annotations

import sys
from pathlib import Path

from fastprep.building.config import WORK, Config
from fastprep.building.run import run
from fastprep.cli.command import Command, parse_command_line


def main(argv: list[str] | None = None) -> int:
    """Run the command, and return its exit status; see `fastprep.cli.command.Command.run`."""
    config = parse(argv)
    return Command("fastprep.build", interrupted=lambda: _interrupted(config)).run(lambda: run(config))


def parse(argv: list[str] | None) -> Config:
    """Read the command line."""
    return parse_command_line(Config, argv, "build")


def _interrupted(config: Config) -> str:
    work = Path(config.out) / WORK
    if not work.exists():
        return "interrupted; nothing was written"
    return f"interrupted; what is done lies in {str(work)!r}; run it again to go on"


if __name__ == "__main__":
    sys.exit(main())
