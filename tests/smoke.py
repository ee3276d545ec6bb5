"""Whether an installed fastprep works: run by its wheels' checks, from any folder, with the Python that it is installed for.

    python tests/smoke.py

Needs what reading needs (h5py, imagecodecs, ml-dtypes, numpy); with TensorFlow it trains for a moment, too.
"""

import importlib.util
import tempfile
from pathlib import Path

import h5py
import numpy as np

import fastprep
from fastprep.kernels._cpu import supported_versions
from fastprep.kernels.cuda import plan
from fastprep.loader import Loader

MEAN = np.array([90, 100, 110], "float32")


def check_images(folder: Path) -> None:
    """Read images of each kind of layout, and crop them by every kind of crop."""
    images = np.random.default_rng(0).integers(0, 256, (11, 12, 14, 3), dtype=np.uint8)
    for layout in (
        {},
        {"chunks": (2, 12, 14, 3), "compression": "gzip", "shuffle": True},
        {"chunks": (1, 12, 14, 3), "compression": "lzf"},
    ):
        path = folder / f"{layout.get('compression')}.h5"
        with h5py.File(path, "w") as file:
            file.create_dataset("images", data=images, **layout).attrs["mean"] = MEAN
            file["labels"] = np.arange(11)
        wanted = images[:, 2:10, 3:11].astype("float32") - MEAN
        with Loader(path, 4, fastprep.CenterCrop(8), device="cpu") as loader:
            batches = [(x.copy(), y.copy()) for x, y in loader]
        np.testing.assert_array_equal(np.concatenate([x for x, _ in batches]), wanted)
        np.testing.assert_array_equal(np.concatenate([y for _, y in batches]), np.arange(11))
        with Loader(path, 4, fastprep.TenCrop(8), dtype="bfloat16", device="cpu") as loader:
            assert sum(len(x) for x, _ in loader) == 110


def check_training(folder: Path) -> str:
    """Let Keras fit a network to a loader, where it is installed."""
    if importlib.util.find_spec("tensorflow") is None:
        return "no TensorFlow, so nothing was trained"
    import keras

    model = keras.Sequential([keras.layers.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(11)])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    with fastprep.Loader(folder / "None.h5", 4, fastprep.RandomCrop(8, mirror=True), shuffle=True, device="cpu") as loader:
        assert np.isfinite(model.fit(loader, epochs=2, verbose=0).history["loss"]).all()
    return f"trained by Keras {keras.__version__}"


def main() -> None:
    """Check, and say what was checked."""
    assert importlib.util.find_spec("fastprep.model") is not None
    images, table = np.zeros((1, 9, 9, 3), np.uint8), np.zeros((1, 4), np.int32)
    assert "fastprep_crop" in plan(images, table, (8, 8)).source  # crop.cu is there
    with tempfile.TemporaryDirectory() as folder:
        check_images(Path(folder))
        trained = check_training(Path(folder))
    place = Path(fastprep.__file__).parent
    print(f"fastprep {fastprep.__version__} in {place}: kernels {', '.join(supported_versions())}; {trained}")


if __name__ == "__main__":
    main()
