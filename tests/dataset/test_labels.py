"""Labels in every form that files have them in, for one output and for several: compared with numpy by equality."""

import os
import pickle

import h5py
import numpy as np
import pytest
import tables
from netcdf import netCDF4

import fastprep
from fastprep import DataError
from fastprep.adapters.jax import to_jax
from fastprep.adapters.torch import to_torch
from fastprep.dataset.classes import class_numbers
from fastprep.loader import Loader

N = 18
K = np.arange(N) * 7 % 3
IMAGES = np.arange(N * 6 * 5 * 3).astype("uint8").reshape(N, 6, 5, 3)
NAMES = np.array(["cat", "döner", "owl"])
TEXTS = NAMES[K]

pytestmark = pytest.mark.usefixtures("no_thread_left")


def write(path, **datasets):
    with h5py.File(path, "w") as file:
        file["images"] = IMAGES
        for name, values in datasets.items():
            file[name] = values
    return path


def open_one(path, labels="labels", **options):
    return Loader(path, 5, None, mean=None, labels=labels, workers=1, **options)


def all_batches(loader):
    return list(zip(*([np.asarray(part) for part in batch] for batch in loader), strict=True))


RECORDS = np.empty(N, [("species", "S8"), ("kind", "i2"), ("row", "f4", 3)])
RECORDS["species"], RECORDS["kind"], RECORDS["row"] = np.char.encode(TEXTS, "utf-8"), K, np.eye(3)[K]

FORMS = {
    **{f"{dtype}": (K.astype(dtype), K.astype(dtype)) for dtype in ("i1", "u2", ">i4", "u8", "f4", ">f8")},
    "bool": (K == 1, (K == 1).astype("u1")),
    "(N, 1)": (K[:, None], K[:, None]),
    "(N, 1, 1, 1)": (K.reshape(-1, 1, 1, 1), K),
    "(1, N)": (K[None], K),
    "(1, 1, N)": (K.astype("f4")[None, None], K.astype("f4")),
    "one-hot": (np.eye(3, dtype="f4")[K], np.eye(3, dtype="f4")[K]),
    "several": (np.array([[1, 0, 1], [0, 1, 1], [0, 0, 0]])[K], np.array([[1, 0, 1], [0, 1, 1], [0, 0, 0]])[K]),
    "numbers to predict": (K + 0.5, K + 0.5),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("place", ["dataset", "array", "other file"])
def test_numbers_arrive_as_they_are_stored(tmp_path, form, place):
    stored, wanted = FORMS[form]
    path = write(tmp_path / "x.h5", labels=stored)
    labels = {"dataset": "labels", "array": stored, "other file": f"{path}:labels"}[place]
    with open_one(path, labels) as loader:
        np.testing.assert_array_equal(loader.labels, wanted)
        assert loader.labels.dtype == wanted.dtype.newbyteorder("=")
        _, y = all_batches(loader)
        np.testing.assert_array_equal(np.concatenate(y), wanted)
        assert loader.class_names == ()


ONE_CLASS = [form for form in FORMS if form not in ("several", "numbers to predict")]


@pytest.mark.parametrize("form", [*ONE_CLASS, "texts"])
def test_classes_of_all_forms_have_weights_and_one_hot_rows(tmp_path, form):
    stored = TEXTS.astype(object) if form == "texts" else FORMS[form][0]
    k = (K == 1).astype(int) if form == "bool" else K
    path = write(tmp_path / "x.h5", labels=stored)
    with open_one(path, num_classes=3, class_weight={0: 0.5, 1: 4}) as loader:
        _, y, weights = all_batches(loader)
    np.testing.assert_array_equal(np.concatenate(y), np.eye(3, dtype="f4")[k])
    np.testing.assert_array_equal(np.concatenate(weights), np.array([0.5, 4, 1], "f4")[k])


def test_rows_with_several_labels_stay_rows_and_have_no_class(tmp_path):
    path = write(tmp_path / "x.h5", labels=FORMS["several"][0], age=K + 0.5)
    with open_one(path, num_classes=3) as loader:
        assert loader.labels.dtype == np.float32
        np.testing.assert_array_equal(loader.labels, FORMS["several"][1])
    with pytest.raises(DataError, match=r"class_weight needs .* rows with several labels, or none, for an image"):
        open_one(path, class_weight={0: 1})
    with pytest.raises(DataError, match=r"num_classes needs .* 0\.5 for sample 0: numbers to predict, as they are not whole"):
        open_one(path, "age", num_classes=3)
    with pytest.raises(DataError, match=r"num_classes needs .* rows with several labels"):
        open_one(path, num_classes=5)


# --- texts


def by_h5py(path, dtype):
    with h5py.File(path, "w") as file:
        file["images"] = IMAGES
        file.create_dataset("labels", data=np.char.encode(TEXTS, "utf-8").astype(dtype), dtype=dtype, chunks=(7,))


def by_h5py_as_column(path):
    with h5py.File(path, "w") as file:
        file["images"] = IMAGES
        file.create_dataset("labels", data=TEXTS.astype(object)[:, None], dtype=h5py.string_dtype())


def by_h5py_as_row(path):
    with h5py.File(path, "w") as file:
        file["images"] = IMAGES
        file["labels"] = np.char.encode(TEXTS, "utf-8")[None]


def by_pytables(path):
    with tables.open_file(path, "w") as file:
        file.create_array("/", "images", IMAGES)
        file.create_array("/", "labels", np.char.encode(TEXTS, "utf-8"))


def by_netcdf(path, as_characters):
    with netCDF4.Dataset(path, "w") as file:
        for name, size in {"n": N, "y": 6, "x": 5, "c": 3, "length": 8}.items():
            file.createDimension(name, size)
        file.createVariable("images", "u1", ("n", "y", "x", "c"))[:] = IMAGES
        if as_characters:
            raw = np.char.encode(TEXTS, "utf-8").astype("S8")
            file.createVariable("labels", "S1", ("n", "length"))[:] = raw.view("S1").reshape(N, 8)
        else:
            file.createVariable("labels", str, ("n",))[:] = TEXTS.astype(object)


WRITERS = {
    "h5py, variable": lambda path: by_h5py(path, h5py.string_dtype()),
    "h5py, fixed": lambda path: by_h5py(path, "S8"),
    "h5py, (N, 1)": by_h5py_as_column,
    "h5py, (1, N)": by_h5py_as_row,
    "PyTables": by_pytables,
    "netCDF4": lambda path: by_netcdf(path, False),
    "netCDF4, characters": lambda path: by_netcdf(path, True),
}


@pytest.mark.parametrize("writer", WRITERS)
def test_texts_become_the_numbers_of_sorted_classes(tmp_path, writer):
    WRITERS[writer](tmp_path / "x.h5")
    with open_one(tmp_path / "x.h5") as loader:
        assert loader.class_names == tuple(NAMES)
        np.testing.assert_array_equal(loader.labels, K)
        np.testing.assert_array_equal(np.concatenate(all_batches(loader)[1]), K)
    with open_one(tmp_path / "x.h5", class_weight={"owl": 3.0}) as loader:
        np.testing.assert_array_equal(np.concatenate(all_batches(loader)[2]), np.where(K == 2, 3, 1))


def test_fields_of_records_are_labels_and_weights(tmp_path):
    path = write(tmp_path / "x.h5", meta=RECORDS)
    with open_one(path, ("meta:species", "meta:kind", "meta:row"), sample_weight="meta:kind") as loader:
        assert loader.class_names == (tuple(NAMES), (), ())
        for found, wanted in zip(loader.labels, (K, K, np.eye(3, dtype="f4")[K]), strict=True):
            np.testing.assert_array_equal(found, wanted)
        np.testing.assert_array_equal(loader.batch(0, 0)[2][1], K[:5])
    with tables.open_file(tmp_path / "t.h5", "w") as file:
        file.create_array("/", "images", IMAGES)
        file.create_table("/", "meta", RECORDS)
    with open_one(tmp_path / "t.h5", "meta:species") as loader:
        np.testing.assert_array_equal(loader.labels, K)
    with pytest.raises(DataError, match="dataset 'meta': there is no field 'age'; fields are species, kind, row"):
        open_one(path, "meta:age")
    with pytest.raises(DataError, match="records of several fields; name one of species, kind, row, such as 'meta:species'"):
        open_one(path, "meta")


def test_names_in_the_file_or_in_the_argument_order_the_classes(tmp_path):
    path = write(tmp_path / "x.h5", labels=TEXTS.astype(object))
    with h5py.File(path, "r+") as file:
        file["images"].attrs["class_names"] = ["owl", "ant", "döner", "cat"]
    with open_one(path) as loader:
        assert loader.class_names == ("owl", "ant", "döner", "cat")
        np.testing.assert_array_equal(loader.labels, np.array([3, 2, 0])[K])
    with open_one(path, class_names=["döner", "owl", "cat"]) as loader:
        np.testing.assert_array_equal(loader.labels, np.array([2, 0, 1])[K])
    with pytest.raises(DataError, match="dataset 'labels', sample 2: its label, 'owl', is not among class_names: döner, cat"):
        open_one(path, class_names=["döner", "cat"])
    with pytest.raises(ValueError, match="class_names must be a list of different texts, got"):
        open_one(path, class_names=["cat", "cat"])
    with pytest.raises(ValueError, match=r"class_names is for labels that are texts, labels are int64 \(18,\)"):
        open_one(path, K, class_names=["a"])
    with h5py.File(path, "r+") as file:
        file["labels"][3] = ""
        del file["images"].attrs["class_names"]
    with pytest.raises(DataError, match="dataset 'labels', sample 3: its label is an empty text"):
        open_one(path)


def test_texts_of_several_files_are_numbered_together(tmp_path):
    for k in range(3):
        with h5py.File(tmp_path / f"{k}.h5", "w") as file:
            file["images"], file["labels"] = IMAGES[k::3], TEXTS[k::3].astype(object)  # one class in each
    with open_one(str(tmp_path / "*.h5")) as loader:
        assert loader.class_names == tuple(NAMES)
        np.testing.assert_array_equal(loader.labels, np.concatenate([K[k::3] for k in range(3)]))


# --- other files


def test_labels_of_other_files_as_patchcamelyon_has_them(tmp_path, monkeypatch):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("x", data=IMAGES, chunks=(4, 6, 5, 3), compression="gzip")
    with h5py.File(tmp_path / "y.h5", "w") as file:
        file["y"], file["weight"] = K.reshape(N, 1, 1, 1).astype("u1"), K + 1.0
    monkeypatch.chdir(tmp_path)
    with open_one("x.h5", "y.h5:y", images="x", sample_weight="y.h5:weight", shuffle=True) as loader:
        assert loader.labels_name == "y.h5:y"
        samples = np.concatenate([loader.samples(0, step) for step in range(len(loader))])
        _, y, weights = all_batches(loader)
    np.testing.assert_array_equal(np.concatenate(y), K[samples])
    np.testing.assert_array_equal(np.concatenate(weights), K[samples] + 1)


def test_other_files_are_one_for_all_or_one_for_each(tmp_path):
    for k, part in enumerate((slice(0, 5), slice(5, 7), slice(7, N))):
        with h5py.File(tmp_path / f"x{k}.h5", "w") as file:
            file["images"] = IMAGES[part]
        with h5py.File(tmp_path / f"y{k}.h5", "w") as file:
            file["y"] = K[part]
    with h5py.File(tmp_path / "all.h5", "w") as file:
        file["y"] = K
    images = str(tmp_path / "x*.h5")
    for labels in (f"{tmp_path}/y*.h5:y", f"{tmp_path}/all.h5:y"):
        with open_one(images, labels) as loader:
            np.testing.assert_array_equal(loader.labels, K)
    with pytest.raises(ValueError, match="2 files of labels for 3 files of images"):
        open_one(images, f"{tmp_path}/y[01].h5:y")
    with pytest.raises(DataError, match=r"y0\.h5', dataset 'y': there must be one label for each of the 18 images"):
        open_one(images, f"{tmp_path}/y0.h5:y")
    with pytest.raises(FileNotFoundError, match=r"there is no file '.*nowhere\.h5'"):
        open_one(images, f"{tmp_path}/nowhere.h5:y")


def write_parts(folder, images, labels, parts):
    """Write files of images, and one file of labels for each."""
    for image, label, values in zip(images, labels, parts, strict=True):
        with h5py.File(folder / image, "w") as file:
            file["images"] = IMAGES[: len(values)]
        with h5py.File(folder / label, "w") as file:
            file["y"] = values


def test_files_of_labels_are_never_paired_with_images_in_another_order(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    parts = [[k] * 4 for k in range(3)]
    write_parts(tmp_path, [f"s{k}.h5" for k in range(3)], [f"s{k}_y.hdf" for k in range(3)], parts)
    for files in ("s?.h5", ["s0.h5", "s1.h5", "s2.h5"]):
        with open_one(files, "s*_y.hdf:y", sample_weight="s*_y.hdf:y") as loader:
            np.testing.assert_array_equal(loader.labels, np.repeat([0, 1, 2], 4))
    for options in ({"labels": "s*_y.hdf:y"}, {"labels": None, "sample_weight": "s*_y.hdf:y"}):
        with pytest.raises(ValueError, match=r"'s0_y\.hdf' with 's2\.h5'; name both by patterns that sort alike, or .* array"):
            open_one(["s2.h5", "s0.h5", "s1.h5"], **options)


def test_files_of_labels_whose_names_sort_in_another_way_than_those_of_the_images_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_parts(tmp_path, ["s1.h5", "s10.h5"], ["s1_y.hdf", "s10_y.hdf"], [[1] * 4, [10] * 4])  # '.' is before '0', '_' after
    with pytest.raises(ValueError, match=r"'s10_y\.hdf' with 's1\.h5'"):
        open_one("s*.h5", "s*_y.hdf:y")


def test_files_of_labels_with_names_of_their_own_need_images_in_alphabetical_order(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_parts(tmp_path, ["rome.h5", "oslo.h5"], ["m.hdf", "n.hdf"], [[1] * 4, [0] * 4])
    with open_one(["oslo.h5", "rome.h5"], "[mn].hdf:y") as loader:
        np.testing.assert_array_equal(loader.labels, np.repeat([1, 0], 4))
    with pytest.raises(ValueError, match=r"alphabetical order, which files= are not: 'rome\.h5' is at place 0; sort them, or"):
        open_one(["rome.h5", "oslo.h5"], "[mn].hdf:y")
    for folder, part in (("b", [7] * 4), ("a", [8] * 4)):  # those in folders of the same names need not be sorted
        (tmp_path / folder).mkdir()
        write_parts(tmp_path / folder, ["x.h5"], ["y.hdf"], [part])
    with open_one(["a/x.h5", "b/x.h5"], "?/y.hdf:y") as loader:
        np.testing.assert_array_equal(loader.labels, np.repeat([8, 7], 4))


LARGE = 2**53 + 1


@pytest.mark.parametrize("place", ["beside images", "elsewhere"])
@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (np.array([LARGE, -1]), np.array([2, LARGE], "u8"), None),
        (np.array([1, 2], "i1"), np.array([2**63 - 1, 0], "u8"), None),
        (np.array([1, 2], "i4"), np.array([0.5, 2], "f4"), None),
        (np.array([1, 2**53], "i8"), np.array([0.5, 2], "f4"), None),
        (np.array([1, 2]), np.array([2**63, 0], "u8"), f"are uint64, in '.*0.h5' they are int64, and {2**63} is no int64"),
        (np.array([1, LARGE]), np.array([0.5, 2], "f4"), f"are int64, in '.*1.h5' they are float32, and {LARGE} is no float64"),
    ],
)
def test_integers_of_several_files_stay_what_they_are(tmp_path, place, first, second, message):
    name = "x" if place == "beside images" else "y"
    for k, values in enumerate((first, second)):
        with h5py.File(tmp_path / f"x{k}.h5", "w") as file:
            file["images"] = IMAGES[:2]
        with h5py.File(tmp_path / f"{name}{k}.h5", "a") as file:
            file["y"] = values
    labels = "y" if place == "beside images" else f"{tmp_path}/y*.h5:y"
    if message is not None:
        with pytest.raises(DataError, match=message):
            open_one(str(tmp_path / "x*.h5"), labels)
        return
    with open_one(str(tmp_path / "x*.h5"), labels) as loader:
        assert loader.labels.tolist() == [*first.tolist(), *second.tolist()]
        assert (loader.labels.dtype.kind == "f") == (second.dtype.kind == "f")


def test_an_error_about_a_label_names_the_file_that_has_it(tmp_path):
    values = np.repeat(0.5, 8)
    values[6] = np.nan
    parts = [values[:4], values[4:]]
    write_parts(tmp_path, ["x0.h5", "x1.h5"], ["y0.hdf", "y1.hdf"], parts)
    write_parts(tmp_path, ["z.h5"], ["all.hdf"], [values])
    images, rule = str(tmp_path / "x*.h5"), "its label has NaN or infinity"
    each, one = f"{tmp_path}/y?.hdf:y", f"{tmp_path}/all.hdf:y"
    for labels in (each, (np.arange(8), each), {"a": each}):
        with pytest.raises(DataError, match=rf"y1\.hdf', dataset 'y', sample 2: {rule}"):
            open_one(images, labels)
    with pytest.raises(DataError, match=rf"all\.hdf', dataset 'y', sample 6: {rule}"):
        open_one(images, one)
    with pytest.raises(DataError, match=rf"y1\.hdf', dataset 'y', sample 2: {rule}"):
        open_one(images, each, indices=[0, 6])
    with pytest.raises(DataError, match=rf"x1\.h5', sample 2: labels\['b'\]: {rule}"):
        open_one(images, {"a": np.arange(8), "b": values})
    with h5py.File(tmp_path / "texts.hdf", "w") as file:
        file["y"], file["kind"] = ["cat"] * 7 + [""], np.full(8, 5)
    with pytest.raises(DataError, match=r"texts\.hdf', dataset 'y', sample 7: its label is an empty text"):
        open_one(images, f"{tmp_path}/texts.hdf:y")
    with pytest.raises(DataError, match=r"texts\.hdf', dataset 'kind', sample 0: labels must lie in 0\.\.2"):
        open_one(images, {"a": f"{tmp_path}/texts.hdf:kind"}, num_classes={"a": 3})
    with pytest.raises(DataError, match=r"all\.hdf', dataset 'y': num_classes needs integer labels"):
        open_one(images, one, num_classes=3, check_finite=False)


def test_a_name_with_a_colon_that_means_two_things_is_an_error(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write("x.h5", **{"meta:kind": K, "meta": RECORDS})
    with open_one("x.h5", "meta:kind") as loader:  # a dataset of that very name
        assert loader.labels.dtype == np.int64
    with h5py.File("meta", "w") as file:
        file["kind"] = K[::-1]
    with pytest.raises(ValueError, match=r"may be of the file 'meta' or of a dataset in 'x.h5': .* '/meta:kind'"):
        open_one("x.h5", "meta:kind")
    for name, wanted in ((f"{tmp_path}/meta:kind", K[::-1]), ("/meta:kind", K)):
        with open_one("x.h5", name) as loader:
            np.testing.assert_array_equal(loader.labels, wanted)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros((3, 6)), r"labels must have a row for each of the 18 images, got the shape \(3, 6\)"),
        (np.full((9, 2), "a"), r"labels must have a row for each of the 18 images, got the shape \(9, 2\)"),
        (np.zeros((2, 9, 1), bool), r"labels must have a row for each of the 18 images, got the shape \(2, 9, 1\)"),
        (K[:-1], r"labels must have a row for each of the 18 images, got the shape \(17,\)"),
        (3, r"labels must have a row for each of the 18 images, got the shape \(\)"),
        ({}, "labels as a dict must map the names of outputs"),
        (b"labels", "labels must be a dataset's name, FILE:NAME, or an array"),
        ({"a": "labels", "b": K[:3]}, r"labels\['b'\] must have a row for each"),
        (np.array([None] * N), "labels must be an array of numbers or of texts, got object"),
        (["cat", "dog"] * 9, r"there is no 'cat', which it has 9 times: pass labels that are texts as an array, numpy\.array"),
    ],
)
def test_labels_that_make_no_sense(tmp_path, labels, message):
    with pytest.raises(ValueError, match=message):
        open_one(write(tmp_path / "x.h5", labels=K), labels)


def test_arrays_of_one_number_each_may_lie_along_any_axis_that_counts_the_images(tmp_path):
    path = write(tmp_path / "x.h5")
    for shape in ((N,), (N, 1), (1, N), (1, 1, N), (N, 1, 1)):
        with open_one(path, K.reshape(shape), sample_weight=K.reshape(shape)) as loader:
            np.testing.assert_array_equal(loader.labels.reshape(-1), K)
    with pytest.raises(ValueError, match=r"sample_weight must be .* 18 numbers, one for each sample, got int64 \(3, 6\)"):
        open_one(path, K, sample_weight=K.reshape(3, 6))


def test_a_class_with_two_weights_is_an_error(tmp_path):
    path = write(tmp_path / "x.h5", labels=TEXTS.astype(object))
    with pytest.raises(ValueError, match="class_weight must name each class once, got 'cat' and 0, which are one class"):
        open_one(path, class_weight={"cat": 2, "owl": 1, 0: 3})
    with open_one(path, class_weight={"cat": 2, 1: 3}) as loader:
        assert next(iter(loader))[2].tolist() == np.array([2.0, 3.0, 1.0])[K[:5]].tolist()


# --- several outputs


@pytest.mark.parametrize("kind", [tuple, dict])
def test_several_outputs_have_labels_classes_and_weights_of_their_own(tmp_path, kind):
    path = write(tmp_path / "x.h5", species=TEXTS.astype(object), age=K + 0.5, trust=K + 1.0)

    def structure(species, age):
        return {"species": species, "age": age} if kind is dict else (species, age)

    options = {"num_classes": structure(3, None), "class_weight": structure({"owl": 2.0}, None)}
    with open_one(path, structure("species", K + 0.5), sample_weight=structure(None, "trust"), **options) as loader:
        assert loader.class_names == structure(tuple(NAMES), ())
        assert loader.labels_name == structure("species", None)
        shards = [open_one(path, structure("species", "age"), shard=(rank, 2), shuffle=True) for rank in range(2)]
        for x, y, weights in loader:
            assert type(y) is type(weights) is kind
            np.testing.assert_array_equal(x.shape[1:], IMAGES.shape[1:])
        names = ("species", "age") if kind is dict else (0, 1)
        batches = [(y, weights) for _, y, weights in loader]
        found = [[np.concatenate([part[k][name] for part in batches]) for name in names] for k in range(2)]
        for array in (loader.labels[name] for name in names):
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 0
    np.testing.assert_array_equal(found[0][0], np.eye(3, dtype="f4")[K])
    np.testing.assert_array_equal(found[0][1], K + 0.5)
    np.testing.assert_array_equal(found[1][0], np.where(K == 2, 2, 1))
    np.testing.assert_array_equal(found[1][1], K + 1)
    assert found[1][1].dtype == np.float32
    seen = []
    for shard in shards:
        with shard:
            for step in range(len(shard)):
                y = shard.batch(0, step)[1]
                np.testing.assert_array_equal(y[names[1]], (K + 0.5)[shard.samples(0, step)])
                seen += shard.samples(0, step).tolist()
    assert sorted(seen) == list(range(N))


def test_weights_of_rows_are_those_of_all_outputs(tmp_path):
    path = write(tmp_path / "x.h5", a=K, b=K)
    with open_one(path, ("a", "b"), sample_weight=np.arange(N)) as loader:
        weights = loader.batch(0, 1)[2]
        assert pickle.loads(pickle.dumps(loader)).labels_name == ("a", "b")
    for part in weights:
        np.testing.assert_array_equal(part, np.arange(5, 10))
    with pytest.raises(ValueError, match="sample_weight must have an entry for each of the 2 outputs of labels, got 1"):
        open_one(path, ("a", "b"), sample_weight=("a",))
    with pytest.raises(ValueError, match="class_weight must name outputs of labels, a, b, got 'c'"):
        open_one(path, {"a": "a", "b": "b"}, class_weight={"c": {0: 1}})


@pytest.mark.parametrize(("library", "hand_over"), [("jax", to_jax), ("torch", to_torch)])
def test_outputs_are_handed_on_in_their_structure(tmp_path, library, hand_over):
    pytest.importorskip(library)
    path = write(tmp_path / "x.h5", a=K.astype("i4"), b=K.astype("f4"))
    with open_one(path, {"a": "a", "b": "b"}, sample_weight="b") as loader:
        _, y, weights = hand_over(loader._source.make(0, 0), "float32")
        for part in (y, weights):
            found = {name: np.asarray(values).tolist() for name, values in part.items()}
            assert found == {"a": K[:5].tolist(), "b": K[:5].tolist()}


def test_keras_fits_several_outputs_and_refuses_other_classes_for_validation(tmp_path):
    import keras

    path = write(tmp_path / "x.h5", species=TEXTS.astype(object), age=K + 0.5)
    inputs = keras.Input((6, 5, 3))
    flat = keras.layers.Flatten()(inputs)
    outputs = {"species": keras.layers.Dense(3, name="species")(flat), "age": keras.layers.Dense(1, name="age")(flat)}
    model = keras.Model(inputs, outputs)
    losses = {"species": keras.losses.SparseCategoricalCrossentropy(from_logits=True), "age": "mse"}
    model.compile("sgd", losses, weighted_metrics={"species": "accuracy", "age": "mae"})
    options = {"mean": None, "scale": 1 / 255, "workers": 1, "sample_weight": {"age": np.arange(N)}}
    with fastprep.Loader(path, 5, None, labels={"species": "species", "age": "age"}, **options) as loader:
        history = model.fit(loader, validation_data=loader, shuffle=False, verbose=0).history
        expected = model.evaluate(
            IMAGES.astype("f4") / 255,
            {"species": K, "age": K + 0.5},
            sample_weight={"species": np.ones(N), "age": np.arange(N)},
            batch_size=5,
            verbose=0,
            return_dict=True,
        )
        found = model.evaluate(loader, verbose=0, return_dict=True)
        assert {name for name in history if name.startswith("val_")} == {f"val_{name}" for name in found}
        for name in ("loss", "species_accuracy", "age_mae"):  # Keras' own losses of outputs go on from evaluation to evaluation
            value = expected[name]
            assert found[name] == pytest.approx(value, rel=1e-5), name
    with h5py.File(tmp_path / "val.h5", "w") as file:
        file["images"], file["labels"] = IMAGES[K != 0], TEXTS[K != 0].astype(object)
    single = keras.Sequential([inputs, keras.layers.Flatten(), keras.layers.Dense(3)])
    single.compile("sgd", losses["species"])
    few = {"mean": None, "workers": 1}
    train = fastprep.Loader(path, 5, None, labels="species", **few)
    with train, fastprep.Loader(tmp_path / "val.h5", 5, None, **few) as val:
        message = r"validation_data of fit: .* Loader\(class_names=train.class_names\)"
        with pytest.raises(ValueError, match=message):
            single.fit(train, validation_data=val, shuffle=False, verbose=0)
    with train, fastprep.Loader(tmp_path / "val.h5", 5, None, class_names=train.class_names, **few) as val:
        np.testing.assert_array_equal(val.labels, K[K != 0])
        single.fit(train, validation_data=val, shuffle=False, verbose=0)


def test_what_is_one_class_for_each_image():
    assert class_numbers(np.array([0.0, 2.0])).tolist() == [0, 2]
    assert class_numbers(np.array([0.0, np.nan])) is None
    assert class_numbers(np.array([0.0, 2.0**60])) is None
    assert class_numbers(np.eye(3)[[2, 0]]).tolist() == [2, 0]
    assert class_numbers(np.zeros((4, 3))) is None
    assert class_numbers(np.array([[0, 1], [0, 2]])) is None
    assert class_numbers(np.zeros((4, 6, 5))) is None


def test_no_file_stays_open(tmp_path):
    with h5py.File(tmp_path / "y.h5", "w") as file:
        file["y"] = K
    before = set(os.listdir("/proc/self/fd"))
    open_one(write(tmp_path / "x.h5"), f"{tmp_path}/y.h5:y").close()
    assert set(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("dtype", [h5py.string_dtype(), "S3"])
def test_several_texts_an_image_are_refused_and_not_joined(tmp_path, dtype):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["images"] = np.zeros((4, 5, 6, 3), np.uint8)
        file.create_dataset("labels", data=np.full((4, 2), b"cat", object if dtype != "S3" else "S3"), dtype=dtype)
    with pytest.raises(DataError, match=r"texts must be one for each of the 4 images, found shape \(4, 2\)"):
        Loader(tmp_path / "a.h5", 2, None, mean=None)


@pytest.mark.parametrize("labels", [(), []])
def test_no_labels_at_all_are_not_outputs(tmp_path, labels):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["images"] = np.zeros((4, 5, 6, 3), np.uint8)
    with pytest.raises(ValueError, match=r"^labels must name or be labels, or be None"):
        Loader(tmp_path / "a.h5", 2, None, mean=None, labels=labels)
