"""python -m fastprep.train: train a network on images in HDF5 files, or on those of the demo."""

from __future__ import annotations

import contextlib
import os
import sys

from fastprep import demo
from fastprep.cli.command import Command
from fastprep.cli.output import write_line
from fastprep.errors import InputError, RankError
from fastprep.reports.page import FILE_NAME, is_replaceable
from fastprep.training.command_line import base_configuration, parse, parse_words
from fastprep.training.config import Config, check
from fastprep.training.distributed.cluster import from_environment
from fastprep.training.distributed.ranks import ALONE, Ranks
from fastprep.training.distributed.rendezvous import join
from fastprep.training.report import command_to_test
from fastprep.training.run import run


def main(argv: list[str] | None = None) -> int:
    """Run the command, and return its exit status; see `fastprep.cli.command.Command.run`."""
    argv = sys.argv[1:] if argv is None else argv
    command = Command("fastprep.train", errors=(InputError, RankError))
    return command.run(lambda: _run(command, argv))


def _run(command: Command, argv: list[str]) -> None:
    """Join the other ranks, if TF_CONFIG names some, and train."""
    cluster = from_environment()
    if cluster.world == 1:
        _train(argv, ALONE)
        return
    command.name = f"{command.name}: rank {cluster.rank}"
    with contextlib.ExitStack() as stack:
        if cluster.rank:  # rank 0 prints for all; each rank reports its own errors
            stack.enter_context(contextlib.redirect_stdout(stack.enter_context(open(os.devnull, "w"))))
        _train(argv, join(cluster, parse_words(argv).rank_timeout))


def _train(argv: list[str], ranks: Ranks) -> None:
    with ranks.together():
        typed = parse_words(argv)
        values = base_configuration(typed) if ranks.first else None
    values = ranks.from_first(values)
    with ranks.together():
        config: Config = parse(argv, values, typed)
        check(config)
    if config.demo:
        demo.run(config, ranks)
    else:
        result = run(config, ranks)
        accuracy = f"{result.best_accuracy:.2%} of the validation images right"
        if result.best_auc is not None:  # several labels an image
            accuracy = f"{result.best_accuracy:.2%} of the decisions of validation right, AUC {result.best_auc:.4f}"
        write_line(f"best epoch {result.best_epoch}: {accuracy}; all in {result.folder}")
        if is_replaceable(page := result.folder / FILE_NAME):  # else it is not fastprep's
            write_line(f"to read: {page}")
        if config.profile is not None:
            write_line(f"the timeline is {result.folder / 'profile.json'}, in the format that https://ui.perfetto.dev reads")
        write_line(f"to test it: {command_to_test(config, result.folder)}")
    ranks.finish()


if __name__ == "__main__":
    sys.exit(main())
