"""Keras and batches on a GPU, with a stand-in for the GPU, and for what TensorFlow knows of one."""

import ctypes
import logging
from types import SimpleNamespace

import fake_cupy
import numpy as np
import pytest
from test_feed import small_model

import fastprep
from fastprep.buffers import ALIGNMENT

keras = pytest.importorskip("keras")
tf = pytest.importorskip("tensorflow")
from fastprep import tensors  # noqa: E402

pytestmark = pytest.mark.usefixtures("no_thread_left")


@pytest.fixture
def path(make_file):
    return make_file()[0]


class Gpus:
    """What TensorFlow says of its GPUs: `physical` of them, of which it may see some."""

    def __init__(self, monkeypatch, physical=1, visible=None, logical=None, elsewhere=()):
        named = [SimpleNamespace(name=f"/physical_device:GPU:{number}") for number in range(physical)]
        seen = named if visible is None else [named[number] for number in visible]
        self.growth = dict.fromkeys(range(physical))
        self.failure = None
        really = tf.config.list_physical_devices
        monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: named if kind == "GPU" else really(kind))
        monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind=None: seen)
        names = [f"/device:GPU:{number}" for number in range(len(seen) if logical is None else logical)] + list(elsewhere)
        listed = [SimpleNamespace(name=name) for name in names]
        monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind=None: listed)
        monkeypatch.setattr(tf.config.experimental, "get_memory_growth", lambda gpu: self.growth[named.index(gpu)])
        monkeypatch.setattr(tf.config.experimental, "set_memory_growth", lambda gpu, to: self._set(named.index(gpu), to))
        monkeypatch.delenv("TF_FORCE_GPU_ALLOW_GROWTH", raising=False)

    def _set(self, number, to):
        if self.failure is not None:
            raise self.failure
        self.growth[number] = to


class DLTensor(ctypes.Structure):
    """https://dmlc.github.io/dlpack/latest/c_api.html"""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


def look_into(capsule):
    """Return the DLTensor of a capsule that nobody has consumed."""
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    return DLTensor.from_address(pointer(capsule, b"dltensor"))


@pytest.fixture
def consumed(monkeypatch, stand_in):
    """TensorFlow reads the device's memory at once, and lets go of the capsule; what it was told is listed."""
    told = []

    def from_dlpack(capsule):
        tensor = look_into(capsule)
        shape, dtype = tuple(tensor.shape[: tensor.ndim]), {16: "float16", 32: "float32"}[tensor.bits]
        told.append((tensor.device_type, tensor.device_id, tensor.data % ALIGNMENT, tensor.byte_offset))
        return tf.constant(stand_in.content(tensor.data, shape, np.dtype(dtype), 0))

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
    assert told == [(2, 0, 0, 0)] * (3 * 5)  # kDLCUDA


def test_a_capsule_carries_the_number_that_tensorflow_counts(path, monkeypatch):
    Gpus(monkeypatch, physical=3, visible=[0, 2])
    with fake_cupy.installed(n_devices=3), fastprep.Loader(path, 4, None, device="cuda:2") as loader:
        seen = []
        monkeypatch.setattr(tf.experimental.dlpack, "from_dlpack", lambda capsule: seen.append(look_into(capsule).device_id))
        batch = loader.prepare(0, 0)
        tensors.to_tensor(batch, "float32")
        assert seen == [1]
        del batch


def test_devices_of_other_processes_do_not_count(monkeypatch):
    Gpus(monkeypatch, elsewhere=["/job:worker/replica:0/task:1/device:GPU:0"])
    assert tensors.tensorflow_index(0) == 0


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
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with fastprep.Loader(path, 4, fastprep.CenterCrop(8)) as loader:
        assert loader.stats()["device"] == "cpu"
    with (
        fastprep.Loader(path, 4, fastprep.CenterCrop(8), device="cuda") as loader,
        pytest.raises(NotImplementedError, match=r"to Keras' TensorFlow backend only \(this is jax\): use device=\"cpu\""),
    ):
        loader.get_jax_iterator()


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
    tensors.leave_memory()
    assert "TensorFlow was in use before this loader was made" in caplog.text
    assert "TF_FORCE_GPU_ALLOW_GROWTH=true" in caplog.text


def test_what_somebody_has_decided_stays(monkeypatch, caplog):
    gpus = Gpus(monkeypatch)
    gpus.failure = ValueError("Cannot set memory growth on device when virtual devices configured")
    tensors.leave_memory()
    gpus.failure = RuntimeError("too late")
    gpus.growth[0] = True
    tensors.leave_memory()
    gpus.growth[0] = None
    monkeypatch.setenv("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    tensors.leave_memory()
    assert caplog.text == ""
