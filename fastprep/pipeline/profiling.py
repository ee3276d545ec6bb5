"""A timeline of what the threads of a loader do, and of what waits for them, in the trace format that Perfetto and Chrome read.

While a profile is taken, functions of the objects that make batches are replaced by ones that note begin and end. Otherwise
nothing of it exists: no function asks whether there is a profile.
"""

from __future__ import annotations

import contextlib
import functools
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastprep._sink import Sink, TimedSink
from fastprep.h5 import TakesJpegs
from fastprep.pipeline.batch import Batch, SharedBatch
from fastprep.pipeline.source import BatchSource
from fastprep.pipeline.trace import Span, Trace
from fastprep.sampling import check_integer

_TIMES_OF_IMAGE = 2  # calls of a kernel that are noted for each image: reading may begin again after a fault


class Profile:
    """Timeline of a loader, see `fastprep.Loader.profile`.

    Parameters
    ----------
    source : BatchSource
    path : str or path
        File to write.
    steps : int
        Batches that are handed out before it is written.

    Attributes
    ----------
    is_written : bool

    Raises
    ------
    ValueError
        If `steps` is not an integer of at least 1.
    FileExistsError, NotReplacedError
        If there is a file at `path` that is no profile of fastprep.
    RuntimeError
        If another profile of this loader is being taken.
    """

    def __init__(self, source: BatchSource, path: str | os.PathLike[str], steps: int) -> None:
        check_integer("steps", steps, 1)
        self._trace, self._source, self._left = Trace(path), source, int(steps)
        self._taking = "kernel" if source.backends[0].device == "cpu" else "to pinned memory"  # what sinks do with an image
        self.is_written = False
        self._lock = threading.RLock()  # reentrant: an abandoned profile may be ended by a finalizer under it
        self._replaced: list[tuple[Any, str]] = []
        self._places: dict[int, dict[str, int]] = {}  # of batches, by their ids, until they are handed out
        self._handed_out: dict[int, tuple[int, dict[str, int]]] = {}  # by thread: when, and which
        self._read_ended = threading.local()
        if "prepare" in vars(source):
            raise RuntimeError("another profile of this loader is being taken; end it first")

    def begin(self) -> None:
        """Begin to note what happens."""
        source = self._source
        self._replace(source, "prepare", self._one_batch)
        self._replace(source, "prepare_images", self._one_batch)
        self._replace(source, "prepare_group", self._several_batches)
        self._replace(source, "count", self._counted)
        self._replace(source, "_read", self._read)
        self._replace(source, "_table", self._spanned("draw crops"))
        self._replace(source.pool, "lease", self._spanned("wait for a buffer"))
        for dataset in {id(each): each for each in (source.dataset, source.images)}.values():
            self._replace(dataset, "fetch", self._spanned("decode ahead"))
        for backend in source.backends:
            self._replace(backend, "make", functools.partial(self._made, backend.device != "cpu"))
        if source.finish is not None:
            self._replace(source.finish, "apply", self._spanned("transform"))

    def end(self) -> None:
        """Put everything back, and write the file; a second time does nothing."""
        with self._lock:
            if self.is_written:
                return
            self.is_written = True
            for owner, name in self._replaced:
                delattr(owner, name)
            self._trace.write()

    def _replace(self, owner: Any, name: str, wrapped: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
        setattr(owner, name, wrapped(getattr(owner, name)))
        self._replaced.append((owner, name))

    def _spanned(self, name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        def wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
            def call(*arguments: Any, **options: Any) -> Any:
                with self._trace.span(name):
                    return function(*arguments, **options)

            return call

        return wrapped

    def _one_batch(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def prepare(epoch: int, step: int) -> Batch | SharedBatch:
            place = {"epoch": epoch, "step": step}
            with self._trace.span("batch", place):
                batch = function(epoch, step)
            self._places[id(batch)] = place
            return batch

        return prepare

    def _several_batches(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def prepare(epoch: int, steps: range, has_labels: bool = True) -> list[Any]:
            with self._trace.span("batches", {"epoch": epoch, "step": steps[0], "n_steps": len(steps)}):
                batches = function(epoch, steps, has_labels)
            for step, batch in zip(steps, batches, strict=False):
                self._places[id(batch)] = {"epoch": epoch, "step": step}
            return batches

        return prepare

    def _made(self, on_device: bool, function: Callable[..., Any]) -> Callable[..., Any]:
        """Note what a backend does once all images are read: on the CPU it blends, on a GPU it copies and runs kernels."""

        def make(read: Any, n_images: int, tables: Any, new_lease: Any, blends: Any = None) -> Any:
            self._read_ended.ns = None
            made = function(read, n_images, tables, new_lease, blends)
            if self._read_ended.ns is not None and (on_device or blends is not None):
                self._trace.add(Span("copy and kernel" if on_device else "blend", self._read_ended.ns, time.perf_counter_ns()))
            return made

        return make

    def _read(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Note when images are read, and inside of that, when the kernel has each of them, or the way to a GPU."""

        def read(samples: NDArray[np.int64], table: Any, blends: Any, has_labels: bool, *sinks: Sink) -> Any:
            times = [np.empty((_TIMES_OF_IMAGE * len(samples), 2), np.int64) for _ in sinks]
            timed = [_timed(sink, own) for sink, own in zip(sinks, times, strict=True)]
            with self._trace.span("read and decode", {"n_images": len(samples)}):
                rows = function(samples, table, blends, has_labels, *timed)
            self._read_ended.ns = time.perf_counter_ns()
            for sink, own in zip(timed, times, strict=True):
                if isinstance(sink, TimedSink):
                    self._trace.add_all(self._taking, own[: sink.n_timed])
            return rows

        return read

    def _counted(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Note how long the consumer waited for a batch, and what it did since it had the one before."""

        def count(batch: Batch | SharedBatch, waited_s: float) -> None:
            now, thread = time.perf_counter_ns(), threading.get_ident()
            place = self._places.pop(id(batch), {})
            before = self._handed_out.get(thread)
            began = max(now - round(waited_s * 1e9), 0 if before is None else before[0])
            if before is not None:
                self._trace.add(Span("step", before[0], began, before[1]))
            self._trace.add(Span("wait", began, now, place))
            function(batch, waited_s)
            self._handed_out[thread] = time.perf_counter_ns(), place
            with self._lock:  # several threads may iterate over the loader
                self._left -= 1
                is_last = self._left == 0
            if is_last:
                self.end()

        return count


@contextlib.contextmanager
def profiled(source: BatchSource, path: str | os.PathLike[str], steps: int) -> Iterator[Profile]:
    """Take a profile of a loader while the body runs; see `fastprep.Loader.profile`."""
    profile = Profile(source, path, steps)
    profile.begin()
    try:
        yield profile
    finally:
        profile.end()


def _timed(sink: Sink, times: NDArray[np.int64]) -> Sink:
    """Return a sink that is timed; those of a GPU, and those that only learn sizes, are as they are."""
    if isinstance(sink, TakesJpegs):
        return sink
    try:
        return TimedSink(sink, times)
    except TypeError:
        return sink
