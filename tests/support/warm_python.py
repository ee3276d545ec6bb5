"""Python in processes that have Keras and its backend already: forked from one that has imported them and done nothing with them.

An import of TensorFlow takes five seconds of a processor, and what most tests then do takes two. `Popen` and `run` take the place
of those of `subprocess` for a command that begins with `sys.executable`: what follows it, the environment, the folder, signals
and exit status are as there. Only what a variable of the environment does to the import is not, but for KERAS_BACKEND: each of
its values has a process of its own to fork from.
"""

import atexit
import functools
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SERVER = Path(__file__).with_name("warm_server.py")
NUMBER = struct.Struct("i")


@functools.cache
def _server(backend):
    """Return the channel to a process that has imported Keras with a backend, and ends when the channel is closed."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment["TF_CPP_MIN_LOG_LEVEL"] = "3"  # as commands set it before they import Keras
    environment |= {"KERAS_BACKEND": backend} if backend else {}
    with theirs:
        words = [sys.executable, str(SERVER), str(theirs.fileno())]
        server = subprocess.Popen(words, env=environment, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()])

    def end():
        ours.close()
        server.wait()

    atexit.register(end)
    return ours


def _stream(wanted, number):
    """Return (file to read from, or None, and the descriptor for the process)."""
    if wanted == subprocess.PIPE:
        reading, writing = os.pipe()
        return open(reading, encoding="utf-8"), writing
    return None, os.open(os.devnull, os.O_WRONLY) if wanted == subprocess.DEVNULL else os.dup(number)


class Popen:
    """A process with what tests need of `subprocess.Popen`; its streams are text."""

    def __init__(self, command, *, env=None, cwd=None, stdout=None, stderr=None):
        if command[0] != sys.executable:
            raise ValueError(f"{command[0]} is not the Python of these tests, {sys.executable}")
        self.args, self.returncode = command, None
        environment = dict(os.environ if env is None else env)
        request = {"words": [os.fspath(word) for word in command[1:]], "cwd": os.fspath(cwd or os.getcwd())}
        message = json.dumps({**request, "environment": environment}).encode()
        (self.stdout, out), (self.stderr, errors) = _stream(stdout, 1), _stream(stderr, 2)
        reading, writing = os.pipe()
        self._answers = open(reading, "rb", buffering=0)  # noqa: SIM115 - closed after the last answer
        try:
            socket.send_fds(_server(environment.get("KERAS_BACKEND")), [message], [out, errors, writing])
        finally:
            for descriptor in (out, errors, writing):
                os.close(descriptor)
        self.pid = self._answer()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.communicate()

    def _answer(self):
        answer = self._answers.read(NUMBER.size)
        if not answer:
            raise RuntimeError(f"{SERVER.name} has ended, or could not start {self.args}")
        return NUMBER.unpack(answer)[0]

    def wait(self, timeout=None):
        """Return the exit status, or minus the signal that ended the process."""
        if self.returncode is None:
            if not select.select([self._answers], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout)
            self.returncode = self._answer()
            self._answers.close()
        return self.returncode

    def poll(self):
        """Return the exit status, or None as long as there is none."""
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def send_signal(self, number):
        """Send a signal, unless the process has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self):
        """End the process at once."""
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout=None):
        """Return what was not read yet of both streams, when the process has ended."""
        end = time.monotonic() + (10**6 if timeout is None else timeout)
        with ThreadPoolExecutor(2) as readers:  # one full pipe must not keep the process from filling the other
            open_streams = [stream if stream and not stream.closed else None for stream in (self.stdout, self.stderr)]
            texts = [readers.submit(stream.read) if stream else None for stream in open_streams]
            try:
                contents = tuple(text and text.result(end - time.monotonic()) for text in texts)
                self.wait(max(end - time.monotonic(), 0))
            except (TimeoutError, subprocess.TimeoutExpired):
                self.kill()  # the readers come to an end, too
                raise subprocess.TimeoutExpired(self.args, timeout) from None
        for stream in filter(None, open_streams):
            stream.close()
        return contents


def run(command, *, timeout=None, **options):
    """Run a process to its end; both streams are kept."""
    with Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options) as process:
        output, errors = process.communicate(timeout)
    return subprocess.CompletedProcess(command, process.returncode, output, errors)
