"""Python processes that have TensorFlow and Keras imported from the start.

Importing them takes five seconds of a processor. A fork server (`multiprocessing`) imports them once for all processes of
this kind; each is then forked off it, before TensorFlow has started a thread, and runs its script as `python -c SCRIPT WORDS`
would.
"""

import io
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
from multiprocessing.reduction import DupFd

PRELOADED = [
    "tensorflow",
    "keras",
    "matplotlib.figure",
    "fastprep.adapters.keras",
    "fastprep.training.callbacks",
    "fastprep.train",
]


class ForkedPython:
    """A running script, with the part of `subprocess.Popen` that tests use.

    Parameters
    ----------
    script : str
    *words : str
        `sys.argv[1:]` of the script.
    env : dict of str to str
        Its environment.
    cwd : path
        Its working folder.
    """

    def __init__(self, script, *words, env, cwd):
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(PRELOADED)
        self._streams = [tempfile.TemporaryFile() for _ in range(2)]  # noqa: SIM115 - read when the process has ended
        descriptors = [_Descriptor(stream.fileno()) for stream in self._streams]
        self._process = context.Process(target=_run, args=(script, [*map(str, words)], dict(env), str(cwd), descriptors))
        self._process.start()

    @property
    def returncode(self):
        return self._process.exitcode

    def communicate(self, timeout):
        """Wait for its end; return what it wrote to standard output and standard error."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("a forked script", timeout)
        return tuple(self._written(stream) for stream in self._streams)

    def kill(self):
        self._process.kill()

    @staticmethod
    def _written(stream):
        stream.seek(0)
        return stream.read().decode()


class _Descriptor:
    """A file descriptor on its way to the process, where `received` is its copy."""

    def __init__(self, number):
        self._number = number

    def __getstate__(self):
        return DupFd(self._number)

    def __setstate__(self, copy):
        self.received = copy.detach()


def _run(script, words, environment, folder, descriptors):
    """Be `python -c`, in the process."""
    for number, descriptor in zip((1, 2), descriptors, strict=True):
        os.dup2(descriptor.received, number)
    sys.stdout, sys.stderr = (io.TextIOWrapper(io.FileIO(number, "w", closefd=False), write_through=True) for number in (1, 2))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:0] = environment["PYTHONPATH"].split(os.pathsep)
    os.chdir(folder)
    sys.argv = ["-c", *words]
    exec(compile(script, "<string>", "exec"), {"__name__": "__main__"})
