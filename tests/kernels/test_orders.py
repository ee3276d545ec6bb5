"""The crop kernel on images whose axes are in other orders, and on some of their channels, against the oracle."""

import numpy as np
import pytest
import reference
from conftest import use_cpu_kernel
from crop_cases import SOURCES, assert_same_bits, random_images, random_table
from hypothesis import given, settings
from hypothesis import strategies as st

from fastprep.kernels import crop
from fastprep.kernels._cpu import supported_versions
from fastprep.kernels.choices import ORDERS
from fastprep.kernels.spec import CropSpec

DTYPES = ("float32", "float16", "bfloat16")


@st.composite
def cases(draw):
    sides = {"H": draw(st.integers(1, 40)), "W": draw(st.integers(1, 30) | st.integers(60, 150)), "C": draw(st.integers(1, 7))}
    return {
        "seed": draw(st.integers(0, 2**32)),
        "sides": sides,
        "size": (draw(st.integers(1, sides["H"])), draw(st.integers(1, sides["W"]))),
        "order": draw(st.sampled_from(ORDERS)),
        "channels": draw(st.none() | st.lists(st.integers(0, sides["C"] - 1), min_size=1, max_size=5)),
        "source": draw(st.sampled_from(["uint8", *SOURCES])),
        "mean": draw(st.sampled_from([None, "channels", "image"])),
        "scale": draw(st.sampled_from([None, "channels"])),
        "dtype": draw(st.sampled_from(DTYPES)),
        "layout": draw(st.sampled_from(["channels_last", "channels_first"])),
        "stream": draw(st.booleans()),
    }


def guarded(images):
    """Return a copy that ends where its memory ends, so that a sanitizer sees what is read beyond it."""
    memory = np.empty(images.nbytes, np.uint8)
    memory[:] = np.frombuffer(images.tobytes(), np.uint8)
    return memory.view(images.dtype).reshape(images.shape)


def wanted_of(images, order, channels, table, size, *arguments):
    return reference.crop(reference.as_height_width_channels(images, f"N{order}", channels), table, size, *arguments)


@settings(deadline=None, max_examples=60)
@given(case=cases())
def test_every_order_and_choice_of_channels_gives_the_bits_of_the_oracle(case):
    rng = np.random.default_rng(case["seed"])
    sides, channels, size = case["sides"], case["channels"], case["size"]
    images = random_images(rng, (2, *(sides[axis] for axis in case["order"])), case["source"])
    n_channels = sides["C"] if channels is None else len(channels)
    numbers = {"channels": (n_channels,), "image": (sides["H"], sides["W"], n_channels)}
    mean = rng.uniform(0, 255, numbers[case["mean"]]) if case["mean"] else None
    scale = rng.uniform(0, 2, numbers[case["scale"]]) if case["scale"] else None
    table = random_table(rng, 2, 4, sides["H"], sides["W"], *size)
    arguments = (table, size, mean, scale, case["dtype"], case["layout"])
    wanted = wanted_of(images, case["order"], channels, *arguments)
    for version in supported_versions():
        with pytest.MonkeyPatch.context() as patch:
            use_cpu_kernel(version, patch)
            patch.setattr("fastprep.kernels.spec.stream_bytes", lambda: 0 if case["stream"] else 1 << 40)
            got = crop(guarded(images), *arguments, order=case["order"], channels=channels)
        assert_same_bits(got, wanted)


@pytest.mark.parametrize("channels", [None, [2, 1, 0], [0, 2], [1]])
@pytest.mark.parametrize("order", ORDERS)
def test_every_order_at_the_size_people_use(monkeypatch, rng, order, channels):
    images = rng.integers(0, 256, (2, *({"H": 80, "W": 96, "C": 3}[axis] for axis in order)), dtype=np.uint8)
    table = np.array([[0, 0, 0, 0], [1, 13, 29, 1], [1, 3, 0, 2], [0, 13, 5, 3]], np.int32)
    arguments = (table, (67, 67), 117.0, 1 / 255)
    wanted = {
        layout: wanted_of(images, order, channels, *arguments, "float32", layout)
        for layout in ("channels_last", "channels_first")
    }
    for version in supported_versions():
        use_cpu_kernel(version, monkeypatch)
        for layout in wanted:
            got = crop(images, *arguments, layout=layout, order=order, channels=channels)
            assert_same_bits(got, wanted[layout])


@pytest.mark.parametrize("channels", [[0, 1, 2], [12, 3], [5], [9, 9, 0], list(range(13))[::-1], list(range(17))])
@pytest.mark.parametrize("order", ["HWC", "WHC", "CHW"])
def test_channels_of_a_file_with_many_bands(monkeypatch, rng, order, channels):
    images = rng.integers(0, 256, (1, *({"H": 20, "W": 70, "C": 90}[axis] for axis in order)), dtype=np.uint8)
    table = np.array([[0, 1, 2, 0], [0, 0, 3, 1]], np.int32)
    for layout in ("channels_last", "channels_first"):
        wanted = wanted_of(images, order, channels, table, (18, 66), None, None, "float32", layout)
        for version in supported_versions():
            use_cpu_kernel(version, monkeypatch)
            assert_same_bits(crop(images, table, (18, 66), layout=layout, order=order, channels=channels), wanted)


@pytest.mark.parametrize("order", ORDERS)
def test_the_kernel_says_which_bytes_of_an_image_it_needs_and_reads_no_others(order, tmp_path, rng):
    """Only the bytes that the sink asks for are read from the file; what else is in the reader's memory is from other images."""
    import h5py

    from fastprep.h5 import open_images

    sides = {"H": 33, "W": 41, "C": 4}
    images = rng.integers(0, 256, (3, *(sides[axis] for axis in order)), dtype=np.uint8)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["images"] = images
    table = np.array([[0, 5, 7, 0], [1, 17, 20, 1], [2, 0, 9, 3], [2, 11, 0, 0]], np.int32)
    spec = CropSpec((33, 41, 2), "uint8", (16, 19), order=order, channels=(2, 1), source_channels=4)
    out = np.empty(spec.out_shape(4), np.float32)
    reader = open_images(tmp_path / "x.h5", axes=f"N{order}")
    reader.read(np.arange(3), np.arange(3), spec.cpu_sink(table, 3, out))
    reader.close()
    np.testing.assert_array_equal(out, wanted_of(images, order, [2, 1], table, (16, 19)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"order": "HWD"}, "order must be one of 'HWC', 'HCW', 'CHW', 'CWH', 'WCH', 'WHC', got 'HWD'"),
        ({"channels": [0, 3]}, r"channels must be 2 numbers in 0\.\.2, got \[0, 3\]"),
        ({"channels": [-1]}, r"channels must be 1 numbers in 0\.\.2, got \[-1\]"),
    ],
)
def test_rejects_what_it_cannot_do(arguments, message):
    with pytest.raises(ValueError, match=message):
        crop(np.zeros((1, 4, 5, 3), np.uint8), np.zeros((1, 4), np.int32), (2, 2), **arguments)
