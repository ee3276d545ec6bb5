"""The command line of a training run, and the configuration of another run that it begins from."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import Any

from fastprep.cli.groups import read_words
from fastprep.command_lines import option
from fastprep.errors import InputError
from fastprep.training.config import MAY_BE_NAMED, MAY_CHANGE, Config
from fastprep.training.config_file import arguments, load
from fastprep.training.foreign_code import SMALL, check_named

_PROFILED_STEPS = 300


def parse(argv: list[str], values: dict[str, Any] | None = None, typed: Config | None = None) -> Config:
    """Read the command line, and the configuration that it begins from, if it names one.

    Parameters
    ----------
    argv : list of str
    values : dict or None
        The other configuration, if it has been read already.
    typed : Config or None
        The command line by itself, if it has been read already.

    Raises
    ------
    InputError
        If the configuration can't be read, or a resumed run would become another one.
    """
    typed = config = parse_words(argv) if typed is None else typed
    if values is None:
        values = base_configuration(config)
    if config.resume is not None and values is not None:
        was = _parse_saved(values, config)
        config = parse_words([*arguments(values), *argv])
        for field in dataclasses.fields(Config):
            before, now = getattr(was, field.name), getattr(config, field.name)
            is_named_now = field.name in MAY_BE_NAMED and before is None
            if before != now and not is_named_now and field.name not in ("resume", "trust", *MAY_CHANGE):
                raise InputError(f"--resume: {option(field.name)} was {before} and can't become {now}; that is another run")
        check_named(config.model, typed.model, _source(typed), trust=typed.trust)
    elif config.config is not None and values is not None:
        values = {**values, "out": None, "resume": None, "config": None}
        if values.get("demo"):  # the demo builds its own files
            values |= {"train": None, "val": None}
        _parse_saved(values, config)
        config = parse_words([*arguments(values), *argv])
        check_named(config.model, typed.model, _source(typed), trust=typed.trust)
    return config


def base_configuration(config: Config) -> dict[str, Any] | None:
    """Return the configuration that a command line begins from; None if it names none."""
    if config.resume is None and config.config is None:
        return None
    if config.resume is None:
        return load(_source(config))
    if config.config is not None:
        raise InputError("--resume brings the configuration of its run: leave --config out")
    if not _source(config).exists():
        raise InputError(f"--resume: there is no run in {config.resume!r}")
    # runs of the time before these options had a default that follows from files and network
    return {"crop": 227, "batchnorm_steps": 0, "shuffle_window": 2048, "labels_per_image": "one", **load(_source(config))}


def _parse_saved(values: dict[str, Any], config: Config) -> Config:
    """Read the configuration that a command line begins from by itself, so that an error names its file."""
    try:
        return parse_words(arguments(values))
    except InputError as error:
        raise InputError(f"{str(_source(config))!r}: {error}") from None


def _source(config: Config) -> Path:
    """Return the file of the configuration that a command line begins from."""
    return Path(config.config or "") if config.resume is None else Path(config.resume) / "config.json"


def parse_words(words: list[str]) -> Config:
    """Read a command line by itself; with --demo, the demo's settings are the defaults."""
    alexnet = "--model=alexnet" in words or ("--model", "alexnet") in itertools.pairwise(words)
    defaults = demo_defaults(Config(), full="--full" in words, alexnet=alexnet) if "--demo" in words else Config()
    return read_words(Config, _with_steps(words), "python -m fastprep.train", defaults, pairs=True)


def _with_steps(words: list[str]) -> list[str]:
    """Return a command line whose --profile has a number of steps, which may be left out."""
    pairs = itertools.zip_longest(words, words[1:], fillvalue="--")
    return [part for word, after in pairs for part in _with_number(word, after)]


def _with_number(word: str, after: str) -> list[str]:
    return [word, str(_PROFILED_STEPS)] if word == "--profile" and after.startswith("--") else [word]


def demo_defaults(config: Config, full: bool = False, alexnet: bool = False) -> Config:
    """Return the demo's settings: a small network within three minutes on two processors, or AlexNet, which takes longer.

    Parameters
    ----------
    config : Config
        Configuration that gives all other options.
    full : bool
        Whether to train AlexNet on images of 256 pixels and crops of 227.
    alexnet : bool
        Whether to train AlexNet on images of 96 pixels and crops of 85.

    Returns
    -------
    Config
    """
    common = dataclasses.replace(config, schedule="cosine", flip=True, batch_size=64, lr=2e-3, crop=85)
    if full:
        return dataclasses.replace(common, l2=2e-5, batchnorm_steps=16, crop=227, lr=1e-3, epochs=40)
    if alexnet:
        return dataclasses.replace(common, l2=2e-5, batchnorm_steps=16, epochs=24)
    return dataclasses.replace(common, model=SMALL, turn=True, batchnorm_steps=0, epochs=30)
