"""Nothing is left of loaders that are used for long, in numbers, forgotten or cut off: no thread, no open file, no memory."""

import functools
import gc
import os
import resource
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest
import warm_python
from threads import threads_left

from fastprep import CenterCrop
from fastprep.loader import Loader

pytestmark = pytest.mark.usefixtures("no_thread_left")

LAYOUTS = {
    "contiguous": {},
    "gzip windows": {"chunks": (8, 12, 14, 3), "compression": "gzip"},
    "split": {"chunks": (8, 5, 14, 2)},
    "by HDF5": {"chunks": (8, 12, 14, 3), "dtype": "int16", "scaleoffset": 0},
}


def rss():
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def n_open_files():
    gc.collect()  # what earlier tests left may hold some
    return len(os.listdir("/proc/self/fd"))


def n_threads():
    return len(threads_left())


def wait_until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        gc.collect()
        time.sleep(0.01)


def test_many_loaders_at_once(make_file):
    """Twenty, batch by batch in turn, over four files, half of them shared: each is as it would be alone."""
    files = [make_file(n=40, name=f"{k}.h5", **layout)[:2] for k, layout in enumerate(LAYOUTS.values())]
    loaders, before = [], n_open_files()
    for k in range(20):
        path, images = files[k % 4]
        io = "mmap" if k >= 16 else "pread"
        loader = Loader(path, 4, None, mean=None, labels=None, shuffle=True, shuffle_window=16, seed=k, workers=2, io=io)
        loaders.append((loader, images, iter(loader)))
    for step in range(10):
        for loader, images, iterator in loaders:
            np.testing.assert_array_equal(next(iterator), images[loader.samples(0, step)])
    assert n_threads() == 40
    for loader, _, iterator in loaders:
        assert next(iterator, None) is None
        loader.close()
    assert n_open_files() == before


@pytest.mark.parametrize("how", ["plainly", "in a cycle", "with its iterator", "in Keras"])
def test_a_hundred_forgotten_loaders(make_file, how):
    """Each has 4.7 MB of buffers and, at the end, threads that are at work."""
    path, _, _ = make_file(n=512, height=32, width=32)
    make = pytest.importorskip("fastprep.adapters.keras").Loader if how == "in Keras" else Loader
    files_before, memory_before = n_open_files(), 0

    def use_and_forget():
        loader = make(path, 64, CenterCrop(32), workers=2)
        iterator = loader._next_iterator() if how == "in Keras" else iter(loader)  # which the loader keeps: a cycle
        next(iterator)
        if how == "in a cycle":
            loader.myself = [loader, iterator]
        if how == "with its iterator":
            del loader
            next(iterator)

    for k in range(100):
        use_and_forget()
        if k % 10 == 9:
            gc.collect()
        if k == 19:
            memory_before = rss()
    wait_until(lambda: n_threads() == 0)
    assert n_open_files() == files_before
    assert rss() - memory_before < 60e6  # 80 loaders, 380 MB of buffers; what malloc keeps goes up and down by tens of MB


def test_a_loader_may_end_in_a_thread_of_its_own(make_file):
    """The last reference is that of the batch under way."""
    path, _, _ = make_file()
    reading, go_on = threading.Event(), threading.Event()

    def forget():
        loader = Loader(path, 4, CenterCrop(5), workers=1, labels=None)
        read = loader._dataset.read

        def slow_read(*arguments):
            reading.set()
            go_on.wait(60)
            return read(*arguments)

        loader._dataset.read = slow_read
        loader._pool.submit(loader._pool.generation, loader._source.prepare, 0, 0)

    before = n_open_files()
    forget()
    assert reading.wait(60)
    gc.collect()
    go_on.set()
    wait_until(lambda: n_threads() == 0 and n_open_files() == before)


def test_a_finalizer_may_close_a_loader_in_a_thread_of_its_own(make_file):
    """Garbage is collected on any thread, under any lock; here under those of buffers, files and decoded blocks."""
    path, _, _ = make_file()
    loader = Loader(path, 4, CenterCrop(5), workers=2)
    allocate, problems = loader._pool.memories[0].allocate, []

    class Memory:
        fence, is_kept = None, False

        def allocate(self, n_bytes):
            try:
                with loader._dataset.handles._lock, loader._dataset.image_files.cache._lock:
                    loader.close()
            except BaseException as problem:
                problems.append(problem)
            return allocate(n_bytes)

    loader._pool._buffers[0].memory = Memory()
    with pytest.raises(RuntimeError, match="the loader was closed"):
        list(loader)
    assert problems == []
    wait_until(lambda: n_threads() == 0)


# --- for long

FLAT = """
import gc, os, resource, sys
from fastprep import RandomCrop
from fastprep.loader import Loader
def state():
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize(), len(os.listdir("/proc/self/fd"))
def check(name, before, bound):
    after = state()
    growth = (after[0] - before[0]) / 150
    print(f"{name}: {growth / 1e3:.1f} kB an epoch, {before[1]} and {after[1]} open files")
    assert growth < bound and after[1] == before[1], (name, before, after)
"""


new_python = functools.partial(subprocess.run, capture_output=True, text=True, check=False)


def in_process(script, *arguments, run=new_python):
    source = FLAT + textwrap.dedent(script)
    command = [sys.executable, "-c", source, *map(str, arguments)]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = run(command, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr
    return done


def test_200_epochs_are_flat(make_file):
    """From epoch 50 on less than 8 kB an epoch; a buffer that is lost each epoch would be 32 kB, a block 16 kB."""
    script = """
    for path in sys.argv[1:]:
        for io in ("pread", "mmap"):
            options = {"shuffle": True, "shuffle_window": 16, "workers": 2, "io": io}
            with Loader(path, 16, RandomCrop(12, mirror=True), **options) as loader:
                for epoch in range(200):
                    if epoch == 50: before = state()
                    for batch in loader: pass
                check(f"{path} {io}", before, 8e3)
    """
    in_process(script, *(make_file(n=64, name=f"{k}.h5", **layout)[0] for k, layout in enumerate(LAYOUTS.values())))


def test_200_epochs_of_fit_are_flat(make_file):
    """With validation, as Keras does it; what Keras keeps itself, its history, is some of the bound of 20 kB an epoch."""
    pytest.importorskip("keras")
    script = """
    import fastprep, keras
    train = fastprep.Loader(sys.argv[1], 16, RandomCrop(12), shuffle=True, workers=2)
    val = fastprep.Loader(sys.argv[1], 64, fastprep.CenterCrop(12), workers=1)
    model = keras.Sequential([keras.Input((12, 12, 3)), keras.layers.Flatten(), keras.layers.Dense(3)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss)
    model.fit(train, validation_data=val, epochs=50, verbose=0)
    before = state()
    model.fit(train, validation_data=val, epochs=150, verbose=0)
    check("fit", before, 20e3)
    assert train.stats()["buffers"] <= 2 + 2 + 2
    """
    in_process(script, make_file(n=64)[0], run=warm_python.run)


# --- the end of the interpreter

BEGIN = """
import atexit, os, sys, threading, time
from fastprep import CenterCrop
from fastprep.loader import Loader
loader = Loader(sys.argv[1], 2, CenterCrop(5), workers=3)
iterator = iter(loader)
next(iterator)
"""
ENDS = {
    "with an epoch under way": "",
    "in a cycle": "loader.myself = [loader, iterator]; del loader, iterator",
    "with a batch in hand": "batch = next(iterator); del loader",
    "while a thread reads": """
        def read():
            while True:
                for batch in loader: pass
        threading.Thread(target=read, daemon=True).start()
        time.sleep(0.1)
    """,
    "while a thread reads that is waited for": """
        def read():
            for epoch in range(3):
                assert sum(len(y) for x, y in loader) == 200
            assert loader.next_epoch == 4
            with Loader(sys.argv[1], 7, CenterCrop(5)) as other:  # which begins when the main thread is done
                assert sum(len(y) for x, y in other) == 200
            os._exit(0)  # a thread that fails does not change the status
        threading.Thread(target=read).start()
        sys.exit(1)
    """,
    "and a function at the end reads": """
        def read():
            assert sum(len(y) for x, y in loader) == 200
        atexit.register(read)
    """,
    "by sys.exit": "sys.exit(0)",
}


@pytest.mark.parametrize("how", ENDS)
def test_the_interpreter_ends(make_file, how):
    """Nothing is printed, nothing hangs, and the exit status is 0."""
    path, _, _ = make_file(n=200)
    source = BEGIN + textwrap.dedent(ENDS[how])
    done = subprocess.run([sys.executable, "-c", source, str(path)], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)
