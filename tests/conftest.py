"""Fixtures: backends, images, and small files of every layout."""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("MPLBACKEND", "agg")
if "PYTEST_XDIST_WORKER" in os.environ:  # the other processes have work for the other cores
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")

import gc
import signal
from pathlib import Path

import fake_cupy
import h5py
import hypothesis
import numpy as np
import pytest
from optional_libraries import choose_backend, missing_in_tests, missing_library
from threads import threads_left

from fastprep.errors import DeviceUnavailableError
from fastprep.kernels._cpu import supported_versions
from fastprep.kernels.device import Gpu

CPU_VERSIONS = ["portable", "avx2", "avx512"]
TESTS = Path(__file__).parent
# `pytest -m quick`: the core of every folder, without TensorFlow's training
QUICK = {
    ".": [
        "cli",
        "sampling",
        "transforms",
        "test_loader.py",
        "test_package.py",
        "test_reference.py",
        "test_show.py",
        "test_targets.py",
    ],
    "adapters": ["test_keras_cuda.py"],
    "building": ["test_decode.py"],
    "dataset": [f"test_{name}.py" for name in ("corrupt", "dataset", "drawing", "part", "shuffling")],
    "encoded": ["test_decode.py", "test_headers.py", "test_jpeg.py", "test_kinds.py", "test_parts.py"],
    "h5": [f"test_{name}.py" for name in ("bad_files", "blocks", "cache", "filters", "header_checks", "metadata", "reader")],
    "kernels": ["test_checks.py", "test_crop.py", "test_cuda_plan.py", "test_masks.py"],
    "pipeline": ["test_backends.py", "test_buffers.py"],
    "training": ["test_config.py", "distributed/test_cluster.py", "distributed/test_rendezvous.py"],
}

hypothesis.settings.register_profile("fastprep", deadline=None)  # a busy machine is not a failure
hypothesis.settings.load_profile("fastprep")


def pytest_configure(config):
    """Hide GPUs from all tests but those for them, which `pytest -m gpu` runs: "auto" and TensorFlow would take one.

    Then choose a backend of Keras that is installed.
    """
    if config.option.markexpr.strip() != "gpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    choose_backend()
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # shells start what is in the background so, and processes inherit it
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)  # of pytest-xdist, which `pytest -n 2` needs
def pytest_xdist_make_scheduler(config, log):
    """Give each process neighbouring tests, which share fixtures, until one has none left."""
    from xdist.scheduler import WorkStealingScheduling

    return WorkStealingScheduling(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    """Skip a module of tests that needs a library which is not installed, instead of ending the whole run."""
    report = yield
    if report.failed and (name := missing_library(report.call.excinfo.value)):
        report.outcome, report.longrepr = "skipped", (str(collector.path), 1, f"Skipped: {name} is not installed")
        del report.call
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Skip a test that imports a library which is not installed, by itself or by its fixtures."""
    report = yield
    if report.failed and (name := missing_in_tests(call.excinfo.value)):
        report.outcome, report.longrepr = "skipped", (str(item.path), item.location[1] + 1, f"Skipped: {name} is not installed")
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Mark the quick tests; skip the large ones unless they were asked for: compiling their networks takes most of a minute."""
    quick = [TESTS / folder / name for folder, names in QUICK.items() for name in names]
    for item in items:
        if any(item.path == part or part in item.path.parents for part in quick):
            item.add_marker("quick")
    if os.environ.get("FASTPREP_TESTS") == "all":
        return
    skip = pytest.mark.skip(reason="large: FASTPREP_TESTS=all runs it, as continuous integration does")
    for item in items:
        if "large" in item.keywords:
            item.add_marker(skip)


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Do not look for garbage while tests are collected, and with them TensorFlow is imported: there is none."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


def pytest_collection_finish():
    """Keep TensorFlow's objects, a million of them, out of each collection of garbage that a test makes."""
    gc.collect()
    gc.freeze()


def host(array):
    """Return an array as one of numpy, wherever it lies."""
    return array.get() if hasattr(array, "get") else array


def on_device(array, device):
    """Return a numpy array, or on a GPU one of cupy with the same contents."""
    if device == "cpu":
        return array
    import cupy

    return cupy.asarray(array)


def use_cpu_kernel(version, monkeypatch):
    """Have a version of the CPU kernel do the work, with small batches, too, written around the caches; skip if it can't."""
    if version not in supported_versions():
        pytest.skip(f"this processor does not run the {version} version of the kernel")
    monkeypatch.setenv("FASTPREP_CPU_KERNEL", version)
    monkeypatch.setattr("fastprep.kernels.spec.stream_bytes", lambda: 0)


@pytest.fixture
def gpu():
    """The first GPU; where there is none the test is skipped, and says why."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") == "-1":
        pytest.skip("GPUs are hidden from these tests; `pytest -m gpu` runs them")
    try:
        return Gpu(0)
    except DeviceUnavailableError as error:
        pytest.skip(f"no GPU: {error}")


@pytest.fixture(params=[*(f"cpu-{version}" for version in CPU_VERSIONS), pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request, monkeypatch):
    """Every backend there is; the same test runs for each."""
    if request.param == "cuda":
        return str(request.getfixturevalue("gpu"))
    use_cpu_kernel(request.param.removeprefix("cpu-"), monkeypatch)
    return "cpu"


@pytest.fixture
def stand_in():
    """A GPU that does everything as late as it may; see fake_cupy.py."""
    with fake_cupy.installed() as machine:
        yield machine
        assert machine.error is None


@pytest.fixture(params=["cpu", "cuda-stand-in"])
def backend(request):
    """Loaders of a test make their batches on the CPU, then on the stand-in for a GPU; `host` brings them to numpy."""
    if request.param == "cpu":
        yield "cpu"
        return
    machine = request.getfixturevalue("stand_in")
    yield "cuda:0"
    assert machine.calls["launch"] or machine.calls["hostAlloc"]  # that is what "auto" took


@pytest.fixture
def rng():
    return np.random.default_rng(20120930)


@pytest.fixture
def make_file(tmp_path, rng):
    """Return a function that writes an image file and returns (path, images, labels)."""

    def make(n=23, height=12, width=14, channels=3, dtype="uint8", name="images.h5", mean=True, **layout):
        path = tmp_path / name
        shape = (n, height, width, channels) if channels else (n, height, width)
        images = rng.integers(0, 256, shape).astype(dtype)
        labels = rng.integers(0, 3, n)
        with h5py.File(path, "w") as file:
            file.create_dataset("images", data=images, **layout)
            file["labels"] = labels
            if mean:
                file["images"].attrs["mean"] = np.linspace(90, 120, max(channels, 1))
        return path, images, labels

    return make


@pytest.fixture
def make_damaged_file(make_file):
    """Return a function that writes a gzip file, changes a byte inside chunk 17, and returns its path."""

    def make(n, per_chunk, place):
        path, _, _ = make_file(n=n, chunks=(per_chunk, 12, 14, 3), compression="gzip")
        with h5py.File(path, "r") as file:
            offset = file["images"].id.get_chunk_info(17).byte_offset + place
        content = bytearray(path.read_bytes())
        content[offset] ^= 0x55
        path.write_bytes(content)
        return path

    return make


@pytest.fixture
def hangups():
    """Let SIGHUP end what the test starts, though the tests themselves may run under nohup, which has it ignored."""
    before = signal.getsignal(signal.SIGHUP)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture
def no_thread_left():
    """Fail a test that leaves a thread of fastprep behind."""
    yield
    assert threads_left() == []
