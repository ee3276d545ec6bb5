"""Metrics of a loader while `fit` trains: in Keras' logs, and in a file of JSON lines."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import keras

from fastprep.loader import Loader

_log = logging.getLogger(__name__)

VERSION = 1
"""Version of the lines, which rises when the meaning of a field changes."""


class LoaderMetrics(keras.callbacks.Callback):
    """Callback that adds the speed of a loader to the logs of each epoch: for History, CSVLogger, TensorBoard and their like.

    ``loader/images_per_second`` is the rate of the training steps, and ``loader/wait_share`` the share of their time, 0..1, that
    training waited for batches. Where files are remote, ``loader/cache_hit_share`` is the share, 0..1, of the blocks that were
    read and did not have to be fetched, and ``loader/retries`` the number of requests that were sent again. All are of the
    epoch's training alone, without its validation. Keras hands its logs on in the order of the callbacks, so this one comes
    before those that are to have its numbers; History is the last one always.

    Parameters
    ----------
    loader : Loader
        The loader that is given to `fit`.
    path : str, path or None, default None
        File to which a line of JSON is appended after each epoch; a file of before is continued. The guide has the fields. A
        disk that takes no more is a warning, and training goes on.
    every_s : float or None, default None
        Seconds after which there is a line within an epoch, too, at the end of the step under way. Needs `path`.
    clock : callable, default `time.perf_counter`
        Returns the time in seconds.

    Raises
    ------
    ValueError
        If `every_s` is not above 0, or is given without `path`.

    Examples
    --------
    >>> metrics = fastprep.LoaderMetrics(train, "loader.jsonl")
    >>> model.fit(train, epochs=5, callbacks=[metrics, keras.callbacks.CSVLogger("log.csv")])
    """

    def __init__(
        self,
        loader: Loader,
        path: str | os.PathLike[str] | None = None,
        every_s: float | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        super().__init__()
        if every_s is not None and (path is None or not every_s > 0):
            raise ValueError(f"every_s must be a number of seconds above 0, and needs path, got {every_s!r} and path {path!r}")
        self.loader = loader
        self._lines = None if path is None else _Lines(Path(path))
        self._every_s, self._clock = every_s, clock

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Begin to count."""
        self._epoch = epoch
        self._begun = self._last = self._now()
        self._trained: _Counts | None = None

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Write a line if it is time."""
        if self._every_s is not None and self._clock() - self._last.seconds >= self._every_s:
            before, self._last = self._last, self._now()
            self._write("interval", self._last.since(before))

    def on_test_begin(self, logs: Any = None) -> None:
        """Count no further in the validation of an epoch."""
        if self._trained is None:
            self._trained = self._now()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Add the metrics to the logs, and write a line."""
        counts = (self._trained or self._now()).since(self._begun)
        metrics = counts.metrics()
        if logs is not None:
            logs.update({f"loader/{name}": metrics[name] for name in _IN_LOGS if name in metrics})
        self._write("epoch", counts)

    def _now(self) -> _Counts:
        stats = self.loader.stats()
        return _Counts(self._clock(), stats["wait_s"], stats["samples"], stats["batches"], stats["remote"])

    def _write(self, kind: str, counts: _Counts) -> None:
        if self._lines is None:
            return
        rank, world = self.loader.shard
        where = {"version": VERSION, "time": round(time.time(), 3), "kind": kind, "epoch": self._epoch + 1, "rank": rank}
        self._lines.append({**where, "ranks": world, **counts.metrics()})


_IN_LOGS = ("images_per_second", "wait_share", "cache_hit_share", "retries")


class _Counts(NamedTuple):
    """What a loader has done up to a moment, or between two moments."""

    seconds: float
    waited: float
    images: int
    batches: int
    remote: dict[str, int] | None

    def since(self, before: _Counts) -> _Counts:
        """Return the differences to an earlier moment."""
        remote = None
        if self.remote is not None:
            remote = {name: n - (before.remote or {}).get(name, 0) for name, n in self.remote.items()}
        images, batches = self.images - before.images, self.batches - before.batches
        return _Counts(self.seconds - before.seconds, self.waited - before.waited, images, batches, remote)

    def metrics(self) -> dict[str, float]:
        """Return the fields of a line."""
        seconds = self.seconds
        found: dict[str, float] = {
            "seconds": seconds,
            "images": self.images,
            "batches": self.batches,
            "images_per_second": self.images / seconds if seconds else 0.0,
            "wait_seconds": self.waited,
            "wait_share": min(1.0, self.waited / seconds) if seconds else 0.0,
        }
        if self.remote is not None:
            read, fetched = self.remote["blocks_read"], self.remote["blocks_fetched"]
            found |= {name: self.remote[name] for name in ("requests", "retries", "bytes")}
            found["cache_hit_share"] = max(0.0, 1 - fetched / read) if read else 1.0
        return found


class _Lines:
    """A file to which whole lines are appended, each by one call of the system."""

    def __init__(self, path: Path) -> None:
        self._path, self._has_failed = path, False

    def append(self, values: dict[str, Any]) -> None:
        """Append a line of JSON, or log why that can't be done, once."""
        line = json.dumps(values, allow_nan=False).encode() + b"\n"
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
            try:
                size = os.fstat(descriptor).st_size
                if size and os.pread(descriptor, 1, size - 1) != b"\n":
                    line = b"\n" + line  # what came before was cut off, as by a loss of power; it stays a line of its own
                written = os.write(descriptor, line)
                if written < len(line):  # a full disk
                    os.ftruncate(descriptor, size)
                    raise OSError("the disk is full")
            finally:
                os.close(descriptor)
        except OSError as error:
            if not self._has_failed:
                _log.warning("LoaderMetrics can't write to %r: %s; training goes on", str(self._path), error.strerror or error)
            self._has_failed = True
