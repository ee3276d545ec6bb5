"""Batches of several inputs on a GPU: right on every schedule, all arrays of a batch in one buffer, and none left unfinished.

There is no GPU here: `fake_cupy.py` stands in for one.
"""

import itertools

import fake_cupy
import h5py
import numpy as np
import pytest
from augmentations import Brighter, Corner, Halves
from fake_consumers import LIBRARIES, OnTwo, hand_to, is_right, without_waiting_in
from fake_cupy import Schedule
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastprep import CenterCrop, RandomCrop, RandomResizedCrop
from fastprep.loader import Loader
from fastprep.pipeline.buffers import ALIGNMENT

pytestmark = pytest.mark.usefixtures("no_thread_left")

N = 23
NAMES = ("rgb", "depth", "layers")
OPTIONS = {
    "images": {"rgb": "images", "depth": "depth", "layers": "layers"},
    "mean": {"rgb": "file", "depth": None, "layers": 1},
    "scale": {"rgb": 1 / 64, "depth": 0.001, "layers": None},
    "dtype": {"rgb": "bfloat16", "depth": "float16", "layers": "float32"},
    "shuffle": True,
    "seed": 3,
}


@pytest.fixture
def path(make_file, rng):
    path, _, _ = make_file(n=N)
    with h5py.File(path, "r+") as file:
        file["depth"] = rng.integers(0, 60000, (N, 12, 14)).astype("uint16")
        file["layers"] = rng.normal(0, 50, (N, 12, 14, 2)).astype("float64")
    return path


SCHEDULES = st.builds(
    Schedule, eagerness=st.sampled_from([0, 0.1, 0.5, 0.9]), readers_first=st.booleans(), seed=st.integers(0, 1 << 30)
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    schedule=SCHEDULES,
    library=st.sampled_from(sorted(LIBRARIES)),
    keep=st.integers(0, 4),
    workers=st.integers(1, 3),
    batch_size=st.integers(2, 9),
    crop=st.sampled_from([RandomCrop((5, 6), mirror=True), RandomResizedCrop(5)]),
    augmented=st.sampled_from([{}, {"color": {"rgb": Brighter(0.1)}, "erase": Corner(), "blend": Halves(), "num_classes": 3}]),
    layout=st.sampled_from(["channels_last", "channels_first"]),
)
def test_every_array_is_right_for_every_library(path, schedule, library, keep, augmented, **options):
    with fake_cupy.installed(schedule) as machine:
        read, wanted = hand_to(library, machine, path, keep=keep, **OPTIONS, **augmented, **options)
        assert machine.spoilt == []
        assert machine.error is None
        assert is_right(read, wanted)
        assert {region.device for region in machine.regions.values()} <= {None}  # the device's memory is given back


@pytest.mark.parametrize("function", ["_Staging.wait", "StreamFence.wait"])
def test_no_wait_can_be_left_out(path, function):
    options = {**OPTIONS, "batch_size": 2, "crop": RandomCrop(5), "workers": 1, "prefetch": 0, "check_finite": False}
    with fake_cupy.installed() as machine:
        assert is_right(*hand_to("torch", machine, path, **options))
    with fake_cupy.installed() as machine, without_waiting_in(machine, function):
        assert not is_right(*hand_to("torch", machine, path, **options))


def test_parts_on_two_devices_have_all_inputs(path):
    with Loader(path, 6, RandomCrop(5), **OPTIONS, device="cpu") as loader:
        wanted = [x for x, _ in [loader.batch(0, step) for step in range(len(loader))]]
    with fake_cupy.installed(n_devices=2) as machine, OnTwo(path, 6, RandomCrop(5), **OPTIONS) as loader:
        for parts, x in zip(loader, wanted, strict=True):
            for number, (part, _) in enumerate(parts):
                for name in NAMES:
                    rows = x[name][number * 3 : number * 3 + 3]
                    assert part[name].device.id == number
                    assert part[name].get().tobytes() == rows.tobytes()
        assert machine.error is None


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_all_inputs_of_a_batch_lie_apart_in_one_buffer(path, stand_in, device):
    with Loader(path, 5, CenterCrop((3, 7)), **OPTIONS, device=device) as loader:
        batch = loader._source.make(0, 0)
        places = sorted((batch.offsets[name], batch.offsets[name] + batch.x[name].nbytes) for name in NAMES)
        assert list(batch.offsets) == list(NAMES)
        assert all(start % ALIGNMENT == 0 for start, _ in places)
        assert all(end <= start for (_, end), (start, _) in itertools.pairwise(places))
        assert places[-1][1] <= batch.lease.n_bytes
        assert loader._pool.n_buffers == 1
    assert stand_in.calls["launch"] == (0 if device == "cpu" else len(NAMES))


def test_labels_and_weights_lie_behind_all_inputs(path):
    options = {**OPTIONS, "batch_size": 5, "crop": CenterCrop(5), "class_weight": {0: 0.5}}
    with fake_cupy.installed() as machine:
        read, wanted = hand_to("JAX", machine, path, **options)
        assert is_right(read, wanted)
        assert len(read) == 2 * 5 * (len(NAMES) + 2)


def test_what_is_reserved_is_all_that_an_iteration_needs(path):
    options = {**OPTIONS, "blend": Halves(), "num_classes": 3, "workers": 1, "prefetch": 0}
    with fake_cupy.installed() as machine, Loader(path, 4, RandomCrop(5), **options, device="cuda") as loader:
        loader._source.reserve()
        before = {name: machine.calls[name] for name in ("malloc", "hostAlloc", "RawModule")}
        for batch in loader._epoch_iterator():
            assert np.isfinite(batch.x["depth"].get().astype("float32")).all()
            del batch
        assert {name: machine.calls[name] for name in before} == before
