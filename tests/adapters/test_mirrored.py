"""MirroredStrategy: a buffer for each replica, without a copy, and the same training as with `tf.data`."""

import json
import os
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace

import fake_cupy
import h5py
import numpy as np
import pytest
import warm_python

pytest.importorskip("keras")
from keras_backend import needs_tensorflow

needs_tensorflow("a MirroredStrategy is TensorFlow's")
from device_tensors import Gpus  # noqa: E402

from fastprep.adapters import mirrored  # noqa: E402
from fastprep.adapters.tensorflow import cuda_number  # noqa: E402
from fastprep.errors import DeviceUnavailableError  # noqa: E402
from fastprep.kernels import CropSpec  # noqa: E402
from fastprep.pipeline.backends import CpuBackend  # noqa: E402
from fastprep.pipeline.cuda import CudaBackend  # noqa: E402

SUPPORT = Path(__file__).parents[1] / "support"
SPEC = CropSpec((12, 14, 3), "uint8", (5, 6))


def run(*arguments):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = warm_python.run([sys.executable, *arguments], timeout=550, env=environment)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module", params=[2, pytest.param(3, marks=pytest.mark.large)])
def results(request, tmp_path_factory):
    """What `mirrored.py` found: 25 images in batches of 4 or 6, so that all replicas but one get nothing of the last batch."""
    path, random = tmp_path_factory.mktemp("mirrored") / "x.h5", np.random.default_rng(3)
    with h5py.File(path, "w") as file:
        file["images"] = random.integers(0, 256, (25, 12, 14, 3), dtype=np.uint8)
        file["labels"] = random.integers(0, 3, 25)
        file["images"].attrs["mean"] = [90.0, 100.0, 110.0]
    return run(str(SUPPORT / "mirrored.py"), str(path), str(request.param))


TRAININGS = ["plain", "class weights, not built yet", "steps_per_execution", "TenCrop, float16", "two inputs"]


@pytest.mark.parametrize("name", TRAININGS)
def test_training_is_the_same_as_with_tf_data(results, name):
    """History, validation, weights, `evaluate` and `predict`: difference 0."""
    ours, theirs = results[name]
    assert json.dumps(ours) == json.dumps(theirs)  # as text: NaN is NaN


def test_replicas_see_the_memory_the_kernel_wrote_of_the_right_samples(results):
    ours, theirs = results["steps"]
    assert ours == theirs


@pytest.mark.parametrize("name", ["position", "resumed", "what iteration gives", "epochs of one batch"])
def test_what_keras_takes_to_build_the_model_does_not_count(results, name):
    ours, theirs = results[name]
    assert ours == theirs


def test_fastprep_predict(results):
    np.testing.assert_allclose(*results["predict"], rtol=1e-5)  # the mean of ten float32 is taken in another order


@pytest.mark.parametrize("name", ["cuda device", "cuda capsules", "cuda memory", "cuda error", "cuda history"])
def test_parts_are_made_on_the_replicas_own_devices(results, name):
    ours, theirs = results[name]
    assert ours == theirs


def test_a_loader_of_another_strategy_is_refused(make_file):
    """Never train on the whole batch in every replica, or leave a part of it out, in silence."""
    script = f"""
        import contextlib, json
        import tensorflow as tf
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 3)
        import keras, fastprep
        mirrored, found = tf.distribute.MirroredStrategy, {{}}
        strategies = {{
            "two": mirrored(["CPU:0", "CPU:1"]), "three": mirrored(["CPU:0", "CPU:1", "CPU:2"]), "one": mirrored(["CPU:0"]),
            "OneDevice": tf.distribute.OneDeviceStrategy("CPU:0"), "MultiWorker": tf.distribute.MultiWorkerMirroredStrategy(),
            "none": None,
        }}
        def scope(name):
            return strategies[name].scope() if strategies[name] else contextlib.nullcontext()
        models = {{}}
        for name in strategies:
            with scope(name):
                models[name] = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(3)])
                models[name].compile("sgd", "sparse_categorical_crossentropy")
        for of_loader in strategies:
            with scope(of_loader):
                loader = fastprep.Loader({str(make_file(n=24)[0])!r}, 6, fastprep.CenterCrop(8))
            for name, model in models.items():
                for call in (model.fit, model.evaluate, model.predict) if of_loader != name else (model.predict,):
                    for inside in (False, True):
                        with scope(name) if inside else contextlib.nullcontext():
                            try:
                                call(loader, verbose=0)
                                message = "right"
                            except NotImplementedError as error:
                                message = str(error)
                        found[f"{{of_loader}}, {{name}}, {{call.__name__}}, {{inside}}"] = message
        print(json.dumps(found))
    """
    for pair, message in run("-c", textwrap.dedent(script)).items():
        of_loader, of_model = pair.split(", ")[:2]
        parted = of_loader in ("one", "two", "three")
        if of_loader == of_model and (parted or of_loader == "none"):
            assert message == "right", pair
        elif not parted and of_model == "none":
            assert message == "right", pair  # such a loader is made for one device, whatever the scope
        elif parted:
            assert "was made in the scope of a MirroredStrategy with" in message, pair
        else:
            assert "was made for one device, outside the scope of a tf.distribute.MirroredStrategy" in message, pair


def strategy_on(*devices):
    names = tuple(f"/job:localhost/replica:0/task:0/device:{device}" for device in devices)
    return SimpleNamespace(extended=SimpleNamespace(worker_devices=names))


def test_devices_are_those_of_the_strategy(monkeypatch):
    Gpus(monkeypatch, physical=3, visible=[0, 2])
    with fake_cupy.installed(n_devices=3):
        for device in ("auto", "cuda"):
            made = mirrored.replica_backends(strategy_on("GPU:1", "GPU:0"), device, SPEC, 8, 10)
            assert [backend.device for backend in made] == ["cuda:2", "cuda:0"]  # TensorFlow counts the visible ones anew
            assert {(backend.n_images, backend.n_rows) for backend in made} == {(4, 40)}
        few, _ = mirrored.replica_backends(strategy_on("GPU:1", "GPU:0"), "cuda", SPEC, 8, 10, largest_batch=5)
        assert (few.n_images, few.n_rows) == (3, 30)
        mixed = mirrored.replica_backends(strategy_on("GPU:0", "CPU:0"), "auto", SPEC, 8, 1)
        assert [type(backend) for backend in mixed] == [CudaBackend, CpuBackend]
        for names, device in (("GPU:1", "GPU:0"), "cpu"), (("CPU:0", "CPU:1"), "auto"):
            first, second = mirrored.replica_backends(strategy_on(*names), device, SPEC, 8, 1)
            assert first is second
            assert first.device == "cpu"
    with fake_cupy.installed(n_devices=1):
        assert {b.device for b in mirrored.replica_backends(strategy_on("GPU:0", "GPU:1"), "auto", SPEC, 8, 1)} == {"cpu"}
        with pytest.raises(DeviceUnavailableError, match="there is no device cuda:2"):
            mirrored.replica_backends(strategy_on("GPU:0", "GPU:1"), "cuda", SPEC, 8, 1)


@pytest.mark.parametrize(
    ("device", "batch_size", "message"),
    [
        ("auto", 5, "batch_size must be a multiple of 2, the replicas of the strategy .* got 5"),
        (
            "cuda:1",
            4,
            'device must be "auto", "cpu" or "cuda" in the scope of a strategy, which names its devices, got \'cuda:1\'',
        ),
        ("cuda", 4, 'device must be "auto" or "cpu" for a strategy on .*CPU:1.*, got "cuda"'),
    ],
)
def test_arguments_in_a_scope(device, batch_size, message):
    with pytest.raises(ValueError, match=message):
        mirrored.replica_backends(strategy_on("CPU:0", "CPU:1"), device, SPEC, batch_size, 1)


@pytest.mark.parametrize(
    ("device", "gpus"), [("TPU:0", {}), ("GPU:1", {"physical": 1}), ("GPU:0", {"physical": 1, "logical": 2})]
)
def test_what_is_not_a_cuda_device(monkeypatch, device, gpus):
    Gpus(monkeypatch, **gpus)
    with pytest.raises(RuntimeError, match=f"there is no CUDA device for TensorFlow's .*{device}"):
        cuda_number(f"/job:localhost/replica:0/task:0/device:{device}")


def test_a_first_batch_that_keras_could_not_build_a_model_from(make_file):
    script = f"""
        import json
        import tensorflow as tf
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
        import copy, keras, fastprep
        strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
        with strategy.scope():
            model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(3)])
            model.compile("sgd", "sparse_categorical_crossentropy")
            loader = fastprep.Loader({str(make_file(n=7)[0])!r}, 8, fastprep.CenterCrop(8))
        messages = []
        for attempt in (lambda: model.fit(loader, verbose=0), lambda: copy.copy(loader)):
            try:
                attempt()
            except (ValueError, TypeError) as error:
                messages.append(str(error))
        print(json.dumps(messages))
    """
    parts, copied = run("-c", textwrap.dedent(script))
    assert "must have parts of the same size for its 2 replicas, these have [4, 3] rows" in parts
    assert "can't be pickled or copied" in copied
