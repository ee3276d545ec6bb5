"""Faults of the machine are told from damage of a file."""

import errno
import os

import pytest

from fastprep.system import is_machine_fault

pytestmark = pytest.mark.quick


@pytest.mark.parametrize("name", ["EIO", "ESTALE", "EMFILE", "ENFILE", "ENOMEM", "ENXIO", "EACCES", "ENOENT", "ETIMEDOUT"])
def test_what_the_system_could_not_do_is_a_fault_of_the_machine(name):
    number = getattr(errno, name)
    assert is_machine_fault(OSError(number, os.strerror(number)))


def test_so_is_one_that_a_library_wrapped_and_too_little_memory():
    assert is_machine_fault(MemoryError())
    try:
        try:
            raise OSError(errno.EIO, "gone")
        except OSError as error:
            raise ValueError("can't decode") from error
    except ValueError as error:
        wrapped = error
    assert is_machine_fault(wrapped)


@pytest.mark.parametrize(
    "error", [None, ValueError("x"), OSError("image file is truncated"), OSError(errno.EINVAL, "a seek to -1"), EOFError()]
)
def test_what_decoding_finds_is_not(error):
    assert not is_machine_fault(error)


def test_an_error_that_the_caller_is_handling_says_nothing_about_one_that_comes_meanwhile():
    error = ValueError("damaged")
    error.__context__ = FileNotFoundError(errno.ENOENT, "of the caller")  # as Python sets it
    assert not is_machine_fault(error)


def test_errors_that_are_each_others_cause_end():
    first, second = ValueError(), ValueError()
    first.__cause__, second.__cause__ = second, first
    assert not is_machine_fault(first)
