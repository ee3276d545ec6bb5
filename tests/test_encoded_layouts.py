"""Encoded images in every layout that people have: the batches of the file of variable length, and nothing less can be done."""

import pickle
from collections import Counter

import h5py
import numpy as np
import pytest
from encoded_files import by_pillow_upright, check_batches, encoded, write_rows
from encoded_images import by_pillow, by_tifffile, photograph
from encoded_layouts import dataset, group, layouts, starts, table, vector, with_offsets, write_layout
from loader_batches import check_pure, check_same, epochs
from optional_libraries import needs

from fastprep import CenterCrop, DataError, Mask, RandomResizedCrop, image_mean
from fastprep.__main__ import main
from fastprep.encoded import decode
from fastprep.h5 import byte_rows, open_images
from fastprep.h5.candidates import find_candidates
from fastprep.loader import Loader

pytestmark = [needs("simplejpeg"), pytest.mark.usefixtures("no_thread_left")]

CROP = RandomResizedCrop(9, mirror=True)
N = 13
ROWS = encoded(N)
LAYOUTS = layouts(ROWS)
FEW = ["text with spaces, gzip", "padded with rests, lengths", "joined", "vectors", "variable length each"]
ALL = {"mean": None, "shuffle": True, "seed": 3}


@pytest.fixture(scope="module")
def images():
    return [by_pillow_upright(row) for row in ROWS]


@pytest.fixture(scope="module")
def wanted(tmp_path_factory):
    """The batches of the file of variable length."""
    path = write_rows(tmp_path_factory.mktemp("wanted") / "a.h5", ROWS)
    with Loader(path, 5, CROP, **ALL) as loader:
        return epochs(loader)


@pytest.fixture
def make(tmp_path):
    def write(name, file="a.h5"):
        path = write_layout(tmp_path / file, LAYOUTS[name][0], N)
        return path, LAYOUTS[name][1]

    return write


@pytest.mark.parametrize("name", LAYOUTS)
def test_batches_are_those_of_rows_of_variable_length(make, wanted, name, caplog):
    path, images = make(name)
    with Loader(path, 5, CROP, images=images, **ALL) as loader:
        check_same(epochs(loader), wanted)
        read = loader.stats()["files"][0]["read"]
    assert read.startswith("encoded, the first as JPEG; rows of bytes, ")
    assert LAYOUTS[name][2] in read
    assert not caplog.records


@pytest.mark.parametrize("name", LAYOUTS)
def test_batches_are_the_same_if_hdf5_reads_all_rows(make, wanted, name, monkeypatch):
    path, images = make(name)
    monkeypatch.setattr(byte_rows, "_first_difference", lambda index, dataset: 4)
    with Loader(path, 5, CROP, images=images, **ALL) as loader:
        check_same(epochs(loader), wanted)
        assert "row 4 differs from HDF5's" in loader.stats()["files"][0]["read"]


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_images_are_found_with_their_labels(make, name):
    path, images = make(name)
    (found,) = find_candidates(path)
    assert (found.images, found.labels, found.n, found.axes, found.shape) == (images, "labels", N, None, None)


@pytest.mark.parametrize("name", FEW)
def test_nothing_else_decides_what_a_batch_is(make, name):
    path, images = make(name)
    check_pure(path, {"crop": CROP, "mean": None, "images": images})


@pytest.mark.parametrize("name", FEW)
def test_parts_pickles_means_and_damaged_rows(make, images, name, tmp_path):
    path, named = make(name)
    with Loader(path, 4, CROP, images=named, indices=[7, 2, 2, 11], **ALL) as loader:
        check_batches(loader, [images[k] for k in (7, 2, 2, 11)], 1)
        with pickle.loads(pickle.dumps(loader)) as twin:
            check_same(epochs(twin), epochs(loader))
    np.testing.assert_array_equal(image_mean(path, images=named), image_mean(write_rows(tmp_path / "b.h5", ROWS)))
    rows = [row if k != 5 else row[:40] + bytes(len(row) - 40) for k, row in enumerate(ROWS)]
    write_layout(path, layouts(rows)[name][0], N)
    with Loader(path, 5, CROP, images=named, mean=None) as loader, pytest.raises(DataError) as error:
        list(loader)
    assert (error.value.file, error.value.sample) == (str(path), 5)
    assert error.value.dataset in (named, "images/5.jpg")
    with Loader(path, 5, CROP, images=named, mean=None, on_corrupt="skip") as loader:
        assert [6 if k == 5 else k for k in range(N)] == np.concatenate([y for _, y in loader]).tolist()
        (problem,) = loader.stats()["corrupt"]["problems"]
    assert "sample 5" in problem


def test_several_files_of_several_layouts(tmp_path, images):
    parts = ROWS[:4], ROWS[4:9], ROWS[9:]
    writes = [
        layouts(parts[0])["opaque"][0],
        layouts(parts[1])["joined, chunked"][0],
        layouts(parts[2])["padded, gzip"][0],
    ]
    paths = [
        write_layout(tmp_path / f"{k}.h5", write, len(part), first)
        for k, (write, part, first) in enumerate(zip(writes, parts, (0, 4, 9), strict=True))
    ]
    with Loader(paths, 5, CROP, workers=3, **ALL) as loader:
        check_batches(loader, images)


@pytest.mark.parametrize("name", FEW)
def test_commands_take_every_layout(tmp_path, capsys, name):
    rows = encoded(5, size=(30, 36))
    write, images, read = layouts(rows)[name]
    path = write_layout(tmp_path / "a.h5", write, 5)
    assert main(["show", str(path)]) in (0, None)
    assert read in capsys.readouterr().out
    assert main(["doctor", str(path), "--images", images, "--rounds", "1"]) in (0, None)
    assert read in capsys.readouterr().out
    assert main(["convert", str(path), str(tmp_path / "b.h5"), "--images", images]) in (0, None)
    with h5py.File(tmp_path / "b.h5") as file:
        np.testing.assert_array_equal(file["images"], [by_pillow_upright(row) for row in rows])
        np.testing.assert_array_equal(file["labels"], np.arange(5))


def test_masks_have_layouts_of_their_own(tmp_path, rng):
    """As masks of variable length beside images of variable length."""
    masks = [by_pillow(rng.integers(0, 9, by_pillow_upright(row).shape[:2], np.uint8), "PNG") for row in ROWS]
    path = write_rows(write_rows(tmp_path / "a.h5", ROWS), masks, "masks")
    other = write_layout(tmp_path / "b.h5", dataset(table(ROWS)), N)
    with h5py.File(other, "a") as file:
        file["flat"], file["flat_offsets"] = np.frombuffer(b"".join(masks), np.uint8), with_offsets(masks)
        for k, mask in enumerate(masks):
            vector(file, f"each/{k}", mask)
    with Loader(path, 5, CROP, labels=Mask("masks"), **ALL) as loader:
        wanted = epochs(loader)
    for labels in (Mask("flat"), Mask("each/")):
        with Loader(other, 5, CROP, labels=labels, **ALL) as loader:
            check_same(epochs(loader), wanted)


# --- writers


def test_pytables(tmp_path, wanted):
    tables = pytest.importorskip("tables")
    flat, filters = np.frombuffer(b"".join(ROWS), np.uint8), tables.Filters(5, "zlib")
    texts = table(ROWS).view(f"S{table(ROWS).shape[1]}")[:, 0]
    with tables.open_file(tmp_path / "a.h5", "w") as file:
        file.create_carray("/", "texts", obj=texts, filters=filters)
        rows = file.create_earray("/", "padded", tables.UInt8Atom(), (0, table(ROWS).shape[1]), filters=filters)
        for row in table(ROWS):
            rows.append(row[None])
        file.create_earray("/", "flat", obj=flat, chunkshape=(4096,))
        file.create_array("/", "flat_offsets", with_offsets(ROWS))
        each = file.create_group("/", "each")
        for k, row in enumerate(ROWS):
            file.create_earray(each, f"i{k}", obj=np.frombuffer(row, np.uint8))
        of_any_length = file.create_vlarray("/", "signed", tables.Int8Atom())
        for row in ROWS:
            of_any_length.append(np.frombuffer(row, np.int8))
        file.create_array("/", "labels", np.arange(N))
    for images in ("texts", "padded", "flat", "each/", "signed"):
        with Loader(tmp_path / "a.h5", 5, CROP, images=images, **ALL) as loader:
            check_same(epochs(loader), wanted)


def test_netcdf4(tmp_path, wanted):
    netcdf = pytest.importorskip("netCDF4")
    padded, flat = table(ROWS), np.frombuffer(b"".join(ROWS), np.uint8)
    with netcdf.Dataset(tmp_path / "a.nc", "w") as file:
        for name, size in (("n", N), ("byte", padded.shape[1]), ("all", len(flat))):
            file.createDimension(name, size)
        file.createVariable("padded", "u1", ("n", "byte"), fill_value=False)[:] = padded
        file.createVariable("characters", "i1", ("n", "byte"), zlib=True)[:] = padded.view(np.int8)
        file.createVariable("flat", "u1", ("all",))[:] = flat
        file.createVariable("start", "i4", ("n",))[:] = starts(ROWS)
        file.createVariable("labels", "i8", ("n",))[:] = np.arange(N)
    for images in ("padded", "characters", "flat"):
        with Loader(tmp_path / "a.nc", 5, CROP, images=images, **ALL) as loader:
            check_same(epochs(loader), wanted)


# --- what follows an image, and what is taken for images


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "JPEG2000", "TIFF"])
@pytest.mark.parametrize("fill", [b"\0", b" "])
def test_every_kind_bears_padding(tmp_path, kind, fill):
    if kind == "TIFF":
        pytest.importorskip("tifffile")
    pixels = [photograph(20 + k, 30) for k in range(3)]
    rows = [by_tifffile(each, photometric="rgb") if kind == "TIFF" else by_pillow(each, kind) for each in pixels]
    longest = max(map(len, rows)) + 3000
    padded = np.array([np.frombuffer(row.ljust(longest, fill), np.uint8) for row in rows])
    path = write_layout(tmp_path / "a.h5", dataset(padded), 3)
    with Loader(path, 3, CROP, mean=None) as loader:
        check_batches(loader, [by_pillow_upright(row) for row in rows], 1)


def test_flat_rows_of_pixels_are_pixels(tmp_path, rng):
    """Also if some of them begin as a JPEG does, and if lengths and offsets are beside them."""
    pixels = rng.integers(0, 256, (40, 12 * 12), np.uint8)
    pixels[::3, :3] = 0xFF, 0xD8, 0xFF
    path = write_layout(tmp_path / "a.h5", dataset(pixels, np.full(40, 144), np.arange(41) * 144), 40)
    with pytest.raises(DataError, match="if these are flat rows, say the shape of an image"):
        Loader(path, 5, None, mean=None)
    with Loader(path, 40, None, shape=(12, 12, 1), mean=None) as loader:
        np.testing.assert_array_equal(loader.batch(0, 0)[0], pixels.reshape(40, 12, 12, 1))


def test_who_says_that_rows_are_pixels_gets_pixels(tmp_path):
    padded = table(ROWS)[:, :1200]
    path = write_layout(tmp_path / "a.h5", dataset(padded), N)
    with Loader(path, N, None, shape=(20, 20, 3), mean=None) as loader:
        np.testing.assert_array_equal(loader.batch(0, 0)[0], padded.reshape(N, 20, 20, 3))
    write_layout(path, group([row[:1200] for row in ROWS], vector), N)
    with Loader(path, N, None, images="images/", shape=(20, 20, 3), mean=None) as loader:
        np.testing.assert_array_equal(loader.batch(0, 0)[0], padded.reshape(N, 20, 20, 3))


def test_images_of_pixels_are_never_taken_for_rows(tmp_path, rng):
    pixels = rng.integers(0, 256, (6, 20, 24), np.uint8)
    pixels[:, 0, :3] = 0xFF, 0xD8, 0xFF
    path = write_layout(tmp_path / "a.h5", dataset(pixels, np.full(6, 400)), 6)
    with Loader(path, 6, None, mean=None) as loader:
        np.testing.assert_array_equal(loader.batch(0, 0)[0], pixels[..., None])


def test_numbers_that_are_no_lengths_are_not_taken_for_lengths(tmp_path, wanted):
    """The length of a caption, and numbers of pixels."""
    for numbers in (np.arange(N) + 20, np.full(N, 10**6), -np.arange(N)):
        path = write_layout(tmp_path / "a.h5", dataset(table(ROWS), numbers, names=("caption_length", "")), N)
        with Loader(path, 5, CROP, **ALL) as loader:
            check_same(epochs(loader), wanted)
            assert "lengths" not in loader.stats()["files"][0]["read"]


def test_numbers_of_labels_tell_whether_the_last_offset_is_an_end(tmp_path):
    """A last row that is damaged can't."""
    rows = [*ROWS[:-1], bytes(400)]
    flat = np.frombuffer(b"".join(rows), np.uint8)
    for offsets in (starts(rows), with_offsets(rows)):
        path = write_layout(tmp_path / "a.h5", dataset(flat, offsets=offsets), N)
        with Loader(path, 4, CROP, mean=None) as loader:
            assert loader.n_samples == N


# --- errors

BROKEN = {
    "a length beyond the row": (
        dataset(table(ROWS), np.where(np.arange(N) == 4, 10**9, [len(row) for row in ROWS])),
        "its length in 'lengths' is 1000000000, and a row has",
    ),
    "a negative length": (
        dataset(table(ROWS), np.where(np.arange(N) == 4, -1, [len(row) for row in ROWS])),
        "its length in 'lengths' is -1, and a row has",
    ),
    "an empty row": (
        dataset(table(ROWS), np.where(np.arange(N) == 4, 0, [len(row) for row in ROWS])),
        "there are no bytes: an encoded image is empty or was never written",
    ),
    "a row of zeros": (
        dataset(np.where(np.arange(N)[:, None] == 4, 0, table(ROWS)).astype(np.uint8)),
        "there are only zeros at its beginning: an encoded image is empty or was never written",
    ),
    "a row without an image": (
        dataset(table([row if k != 4 else b"<html>404</html>" for k, row in enumerate(ROWS)])),
        "not an encoded image of a known kind",
    ),
    "offsets that fall": (
        dataset(np.frombuffer(b"".join(ROWS), np.uint8), offsets=np.where(np.arange(N + 1) == 5, 3, with_offsets(ROWS))),
        "it begins at .* by 'offsets' and ends at 3, of .* bytes in the dataset; the file is damaged",
    ),
    "an offset beyond the data": (
        dataset(np.frombuffer(b"".join(ROWS), np.uint8), offsets=np.where(np.arange(N + 1) == 5, 2**62, with_offsets(ROWS))),
        "and ends at 4611686018427387904, of",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_an_error_names_file_dataset_and_sample(tmp_path, name):
    write, problem = BROKEN[name]
    path = write_layout(tmp_path / "a.h5", write, N)
    with Loader(path, 4, CROP, mean=None) as loader, pytest.raises(DataError, match=problem) as error:
        loader.batch(0, 1)
    assert (error.value.file, error.value.dataset, error.value.sample) == (str(path), "images", 4)


def test_texts_of_variable_length_lose_what_follows_a_zero_which_is_said(tmp_path):
    texts = [row[: row.index(b"\0")] for row in ROWS]
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("images", data=texts, dtype=h5py.string_dtype("ascii"))
        for k, text in enumerate(texts):
            file.create_dataset(f"each/{k}", data=text, dtype=h5py.string_dtype("ascii"))
    for images in ("images", "each/"):
        with pytest.raises(DataError, match=r"text of variable length.*lost: .*vlen_dtype\('uint8'\)") as error:
            Loader(path, 4, CROP, images=images, labels=None, mean=None)
        assert error.value.sample == 0


def test_what_holds_images_in_another_layout_says_so(tmp_path):
    records = np.zeros(3, [("jpeg", "V400"), ("label", "i4")])
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["flat"] = np.frombuffer(b"".join(ROWS), np.uint8)
        file["columns"] = table(ROWS).T
        file["records"] = records
    for images, problem in (
        ("flat", "no dataset beside them says where each image begins"),
        ("columns", "encoded images lie along the second axis"),
        ("records", "records with bytes in the field 'jpeg'"),
    ):
        with pytest.raises(DataError, match=problem):
            Loader(tmp_path / "a.h5", 4, CROP, images=images, labels=None, mean=None)
    with Loader(tmp_path / "a.h5", 1, CenterCrop(20), images=["flat"], labels=None, mean=None) as loader:
        assert len(loader) == 1


def test_a_group_with_something_else_names_it(tmp_path):
    path = write_layout(tmp_path / "a.h5", group(ROWS, vector), N)
    with h5py.File(path, "a") as file:
        file["images/readme"] = np.zeros((2, 3, 4))
    with pytest.raises(DataError, match=r"encoded alike, .* found \(2, 3, 4\) float64; a pattern such as") as error:
        Loader(path, 4, CROP, images="images/", labels=None, mean=None)
    assert error.value.dataset == "images/readme"


# --- damage

DAMAGED = {
    "padded with rests, lengths": "nbytes",
    "joined": "offsets",
    "joined, of MATLAB": "lengths",
    "joined, chunked": "offsets",
    "padded, gzip": "lengths",
    "opaque": "images",
}


@pytest.mark.parametrize("name", DAMAGED)
def test_changed_lengths_offsets_and_rows_give_right_pixels_or_an_error(tmp_path, name):
    rows = ROWS[:6]
    write, named, _ = layouts(rows)[name]
    path = write_layout(tmp_path / "whole.h5", write, len(rows))
    content, rng, counts = path.read_bytes(), np.random.default_rng(1), Counter()
    with h5py.File(path) as file:
        changed = file[DAMAGED[name]]
        place, n_bytes = changed.id.get_offset(), changed.nbytes
    for case in range(200):
        damaged = bytearray(content)
        begin = int(rng.integers(n_bytes))
        end = min(begin + int(rng.choice([1, 1, 2, 8, 16])), n_bytes)
        damaged[place + begin : place + end] = rng.integers(0, 256, end - begin, np.uint8).tobytes()
        other = path.with_name(f"{case}.h5")
        other.write_bytes(damaged)
        _check_damaged(other, named, _in_damaged(damaged, place, rows) if DAMAGED[name] == "images" else rows, counts)
        other.unlink()
    assert counts["right"] > 300
    assert counts["error"] > 20


def _in_damaged(content, place, rows):
    """Return the rows of opaque bytes that a damaged file has."""
    width = table(rows).shape[1]
    return [bytes(content[place + k * width : place + (k + 1) * width]) for k in range(len(rows))]


def _check_damaged(path, named, rows, counts):
    reader = open_images(path, named, labels=None, n_labels=len(rows))
    assert reader.index.shape[0] == len(rows)
    for sample, row in enumerate(rows):
        error, found = None, None
        try:
            (found,) = [image.copy() for image in reader.images(np.array([sample]))]
        except DataError as caught:
            error = caught
        if error is None:
            counts["right"] += 1
            np.testing.assert_array_equal(found, decode(row, "RGB"))
        else:
            counts["error"] += 1
            assert (error.file, error.dataset, error.sample) == (str(path), named, sample)
    reader.close()
