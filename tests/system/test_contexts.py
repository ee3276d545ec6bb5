"""Threads of an executor, which have nothing of the context of whoever asks."""

import contextvars
import gc
import threading
import weakref
from concurrent.futures import Executor, Future, ThreadPoolExecutor

import pytest

from fastprep.system import submit_without_context

ASKED = contextvars.ContextVar("asked", default="nobody")


class Inheriting(Executor):
    """One thread, which starts at the first question with a copy of the context of whoever asks, as without a global lock."""

    def __init__(self):
        self._questions, self._asked, self._is_over = [], threading.Semaphore(0), False
        self._thread = None

    def submit(self, function, /, *arguments):
        answer = Future()
        self._questions.append((answer, function, arguments))
        self._asked.release()
        if self._thread is None:
            self._thread = threading.Thread(target=contextvars.copy_context().run, args=(self._answer,))
            self._thread.start()
        return answer

    def _answer(self):
        while self._asked.acquire() and not self._is_over:
            answer, function, arguments = self._questions.pop(0)
            answer.set_result(function(*arguments))

    def shutdown(self, wait=True, *, cancel_futures=False):
        self._is_over = True
        self._asked.release()
        if self._thread is not None:
            self._thread.join()


@pytest.mark.parametrize("kind", [Inheriting, lambda: ThreadPoolExecutor(1)], ids=["inheriting", "of Python"])
def test_the_thread_sees_no_variable_of_whoever_asks(kind):
    token = ASKED.set("me")
    try:
        with kind() as executor:
            assert [submit_without_context(executor, ASKED.get).result(60) for _ in range(2)] == ["nobody"] * 2
            assert submit_without_context(executor, divmod, 7, 2).result(60) == (3, 1)
    finally:
        ASKED.reset(token)


def test_what_is_in_the_context_is_forgotten_while_the_thread_goes_on():
    class Session:
        pass

    def ask(executor):
        session = Session()
        ASKED.set(session)
        submit_without_context(executor, int).result(60)
        return weakref.ref(session)

    with Inheriting() as executor:
        session = contextvars.Context().run(ask, executor)
        gc.collect()
        assert session() is None
        assert submit_without_context(executor, int).result(60) == 0


def test_an_executor_that_was_shut_down_says_so():
    executor = ThreadPoolExecutor(1)
    executor.shutdown()
    with pytest.raises(RuntimeError, match="after shutdown"):
        submit_without_context(executor, int)
