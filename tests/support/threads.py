"""Threads that begin together, and what a single one makes of the same loader."""

import threading
import time

import numpy as np


def together(*functions, seconds=120):
    """Call functions at the same moment, each in a thread of its own; return what they return, or raise the first error."""
    begin, results, errors = threading.Barrier(len(functions)), [None] * len(functions), []

    def call(k, function):
        try:
            begin.wait(seconds)
            results[k] = function()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=call, args=(k, function), daemon=True) for k, function in enumerate(functions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(seconds)
    assert not any(thread.is_alive() for thread in threads), "a thread hangs"
    if errors:
        raise errors[0]
    return results


def threads_left():
    """Return the names of the threads of fastprep that there are."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("fastprep")]


def until_none_is_left(seconds=60, meanwhile=lambda: None):
    """Wait until no thread of fastprep is left: those of a forgotten loader end soon after it, and nobody waits for them."""
    end = time.monotonic() + seconds
    while left := threads_left():
        assert time.monotonic() < end, f"threads are left: {left}"
        meanwhile()
        time.sleep(0.01)


def copied(batch):
    """Return copies of the arrays of a batch, which is (x, y)."""
    return tuple(np.array(part) for part in batch)


def one_by_one(loader, n_epochs):
    """Return the batches of each epoch, made in this thread one after another."""
    return [[copied(loader.batch(epoch, step)) for step in range(len(loader))] for epoch in range(n_epochs)]


def same(one, other):
    """Tell whether two batches are the same, bit for bit."""
    return all(a.dtype == b.dtype and a.tobytes() == b.tobytes() for a, b in zip(one, other, strict=True))


def number_of(batches, epochs):
    """Return the number of the epoch that has these batches, in this order."""
    found = [k for k, epoch in enumerate(epochs) if len(epoch) == len(batches) and all(map(same, batches, epoch))]
    assert len(found) == 1, "no epoch has these batches"
    return found[0]
