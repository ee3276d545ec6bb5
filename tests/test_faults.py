"""A loader whose disk, memory or process fails it: right batches or one clear error, no hang, and a loader that goes on."""

import multiprocessing
import os
import pickle
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import h5py
import numpy as np
import pytest
from conftest import host
from damaged_chunks import damage

from fastprep import CenterCrop, RandomCrop
from fastprep.loader import Loader

pytestmark = pytest.mark.usefixtures("no_thread_left")

N = 96


@pytest.fixture
def path(make_file):
    """Images that are all different, with their numbers for labels."""
    path, _, _ = make_file(n=N)
    with h5py.File(path, "r+") as file:
        file["labels"][...] = np.arange(N)
    return path


# --- a slow disk


@pytest.fixture(scope="module")
def preload(tmp_path_factory):
    """A library that makes reading slow."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no C compiler")
    library = tmp_path_factory.mktemp("preload") / "slow_disk.so"
    source = Path(__file__).parent / "support" / "slow_disk.c"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"], check=True)
    return library


SLOW = """
import ctypes, sys, threading, time
import h5py, numpy as np
from fastprep.h5 import resident
from fastprep.loader import Loader
resident.MOST_IMAGE_BYTES = 0  # these images are small, and would be read together
path = sys.argv[1]
process = ctypes.CDLL(None)
delay_us, n_preads = (ctypes.c_long.in_dll(process, name) for name in ("slow_us", "n_preads"))
with h5py.File(path, "r") as file:
    images = file["images"][()]
"""


def slowly(preload, script, path):
    source = SLOW + textwrap.dedent(script)
    environment = {**os.environ, "LD_PRELOAD": str(preload)}
    return subprocess.Popen(
        [sys.executable, "-c", source, str(path)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_batches_of_a_slow_disk_are_right_and_waited_for(path, preload):
    script = """
    with Loader(path, 8, None, mean=None, workers=3, shuffle=True) as loader:
        delay_us.value = 2000
        for step, (x, y) in enumerate(loader):
            assert y.tolist() == loader.samples(0, step).tolist()
            np.testing.assert_array_equal(x, images[y])
        assert loader.stats()["wait_s"] >= 8 * 0.002  # the whole of the first batch, at least
        assert n_preads.value == len(images)
    # a loader that is closed does not begin another batch
    loader = Loader(path, 4, None, mean=None, workers=2, prefetch=50)
    delay_us.value = 100_000
    next(iter(loader))
    before = n_preads.value
    loader.close()
    assert n_preads.value - before <= 2 * 4, "closing reads more than the batches that are under way"
    assert threading.active_count() == 1
    print("good")
    """
    process = slowly(preload, script, path)
    out, errors = process.communicate(timeout=120)
    assert (out, errors, process.returncode) == ("good\n", "", 0)


@pytest.mark.parametrize("where", ["waiting for a batch", "at work on one"])
def test_ctrl_c_on_a_slow_disk(path, preload, where):
    """The process ends with the batches that are under way, not with all that was to be read ahead."""
    script = """
    import atexit, os, signal
    def interrupt(*_):
        os.write(1, b"%d\\n" % n_preads.value)  # print() fails where the signal comes within the print() of "ready"
        raise KeyboardInterrupt
    signal.signal(signal.SIGINT, interrupt)
    atexit.register(lambda: print(n_preads.value, flush=True))  # this comes after the threads have ended
    loader = Loader(path, 2, None, mean=None, workers=2, prefetch=40)
    delay_us.value = 100_000
    """
    if where == "at work on one":
        script += """
    passing = iter(loader)
    next(passing)
    print("ready", flush=True)
    time.sleep(60)
    """
    else:
        script += """
    threading.Timer(0.2, lambda: print("ready", flush=True)).start()
    for batch in loader: pass
    """
    process = slowly(preload, script, path)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGINT
    assert errors.splitlines()[-1] == "KeyboardInterrupt"
    at_once, in_the_end = map(int, out.split())
    assert in_the_end - at_once <= 2 * 2


# --- not enough memory, and other errors in a worker


def in_process(script, *arguments):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.stderr, done.returncode) == ("", 0)
    return done.stdout


def test_no_memory_for_a_batch_or_a_thread(make_file):
    """The address space is limited for real; afterwards the same loader gives what it should."""
    path, _, _ = make_file(n=300, height=100, width=100, channels=3)
    script = """
    import resource, sys, threading
    import h5py, numpy as np
    from fastprep.loader import Loader
    with h5py.File(sys.argv[1], "r") as file:
        images = file["images"][()]
    def limit(n_bytes):
        used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + n_bytes if n_bytes else -1, -1))
    def whole_epoch():
        np.testing.assert_array_equal(np.concatenate([x for x, _ in loader]), images)
    threading.stack_size(1 << 20)
    loader = Loader(sys.argv[1], 256, None, mean=None, workers=2)
    limit(20 << 20)
    for _ in range(2):
        try: list(loader)
        except MemoryError as error: print(error)
    limit(0)
    whole_epoch()
    loader.close()
    threading.stack_size(512 << 20)
    limit(256 << 20)
    try: list(loader)
    except RuntimeError as error: print(error)
    limit(0)
    threading.stack_size(1 << 20)
    whole_epoch()
    loader.close()
    assert threading.active_count() == 1
    """
    no_memory = f"no memory for a batch of {256 * 100 * 100 * 3 * 4} bytes"
    assert in_process(script, path) == f"{no_memory}\n{no_memory}\ncan't start new thread\n"


# --- forks and pickles


def run_in_child(function):
    """Fork, call a function in the child, and return its exit status; a child that hangs is ended by an alarm."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            signal.alarm(60)
            function()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


LAYOUTS = {
    "contiguous": {},
    "gzip": {"chunks": (8, 12, 14, 3), "compression": "gzip"},
    "by HDF5": {"chunks": (8, 12, 14, 3), "dtype": "int16", "scaleoffset": 0},
}


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_forks_while_workers_are_at_work(make_file, layout):
    """Whatever the threads of the parent hold at that moment, the child reads all, and so does the parent."""
    path, images, _ = make_file(n=N, **LAYOUTS[layout])
    with Loader(path, 4, None, mean=None, labels=None, shuffle=True, shuffle_window=16, workers=3, prefetch=4) as loader:

        def whole_epoch():
            loader.set_epoch(1)
            for step, x in enumerate(loader):
                np.testing.assert_array_equal(x, images[loader.samples(1, step)])

        for step, x in enumerate(loader):
            if step % 4 == 1:
                assert run_in_child(whole_epoch) == 0
            np.testing.assert_array_equal(x, images[loader.samples(0, step)])


def locks_of(loader):
    kinds = type(threading.Lock()) | type(threading.RLock()) | threading.Condition
    owners = [loader, loader._pool, *loader._pool._buffers, loader._dataset, loader._dataset.corrupt]
    owners += [loader._dataset.image_files.cache]
    owners += [*loader._dataset.image_files.readers, loader._dataset.handles]
    return [value for one in owners for value in vars(one).values() if isinstance(value, kinds)]


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_fork_under_any_lock(make_file):
    """What a loader locks is unlocked in a child: the threads that would do it are not there."""
    path, _, _ = make_file(n=N, chunks=(8, 12, 14, 3), compression="gzip", fletcher32=True)
    damage(path, [16])
    with Loader(path, 4, CenterCrop(5), workers=2, on_corrupt="skip") as loader:
        next(iter(loader))
        loader.close()
        found = locks_of(loader)
        assert len(found) >= 5
        holding, done = threading.Event(), threading.Event()

        def hold():
            for lock in found:
                lock.acquire()
            holding.set()
            done.wait(60)
            for lock in found:
                lock.release()

        thread = threading.Thread(target=hold)
        thread.start()
        holding.wait(60)

        def use():
            list(loader)
            loader.close()
            assert not {id(lock) for lock in found} & {id(lock) for lock in locks_of(loader)}  # not all of them are taken again

        try:
            assert run_in_child(use) == 0
        finally:
            done.set()
            thread.join()
        assert len(list(loader)) == len(loader)


def test_a_pickle_in_the_middle_of_a_pass(path, backend):
    """Workers are at work and the pass lives: the twin begins with the next epoch, and neither disturbs the other."""
    with Loader(path, 4, RandomCrop(5), shuffle=True, workers=2) as loader:
        passing = iter(loader)
        labels = [next(passing)[1] for _ in range(3)]
        with pickle.loads(pickle.dumps(loader)) as twin:
            assert twin.state_dict() == loader.state_dict()
            for step, (x, y) in enumerate(twin):
                np.testing.assert_array_equal(host(x), host(loader.batch(1, step)[0]))
                np.testing.assert_array_equal(y, loader.samples(1, step))
        labels += [y for _, y in passing]
        np.testing.assert_array_equal(np.concatenate(labels), np.concatenate([loader.samples(0, k) for k in range(len(loader))]))


def _next_epoch(loader, queue):
    with loader:
        queue.put((loader.state_dict(), [y.tolist() for _, y in loader]))


def test_spawned_in_the_middle_of_a_pass(path):
    context = multiprocessing.get_context("spawn")
    with Loader(path, 4, CenterCrop(5), shuffle=True, workers=2) as loader:
        passing = iter(loader)
        next(passing)
        queue = context.Queue()
        process = context.Process(target=_next_epoch, args=(loader, queue))
        process.start()
        state, labels = queue.get(timeout=60)
        process.join(60)
        assert process.exitcode == 0
        assert state == loader.state_dict()
        assert labels == [loader.samples(1, step).tolist() for step in range(len(loader))]
        assert len(list(passing)) == len(loader) - 1
