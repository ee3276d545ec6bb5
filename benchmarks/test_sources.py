"""What other forms of a file and of an epoch cost the loader: other orders of axes, some of the channels, other samplers."""

import h5py
import numpy as np
import pytest

import fastprep

SIZE = 256
WHOLE = "channels last, all of 3"


@pytest.fixture(scope="module")
def sources(tmp_path_factory, n_images):
    """Path of a file whose datasets have the same images in several orders, and such of several channels; how many they have."""
    path = tmp_path_factory.mktemp("sources") / "sources.h5"
    n = max(128, n_images // 4)
    generator = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        for bands in (3, 4, 13):
            last = file.create_dataset(f"last of {bands}", (n, SIZE, SIZE, bands), np.uint8)
            first = file.create_dataset(f"first of {bands}", (n, bands, SIZE, SIZE), np.uint8)
            for k in range(n):
                image = generator.integers(0, 256, (SIZE, SIZE, bands), dtype=np.uint8)
                last[k], first[k] = image, np.moveaxis(image, -1, 0)
        file["columns"] = file["first of 3"][()].swapaxes(2, 3)
        file["labels"] = np.arange(n) % 2
    yield path, n
    path.unlink()


def epoch_of(path, images, **arguments):
    """Return a function that runs an epoch of random patches, half of them mirrored, and returns how many samples it had."""
    crop = fastprep.RandomCrop(227, mirror=True)
    options = {"axes": "NHWC", "shuffle": "sampling" not in arguments} | arguments
    loader = fastprep.Loader(path, 128, crop, images=images, mean=None, device="cpu", **options)
    return lambda: sum(len(x) for x, _ in loader)


@pytest.mark.parametrize("layout", ["channels_last", "channels_first"])
@pytest.mark.parametrize("workers", [1, 2])
def test_orders_of_axes(interleaved, sources, workers, layout):
    path, n = sources
    options = {"workers": workers, "layout": layout}
    epochs = {
        WHOLE: epoch_of(path, "last of 3", **options),
        "channels first": epoch_of(path, "first of 3", axes="NCHW", **options),
        "channels first, columns first": epoch_of(path, "columns", axes="NCWH", **options),
    }
    title = f"orders of axes to {layout.replace('_', ' ')}, {workers} worker{'s' * (workers > 1)}"
    interleaved(title, epochs, WHOLE, path=path, counts=dict.fromkeys(epochs, n))


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("bands", [4, 13])
def test_some_of_the_channels(interleaved, sources, workers, bands):
    """Beside a file that has no other channels, and beside all channels of the same file, of which more is written."""
    path, n = sources
    last, first = f"last of {bands}", f"first of {bands}"
    picked = {"workers": workers, "channels": [2, 1, 0]}
    epochs = {
        WHOLE: epoch_of(path, "last of 3", workers=workers),
        f"channels last, 3 of {bands}": epoch_of(path, last, **picked),
        f"channels last, all of {bands}": epoch_of(path, last, workers=workers),
        f"channels first, 3 of {bands}": epoch_of(path, first, axes="NCHW", **picked),
        f"channels first, all of {bands}": epoch_of(path, first, axes="NCHW", workers=workers),
    }
    title = f"3 of {bands} channels, {workers} worker{'s' * (workers > 1)}"
    interleaved(title, epochs, WHOLE, path=path, counts=dict.fromkeys(epochs, n))


@pytest.mark.parametrize("workers", [1, 2])
def test_how_samples_are_drawn(interleaved, image_file, n_images, workers):
    shuffled = "shuffle"
    options = {"axes": None, "workers": workers}
    epochs = {
        shuffled: epoch_of(image_file, "images", **options),
        "balanced": epoch_of(image_file, "images", sampling="balanced", **options),
        "weights": epoch_of(image_file, "images", sampling=1.0 + np.arange(n_images) % 7, **options),
        "half of the samples by indices": epoch_of(image_file, "images", indices=np.arange(0, n_images, 2), **options),
    }
    counts = dict.fromkeys(epochs, n_images) | {"half of the samples by indices": len(range(0, n_images, 2))}
    title = f"how samples are drawn, {workers} worker{'s' * (workers > 1)}"
    interleaved(title, epochs, shuffled, counts=counts)


@pytest.mark.parametrize("layout", ["contiguous", "tiles"])
@pytest.mark.parametrize("dtype", ["u2", "f4"])
def test_byte_orders(interleaved, tmp_path, dtype, layout):
    """Beside the same numbers in the byte order of this machine."""
    n, options = 128, {"chunks": (4, 64, 64, 3)} if layout == "tiles" else {}
    native = np.dtype(dtype)
    numbers = np.random.default_rng(0).integers(0, 4096, (n, SIZE, SIZE, 3)).astype(native)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("native", data=numbers, **options)
        file.create_dataset("swapped", data=numbers.astype(native.newbyteorder("S")), **options)
        file["labels"] = np.arange(n) % 2
    epochs = {name: epoch_of(tmp_path / "x.h5", name, workers=1) for name in ("native", "swapped")}
    title = f"byte orders of {native}, {layout}, 1 worker"
    interleaved(title, epochs, "native", path=tmp_path / "x.h5", counts=dict.fromkeys(epochs, n))
