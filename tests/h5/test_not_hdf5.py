"""What is no file, in the place of one."""

import os
import threading

import pytest

from fastprep import convert, show
from fastprep.errors import DataError
from fastprep.loader import Loader


@pytest.fixture
def pipe(tmp_path):
    """Path of a pipe that nobody writes to for a while, so that a test which waits for it fails and does not hang."""
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Timer(20, lambda: os.close(os.open(tmp_path / "pipe", os.O_RDWR | os.O_NONBLOCK)))
    writer.daemon = True
    writer.start()
    yield str(tmp_path / "pipe")
    writer.cancel()


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
