"""Files of encoded images as users have them: of several writers, kinds and layouts; and batches that depend on nothing else."""

import multiprocessing
import os
import pickle

import h5py
import numpy as np
import pytest
from crop_cases import assert_same_bits
from encoded_files import by_pillow_upright, check_batches, encoded, oracle, write_rows
from encoded_images import by_pillow, by_tifffile, photograph, with_orientation
from loader_batches import check_pure, check_same, copies, epochs
from optional_libraries import needs
from PIL import Image

from fastprep import Boxes, CenterCrop, DataError, Mask, RandomCrop, RandomResizedCrop, Resize, image_mean
from fastprep.loader import Loader

pytestmark = [needs("simplejpeg"), pytest.mark.usefixtures("no_thread_left")]

CROP = RandomResizedCrop(9, mirror=True)
N = 13


@pytest.fixture(scope="module")
def rows():
    return encoded(N)


@pytest.fixture(scope="module")
def images(rows):
    return [by_pillow_upright(row) for row in rows]


@pytest.fixture(scope="module")
def path(rows, tmp_path_factory):
    return write_rows(tmp_path_factory.mktemp("encoded") / "encoded.h5", rows)


# --- writers and layouts

LAYOUTS = {
    "contiguous": ({}, "rows of bytes, contiguous"),
    "chunked": ({"chunks": (4,)}, "chunked"),
    "gzip": ({"chunks": (5,), "compression": "gzip"}, "gzip"),
    "growing": ({"chunks": (3,), "maxshape": (None,)}, "chunked"),
}


@pytest.mark.parametrize("libver", ["earliest", "latest"])
@pytest.mark.parametrize("name", LAYOUTS)
def test_h5py(tmp_path, rows, images, name, libver):
    options, layout = LAYOUTS[name]
    with h5py.File(tmp_path / "a.h5", "w", libver=libver):
        pass
    path = write_rows(tmp_path / "a.h5", rows, **options)
    with Loader(path, 5, CROP, mean=None, shuffle=True) as loader:
        assert layout in loader.stats()["files"][0]["read"]
        assert "read by HDF5" not in loader.stats()["files"][0]["read"]
        check_batches(loader, images)


def test_h5py_with_opaque_bytes_and_a_name_of_ones_own(tmp_path, rows, images):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        dataset = file.create_dataset("train/jpegs", (N,), h5py.vlen_dtype("i1"))
        for k, row in enumerate(rows):
            dataset[k] = np.frombuffer(row, np.int8)
        file["train/y"] = np.arange(N)
    with Loader(tmp_path / "a.h5", 5, CROP, images="train/jpegs", labels="train/y", mean=None) as loader:
        check_batches(loader, images)


def test_pytables(tmp_path, rows, images):
    tables = pytest.importorskip("tables")
    with tables.open_file(tmp_path / "a.h5", "w") as file:
        array = file.create_vlarray("/", "images", tables.UInt8Atom(), filters=tables.Filters(5, "zlib"), chunkshape=4)
        for row in rows:
            array.append(np.frombuffer(row, np.uint8))
        file.create_array("/", "labels", np.arange(N))
    with Loader(tmp_path / "a.h5", 5, CROP, mean=None, shuffle=True) as loader:
        check_batches(loader, images)


def test_netcdf4(tmp_path, rows, images):
    netcdf = pytest.importorskip("netcdf")
    with netcdf.netCDF4.Dataset(tmp_path / "a.nc", "w") as file:
        file.createDimension("n", N)
        variable = file.createVariable("images", file.createVLType(np.uint8, "bytes"), ("n",))
        for k, row in enumerate(rows):
            variable[k] = np.frombuffer(row, np.uint8)
        file.createVariable("labels", "i8", ("n",))[:] = np.arange(N)
    with Loader(tmp_path / "a.nc", 5, CROP, mean=None, shuffle=True) as loader:
        check_batches(loader, images)


def test_links_and_virtual_datasets_lead_to_the_rows(tmp_path, path, images, caplog):
    with h5py.File(tmp_path / "linked.h5", "w") as file:
        file["images"], file["labels"] = h5py.ExternalLink(path, "images"), np.arange(N)
    layout = h5py.VirtualLayout((N,), h5py.vlen_dtype("uint8"))
    layout[:] = h5py.VirtualSource(path, "images", (N,), h5py.vlen_dtype("uint8"))
    with h5py.File(tmp_path / "virtual.h5", "w") as file:
        file.create_virtual_dataset("images", layout)
        file["labels"] = np.arange(N)
    for name, n_warnings in (("linked.h5", 0), ("virtual.h5", 1)):
        caplog.clear()
        with Loader(tmp_path / name, 5, CROP, mean=None, shuffle=True) as loader:
            check_batches(loader, images)
        assert ["HDF5 has to read" in record.getMessage() for record in caplog.records] == [True] * n_warnings


def test_rows_of_several_mebibytes(tmp_path):
    """More than are read at a time."""
    rows = [by_pillow(photograph(700 + k, 800 - k), "BMP") for k in range(6)]
    path = write_rows(tmp_path / "a.h5", rows)
    with Loader(path, 6, RandomCrop(9), mean=None, shuffle=True) as loader:
        check_batches(loader, [by_pillow_upright(row) for row in rows], 1)


# --- kinds


def test_kinds_are_mixed(tmp_path):
    pytest.importorskip("tifffile")
    pixels = [photograph(30 + 3 * k, 50 - 2 * k) for k in range(9)]
    clear = Image.fromarray(
        np.dstack([pixels[6], (np.arange(pixels[6].shape[1]) * 5 % 256).astype(np.uint8)[None].repeat(48, 0)])
    )
    rows = [
        by_pillow(pixels[0], "JPEG", progressive=True),
        by_pillow(pixels[1], "PNG"),
        by_pillow(pixels[2], "WEBP"),
        by_pillow(pixels[3][..., 0], "JPEG"),
        by_pillow(pixels[4][..., 0], "PNG"),
        by_pillow(pixels[5], "BMP"),
        by_pillow(clear, "PNG"),
        by_pillow(Image.fromarray(pixels[7]).quantize(16), "GIF"),
        by_tifffile(pixels[8], photometric="rgb"),
    ]
    path = write_rows(tmp_path / "a.h5", rows)
    with Loader(path, 4, CROP, mean=None, shuffle=True) as loader:
        check_batches(loader, [by_pillow_upright(row) for row in rows])


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_orientations(tmp_path, kind):
    rows = [by_pillow(photograph(25, 40), kind, **with_orientation(orientation)) for orientation in range(1, 9)]
    images = [by_pillow_upright(row) for row in rows]
    assert [image.shape[:2] for image in images] == [(25, 40)] * 4 + [(40, 25)] * 4
    path = write_rows(tmp_path / "a.h5", rows)
    for crop in (CROP, CenterCrop(20), RandomCrop((12, 20))):
        with Loader(path, 3, crop, mean=None) as loader:
            check_batches(loader, images)
    with Loader(path, 4, None, mean=None, indices=slice(0, 4)) as loader:
        check_batches(loader, images[:4])


@pytest.mark.parametrize("n_grey", [1, 7])
def test_grey_images_become_rgb_wherever_they_are_among_those_in_colour(tmp_path, rows, n_grey):
    rows = [by_pillow(photograph(30 + k, 40)[..., 0], "JPEG") for k in range(n_grey)] + rows
    path = write_rows(tmp_path / "a.h5", rows)
    with Loader(path, 4, CROP, mean=None) as loader:
        assert loader.output_shape == (9, 9, 3)
        assert loader.channel_order == "RGB"
        check_batches(loader, [by_pillow_upright(row) for row in rows], 1)


def test_colour_that_turns_up_among_many_grey_images_is_told(tmp_path, caplog):
    rows = [by_pillow(photograph(20, 21)[..., 0], "JPEG")] * 129
    rows[7], rows[9] = (by_pillow(photograph(20, 22), "JPEG") for _ in range(2))
    path = write_rows(tmp_path / "a.h5", rows)
    with Loader(path, 129, CROP, mean=None) as loader:
        check_batches(loader, [by_pillow_upright(row, "L") for row in rows], 1)
    (warning,) = (record.getMessage() for record in caplog.records if "grey" in record.getMessage())
    assert str(path) in warning
    assert "image 7 is in colour" in warning


def test_images_in_grey_stay_grey(tmp_path):
    rows = [by_pillow(photograph(30 + k, 40 - k)[..., k % 3], "JPEG" if k % 2 else "PNG") for k in range(6)]
    path = write_rows(tmp_path / "a.h5", rows)
    with Loader(path, 4, CROP, mean=None) as loader:
        assert loader.output_shape == (9, 9, 1)
        assert loader.channel_order == "L"
        check_batches(loader, [by_pillow_upright(row, "L") for row in rows])


def test_channels_are_known_by_name_and_another_order_in_the_file_is_refused(tmp_path, rows, images):
    path = write_rows(tmp_path / "a.h5", rows)
    with Loader(path, 4, CROP, mean=None, channels="BGR") as loader:
        assert loader.channel_order == "BGR"
        check_batches(loader, [image[..., ::-1] for image in images], 1)
    (tmp_path / "mean.json").write_text('{"R": 1, "G": 2, "B": 3}')
    with Loader(path, 4, CROP, mean=str(tmp_path / "mean.json")) as loader:
        np.testing.assert_array_equal(loader.mean, [1, 2, 3])
        check_batches(loader, images, 1)
    for order in ("BGR", "rgb"):
        with h5py.File(path, "a") as file:
            file["images"].attrs["channel_order"] = order
        if order != "rgb":
            with pytest.raises(DataError, match=f"decoded as RGB, the attribute 'channel_order' says '{order}'"):
                Loader(path, 4, CROP, mean=None)
    with Loader(path, 4, CROP, mean=None) as loader:
        assert loader.channel_order == "RGB"


def test_empty_rows_are_told_when_the_file_is_opened(tmp_path, rows, caplog):
    path = write_rows(tmp_path / "a.h5", [*rows[:3], b"", b""])
    with Loader(path, 4, CROP, mean=None):
        pass
    (warning,) = (record.getMessage() for record in caplog.records)
    assert warning == f"{path}: dataset 'images': 2 of 5 images have no bytes, or were never written; they can't be read"


# --- nothing else decides what a batch is


@pytest.mark.parametrize("crop", [CROP, RandomCrop(20, mirror=True), CenterCrop(12, resize=20)], ids=repr)
def test_batches_do_not_depend_on_workers_shards_and_interruptions(path, crop):
    check_pure(path, {"crop": crop, "mean": None})


@pytest.mark.parametrize(
    "options", [{"io": "mmap"}, {"prefetch": 0, "workers": 1}, {"workers": 5}, {"shuffle_window": 5}], ids=str
)
def test_batches_are_the_oracles_however_they_are_read(path, images, options):
    with Loader(path, 4, CROP, mean=None, shuffle=True, seed=4, **options) as loader:
        check_batches(loader, images)


def test_single_batches_in_any_order_and_after_close(path, images):
    with Loader(path, 4, CROP, mean=None, shuffle=True) as loader:
        for epoch, step in ((3, 2), (0, 0), (3, 2), (1, 1)):
            assert_same_bits(loader.batch(epoch, step)[0], oracle(loader, images, loader.samples(epoch, step), epoch))
            loader.close()


@pytest.mark.parametrize("indices", [slice(3, 9), [5, 1, 12, 1], np.arange(N) % 3 == 0])
def test_parts_of_the_images(path, images, indices):
    numbers = np.arange(N)[indices]
    with Loader(path, 3, CROP, mean=None, shuffle=True, indices=indices) as loader:
        check_batches(loader, [images[k] for k in numbers])


def test_several_files(tmp_path, rows, images):
    paths = [write_rows(tmp_path / f"{k}.h5", part) for k, part in enumerate((rows[:4], rows[4:5], rows[5:]))]
    with Loader(paths, 5, CROP, mean=None, shuffle=True, seed=6) as loader:
        for step, (x, y) in enumerate(loader):
            samples = loader.samples(0, step)
            assert_same_bits(x, oracle(loader, images, samples, 0))
            np.testing.assert_array_equal(y, np.concatenate([np.arange(4), [0], np.arange(8)])[samples])
    with Loader(str(tmp_path / "*.h5"), 5, CROP, mean=None, indices=[12, 4, 0]) as loader:
        assert_same_bits(loader.batch(0, 0)[0], oracle(loader, [images[k] for k in (12, 4, 0)], np.arange(3), 0))


def test_several_files_of_one_size_have_it_in_common(tmp_path, rows):
    """The second file's images are of one size, too, but of another."""
    paths = [
        write_rows(tmp_path / f"{k}.h5", encoded(4, size=size)) for k, size in enumerate([(20, 24), (20, 24), (24, 20), (10, 5)])
    ]
    with Loader(paths[:2], 3, None, mean=None) as loader:
        assert [x.shape for x, _ in loader] == [(3, 20, 24, 3), (3, 20, 24, 3), (2, 20, 24, 3)]
    for other in paths[2:]:
        with Loader([paths[0], other], 3, None, mean=None) as loader, pytest.raises(DataError, match="different sizes") as error:
            list(loader)
        assert (error.value.file, error.value.sample) == (str(other), 0)


def test_files_in_grey_and_in_colour_are_alike(tmp_path, rows, images):
    grey = [by_pillow(photograph(33, 40)[..., 0], "JPEG"), by_pillow(photograph(50, 37)[..., 1], "PNG")]
    paths = [write_rows(tmp_path / "colour.h5", rows[:3]), write_rows(tmp_path / "grey.h5", grey)]
    for path, order in zip(paths, ("RGB", "L"), strict=True):
        with h5py.File(path, "a") as file:
            file["images"].attrs["channel_order"] = order
    for files, stored, mode in ((paths, rows[:3] + grey, "RGB"), (paths[::-1], grey + rows[:3], "L")):
        wanted = [by_pillow_upright(row, mode) for row in stored]
        with Loader(files, 3, CROP, mean=None, shuffle=True) as loader:
            for step, (x, _) in enumerate(loader):
                assert_same_bits(x, oracle(loader, wanted, loader.samples(0, step), 0))


def test_the_mean_is_that_of_all_pixels_of_images_of_all_sizes(tmp_path, rows, images, path):
    """Sums of integers are exact, and there is one division."""
    grey = [by_pillow(photograph(33, 40)[..., 0], "JPEG"), by_pillow(photograph(50, 37)[..., 1], "PNG")]
    other = write_rows(tmp_path / "grey.h5", grey)
    everything = images + [by_pillow_upright(row) for row in grey]

    def mean_of(images):
        return np.concatenate([image.reshape(-1, image.shape[2]) for image in images]).mean(axis=0, dtype=np.float64)

    np.testing.assert_array_equal(image_mean(path), mean_of(images))
    np.testing.assert_array_equal(image_mean(path, channels="BGR"), mean_of(images)[::-1])
    np.testing.assert_array_equal(image_mean(path, indices=[5, 2, 2]), mean_of([images[k] for k in (5, 2, 2)]))
    np.testing.assert_array_equal(image_mean([path, other]), mean_of(everything))
    np.testing.assert_array_equal(image_mean([path, other], indices=slice(10, None)), mean_of(everything[10:]))
    in_grey = [by_pillow_upright(row, "L") for row in (*grey, *rows)]
    np.testing.assert_array_equal(image_mean([other, path]), mean_of(in_grey))


def test_files_of_encoded_images_and_of_pixels_are_not_alike(tmp_path):
    rows = encoded(4, size=(30, 36))
    ours, pixels = write_rows(tmp_path / "encoded.h5", rows), tmp_path / "pixels.h5"
    with h5py.File(pixels, "w") as file:
        file["images"], file["labels"] = np.stack([by_pillow_upright(row) for row in rows]), np.arange(4)
    for files, found in (
        ([ours, pixels], "are pixels, .* they are encoded"),
        ([pixels, ours], "are encoded, .* they are pixels"),
    ):
        for crop in (CROP, CenterCrop(20), None):
            with pytest.raises(DataError, match=found) as error:
                Loader(files, 3, crop, mean=None)
            assert error.value.file == str(files[1])


def test_balanced_sampling(tmp_path, rows, images):
    path = write_rows(tmp_path / "a.h5", rows, labels=False)
    with h5py.File(path, "a") as file:
        file["labels"] = [0] * 10 + [1] * 3
    with Loader(path, 5, CROP, mean=None, sampling="balanced", seed=8) as loader:
        for step, (x, y) in enumerate(loader):
            samples, numbers = loader.samples(0, step), loader._source._numbers(0, step)
            assert_same_bits(x, oracle(loader, images, samples, 0, numbers))
            np.testing.assert_array_equal(y, samples >= 10)


def test_a_pickled_loader_makes_the_same_batches(path):
    with Loader(path, 4, CROP, mean=None, shuffle=True) as loader:
        loader.batch(0, 0)
        with pickle.loads(pickle.dumps(loader)) as twin:
            check_same(epochs(twin), epochs(loader))


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning", "ignore:.*fork.*:RuntimeWarning")
def test_a_forked_loader_makes_the_same_batches(path):
    with Loader(path, 4, CROP, mean=None, shuffle=True) as loader:
        wanted = [loader.batch(2, step)[0].copy() for step in range(len(loader))]
        receiver, sender = multiprocessing.Pipe(duplex=False)
        child = os.fork()
        if child == 0:
            try:
                sender.send([loader.batch(2, step)[0].copy() for step in range(len(loader))])
            finally:
                os._exit(0)
        assert receiver.poll(30)
        check_same([receiver.recv()], [wanted])
        os.waitpid(child, 0)


# --- read with others, all of one size


@pytest.fixture
def alike(tmp_path, rng):
    rows = encoded(N, size=(30, 36))
    path = write_rows(tmp_path / "alike.h5", rows)
    with h5py.File(path, "a") as file:
        file["masks"] = rng.integers(0, 5, (N, 30, 36)).astype(np.uint8)
        file["depth"] = rng.integers(0, 60000, (N, 30, 36)).astype(np.uint16)
        file["boxes"] = rng.uniform(0, 30, (N, 2, 4))
    write_rows(path, [by_pillow(photograph(30, 36)[..., 0] // 9 + k, "PNG") for k in range(N)], "encoded_masks")
    write_rows(path, [by_pillow(photograph(30, 36)[..., ::-1] // 9 + k, "PNG") for k in range(N)], "other")
    with h5py.File(tmp_path / "pixels.h5", "w") as file, h5py.File(path) as stored:
        file["images"] = np.stack([by_pillow_upright(row) for row in rows])
        for name in ("masks", "depth", "boxes", "labels"):
            file[name] = stored[name][()]
        file["encoded_masks"] = np.stack([by_pillow_upright(row.tobytes(), "L")[..., 0] for row in stored["encoded_masks"]])
        file["other"] = np.stack([by_pillow_upright(row.tobytes()) for row in stored["other"]])
    return path, tmp_path / "pixels.h5"


@pytest.mark.parametrize("crop", [CROP, None, CenterCrop(20), Resize(15)], ids=repr)
@pytest.mark.parametrize("labels", [Mask("masks"), Mask("encoded_masks"), Boxes("boxes", format="xyxy")], ids=str)
def test_masks_and_boxes_follow_images_of_one_size(alike, crop, labels):
    path, pixels = alike
    options = {"labels": labels, "mean": None, "shuffle": True}
    with Loader(path, 4, crop, **options) as ours, Loader(pixels, 4, crop, **options) as theirs:
        check_same(epochs(ours), epochs(theirs))


@pytest.mark.parametrize("crop", [CROP, RandomCrop(20, mirror=True), None], ids=repr)
def test_several_inputs_of_one_size(alike, crop):
    path, pixels = alike
    options = {"images": {"a": "images", "b": "depth", "c": "other"}, "mean": None, "shuffle": True}
    with Loader(path, 4, crop, **options) as ours, Loader(pixels, 4, crop, **options) as theirs:
        for (x, y), (x_wanted, y_wanted) in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(y, y_wanted)
            for name in "abc":
                np.testing.assert_array_equal(x[name], x_wanted[name])


def test_images_of_one_size_on_a_device(alike, stand_in):
    """Whole images of one size go the way of all others."""
    path, pixels = alike
    with Loader(path, 4, None, mean=None, device="cuda") as ours, Loader(pixels, 4, None, mean=None, device="cpu") as theirs:
        for (x, y), (x_wanted, y_wanted) in zip(copies(ours), copies(theirs), strict=True):
            assert_same_bits(x, x_wanted)
            np.testing.assert_array_equal(y, y_wanted)
