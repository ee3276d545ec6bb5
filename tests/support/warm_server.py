"""Forks the processes of `warm_python.py`: python warm_server.py DESCRIPTOR, a socket over which it is told what to run.

No thread of a backend runs before the forks, since nothing was computed; those of OpenBLAS and numexpr start anew after a fork.
"""

import contextlib
import gc
import json
import os
import runpy
import signal
import socket
import sys
import types
import warnings

import numpy as np
from warm_python import NUMBER


def forked():
    """Fork; JAX warns that threads do not outlive this, though it has none before something is computed."""
    with warnings.catch_warnings(action="ignore"):
        return os.fork()


def answer(descriptor, number):
    with contextlib.suppress(BrokenPipeError):  # the test has ended
        os.write(descriptor, NUMBER.pack(number))


def serve(channel):
    """Start what is asked for until nobody is left who asks; return the request in each process that is to do it."""
    while True:
        message, descriptors, *_ = socket.recv_fds(channel, 2**20, 3)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if not message:
            sys.exit()
        if not forked():  # this one waits for the process, whose end it tells
            channel.close()
            if not (process := forked()):
                return json.loads(message), descriptors
            answer(descriptors[2], process)
            answer(descriptors[2], os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))
            os._exit(0)
        for descriptor in descriptors:
            os.close(descriptor)


def become(request, descriptors):
    """Make this process one that was started with the request's words, environment, folder and streams."""
    for number, descriptor in enumerate(descriptors[:2], start=1):
        os.dup2(descriptor, number)
    for descriptor in descriptors:
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["cwd"])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    np.random.seed()  # noqa: NPY002 - else each process draws the same numbers
    sys.path[:1] = [*filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]  # in the place of this script's folder


def run(option, *words):
    """Do what Python does with these words."""
    if option == "-c":
        sys.path.insert(0, "")
        code, *sys.argv[1:] = words
        sys.argv[0] = "-c"
        sys.modules["__main__"] = types.ModuleType("__main__")
        exec(compile(code, "<string>", "exec"), sys.modules["__main__"].__dict__)
    elif option == "-m":
        sys.path.insert(0, os.getcwd())
        sys.argv = list(words)
        runpy.run_module(words[0], run_name="__main__", alter_sys=True)
    else:
        sys.path.insert(0, os.path.dirname(os.path.abspath(option)))
        sys.argv = [option, *words]
        runpy.run_path(option, run_name="__main__")


if __name__ == "__main__":
    gc.disable()
    import keras  # noqa: F401 - what all this is for

    gc.collect()
    gc.freeze()  # no process has to look at, or at its end to take apart, a million of objects that it did not make
    gc.enable()
    asked, streams = serve(socket.socket(fileno=int(sys.argv[1])))
    become(asked, streams)
    run(*asked["words"])
