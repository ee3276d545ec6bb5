"""What is no file, in the place of one."""

import os
import signal

import pytest

from fastprep import convert, show
from fastprep.errors import DataError
from fastprep.loader import Loader


@pytest.fixture
def pipe(tmp_path):
    """Path of a pipe that nobody writes to. Who waits for it is interrupted, so that a test fails and does not hang."""

    def interrupt(number, frame):
        raise AssertionError("the pipe was waited for")

    os.mkfifo(tmp_path / "pipe")
    before = signal.signal(signal.SIGALRM, interrupt)
    signal.alarm(10)
    yield str(tmp_path / "pipe")
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def test_a_pipe_is_an_error_and_is_not_waited_for(pipe):
    with pytest.raises(DataError, match="pipe': a pipe, of which HDF5 can't read parts; write it to a file first"):
        Loader(pipe, 4, None)


def test_labels_in_a_pipe_are_an_error_alike(pipe, make_file):
    with pytest.raises((DataError, OSError, ValueError)):
        Loader(make_file()[0], 4, None, labels=f"{pipe}:y")


@pytest.mark.parametrize("command", [show, convert])
def test_commands_end_with_a_line(pipe, tmp_path, capsys, command):
    more = [str(tmp_path / "new.h5")] if command is convert else []
    assert command.main([pipe, *more]) == 2
    assert "a pipe, of which HDF5 can't read parts" in capsys.readouterr().err
