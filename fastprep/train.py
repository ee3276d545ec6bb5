"""python -m fastprep.train: train a network on pictures in HDF5 files, or on the demo's."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from pathlib import Path

import tyro

from fastprep import demo
from fastprep.config import MAY_CHANGE, Config, arguments, check, load, option
from fastprep.errors import InputError
from fastprep.interrupt import as_by_ctrl_c, status_of
from fastprep.training import run


def main(argv: list[str] | None = None) -> int:
    """Run the command; return its exit status: 0, 2 for bad input, 130 when interrupted, 143 by SIGTERM, 129 by SIGHUP."""
    argv = sys.argv[1:] if argv is None else argv
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
                words = getattr(interrupt, "__notes__", ["fastprep.train: interrupted"])
                print(f"\n{words[0]}", file=sys.stderr)
            return status_of(interrupt)
        except InputError as error:
            print(f"fastprep.train: {error}", file=sys.stderr)
            return 2
    return 0


def parse(argv: list[str]) -> Config:
    """Read the command line, and the configuration that it begins from, if it names one; the demo has defaults of its own.

    Raises
    ------
    InputError
        If that configuration can't be read, or a run that is resumed would become another.
    """
    config = _parse(argv)
    if config.resume is not None and config.config is not None:
        raise InputError("--resume brings the configuration of its run: leave --config out")
    if config.resume is not None:
        if not (Path(config.resume) / "config.json").exists():
            raise InputError(f"--resume: there is no run in {config.resume!r}")
        values = load(Path(config.resume) / "config.json")
        was = _parse(arguments(values))
        config = _parse([*arguments(values), *argv])
        for field in dataclasses.fields(Config):
            before, now = getattr(was, field.name), getattr(config, field.name)
            if before != now and field.name not in ("resume", *MAY_CHANGE):
                raise InputError(f"--resume: {option(field.name)} was {before} and can't become {now}; that is another run")
    elif config.config is not None:
        values = {**load(config.config), "out": None, "resume": None, "config": None}
        if values.get("demo"):  # they are where the demo puts them
            values |= {"train": None, "val": None}
        config = _parse([*arguments(values), *argv])
    return config


def _parse(words: list[str]) -> Config:
    defaults = demo.defaults(Config(), full="--full" in words) if "--demo" in words else Config()
    return tyro.cli(Config, args=words, default=defaults, prog="python -m fastprep.train")


if __name__ == "__main__":
    sys.exit(main())
