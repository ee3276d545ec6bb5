"""Requests from a process that was forked: obstore's threads are not in it, so that another process asks in its place.

The other process is started when the first request is made, and ends when this one does.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import pickle
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, BinaryIO

_LENGTH = struct.Struct("<Q")
_SERVE = "import pickle, sys; sys.path[:] = pickle.load(sys.stdin.buffer); from fastprep.remote.messenger import serve; serve()"
_N_THREADS = 16


class Messenger:
    """A store as `fastprep.remote.object_stores.ObjectStore` is one, in another process.

    Parameters
    ----------
    base : str
    options : mapping
        They have to be such that can be pickled.
    """

    def __init__(self, base: str, options: Mapping[str, Any]) -> None:
        self.base = base
        self._process = subprocess.Popen([sys.executable, "-c", _SERVE], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._to, self._lock, self._numbers = self._process.stdin, threading.Lock(), itertools.count()
        self._waiting: dict[int, Future[Any]] = {}
        try:
            pickle.dump(sys.path, self._to)
            _send(self._to, (base, dict(options)))
        except (pickle.PicklingError, TypeError, AttributeError) as error:
            self.close()
            raise ValueError(
                f"storage_options must be such that can be pickled, in a process that was forked: {error}"
            ) from error
        threading.Thread(target=self._receive, args=(self._process.stdout,), daemon=True).start()

    def facts(self, key: str) -> Any:
        """Return what tells the version of a file that there is now."""
        return self._ask("facts", key)

    def fetch(self, key: str, start: int, stop: int, tag: str | None) -> Any:
        """Return some bytes of a file, and the facts that the answer has about the file."""
        return self._ask("fetch", key, start, stop, tag)

    def list(self, folder: str, is_deep: bool) -> Any:
        """Return the keys in a folder, and what the list tells of their versions."""
        return self._ask("list", folder, is_deep)

    def close(self) -> None:
        """End the other process."""
        with contextlib.suppress(OSError):
            self._to.close()

    def _ask(self, *question: Any) -> Any:
        future: Future[Any] = Future()
        with self._lock:
            number = next(self._numbers)
            self._waiting[number] = future
            _send(self._to, (number, question))
        return future.result()

    def _receive(self, answers: BinaryIO) -> None:
        with contextlib.suppress(EOFError, OSError):
            while True:
                number, answer, error = _receive(answers)
                future = self._waiting.pop(number)
                if error is None:
                    future.set_result(answer)
                else:
                    future.set_exception(_error_of(*error))
        while self._waiting:
            with contextlib.suppress(KeyError):
                self._waiting.popitem()[1].set_exception(ConnectionError("the process that asks for this one has ended"))


def serve() -> None:
    """Answer the questions on the standard input, until that ends."""
    from fastprep.remote.object_stores import ObjectStore

    questions, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever prints does not disturb the answers
    lock, store = threading.Lock(), ObjectStore(*_receive(questions))

    def answer(number: int, question: tuple[Any, ...]) -> None:
        name, *arguments = question
        found, failed = None, None
        try:
            found = _ANSWERS[name](getattr(store, name)(*arguments))
        except Exception as error:
            from fastprep.errors import ChangedError

            failed = (type(error).__name__, error if isinstance(error, ChangedError) else str(error))
        with lock:
            _send(answers, (number, found, failed))

    with contextlib.suppress(EOFError), ThreadPoolExecutor(_N_THREADS) as pool:
        while True:
            pool.submit(answer, *_receive(questions))


_ANSWERS: dict[str, Callable[[Any], Any]] = {
    "facts": lambda facts: facts,
    "fetch": lambda answer: (bytes(answer[0]), answer[1]),
    "list": lambda keys: keys,
}


def _error_of(name: str, error: Any) -> Exception:
    """Return an error of the other process, of the name of its class, by which errors of obstore are known."""
    return error if isinstance(error, Exception) else type(name, (Exception,), {})(error)


def _send(stream: Any, message: object) -> None:
    content = pickle.dumps(message)
    stream.write(_LENGTH.pack(len(content)))
    stream.write(content)
    stream.flush()


def _receive(stream: Any) -> Any:
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        raise EOFError
    return pickle.loads(stream.read(_LENGTH.unpack(head)[0]))
