"""On a GPU: `pytest -m gpu`. The kernel's bits, batches under real concurrency, and the address that a training step sees."""

import numpy as np
import pytest
import reference
from conftest import host
from crop_cases import assert_same_bits, random_table

from fastprep import CenterCrop, RandomCrop
from fastprep.diagnostics.gpu import differences
from fastprep.kernels import crop
from fastprep.loader import Loader
from fastprep.pipeline.buffers import ALIGNMENT, capsule_address

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("gpu", "no_thread_left")]


@pytest.fixture
def tf():
    """TensorFlow, if it sees the GPU, too."""
    pytest.importorskip("keras")
    tensorflow = pytest.importorskip("tensorflow")
    if not tensorflow.config.list_physical_devices("GPU"):
        pytest.skip("TensorFlow sees no GPU")
    return tensorflow


def test_the_doctors_comparison(gpu):
    assert differences(gpu, 120, seed=1) == (120 * 16, [])


@pytest.mark.parametrize("layout", ["channels_last", "channels_first"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("source", ["uint8", "uint16", "float32", "float64"])
def test_equals_the_oracle_on_random_cases(rng, source, dtype, layout):
    for _ in range(8):
        height, width, channels = (int(k) for k in (*rng.integers(1, 90, 2), rng.choice([1, 2, 3, 4, 5, 100])))
        size = (int(rng.integers(1, height + 1)), int(rng.integers(1, width + 1)))
        images = rng.integers(0, 256, (3, height, width, channels)).astype(source)
        mean = [None, rng.uniform(0, 255, channels), rng.uniform(0, 255, images.shape[1:])][rng.integers(3)]
        table = random_table(rng, 3, 7, height, width, *size)
        arguments = (images, table, size, mean, [None, 1 / 255][rng.integers(2)], dtype, layout)
        assert_same_bits(host(crop(*arguments, device="cuda")), reference.crop(*arguments))


def test_numbers_that_are_subnormal_stay(rng):
    """CuPy compiles with -ftz=true."""
    images = (rng.standard_normal((1, 16, 16, 3)) * 1e-40).astype(np.float32)
    arguments = (images, np.array([[0, 0, 0, 1]]), (16, 16), [1e-41, 0.0, -1e-42], [0.5, 2.0, 1.0])
    assert_same_bits(host(crop(*arguments, device="cuda")), reference.crop(*arguments))


@pytest.mark.parametrize("layout", ["channels_last", "channels_first"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_standardised_images_equal_the_oracle(rng, dtype, layout):
    for scale in (1.0, 1e-38, 1e30):
        images = (rng.standard_normal((3, 90, 80, 3)) * scale).astype(np.float32)
        table = random_table(rng, 3, 7, 90, 80, 77, 71)
        made = reference.crop(images, table, (77, 71), layout=layout)
        wanted = np.stack([reference.standardized(image) for image in made]).astype(reference.DTYPES[dtype])
        got = crop(images, table, (77, 71), dtype=dtype, layout=layout, standardize=True, device="cuda")
        assert_same_bits(host(got), wanted)


@pytest.mark.parametrize("workers", [1, 4])
def test_batches_are_those_of_the_cpu(make_file, workers):
    path, _, _ = make_file(n=203, height=64, width=70)
    options = {"crop": RandomCrop(57, mirror=True, flip=True), "shuffle": True, "workers": workers}
    with Loader(path, 16, **options, device="cpu") as one, Loader(path, 16, **options, device="cuda") as other:
        for _ in range(3):
            for (x, y), (x_there, y_there) in zip(one, other, strict=True):
                assert x_there.data.ptr % ALIGNMENT == 0
                np.testing.assert_array_equal(x_there.get(), x)
                np.testing.assert_array_equal(y_there, y)


def test_what_tensorflow_reads_later_is_still_there(tf, make_file):
    """Work is queued on each batch, and the batch is released at once; its buffer is reused while the work may still run."""
    from fastprep.adapters import keras as keras_adapter
    from fastprep.adapters import tensorflow as tensorflow_adapter

    path, _, _ = make_file(n=64, height=256, width=256)
    options = {"crop": RandomCrop(227, mirror=True), "shuffle": True, "workers": 4, "prefetch": 2}
    with Loader(path, 16, **options, device="cpu") as loader:
        wanted = [x.sum(axis=(1, 2, 3), dtype=np.float64) for _ in range(20) for x, _ in loader]
    tensorflow_adapter.leave_memory()
    with keras_adapter.Loader(path, 16, **options, device="cuda") as loader:
        sums, ballast = [], tf.random.normal((4096, 4096))
        for _ in range(20):
            for x, _y in loader.get_tf_dataset():
                assert x.device.endswith("GPU:0")
                for _ in range(4):  # keep the stream busy, so that what follows is late
                    ballast = tf.linalg.matmul(ballast, ballast) * 1e-4
                sums.append(tf.reduce_sum(tf.cast(x, tf.float64), axis=(1, 2, 3)))
                del x
        for got, right in zip(sums, wanted, strict=True):
            np.testing.assert_allclose(got.numpy(), right, rtol=1e-9)  # sums of float64 in a different order


def test_the_training_step_sees_the_memory_the_kernel_wrote(tf, make_file):
    import keras

    from fastprep.adapters import keras as keras_adapter

    path, _, _ = make_file(n=23)
    seen, written = [], []

    class Spy(keras.Sequential):
        def train_step(self, data):
            seen.append(capsule_address(tf.experimental.dlpack.to_dlpack(data[0])))
            return super().train_step(data)

    with keras_adapter.Loader(path, 4, CenterCrop(8), device="cuda") as loader:
        prepare = loader._source.prepare

        def noting(epoch, step):
            batch = prepare(epoch, step)
            written.append(((epoch, step), batch.lease.address))
            return batch

        loader._source.prepare = noting
        model = Spy([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(3)])
        model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), run_eagerly=True)
        model.fit(loader, epochs=2, verbose=0)
    assert seen == [address for _, address in sorted(written)]
