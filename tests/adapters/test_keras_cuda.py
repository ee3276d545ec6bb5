"""Keras and batches on a GPU, with a stand-in for the GPU, and for what TensorFlow knows of one."""

import logging

import fake_cupy
import h5py
import numpy as np
import pytest

keras = pytest.importorskip("keras")
from keras_backend import needs_tensorflow  # noqa: E402

needs_tensorflow("these are TensorFlow's devices and tensors")
import tensorflow as tf  # noqa: E402
import two_inputs  # noqa: E402
from device_tensors import Gpus  # noqa: E402
from dlpack_tensors import dtype_of, look_into  # noqa: E402
from small_model import small_model  # noqa: E402

import fastprep  # noqa: E402
from fastprep.adapters import tensorflow  # noqa: E402
from fastprep.pipeline.buffers import ALIGNMENT  # noqa: E402

pytestmark = pytest.mark.usefixtures("no_thread_left")


@pytest.fixture
def path(make_file):
    return make_file()[0]


@pytest.fixture
def consumed(monkeypatch, stand_in):
    """TensorFlow reads the device's memory at once, and lets go of the capsule; what it was told is listed."""
    told = []

    def from_dlpack(capsule):
        tensor = look_into(capsule)
        shape = tuple(tensor.shape[: tensor.ndim])
        told.append((tensor.device_type, tensor.device_id, tensor.data % ALIGNMENT, tensor.byte_offset))
        return tf.constant(stand_in.content(tensor.data, shape, dtype_of(tensor), 0))

    monkeypatch.setattr(tf.experimental.dlpack, "from_dlpack", from_dlpack)
    return told


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_fit_is_the_same_as_on_the_cpu(path, monkeypatch, stand_in, request, dtype):
    Gpus(monkeypatch)
    options = {"crop": fastprep.RandomCrop(8, mirror=True), "shuffle": True, "class_weight": {0: 0.5}, "dtype": dtype}
    with fastprep.Loader(path, 5, device="cpu", **options) as loader:
        wanted = small_model().fit(loader, epochs=3, verbose=0).history
    told = request.getfixturevalue("consumed")
    with fastprep.Loader(path, 5, device="cuda", **options) as loader:
        assert small_model().fit(loader, epochs=3, verbose=0).history == wanted
    assert told == [(2, 0, 0, 0)] * (3 * 5 * 3)  # kDLCUDA; x, labels and weights


def test_fit_on_two_inputs_is_the_same_as_on_the_cpu(path, monkeypatch, stand_in, request):
    Gpus(monkeypatch)
    options = {"crop": fastprep.RandomResizedCrop(8), "shuffle": True, "class_weight": {0: 0.5}, **two_inputs.OPTIONS}
    with fastprep.Loader(path, 5, device="cpu", **options) as loader:
        wanted = two_inputs.two_input_model().fit(loader, epochs=2, verbose=0).history
    told = request.getfixturevalue("consumed")
    with fastprep.Loader(path, 5, device="cuda", **options) as loader:
        assert two_inputs.two_input_model().fit(loader, epochs=2, verbose=0).history == wanted
    assert told == [(2, 0, 0, 0)] * (2 * 5 * 4)  # both inputs, labels and weights


def test_fit_waits_for_tensorflow_and_allocates_nothing_after_the_first_batch(path, monkeypatch, stand_in, consumed):
    Gpus(monkeypatch)
    waits, allocated = [], []
    sync = tf.raw_ops.SyncDevice
    monkeypatch.setattr(tf.raw_ops, "SyncDevice", lambda: waits.append(1) or sync())
    taken = tensorflow.to_tensors

    def noting(*arguments):
        allocated.append(stand_in.calls["malloc"] + stand_in.calls["hostAlloc"])
        return taken(*arguments)

    monkeypatch.setattr(tensorflow, "to_tensors", noting)
    with fastprep.Loader(path, 5, fastprep.CenterCrop(8), device="cuda", workers=1, prefetch=0) as loader:
        small_model().fit(loader, epochs=3, verbose=0)
        assert len(waits) > 3
        assert stand_in.calls["Device.synchronize"] == stand_in.calls["free"] == 0
        assert len({*allocated}) == 1


def test_a_capsule_carries_the_number_that_tensorflow_counts(path, monkeypatch):
    Gpus(monkeypatch, physical=3, visible=[0, 2])
    with fake_cupy.installed(n_devices=3), fastprep.Loader(path, 4, None, labels=None, device="cuda:2") as loader:
        seen = []
        monkeypatch.setattr(tf.experimental.dlpack, "from_dlpack", lambda capsule: seen.append(look_into(capsule).device_id))
        batch = loader._source.prepare(0, 0)
        tensorflow.to_tensors(batch, "float32")
        assert seen == [1]
        del batch


def test_devices_of_other_processes_do_not_count(monkeypatch):
    Gpus(monkeypatch, elsewhere=["/job:worker/replica:0/task:1/device:GPU:0"])
    assert tensorflow.tensorflow_index(0) == 0


@pytest.mark.parametrize(
    "gpus", [{"physical": 0}, {"physical": 2, "visible": [0]}, {"physical": 2, "logical": 1}, {"physical": 2, "logical": 4}]
)
def test_a_device_that_tensorflow_does_not_use_never_gets_a_capsule(path, monkeypatch, gpus):
    """TensorFlow frees the capsule of an unknown device twice."""
    Gpus(monkeypatch, **gpus)
    monkeypatch.setattr(tf.experimental.dlpack, "from_dlpack", lambda capsule: pytest.fail("handed over"))
    with (
        fake_cupy.installed(n_devices=2),
        fastprep.Loader(path, 4, fastprep.CenterCrop(8), device="cuda:1") as loader,
        pytest.raises(RuntimeError, match="batches are made on cuda:1, which TensorFlow does not use, or not as one device"),
    ):
        small_model().fit(loader, verbose=0)


def test_auto_asks_tensorflow_too(path, monkeypatch, stand_in, caplog):
    with caplog.at_level(logging.INFO, "fastprep"), fastprep.Loader(path, 4, fastprep.CenterCrop(8)) as loader:
        assert loader.stats()["device"] == "cpu"
    assert "batches are made on the CPU: TensorFlow sees no GPU" in caplog.text
    Gpus(monkeypatch)
    with fastprep.Loader(path, 4, fastprep.CenterCrop(8)) as loader:
        assert loader.stats()["device"] == "cuda:0"


def test_labels_of_int32_stay_on_the_host(path, monkeypatch, stand_in, consumed):
    """TensorFlow computes with int32 on the host, and would copy such labels back from the GPU."""
    Gpus(monkeypatch)
    with h5py.File(path, "r+") as file:
        labels = file["labels"][...]
        del file["labels"]
        file["labels"] = labels.astype(np.int32)
    with fastprep.Loader(path, 5, fastprep.CenterCrop(8), device="cuda") as loader:
        _, y = next(loader.tensors())
        assert y.numpy().tolist() == labels[:5].tolist()
        assert y.dtype == tf.int32
    assert len(consumed) == 1


# --- who has the GPU's memory


def test_tensorflow_is_made_to_leave_memory(path, monkeypatch, stand_in):
    gpus = Gpus(monkeypatch, physical=2)
    fastprep.Loader(path, 4, None, device="cpu").close()
    assert gpus.growth == {0: None, 1: None}
    fastprep.Loader(path, 4, None, device="cuda").close()
    assert gpus.growth == {0: True, 1: True}  # TensorFlow wants all of them alike


def test_too_late_is_a_warning(monkeypatch, caplog):
    gpus = Gpus(monkeypatch)
    gpus.failure = RuntimeError("Physical devices cannot be modified after being initialized")
    tensorflow.leave_memory()
    assert "TensorFlow was in use before this loader was made" in caplog.text
    assert "TF_FORCE_GPU_ALLOW_GROWTH=true" in caplog.text


def test_what_somebody_has_decided_stays(monkeypatch, caplog):
    gpus = Gpus(monkeypatch)
    gpus.failure = ValueError("Cannot set memory growth on device when virtual devices configured")
    tensorflow.leave_memory()
    gpus.failure = RuntimeError("too late")
    gpus.growth[0] = True
    tensorflow.leave_memory()
    gpus.growth[0] = None
    monkeypatch.setenv("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    tensorflow.leave_memory()
    assert caplog.text == ""
