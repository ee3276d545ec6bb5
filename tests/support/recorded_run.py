"""A script of one of several processes, run with a record of the samples that it trains on, and killed at a named batch.

    python recorded_run.py RECORD KILL SCRIPT ARGUMENTS...

RECORD is the beginning of the name of the file of a rank, which gets a line of JSON for each batch: epoch, step, samples.
KILL is JSON: null, or [rank, epoch, step] of the batch that a rank has got when it sends itself SIGKILL, once.
"""

import json
import os
import runpy
import signal
import sys
from pathlib import Path

from fastprep.sampling.position import Position

BEGIN, UNDO = "a process begins", "the last batch was only looked at"


def install(record, kill=None):
    """Have the loaders of this process write their batches to a file."""
    advance, restore, marked = Position.advance, Position.restore, Path(f"{record}-killed")
    has_begun = False

    def write(position, line):
        nonlocal has_begun
        rank = position._sampler.shard[0]
        with open(f"{record}-{rank}.jsonl", "a") as file:
            file.writelines(json.dumps(one) + "\n" for one in ([line] if has_begun else [BEGIN, line]))
        has_begun = True
        if kill == [rank, *line[:2]] and not marked.exists():
            marked.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    def recorded_advance(self, epoch, step):
        advance(self, epoch, step)
        write(self, [epoch, step, self._sampler.samples(epoch, step, self.since(epoch)).tolist()])

    def recorded_restore(self, snapshot):  # Keras has taken a batch to build the model, and begins anew
        restore(self, snapshot)
        write(self, UNDO)

    Position.advance, Position.restore = recorded_advance, recorded_restore


def runs(record, rank):
    """Return what the processes of a rank have trained on, one after the other: lists of [epoch, step, samples]."""
    found = []
    for line in map(json.loads, Path(f"{record}-{rank}.jsonl").read_text().splitlines()):
        if line == BEGIN:
            found.append([])
        elif line == UNDO:
            found[-1].pop()
        else:
            found[-1].append(line)
    return found


if __name__ == "__main__":
    sys.modules["tensorflow"] = None  # which Keras would start on any backend, to seed it, and which takes seconds
    record, kill, script, *arguments = sys.argv[1:]
    install(record, json.loads(kill))
    sys.argv[:] = [script, *arguments]
    runpy.run_path(script, run_name="__main__")
