"""What a conversion keeps beside the images: every type, name, link and reference as it was, and a note of what it can't keep."""

import ctypes
import os
import subprocess
import sys

import h5py
import numpy as np
import pytest
from h5py import h5a, h5d, h5g, h5o, h5p, h5s, h5t
from odd_types import wide_float

from fastprep import convert, show
from fastprep.errors import DataError
from fastprep.h5 import writer_of
from fastprep.h5.convert import raw, rewrite

N = 23
LIBRARY = ctypes.PyDLL(h5py.h5p.__file__)


@pytest.fixture
def out(tmp_path):
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "new.h5"


def spoil(path, change, **options):
    with h5py.File(path, "r+", libver=("v108", "latest"), **options) as file:
        return change(file)


def copy_of(identifier):
    function = LIBRARY.H5Tcopy
    function.argtypes, function.restype = (ctypes.c_int64,), ctypes.c_int64
    return h5py.h5i.wrap_identifier(function(identifier))


def time_type():
    return copy_of(h5t.UNIX_D32LE.id)


def odd_integer(size):
    kind = h5t.STD_U32LE.copy()
    kind.set_precision(8 * size)
    kind.set_size(size)
    return kind


def opaque():
    kind = h5t.create(h5t.OPAQUE, 7)
    kind.set_tag(b"of another program")
    return kind


def text(size, padding, charset=h5t.CSET_ASCII):
    kind = h5t.C_S1.copy()
    kind.set_size(size)
    kind.set_strpad(padding)
    kind.set_cset(charset)
    return kind


def compound(**members):
    kind = h5t.create(h5t.COMPOUND, sum(member.get_size() for member in members.values()) + 3)
    start = 1  # gaps before and after
    for name, member in members.items():
        kind.insert(name.encode(), start, member)
        start += member.get_size()
    return kind


def enum():
    kind = h5t.enum_create(h5t.STD_I8LE)
    kind.enum_insert(b"no", 0)
    kind.enum_insert(b"yes", 1)
    return kind


FIXED = {
    "bit field": lambda: h5t.STD_B8LE,
    "bit field, wide and big-endian": lambda: h5t.STD_B64BE,
    "opaque": opaque,
    "time": time_type,
    "24 bits": lambda: odd_integer(3),
    "128-bit float": wide_float,
    "enumeration": enum,
    "null-terminated": lambda: text(3, h5t.STR_NULLTERM),
    "null-padded": lambda: text(3, h5t.STR_NULLPAD),
    "space-padded": lambda: text(3, h5t.STR_SPACEPAD),
    "null-terminated UTF-8": lambda: text(5, h5t.STR_NULLTERM, h5t.CSET_UTF8),
    "array of opaque": lambda: h5t.array_create(opaque(), (2, 3)),
    "compound of all": lambda: compound(a=opaque(), b=odd_integer(3), c=wide_float(), d=text(4, h5t.STR_NULLTERM), e=enum()),
    "compound in compound": lambda: compound(x=compound(y=h5t.STD_B16LE, z=time_type()), w=h5t.IEEE_F16BE),
}


def bytes_of_attribute(owner, name):
    attribute = h5a.open(owner.id, name)
    values = np.empty(attribute.shape, np.dtype((np.void, attribute.get_type().get_size())))
    attribute.read(values, attribute.get_type())
    return values.tobytes(), attribute.get_type()


def bytes_of_dataset(dataset):
    kind = dataset.id.get_type()
    values = np.empty(dataset.shape, np.dtype((np.void, kind.get_size())))
    dataset.id.read(h5s.ALL, h5s.ALL, values, kind)
    return values.tobytes(), kind


@pytest.mark.parametrize("name", FIXED)
def test_values_of_every_type_stay_byte_for_byte(make_file, out, name):
    """As attributes of the images, of a group and of a dataset, and as a dataset beside the images."""
    path, images, _ = make_file(dtype="float32")
    kind = FIXED[name]()
    rng = np.random.default_rng(3)
    values = np.frombuffer(rng.integers(33, 127, 5 * kind.get_size(), "uint8").tobytes(), f"V{kind.get_size()}")
    if name == "enumeration":
        values = np.frombuffer(bytes([0, 1, 1, 0, 1]), "V1")

    def add(file):
        space = h5s.create_simple((5,))
        created = h5d.create(file.id, b"beside", kind, space)
        created.write(h5s.ALL, h5s.ALL, values, kind)
        for owner in (created, file["images"].id, file.create_group("group").id, file["/"].id):
            h5a.create(owner, b"a", kind, space).write(values, kind)
            h5a.create(owner, b"scalar", kind, h5s.create(h5s.SCALAR)).write(values[:1].reshape(()), kind)
            h5a.create(owner, b"null", kind, h5s.create(h5s.NULL))

    spoil(path, add)
    assert rewrite(path, out).notes == ()
    with h5py.File(out) as file:
        for owner in ("beside", "images", "group", "/"):
            found, found_kind = bytes_of_attribute(file[owner], b"a")
            assert found == values.tobytes()
            assert found_kind.equal(kind)
            assert bytes_of_attribute(file[owner], b"scalar")[0] == values[:1].tobytes()
            null = h5a.open(file[owner].id, b"null")
            assert null.get_space().get_simple_extent_type() == h5s.NULL
            assert null.get_type().equal(kind)
        found, found_kind = bytes_of_dataset(file["beside"])
        assert found == values.tobytes()
        assert found_kind.equal(kind)
        np.testing.assert_array_equal(file["images"][()], images)


def test_values_of_variable_length_stay(make_file, out):
    path, _, _ = make_file()
    record = np.dtype([("name", h5py.string_dtype()), ("sizes", h5py.vlen_dtype("i2")), ("x", "f4")])
    values = np.empty(2, record)
    values[0], values[1] = ("größe", np.array([1, 2], "i2"), 0.5), ("", np.array([], "i2"), 7)

    def add(file):
        for owner in (file["images"], file):
            owner.attrs.create("record", values, dtype=record)
            owner.attrs.create("text", ["a", "bc"], dtype=h5py.string_dtype("ascii"))
        file["beside"] = values

    spoil(path, add)
    assert rewrite(path, out).notes == ()
    with h5py.File(out) as file:
        for found in (file.attrs["record"], file["images"].attrs["record"], file["beside"][()]):
            assert [row["name"].decode() if isinstance(row["name"], bytes) else row["name"] for row in found] == ["größe", ""]
            assert [list(row["sizes"]) for row in found] == [[1, 2], []]
            assert found["x"].tolist() == [0.5, 7]
        assert file.attrs["text"].tolist() == ["a", "bc"]
        assert file.attrs.get_id("text").get_type().get_cset() == h5t.CSET_ASCII


def test_names_that_are_not_utf8_stay(make_file, out):
    path, images, _ = make_file(dtype="float32")
    latin, japanese = "größe".encode("latin-1"), "画像".encode("shift-jis")

    def rename(file):
        group = h5g.create(file.id, latin)
        file.id.links.move(b"images", group, japanese)
        group.links.create_soft(b"soft\xff", b"/" + latin + b"/" + japanese)
        group.links.create_external(b"external\xfe", b"gone\xfd.h5", b"/x\xfc")
        h5d.create(group, b"beside\xfb", h5t.STD_I8LE, h5s.create_simple((2,)))
        utf8 = h5p.create(h5p.LINK_CREATE)
        utf8.set_char_encoding(h5t.CSET_UTF8)
        h5g.create(group, "ü".encode(), utf8)
        for owner in (group, h5o.open(group, japanese)):
            h5a.create(owner, b"ma\xdf", h5t.STD_I8LE, h5s.create_simple((2,))).write(np.array([3, 4], "i1"))
        file.id.links.create_soft(b"images", b"/" + latin + b"/" + japanese)

    spoil(path, rename)
    assert rewrite(path, out).notes == ()
    with h5py.File(out) as file:
        group = h5o.open(file.id, latin)
        names = []
        group.links.iterate(names.append)
        assert sorted(names) == sorted([japanese, b"soft\xff", b"external\xfe", b"beside\xfb", "ü".encode()])
        assert group.links.get_info("ü".encode()).cset == h5t.CSET_UTF8
        assert group.links.get_info(japanese).cset == h5t.CSET_ASCII
        assert group.links.get_val(b"external\xfe") == (b"gone\xfd.h5", b"/x\xfc")
        for owner in (group, h5o.open(group, japanese)):
            values = np.zeros(2, "i1")
            h5a.open(owner, b"ma\xdf").read(values)
            assert values.tolist() == [3, 4]
        np.testing.assert_array_equal(file[latin + b"/" + japanese][()], images)


def test_links_of_a_kind_that_only_their_maker_knows_are_listed(make_file, out):
    path, _, _ = make_file()
    function = LIBRARY.H5Lregister
    kind = 200

    class LinkClass(ctypes.Structure):  # H5L_class2_t
        _fields_ = (
            ("version", ctypes.c_int),
            ("id", ctypes.c_int),
            ("comment", ctypes.c_char_p),
            *((f"f{k}", ctypes.c_void_p) for k in range(6)),
        )

    follow = ctypes.CFUNCTYPE(
        ctypes.c_int64, ctypes.c_char_p, ctypes.c_int64, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int64, ctypes.c_int64
    )(lambda *_: -1)
    link_class = LinkClass(1, kind, b"test", None, None, None, ctypes.cast(follow, ctypes.c_void_p), None, None)
    assert function(ctypes.byref(link_class)) >= 0
    create = LIBRARY.H5Lcreate_ud
    create.argtypes = (
        ctypes.c_int64,
        ctypes.c_char_p,
        ctypes.c_int,
        ctypes.c_char_p,
        ctypes.c_size_t,
        ctypes.c_int64,
        ctypes.c_int64,
    )
    spoil(path, lambda file: create(file.id.id, b"own", kind, b"data", 4, 0, 0))
    (note,) = rewrite(path, out).notes
    assert note == "link '/own' is left out: only the program that made it knows what it is"


def test_committed_types_stay_one_object(make_file, out):
    path, _, _ = make_file()

    def add(file):
        first = h5py.h5t.py_create(np.dtype([("x", "f8"), ("y", "i4")]))
        second = first.copy()
        first.commit(file.id, b"z type")  # its name comes behind those of what uses it
        second.commit(file.create_group("types").id, b"equal")
        file["z type"].attrs["note"] = "first"
        file["types/equal"].attrs["note"] = "second"
        for name, kind in ((b"a", first), (b"b", second), (b"c", first)):
            h5d.create(file.id, name, kind, h5s.create_simple((2,)))
        for owner in (file["images"].id, file["types"].id):
            h5a.create(owner, b"record", second, h5s.create_simple((2,)))

    spoil(path, add)
    assert rewrite(path, out).notes == ()
    with h5py.File(out) as file:
        assert sorted(file) == ["a", "b", "c", "images", "labels", "types", "z type"]
        first, second = (h5o.get_info(file[name].id).addr for name in ("z type", "types/equal"))
        assert file["z type"].attrs["note"] == "first"
        assert file["types/equal"].attrs["note"] == "second"
        kinds = [file[name].id.get_type() for name in "abc"]
        kinds += [h5a.open(file[name].id, b"record").get_type() for name in ("images", "types")]
        assert [h5o.get_info(kind).addr for kind in kinds] == [first, second, first, second, second]


@pytest.mark.parametrize("tracked", [True, False])
def test_the_order_of_creation_stays(make_file, out, tmp_path, tracked):
    path = tmp_path / "order.h5"
    names = ["z", "images", "a", "m", "labels"]
    with h5py.File(path, "w", track_order=tracked) as file:
        for name in names:
            if name == "images":
                images = file.create_dataset(name, data=np.zeros((4, 6, 6, 3), "uint8"), track_order=tracked)
            elif name == "a":
                group = file.create_group("a", track_order=tracked)
            else:
                file[name] = np.arange(4)
        for owner in (file, images, group):
            for name in ("z", "mean", "a", "m"):
                owner.attrs[name] = [1.0, 2.0, 3.0]
    rewrite(path, out)
    with h5py.File(out, track_order=tracked) as file:
        assert list(file) == (names if tracked else sorted(names))
        wanted = ["z", "mean", "a", "m"] if tracked else ["a", "m", "mean", "z"]
        for name in ("/", "images", "a"):
            assert list(file[name].attrs) == wanted


def test_fill_values_filters_growth_and_comments_stay(make_file, out):
    path, _, _ = make_file()

    def add(file):
        dataset = file.create_dataset(
            "grows", (3, 4), ">i2", maxshape=(None, 8), chunks=(2, 4), fillvalue=-7, compression="gzip", shuffle=True
        )
        dataset[0] = 5
        file.create_group("group")
        for name in ("grows", "group", "images"):
            h5o.set_comment(file[name].id, f"on {name}".encode())

    spoil(path, add)
    assert rewrite(path, out).notes == ()
    with h5py.File(out) as file, h5py.File(path) as old:
        new = file["grows"]
        assert (new.maxshape, new.chunks, new.fillvalue, new.shuffle, new.dtype) == ((None, 8), (2, 4), -7, True, np.dtype(">i2"))
        np.testing.assert_array_equal(new[()], old["grows"][()])
        assert new.id.get_storage_size() == old["grows"].id.get_storage_size()
        for name in ("grows", "group", "images"):
            assert raw.comment_of(file[name].id) == f"on {name}".encode()


def test_the_comment_of_a_file_gives_way_to_the_mark_and_is_listed(make_file, out, tmp_path):
    path, _, _ = make_file()
    spoil(path, lambda file: h5o.set_comment(file.id, b"holidays"))
    assert rewrite(path, out).notes == ("the comment of '/' is left out: the mark of fastprep takes its place",)
    assert writer_of(out) == "convert"
    again = tmp_path / "again.h5"
    assert rewrite(out, again).notes == ()
    assert writer_of(again) == "convert"


def test_groups_may_be_nested_deeper_than_calls(make_file, out):
    path, _, _ = make_file()

    def nest(file):
        group = file.id
        for _ in range(1500):
            group = h5g.create(group, b"g")
        h5a.create(group, b"deep", h5t.STD_I8LE, h5s.create(h5s.NULL))

    spoil(path, nest)
    rewrite(path, out)
    with h5py.File(out) as file:
        assert "deep" in file["/".join(["g"] * 1500)].attrs


# --- references


def test_dimension_scales_stay(make_file, out):
    path, _, _ = make_file(channels=3, dtype="float32")

    def scale(file):
        for axis, name in enumerate(("sample", "row", "column", "channel")):
            file[name] = np.arange(file["images"].shape[axis])
            file[name].make_scale(name)
            file["images"].dims[axis].attach_scale(file[name])
            file["images"].dims[axis].label = f"axis {name}"
        file["labels"].dims[0].attach_scale(file["sample"])

    spoil(path, scale)
    assert rewrite(path, out).notes == ()
    with h5py.File(out) as file:
        for axis, name in enumerate(("sample", "row", "column", "channel")):
            assert file["images"].dims[axis][0] == file[name]
            assert file["images"].dims[axis].label == f"axis {name}"
        users = {(file[row["dataset"]].name, int(row["dimension"])) for row in file["sample"].attrs["REFERENCE_LIST"]}
        assert users == {("/images", 0), ("/labels", 0)}


def test_dimension_scales_of_images_that_get_a_channel_axis(make_file, out):
    path, _, _ = make_file(channels=0)

    def scale(file):
        file["sample"] = np.arange(N)
        file["sample"].make_scale()
        file["images"].dims[0].attach_scale(file["sample"])
        file["images"].dims[2].label = "column"

    spoil(path, scale)
    assert rewrite(path, out).notes == ()
    with h5py.File(out, "r+") as file:
        dims = file["images"].dims
        assert [len(dim) for dim in dims] == [1, 0, 0, 0]
        assert dims[0][0] == file["sample"]
        assert [dim.label for dim in dims] == ["", "", "column", ""]
        dims[3].attach_scale(file["labels"])  # HDF5's own functions take what was written
        assert dims[3][0] == file["labels"]


def test_references_lead_to_the_copies_wherever_they_are(make_file, out):
    path, _, _ = make_file(channels=3)
    kind = np.dtype(
        [
            ("one", h5py.ref_dtype),
            ("n", "i4"),
            ("text", h5py.string_dtype()),
            ("two", h5py.ref_dtype, (2,)),
            ("part", h5py.regionref_dtype),
        ]
    )

    def refer(file):
        group = file.create_group("z group")
        images, labels = file["images"], file["labels"]
        values = np.empty(2, kind)
        for row in range(2):
            values[row] = (images.ref, row, "text", [labels.ref, group.ref], labels.regionref[2:5])
        file["a table"] = values
        group.attrs.create("record", values, dtype=kind)
        file["a list"] = np.array([group.ref, h5py.Reference(), file.ref], h5py.ref_dtype)
        file["regions"] = np.array([images.regionref[3, 1:4, :, 0], h5py.RegionReference()], h5py.regionref_dtype)
        lists = file.create_dataset("lists", (2,), h5py.vlen_dtype(h5py.ref_dtype), chunks=(1,), compression="gzip")
        lists[0] = np.array([images.ref, labels.ref], h5py.ref_dtype)

    spoil(path, refer)
    assert rewrite(path, out).notes == ()
    with h5py.File(out) as file:
        for rows in (file["a table"][()], file["z group"].attrs["record"]):
            for k, row in enumerate(rows):
                assert (
                    file[row["one"]],
                    row["n"],
                    bytes(row["text"], "ascii") if isinstance(row["text"], str) else row["text"],
                ) == (file["images"], k, b"text")
                assert [file[reference] for reference in row["two"]] == [file["labels"], file["z group"]]
                np.testing.assert_array_equal(file["labels"][row["part"]], file["labels"][2:5])
        group, nothing, root = file["a list"][()]
        assert (file[group], bool(nothing), file[root]) == (file["z group"], False, file["/"])
        region, nothing = file["regions"][()]
        assert not nothing
        np.testing.assert_array_equal(file["images"][region].ravel(), file["images"][3, 1:4, :, 0].ravel())
        assert [file[reference] for reference in file["lists"][0]] == [file["images"], file["labels"]]
        assert len(file["lists"][1]) == 0


def test_references_that_lead_nowhere_are_emptied_and_counted(make_file, out, capsys):
    path, _, _ = make_file(channels=0)

    def refer(file):
        file["gone"] = np.arange(3)
        file["a list"] = np.array([file["gone"].ref, file["labels"].ref], h5py.ref_dtype)
        file.attrs.create("pair", np.array([file["gone"].ref] * 2, h5py.ref_dtype), dtype=h5py.ref_dtype)
        # the images get an axis more, so that a part of them is another one
        file.attrs["part"] = file["images"].regionref[0]
        record = np.zeros(1, [("dataset", h5py.ref_dtype), ("k", "i4")])
        record["dataset"][0] = file["gone"].ref
        file["labels"].attrs.create("record", record, dtype=record.dtype)
        del file["gone"]

    spoil(path, refer)
    assert convert.main([str(path), str(out)]) == 0
    notes = capsys.readouterr().err.splitlines()
    end = "to nothing that the new file has in the same form"
    assert sorted(notes) == sorted(
        [
            f"fastprep.convert: attribute 'pair' of '/': 2 references are empty now, because they lead {end}",
            f"fastprep.convert: attribute 'part' of '/': 1 reference is empty now, because it leads {end}",
            f"fastprep.convert: attribute 'record' of '/labels': 1 reference is empty now, because it leads {end}",
            f"fastprep.convert: dataset '/a list': 1 reference is empty now, because it leads {end}",
        ]
    )
    with h5py.File(out) as file:
        gone, labels = file["a list"][()]
        assert not gone
        assert file[labels] == file["labels"]
        assert not any(file.attrs["pair"])
        assert not file.attrs["part"]
        assert not file["labels"].attrs["record"]["dataset"][0]


def test_references_of_the_newest_type_are_emptied_and_counted(make_file, out):
    """HDF5 1.12 brought a type of 64 bytes in memory, which h5py can't read."""
    path, _, _ = make_file()
    kind = copy_of(ctypes.c_int64.in_dll(LIBRARY, "H5T_STD_REF_g").value)
    create = LIBRARY.H5Rcreate_object
    create.argtypes = (ctypes.c_int64, ctypes.c_char_p, ctypes.c_int64, ctypes.c_void_p)

    def refer(file):
        values = ctypes.create_string_buffer(2 * kind.get_size())
        assert create(file.id.id, b"/labels", 0, ctypes.addressof(values)) >= 0  # the second is empty
        space = h5s.create_simple((2,))
        raw.write_dataset(h5d.create(file.id, b"newest", kind, space), kind, space, values)
        raw.write_attribute(h5a.create(file["labels"].id, b"newest", kind, space), values)
        raw.call("H5Rdestroy", ctypes.addressof(values))

    spoil(path, refer)
    notes = rewrite(path, out).notes
    assert sorted(note.split(":")[0] for note in notes) == ["attribute 'newest' of '/labels'", "dataset '/newest'"]
    assert all("1 reference is empty now" in note for note in notes)
    with h5py.File(out) as file, raw.dataset_values(file["newest"].id, kind, h5s.create_simple((2,))) as values:
        assert not any(values.raw)


def test_references_in_many_blocks(make_file, out, monkeypatch):
    monkeypatch.setattr("fastprep.h5.convert.copy._BLOCK_BYTES", 40)
    path, _, _ = make_file()

    def refer(file):
        both = [file["labels"].ref, file["images"].ref]
        file["many"] = np.array([both[k % 2] for k in range(51)], h5py.ref_dtype).reshape(17, 3)
        file.create_dataset("scalar", data=both[0], dtype=h5py.ref_dtype)

    spoil(path, refer)
    assert rewrite(path, out).notes == ()
    with h5py.File(out) as file:
        names = [file[reference].name for reference in file["many"][()].ravel()]
        assert names == (["/labels", "/images"] * 26)[:51]
        assert file[file["scalar"][()]] == file["labels"]


def test_references_in_stored_chunks_of_a_dataset_that_claims_many_more(make_file, out):
    path, _, _ = make_file()

    def refer(file):
        many = file.create_dataset("many", (2**50, 3), h5py.ref_dtype, chunks=(4, 2), maxshape=(None, None), compression="gzip")
        many[2**40 + 5, 2] = file["labels"].ref

    spoil(path, refer)
    assert rewrite(path, out).notes == ()
    with h5py.File(out) as file:
        assert file["many"].id.get_num_chunks() == 1
        assert file[file["many"][2**40 + 5, 2]] == file["labels"]
        assert not file["many"][2**40 + 6, 2]


def test_references_in_other_files_are_not_written_to(make_file, out, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path, _, _ = make_file()

    def refer(file):
        file.create_dataset("outside", (2,), h5py.ref_dtype, external=[("outside.bin", 0, 16)])
        file["outside"][0] = file["labels"].ref

    spoil(path, refer)
    before = (tmp_path / "outside.bin").read_bytes()
    assert any(before)
    (note,) = rewrite(path, out).notes
    assert "dataset '/outside' has its values in other files" in note
    assert (tmp_path / "outside.bin").read_bytes() == before


def test_references_of_images_in_another_file_are_not_taken_for_those_of_this_one(make_file, out):
    """Both files have their objects at the same addresses."""
    make_file(name="other.h5")
    path, _, _ = make_file(name="linking.h5")
    for name in ("other.h5", "linking.h5"):
        spoil(path.with_name(name), lambda file: file["images"].attrs.__setitem__("its labels", file["labels"].ref))

    def link(file):
        del file["images"]
        file["images"] = h5py.ExternalLink("other.h5", "/images")

    spoil(path, link)
    (note,) = rewrite(path, out, from_other_files=True).notes
    assert note.startswith("attribute 'its labels' of '/images': 1 reference is empty now")


# --- damaged files


def test_a_damaged_dataset_that_passes_for_a_type_does_not_end_the_process(out, tmp_path):
    path = tmp_path / "damaged.h5"
    with h5py.File(path, "w") as file:
        file["images"] = np.zeros((4, 6, 6, 3), "uint8")
        for name, kind in (("numbers", "i4"), ("texts", h5py.string_dtype()), ("references", h5py.ref_dtype)):
            file.create_dataset(name, (3,), kind)
        headers = [h5o.get_info(file[name].id).addr for name in ("numbers", "texts", "references")]
    content = bytearray(path.read_bytes())
    for header in headers:
        message = header + 16  # HDF5 File Format Specification, IV.A.1.a: the first message behind the prefix
        while content[message : message + 2] != b"\x01\0":  # shape
            message += 8 + int.from_bytes(content[message + 2 : message + 4], "little")
        content[message : message + 2] = b"\0\0"  # nothing
    path.write_bytes(content)
    rewrite(path, out)
    with h5py.File(out) as file:
        assert {name: type(file[name]) for name in ("numbers", "texts", "references")} == {
            name: h5py.Datatype for name in ("numbers", "texts", "references")
        }


@pytest.mark.parametrize("part", ["root", "group", "dataset"])
def test_a_damaged_header_is_one_error_that_names_it(out, tmp_path, part):
    path = tmp_path / "damaged.h5"
    with h5py.File(path, "w", libver="latest") as file:
        file["images"] = np.zeros((4, 6, 6, 3), "uint8")
        file.attrs["a"] = 1
        file.create_group("group/inside").attrs["a"] = 1
        file.create_dataset("group/dataset", data=np.arange(4)).attrs["a"] = 1
        name = {"root": "/", "group": "group/inside", "dataset": "group/dataset"}[part]
        header = h5o.get_info(file[name].id).addr
    content = bytearray(path.read_bytes())
    begin = content.index(b"a\0", header)  # the name of the attribute; the checksum of the header is wrong now
    content[begin] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"file '.*damaged\.h5'"):
        rewrite(path, out)
    assert list(out.parent.iterdir()) == []


@pytest.mark.parametrize(("command", "group"), [("convert", "/"), ("convert", "/group"), ("show", "/")])
def test_a_damaged_list_of_links_does_not_end_the_process(out, tmp_path, command, group):
    """With garbage in memory that is taken, as a long process has it; HDF5 frees some of that as if it were its table."""
    path = tmp_path / "damaged.h5"
    with h5py.File(path, "w", libver="latest") as file:
        for k in range(20):
            file[f"{group}/{k}"] = np.arange(3)
        file["images"] = np.zeros((4, 6, 6, 3), "uint8")
    content = bytearray(path.read_bytes())
    content[content.index(b"FHDB") + 40] ^= 255  # the block of a heap that has the links; its checksum is wrong now
    path.write_bytes(content)
    words = [sys.executable, "-m", f"fastprep.{command}", str(path), *([str(out)] if command == "convert" else [])]
    environment = {**os.environ, "MALLOC_PERTURB_": "165"}
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False, env=environment)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1


# --- what other programs make of it


def test_pytables_opens_the_result(make_file, out):
    tables = pytest.importorskip("tables")
    path, images, _ = make_file()
    with tables.open_file(str(path), "a") as file:
        table = file.create_table(
            "/", "table", {"name": tables.StringCol(5), "is_cat": tables.BoolCol(), "t": tables.Time32Col()}
        )
        table.append([(True, b"abcde", 3), (False, b"x", 4)])
        table.cols.name.create_index()
        file.create_array("/", "flags", np.array([True, False, True]))
        file.create_vlarray("/", "ragged", tables.ObjectAtom()).append({"any": "object"})
        file.root.table.attrs.state = {"pickled": [1, 2]}
        assert [row["name"] for row in table.where("is_cat")] == [b"abcde"]
    assert rewrite(path, out).notes == ()
    with tables.open_file(str(out)) as file:
        assert file.root.table[:].tolist() == [(True, b"abcde", 3), (False, b"x", 4)]
        assert [row["t"] for row in file.root.table.where("name == b'abcde'")] == [3]
        assert file.root.flags[:].tolist() == [True, False, True]
        assert file.root.ragged[0] == {"any": "object"}
        assert file.root.table.attrs.state == {"pickled": [1, 2]}
        np.testing.assert_array_equal(file.root.images[:], images)


def test_a_file_made_by_pytables(out, tmp_path):
    tables = pytest.importorskip("tables")
    path = tmp_path / "tables.h5"
    images = np.arange(4 * 6 * 5 * 3, dtype="uint8").reshape(4, 6, 5, 3)
    with tables.open_file(str(path), "w", title="photographs") as file:
        file.create_earray("/", "images", obj=images, title="four of them")
        file.create_carray("/", "labels", obj=np.array([True, False, True, True]))
    assert rewrite(path, out).notes == ()
    with tables.open_file(str(out)) as file:
        assert file.title == "photographs"
        assert file.root.images.title == "four of them"
        assert file.root.labels[:].tolist() == [True, False, True, True]


# --- other files


def test_images_of_other_files_are_copied_only_when_asked_to(make_file, out, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where HDF5 looks for external storage
    make_file(name="part.h5", n=4)
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(range(192)))
    path = tmp_path / "strange.h5"
    with h5py.File(path, "w") as file:
        file["linked"] = h5py.ExternalLink("part.h5", "/images")
        file.create_dataset("external", (4, 4, 4, 3), "uint8", external=[("secret", 0, 192)])
        layout = h5py.VirtualLayout((4, 12, 14, 3), "uint8")
        layout[:] = h5py.VirtualSource("part.h5", "images", (4, 12, 14, 3))
        file.create_virtual_dataset("virtual", layout)
        layout = h5py.VirtualLayout((4, 4, 4, 3), "uint8")
        layout[:] = h5py.VirtualSource(".", "external", (4, 4, 4, 3))
        file.create_virtual_dataset("hidden", layout)
        layout = h5py.VirtualLayout((4, 4, 4, 3), "uint8")
        layout[:] = h5py.VirtualSource(".", "own", (4, 4, 4, 3))
        file["own"] = np.ones((4, 4, 4, 3), "uint8")
        file.create_virtual_dataset("harmless", layout)
    for name, other in (("linked", "part.h5"), ("external", "secret"), ("virtual", "part.h5"), ("hidden", "secret")):
        words = [str(path), str(out), "--images", name]
        assert convert.main(words) == 2
        line = capsys.readouterr().err
        assert line.count("\n") == 1
        assert show.main([str(path), "--images", name]) == 0
        assert f"  other files  '{tmp_path / other}'\n" in capsys.readouterr().out
        assert f"dataset {name!r}: the images lie in other files: '{tmp_path / other}'; --from-other-files copies" in line
        assert not out.exists()
        assert convert.main([*words, "--from-other-files"]) == 0
        with h5py.File(out) as new, h5py.File(path) as old:
            np.testing.assert_array_equal(new[name][()], old[name][()])
        out.unlink()
        capsys.readouterr()
    for name in ("own", "harmless"):
        assert show.main([str(path), "--images", name]) == 0
        assert "other files" not in capsys.readouterr().out
        assert convert.main([str(path), str(out), "--images", name, "--overwrite"]) == 0
        notes = capsys.readouterr().err
    assert f"dataset '/external' has its values in other files, named as before: '{secret}'" in notes
    assert secret.read_bytes() == bytes(range(192))
    assert bytes(range(60, 80)) not in out.read_bytes()
