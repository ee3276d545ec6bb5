"""python -m fastprep.train: train a network on images in HDF5 files, or on the demo's."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
from pathlib import Path
from typing import Any

import tyro

from fastprep import demo
from fastprep.errors import InputError, RankError
from fastprep.system import as_by_ctrl_c, status_of
from fastprep.training.config import MAY_CHANGE, Config, arguments, check, load, option
from fastprep.training.distributed.cluster import from_environment
from fastprep.training.distributed.ranks import ALONE, Ranks
from fastprep.training.distributed.rendezvous import join
from fastprep.training.run import run


def main(argv: list[str] | None = None) -> int:
    """Run the command.

    Returns
    -------
    int
        Its exit status: 0, 2 for bad input, 1 if another rank ended, 130 when interrupted, 143 by SIGTERM, 129 by SIGHUP.
    """
    argv = sys.argv[1:] if argv is None else argv
    who = "fastprep.train"
    with as_by_ctrl_c(), contextlib.ExitStack() as stack:
        try:
            cluster = from_environment()
            if cluster.world > 1:
                who = f"{who}: rank {cluster.rank}"
            if cluster.rank:  # the first one tells all there is to tell; errors are each one's own
                stack.enter_context(contextlib.redirect_stdout(stack.enter_context(open(os.devnull, "w"))))
            _together(argv, join(cluster, _parse(argv).rank_timeout) if cluster.world > 1 else ALONE)
        except KeyboardInterrupt as interrupt:
            with contextlib.suppress(OSError):  # the terminal may be gone
                words = getattr(interrupt, "__notes__", [f"{who}: interrupted"])
                print(f"\n{words[0]}", file=sys.stderr)
            return status_of(interrupt)
        except (InputError, RankError) as error:
            print(f"{who}: {error}", file=sys.stderr)
            return 2 if isinstance(error, InputError) else 1
    return 0


def _together(argv: list[str], ranks: Ranks) -> None:
    with ranks.together():
        values = _configuration(_parse(argv)) if ranks.first else None
    values = ranks.from_first(values)
    with ranks.together():
        config = parse(argv, values)
        check(config)
    if config.demo:
        demo.run(config, ranks)
    else:
        result = run(config, ranks)
        right = f"{result.best_accuracy:.2%} of the validation images right"
        print(f"best epoch {result.best_epoch}: {right}; all in {result.folder}")
    ranks.finish()


def parse(argv: list[str], values: dict[str, Any] | None = None) -> Config:
    """Read the command line, and the configuration that it begins from, if it names one; the demo has defaults of its own.

    Parameters
    ----------
    argv : list of str
    values : dict or None
        That configuration, if it was read already.

    Raises
    ------
    InputError
        If that configuration can't be read, or a run that is resumed would become another.
    """
    config = _parse(argv)
    if values is None:
        values = _configuration(config)
    if config.resume is not None and values is not None:
        was = _parse(arguments(values))
        config = _parse([*arguments(values), *argv])
        for field in dataclasses.fields(Config):
            before, now = getattr(was, field.name), getattr(config, field.name)
            if before != now and field.name not in ("resume", *MAY_CHANGE):
                raise InputError(f"--resume: {option(field.name)} was {before} and can't become {now}; that is another run")
    elif config.config is not None and values is not None:
        values = {**values, "out": None, "resume": None, "config": None}
        if values.get("demo"):  # they are where the demo puts them
            values |= {"train": None, "val": None}
        config = _parse([*arguments(values), *argv])
    return config


def _configuration(config: Config) -> dict[str, Any] | None:
    """Return the configuration that a command line begins from; None if it names none."""
    if config.resume is not None and config.config is not None:
        raise InputError("--resume brings the configuration of its run: leave --config out")
    if config.resume is not None:
        if not (Path(config.resume) / "config.json").exists():
            raise InputError(f"--resume: there is no run in {config.resume!r}")
        return load(Path(config.resume) / "config.json")
    return None if config.config is None else load(config.config)


def _parse(words: list[str]) -> Config:
    defaults = demo.defaults(Config(), full="--full" in words) if "--demo" in words else Config()
    return tyro.cli(Config, args=words, default=defaults, prog="python -m fastprep.train")


if __name__ == "__main__":
    sys.exit(main())
