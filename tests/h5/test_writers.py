"""Files from other writers and in other formats: equal to what h5py reads, or an error that names the file."""

import ctypes
import pickle
import subprocess
import sys

import h5py
import hdf5plugin
import numpy as np
import pytest
import tables
from like_h5py import assert_reads_like_h5py, low_level
from netcdf import netCDF4

from fastprep.errors import DataError
from fastprep.h5 import open_images

N, IMAGE = 23, (12, 14, 3)
H5 = "read by HDF5"


@pytest.fixture
def images(rng):
    images = rng.integers(0, 256, (N, *IMAGE), dtype=np.uint8)
    images[:, :6] = 7  # compressible, a little
    return images


# --- other programs


@pytest.mark.parametrize("options", [{}, {"shuffle": True}, {"fletcher32": True}, {"shuffle": True, "fletcher32": True}])
@pytest.mark.parametrize(
    "library", ["zlib", "bzip2", "lzo", "blosc", "blosc:lz4", "blosc:zlib", "blosc:zstd", "blosc2", "blosc2:zstd"]
)
def test_pytables(tmp_path, images, library, options):
    if tables.which_lib_version(library.partition(":")[0]) is None:
        pytest.skip(f"this build of PyTables has no {library}")
    filters = tables.Filters(5, library, **{"shuffle": False, **options})
    with tables.open_file(tmp_path / "p.h5", "w") as file:
        # PyTables makes chunks of half a gigabyte for Blosc2, which HDF5 decodes as a whole for each image
        chunk = (5, *IMAGE) if library.startswith("blosc2") else None
        how = {"filters": filters, "expectedrows": N, "chunkshape": chunk}
        grown = file.create_earray("/", "images", tables.UInt8Atom(), (0, *IMAGE), **how)
        for first in range(0, N, 5):
            grown.append(images[first : first + 5])
        shape = {"shape": images.shape, "chunkshape": (4, *IMAGE)}
        file.create_carray("/group", "fixed", tables.Int16Atom(), filters=filters, createparents=True, **shape)[:] = images
    for name in ("images", "group/fixed"):
        if library == "lzo" and not h5py.h5z.filter_avail(305):
            with pytest.raises(DataError, match=r"p\.h5', .*HDF5 has no filter lzo \(305\)"):
                open_images(tmp_path / "p.h5", name).array(np.arange(3))
        else:
            expected = H5 if library.startswith(("bzip2", "lzo")) else "chunked"
            assert_reads_like_h5py(tmp_path / "p.h5", name, expected)


NETCDF4 = {
    "contiguous": ({"contiguous": True}, "contiguous"),
    "zlib and shuffle": ({"zlib": True, "shuffle": True}, "filters shuffle+gzip"),
    "split images": ({"zlib": True, "chunksizes": (5, 7, 14, 3)}, "2 to an image"),
    "fletcher32": ({"fletcher32": True}, "filters fletcher32"),
    "all three": ({"zlib": True, "fletcher32": True}, "filters fletcher32+shuffle+gzip"),
    "zstd": ({"compression": "zstd"}, "filters zstd"),
    "blosc": ({"compression": "blosc_lz4"}, "filters blosc"),
    "bzip2": ({"compression": "bzip2"}, H5),
    "szip": ({"compression": "szip"}, H5),
}


@pytest.mark.parametrize("dtype", ["u1", ">i2", "<f4"])
@pytest.mark.parametrize("unlimited", [False, True])
@pytest.mark.parametrize("case", NETCDF4)
def test_netcdf4(tmp_path, images, case, unlimited, dtype):
    options, expected = NETCDF4[case]
    if unlimited and "contiguous" in options:
        pytest.skip("what is unlimited is chunked")
    with netCDF4.Dataset(tmp_path / "n.nc", "w") as file:
        for name, size in zip("nhwc", (None if unlimited else N, *IMAGE), strict=True):
            file.createDimension(name, size)
        endian = {">": "big", "<": "little"}.get(dtype[0], "native")
        file.createVariable("images", np.dtype(dtype), tuple("nhwc"), endian=endian, **options)[:] = images
    assert_reads_like_h5py(tmp_path / "n.nc", expected_layout=expected)


def test_netcdf_of_the_classic_format_is_no_hdf5(tmp_path):
    netCDF4.Dataset(tmp_path / "c.nc", "w", format="NETCDF3_CLASSIC").close()
    with pytest.raises(DataError, match=r"c\.nc': not an HDF5 file"):
        open_images(tmp_path / "c.nc")


# --- other formats of the file


INDEXES = {
    "implicit": ({}, b""),
    "fixed array": ({"compression": "gzip"}, b"FAHD"),
    "extensible array": ({"maxshape": (None, *IMAGE)}, b"EAHD"),
    "version-2 B-tree": ({"maxshape": (None, None, *IMAGE[1:])}, b"BTHD"),
}


@pytest.mark.parametrize("chunk", [(2, *IMAGE), (5, 7, 5, 2)])
@pytest.mark.parametrize("kind", INDEXES)
def test_new_chunk_indexes(tmp_path, images, kind, chunk):
    options, signature = INDEXES[kind]
    path = tmp_path / "i.h5"
    if kind == "implicit":
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_chunk(chunk)
        properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        low_level(path, properties, images, libver="latest")
        assert not any(other in path.read_bytes() for _, other in INDEXES.values() if other)
    else:
        with h5py.File(path, "w", libver="latest") as file:
            file.create_dataset("images", data=images, chunks=chunk, **options)
        assert signature in path.read_bytes()
    assert_reads_like_h5py(path, expected_layout="chunked")


@pytest.mark.parametrize("layout", [{}, {"chunks": (3, *IMAGE), "compression": "gzip"}])
@pytest.mark.parametrize("libver", ["earliest", "v108", "v110", "v112", "latest"])
@pytest.mark.parametrize(
    "options",
    [{"fs_strategy": "page"}, {"fs_strategy": "page", "fs_persist": True, "fs_page_size": 512}, {"track_order": True}],
    ids=str,
)
def test_versions_and_file_spaces_and_orders(tmp_path, images, options, libver, layout):
    with h5py.File(tmp_path / "v.h5", "w", libver=(libver, "latest"), **options) as file:
        file.create_dataset("images", data=images, track_order="track_order" in options, **layout)
    assert_reads_like_h5py(tmp_path / "v.h5", expected_layout="chunked" if layout else "contiguous")


@pytest.mark.parametrize("libver", ["earliest", "latest"])
@pytest.mark.parametrize("compression", [None, "gzip"])
@pytest.mark.parametrize("chunk", [(4, *IMAGE), (5, 7, 9, 2)])
@pytest.mark.parametrize("shapes", [[(31, *IMAGE)], [(10, *IMAGE)], [(9, 7, 9, 2)], [(9, 7, 9, 2), (25, 13, 15, 3)]], ids=str)
def test_resized(tmp_path, images, shapes, chunk, compression, libver):
    with h5py.File(tmp_path / "r.h5", "w", libver=libver) as file:
        options = {"chunks": chunk, "compression": compression, "fillvalue": 9}
        dataset = file.create_dataset("images", data=images, maxshape=(None,) * 4, **options)
        for shape in shapes:
            dataset.resize(shape)
    assert_reads_like_h5py(tmp_path / "r.h5", expected_layout="chunked")


@pytest.mark.parametrize("chunk", [None, (2, *IMAGE)])
@pytest.mark.parametrize("libver", ["earliest", "latest"])
def test_allocated_early_and_filled_with_nan(tmp_path, images, chunk, libver):
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    properties.set_fill_value(np.array(np.nan, "float32"))
    if chunk:
        properties.set_chunk(chunk)
    with h5py.File(tmp_path / "f.h5", "w", libver=libver) as file:
        space = h5py.h5s.create_simple(images.shape)
        h5py.Dataset(h5py.h5d.create(file.id, b"images", h5py.h5t.IEEE_F32LE, space, properties))[4:9] = images[4:9]
    assert_reads_like_h5py(tmp_path / "f.h5", expected_layout="chunked" if chunk else "contiguous")


def test_names_and_links(make_file, tmp_path, images):
    make_file(name="図.h5")
    with h5py.File(tmp_path / "l.h5", "w") as file:
        file.create_dataset("grp/図/images", data=images, chunks=(2, *IMAGE))
        file["soft"] = h5py.SoftLink("/grp/図/images")
        file["grp/other"] = h5py.ExternalLink("図.h5", "images")
        file["soft to other"] = h5py.SoftLink("grp/other")
        file["astray"] = h5py.SoftLink("/grp/nothing")
        file["far astray"] = h5py.ExternalLink("nowhere.h5", "/images")
        file["circle"] = h5py.SoftLink("/circle")
    for name, expected in (("grp/図/images", "chunked"), ("soft", "chunked"), ("grp/other", "contiguous")):
        assert_reads_like_h5py(tmp_path / "l.h5", name, expected)
    assert_reads_like_h5py(tmp_path / "l.h5", "soft to other", "contiguous")
    for name, message in (
        ("astray", "it is a link to '/grp/nothing', which is not there"),
        ("far astray", "it is a link to '/images' of the file 'nowhere.h5', which is not there, or can't be opened"),
        ("circle", "can't be opened: .*too many links"),
        ("grp/図", "there is no dataset 'grp/図'; it has 'grp/図/images'"),
    ):
        with pytest.raises(DataError, match=rf"l\.h5'.*: {message}"):
            open_images(tmp_path / "l.h5", name)


def test_drivers(tmp_path, images):
    for driver, name, options in (("core", "core.h5", {}), ("split", "s", {}), ("family", "f%d.h5", {"memb_size": 4000})):
        for libver in ("earliest", "latest"):
            with h5py.File(tmp_path / name, "w", driver=driver, libver=libver, **options) as file:
                file["images"] = images
            if driver == "core":
                assert_reads_like_h5py(tmp_path / name, expected_layout="contiguous")
            for part, message in (
                ("s-m.h5", "only a part of the data: HDF5's split or multi driver"),
                ("s-r.h5", "not an HDF5 file"),
                ("f0.h5", "only a part of the data: HDF5's family driver"),
                ("f1.h5", "not an HDF5 file"),
            ):
                if part.startswith(name[0]):
                    with pytest.raises(DataError, match=rf"{part}': {message}"):
                        open_images(tmp_path / part)


# --- other types and filters


def test_types(tmp_path, images):
    with h5py.File(tmp_path / "t.h5", "w") as file:
        for dtype in (">i2", ">u2", ">i4", ">u4", ">f2", ">f4", ">f8"):
            file.create_dataset(dtype, data=images.astype(dtype))
            file.create_dataset(f"{dtype} in chunks", data=images.astype(dtype), chunks=(4, *IMAGE))
        file["type"] = np.dtype(">i2")
        file.create_dataset("named type", data=images, dtype=file["type"])
        file.create_dataset("rank 3", data=images[..., 0], chunks=(3, *IMAGE[:2]), compression="gzip")
        file.create_dataset("rank 3, split", data=images[..., 0], chunks=(3, 5, 6))
        names = [name for name in file if name != "type"]
    for name in names:
        assert_reads_like_h5py(tmp_path / "t.h5", name, "chunked" if "rank" in name or "chunks" in name else "contiguous")
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    low_level(tmp_path / "t.h5", properties, images, dtype=h5py.h5t.STD_I8BE)
    assert_reads_like_h5py(tmp_path / "t.h5", expected_layout="contiguous")


def test_numbers_of_fewer_bits(tmp_path, images):
    nine, brain = h5py.h5t.STD_U16LE.copy(), h5py.h5t.IEEE_F32LE.copy()
    nine.set_precision(9)
    nine.set_offset(4)
    brain.set_fields(15, 7, 8, 0, 7)
    brain.set_precision(16)
    brain.set_size(2)
    brain.set_ebias(127)
    for dtype, values in ((nine, images.astype("uint16")), (brain, images.astype("float32"))):
        low_level(tmp_path / "b.h5", h5py.h5p.create(h5py.h5p.DATASET_CREATE), values, dtype=dtype)
        assert_reads_like_h5py(tmp_path / "b.h5", expected_layout="numbers of odd precision")


FILTERS = {
    "zfp": hdf5plugin.Zfp(reversible=True),
    "bzip2": hdf5plugin.BZip2(),
    "szip": {"compression": "szip", "compression_opts": ("nn", 8)},
    "nbit": None,
}


@pytest.mark.parametrize("name", FILTERS)
def test_filters_that_are_left_to_hdf5(tmp_path, images, name):
    if name == "szip" and not h5py.h5z.filter_avail(h5py.h5z.FILTER_SZIP):
        pytest.skip("this build of h5py has no szip")
    path, values = tmp_path / "x.h5", images.astype("float32" if name == "zfp" else "uint8")
    if name == "nbit":
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_chunk((2, *IMAGE))
        set_nbit = ctypes.CDLL(h5py.h5p.__file__).H5Pset_nbit
        set_nbit.argtypes = (ctypes.c_int64,)
        assert set_nbit(properties.id) >= 0
        low_level(path, properties, values)
    else:
        with h5py.File(path, "w") as file:
            file.create_dataset("images", data=values, chunks=(2, *IMAGE), **FILTERS[name])
    assert_reads_like_h5py(path, expected_layout=f"read by HDF5: filters {name}")
    (tmp_path / "reader").write_bytes(pickle.dumps(open_images(path)))  # hdf5plugin has to be loaded there, too
    script = "import pickle, sys, numpy as np; print(pickle.load(open(sys.argv[1], 'rb')).array(np.arange(4)).sum(dtype='f8'))"
    done = subprocess.run([sys.executable, "-c", script, tmp_path / "reader"], capture_output=True, text=True, check=False)
    assert done.stdout == f"{values[:4].sum(dtype='f8')}\n", done.stderr


def test_a_filter_that_nobody_has(tmp_path, images):
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_chunk((1, *IMAGE))
    properties.set_filter(305, h5py.h5z.FLAG_OPTIONAL, (1, 2))
    low_level(tmp_path / "x.h5", properties, images)  # skipped, because it is not there
    assert_reads_like_h5py(tmp_path / "x.h5", expected_layout="read by HDF5: filters lzo")
    with h5py.File(tmp_path / "x.h5", "r+") as file:
        file["images"].id.write_direct_chunk((3, 0, 0, 0), b"x" * 50, filter_mask=0)
    with pytest.raises(DataError, match=r"x\.h5', dataset 'images', chunk 3, sample 3: .*; HDF5 has no filter lzo \(305\) here"):
        open_images(tmp_path / "x.h5").array(np.array([2, 3]))
