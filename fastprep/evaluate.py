"""python -m fastprep.evaluate: test trained networks by centre crop and ten-crop, or only predict."""

from __future__ import annotations

import sys

from fastprep.cli.command import Command, parse_command_line
from fastprep.errors import InputError
from fastprep.evaluation.config import Config
from fastprep.evaluation.run import run


def main(argv: list[str] | None = None) -> int:
    """Run the command, and return its exit status; see `fastprep.cli.command.Command.run`."""
    config = parse(argv)
    command = Command(
        "fastprep.evaluate",
        errors=(InputError, ValueError, OSError),  # a DataError is a ValueError
        interrupted=lambda: "interrupted; nothing was written",
    )
    return command.run(lambda: _run(config))


def parse(argv: list[str] | None) -> Config:
    """Read the command line."""
    return parse_command_line(Config, argv, "evaluate")


def _run(config: Config) -> None:
    run(config)


if __name__ == "__main__":
    sys.exit(main())
