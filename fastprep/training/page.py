"""report.html of a run: configuration, learning curves and throughput on one page."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fastprep.reports.markup import Html, element, joined, table, tiles
from fastprep.reports.options import options
from fastprep.reports.page import Section, page
from fastprep.training.config import Config
from fastprep.training.curves import METRICS, learning_curves, number_of, speed_curves, table_of_epochs
from fastprep.training.report import command_to_test
from fastprep.training.state import RunState

if TYPE_CHECKING:
    from fastprep.training.run_folder import RunFolder


class RunReport:
    """Report of one run.

    Parameters
    ----------
    folder : RunFolder
    config : Config
    lines : sequence of str
        What the run trains with: images, classes, network.
    world : int
        Number of processes.
    """

    def __init__(self, folder: RunFolder, config: Config, lines: Sequence[str], world: int) -> None:
        self._folder, self._config, self._lines, self._world = folder, config, lines, world

    def page(self, state: RunState, remarks: Sequence[str]) -> str:
        """Return the report for what the run has reached.

        Parameters
        ----------
        state : RunState
            At least one epoch is over.
        remarks : sequence of str
            What there is to say of the run as a whole.
        """
        sections = [
            Section("Results", joined((_tiles(state, self._config), *self._progress(state, remarks), _results(state)))),
            Section("Learning curves", joined((learning_curves(state), table_of_epochs(state)))),
            Section("Throughput", speed_curves(state, self._world)),
            Section("Images and network", element("ul", *(element("li", line) for line in self._lines))),
            Section("Configuration", options(self._config, Config())),
        ]
        return page(f"Training run {self._folder.path.name}", element("p", str(self._folder), class_="note"), sections)

    def _progress(self, state: RunState, remarks: Sequence[str]) -> list[Html]:
        """Return what is over, and how to go on with what is not."""
        lines = [element("p", remark) for remark in remarks]
        if not state.finished(self._config):
            said = f"{state.epoch} of {self._config.epochs} epochs are over. If the run has ended, it goes on with "
            lines.append(element("p", said, element("code", self._folder.resume)))
        tested = command_to_test(self._config, self._folder)
        note = (
            "The best epoch was chosen by the images for validation, so their figures flatter it; images that no choice was made"
        )
        lines.append(element("p", f"{note} with tell more: ", element("code", tested), class_="note"))
        return lines


def _tiles(state: RunState, config: Config) -> Html:
    """Return the numbers that are looked for first."""
    several = "decisions of validation right" if config.several else "of validation right"
    shown = [(f"{state.epoch} of {config.epochs}", "epochs")]
    if state.best_epoch:
        shown.append((f"{state.best_accuracy:.2%}", f"{several}, epoch {state.best_epoch}"))
        shown += [(f"{state.best_auc:.4f}", "AUC of validation")] if state.best_auc is not None else []
        shown.append((f"{state.best_loss:.4g}", "loss of validation"))
    if state.meter.seconds:
        shown += [(f"{state.meter.rate:,.0f}", "images/s"), (f"{state.meter.share:.1%}", "waiting for images")]
    return tiles(shown)


def _results(state: RunState) -> Html:
    """Return the results of the best and of the last epoch."""
    names = [name for name in METRICS if name in state.history and f"val_{name}" in state.history]
    header = ["", *itertools.chain.from_iterable((f"training {name}", f"validation {name}") for name in names)]
    epochs = {f"best epoch, {state.best_epoch}": state.best_epoch} if state.best_epoch else {}
    epochs |= {f"last epoch, {state.epoch}": state.epoch}
    rows = (
        [what, *(number_of(name, state.history[prefix + name][k - 1]) for name in names for prefix in ("", "val_"))]
        for what, k in epochs.items()
    )
    return table(header, rows, "Results of the best and of the last epoch")
