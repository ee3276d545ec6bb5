"""NaN and infinity in images, labels and means, and numbers that become infinity in the type of the batch."""

import h5py
import numpy as np
import pytest
from conftest import host
from crop_cases import not_finite_cases

import fastprep
from fastprep import CenterCrop
from fastprep._sink import Status, hand_over
from fastprep.errors import NotFiniteError
from fastprep.kernels._cpu import supported_versions
from fastprep.loader import Loader

BAD = (np.nan, np.inf, -np.inf)
LAYOUTS = {
    "contiguous": {},
    "a chunk for each image": {"chunks": (1, 20, 24, 3), "compression": "gzip"},
    "chunks of several images": {"chunks": (4, 20, 24, 3), "compression": "gzip"},
    "big-endian": {"dtype": ">f4"},
    "by HDF5": {"dtype": "f2"},
}


@pytest.fixture
def make_floats(tmp_path, rng):
    def make(values=(), name="floats.h5", n=30, **layout):
        """Write images of floats; `values`: sample, row, column and value of pixels to replace."""
        path = tmp_path / name
        images = rng.random((n, 20, 24, 3)).astype(layout.pop("dtype", "f4"))
        for sample, row, column, value in values:
            images[sample, row, column, 1] = value
        with h5py.File(path, "w") as file:
            file.create_dataset("images", data=images, **layout)
            file["labels"] = np.arange(n)
        return path

    return make


@pytest.mark.parametrize("version", supported_versions())
def test_the_cpu_kernel_stops_at_an_image_with_a_result_that_is_not_finite(version, monkeypatch):
    monkeypatch.setenv("FASTPREP_CPU_KERNEL", version)
    for case in not_finite_cases():
        spec = case.spec()
        out = np.empty(spec.out_shape(len(case.table)), spec.out_dtype)
        offsets = np.arange(len(case.images), dtype=np.int64) * case.images[0].nbytes
        sink = spec.cpu_sink(case.table, len(case.images), out)
        found = hand_over(case.images.reshape(-1).view(np.uint8), offsets, np.arange(len(case.images)), sink)
        slots = case.table[case.wanted > 0, 0]
        assert found == ((Status.NOT_FINITE, slots.min()) if len(slots) else (Status.OK, len(case.images)))


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("on_corrupt", ["raise", "skip"])
def test_an_image_that_is_not_finite_is_an_error_with_file_and_sample(make_floats, backend, layout, bad, on_corrupt):
    path = make_floats([(17, 3, 5, bad)], **LAYOUTS[layout])
    with Loader(path, 8, None, mean=None, on_corrupt=on_corrupt) as loader:
        batches = iter(loader)
        for _ in range(2):
            assert np.isfinite(host(next(batches)[0])).all()
        with pytest.raises(NotFiniteError, match=r"floats.h5', dataset 'images', chunk \d+, sample 17: its crop has") as caught:
            next(batches)
        assert caught.value.sample == 17
        assert "check_finite=False" in str(caught.value)
    with Loader(path, 8, None, mean=None, check_finite=False) as loader:
        assert sum(int((~np.isfinite(host(x))).sum()) for x, _ in loader) == 1


def test_only_what_goes_into_the_batch_counts(make_floats, backend):
    path = make_floats([(3, 0, 0, np.nan), (9, 19, 23, np.inf)])
    with Loader(path, 8, CenterCrop((18, 22)), mean=None) as loader:
        assert len(list(loader)) == 4
    with Loader(path, 30, None, mean=None) as loader, pytest.raises(NotFiniteError, match=r"sample [39]:"):
        list(loader)


def test_the_sample_is_counted_in_its_own_file(make_floats, backend):
    paths = [make_floats(name="a.h5"), make_floats([(4, 0, 0, np.nan)], name="b.h5")]
    with Loader(paths, 60, None, mean=None, shuffle=True) as loader, pytest.raises(NotFiniteError, match=r"b.h5.*sample 4:"):
        next(iter(loader))


def test_mean_and_scale_decide_what_float16_can_hold(make_floats, backend):
    path = make_floats([(3, 0, 0, 70_000)])
    for options, fits in (({}, False), ({"mean": 5_000}, True), ({"scale": 0.5}, True), ({"scale": [1, 0.9, 1]}, True)):
        with Loader(path, 30, None, dtype="float16", **{"mean": None, **options}) as loader:
            if fits:
                assert np.isfinite(host(loader.batch(0, 0)[0]).astype(np.float32)).all()
            else:
                with pytest.raises(NotFiniteError, match="sample 3"):
                    loader.batch(0, 0)


@pytest.mark.parametrize(("stored", "largest"), [("uint16", 65535), ("int16", None), ("uint8", None)])
def test_types_whose_range_float16_can_not_hold_are_refused(make_file, stored, largest):
    path, *_ = make_file(dtype=stored)
    if largest is None:
        Loader(path, 4, None, mean=None, dtype="float16").close()
    else:
        with pytest.raises(ValueError, match=rf"float16.*up to 65504.*uint16 images.*0\.\.65535.*as large as {largest}.*scale="):
            Loader(path, 4, None, mean=None, dtype="float16")
        Loader(path, 4, None, mean=1000, dtype="float16").close()
        Loader(path, 4, None, mean=None, dtype="float16", check_finite=False).close()
    Loader(path, 4, None, mean=None, dtype="float16", scale=1 / 65535).close()
    Loader(path, 4, None, mean=None, dtype="bfloat16").close()
    with pytest.raises(ValueError, match="as large as"):
        Loader(path, 4, None, mean=None, dtype="float16", scale=1000)


@pytest.mark.parametrize("bad", BAD)
def test_labels_that_are_not_finite_are_refused(make_floats, bad):
    paths = [make_floats(name="a.h5"), make_floats(name="b.h5")]
    for path in paths:
        with h5py.File(path, "r+") as file:
            values = np.ones((30, 2), np.float32)
            values[9, 1] = bad if path == paths[1] else 1
            file["targets"] = values
    with pytest.raises(ValueError, match=r"b.h5', dataset 'targets', sample 9: its label has NaN or infinity"):
        Loader(paths, 8, None, mean=None, labels="targets")
    with Loader(paths, 8, None, mean=None, labels="targets", check_finite=False) as loader:
        assert loader.labels.shape == (60, 2)


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_mean_is_not_computed_from_images_that_are_not_finite(make_floats, layout, bad):
    path = make_floats([(17, 3, 5, bad)], **LAYOUTS[layout])
    with pytest.raises(NotFiniteError, match=r"sample 17: it has NaN or infinity, so there is no mean; .*by indices="):
        fastprep.image_mean(path)
    with pytest.raises(NotFiniteError, match=r"sample 17: it has NaN or infinity, so there is no mean; .*by indices="):
        Loader(path, 4, None, mean="compute", check_finite=False)


def test_a_mean_of_large_finite_numbers_is_a_mean(make_floats):
    path = make_floats([(k, 3, 5, 3e38) for k in range(30)])
    assert np.isfinite(fastprep.image_mean(path)).all()
