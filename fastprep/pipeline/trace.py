"""Spans of time of several threads, and the file of them: Chrome's trace event format, which Perfetto reads.

The format: "Trace Event Format", https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU; complete events
(ph "X") with begin and duration in microseconds, and metadata events (ph "M") with the names of threads.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastprep._version import __version__
from fastprep.system import check_creatable, check_replaceable, whole_file

_MARK = '{"otherData": {"generator": "fastprep '  # how a file begins that may be replaced


class Span(NamedTuple):
    """What a thread did from one time to another, in nanoseconds of `time.perf_counter_ns`."""

    name: str
    begin: int
    end: int
    args: dict[str, int] | None = None


class Trace:
    """Spans of all threads that were noted since it was made.

    Parameters
    ----------
    path : str or path
        File to write.

    Raises
    ------
    NotReplacedError
        If there is a file that is no trace of fastprep.
    OSError
        If none can be written there.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        check_replaceable(path, asked=True, is_own=_is_trace)
        check_creatable(path)
        self._path, self._began = path, time.perf_counter_ns()
        self._spans: list[tuple[int, Span]] = []  # appending is atomic
        self._blocks: list[tuple[int, str, NDArray[np.int64]]] = []
        self._threads: dict[int, str] = {}

    def add(self, span: Span) -> None:
        """Add a span of the calling thread."""
        self._spans.append((self._thread(), span))

    def add_all(self, name: str, times: NDArray[np.int64]) -> None:
        """Add many spans of the calling thread, which have one name: begin and end of each."""
        self._blocks.append((self._thread(), name, times))

    @contextlib.contextmanager
    def span(self, name: str, args: dict[str, int] | None = None) -> Iterator[None]:
        """Add the time that the body takes; not if it fails."""
        began = time.perf_counter_ns()
        yield
        self.add(Span(name, began, time.perf_counter_ns(), args))

    def write(self) -> None:
        """Write the file; it has its name once it is whole."""
        spans, blocks = list(self._spans), list(self._blocks)
        process = os.getpid()
        events: list[dict[str, Any]] = [{"ph": "M", "name": "process_name", "pid": process, "args": {"name": "fastprep"}}]
        for thread, name in list(self._threads.items()):
            about = {"ph": "M", "pid": process, "tid": thread}
            events.append({**about, "name": "thread_name", "args": {"name": name}})
            events.append({**about, "name": "thread_sort_index", "args": {"sort_index": int(name.startswith("worker"))}})
        every = [*spans, *((thread, Span(name, *pair)) for thread, name, times in blocks for pair in times.tolist())]
        for thread, (name, begin, end, args) in sorted(every, key=lambda each: each[1].begin):
            begin = max(begin, self._began)
            event = {"ph": "X", "name": name, "cat": "fastprep", "pid": process, "tid": thread}
            event |= {"ts": (begin - self._began) / 1000, "dur": max(end - begin, 0) / 1000}
            events.append({**event, "args": args} if args else event)
        with whole_file(self._path) as temporary, open(temporary, "w", encoding="utf-8") as file:
            file.write(f'{_MARK}{__version__}"}}, "displayTimeUnit": "ms", "traceEvents": [\n')
            file.write(",\n".join(map(json.dumps, events)))
            file.write("\n]}\n")

    def _thread(self) -> int:
        number = threading.get_native_id()
        if number not in self._threads:
            name = threading.current_thread().name
            is_worker = name.startswith("fastprep_")
            self._threads[number] = f"worker {name.removeprefix('fastprep_')}" if is_worker else f"consumer ({name})"
        return number


def _is_trace(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(len(_MARK)) == _MARK.encode()
