"""Signals that arrive where Python ignores exceptions: none is lost."""

import signal
import sys
import threading
import time
import weakref

import pytest

from fastprep.system import as_by_ctrl_c, signals, status_of

NUMBERS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


class Thing:
    """Something to refer to."""


class Finalized:
    """Something that is interrupted when it is finalized."""

    def __init__(self, number):
        self.number = number

    def __del__(self):
        interrupt(self.number)


def interrupt(number):
    """Do what a signal does that arrives now."""
    signal.raise_signal(number)
    for _ in range(100):  # in which Python calls the handler
        pass


def in_a_callback(number):
    thing = Thing()
    reference = weakref.ref(thing, lambda _: interrupt(number))
    del thing
    assert reference() is None


def in_a_finalizer(number):
    Finalized(number)


@pytest.fixture(autouse=True)
def handlers():
    """As in a command that was started from a terminal."""
    before = {number: signal.getsignal(number) for number in NUMBERS}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in NUMBERS[1:]:
        signal.signal(number, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("where", [in_a_callback, in_a_finalizer])
def test_an_interrupt_that_python_ignores_is_raised_again(capsys, monkeypatch, where, number):
    monkeypatch.setattr(signals, "_AGAIN_S", 0.2)  # after the third, however busy the machine is
    hook, n_ignored = sys.unraisablehook, 0

    def work():
        nonlocal n_ignored
        with as_by_ctrl_c():
            for _ in range(3):
                where(number)
                n_ignored += 1
            time.sleep(10)

    with pytest.raises(KeyboardInterrupt) as raised:
        work()
    assert n_ignored == 3
    assert status_of(raised.value) == 128 + number
    assert capsys.readouterr().err == ""
    assert sys.unraisablehook is hook
    assert [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)] == []


@pytest.mark.parametrize("n_early", [1, 3])
def test_an_interrupt_that_arrives_while_another_one_is_put_off_is_not_lost(capsys, monkeypatch, n_early):
    """On a busy machine the time of the first is over before its timer has said that it began."""
    n_left = n_early

    class Late(threading.Timer):
        def start(self):
            nonlocal n_left
            super().start()
            if n_left:
                n_left -= 1
                time.sleep(0.1)  # in which the handler raises

    def work():
        with as_by_ctrl_c():
            in_a_finalizer(signal.SIGINT)
            time.sleep(10)

    monkeypatch.setattr(threading, "Timer", Late)
    with pytest.raises(KeyboardInterrupt):
        work()
    assert n_left == 0
    assert capsys.readouterr().err == ""


def test_what_else_python_ignores_is_reported_as_ever(monkeypatch):
    reported = []
    monkeypatch.setattr(sys, "unraisablehook", lambda ignored: reported.append(ignored.exc_type))
    with as_by_ctrl_c():
        thing = Thing()
        reference = weakref.ref(thing, lambda _: 1 / 0)
        del thing
        assert reference() is None
    assert reported == [ZeroDivisionError]


@pytest.mark.parametrize("number", NUMBERS[1:])
def test_a_second_signal_does_not_interrupt_the_cleaning_up(number):
    cleaned = []

    def work():
        with as_by_ctrl_c():
            try:
                interrupt(number)
            finally:
                interrupt(number)
                cleaned.append(True)

    with pytest.raises(KeyboardInterrupt):
        work()
    assert cleaned == [True]
