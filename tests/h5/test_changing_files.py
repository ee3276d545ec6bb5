"""Files that are moved, replaced or written to while they are read: the images they had, or a clear error."""

import os
import subprocess
import sys

import h5py
import numpy as np
import pytest
from like_h5py import assert_reads_like_h5py

from fastprep.errors import ChangedError, DataError
from fastprep.h5 import open_images

N, IMAGE = 23, (12, 14, 3)
CHUNKS = {"chunks": (2, *IMAGE)}


@pytest.mark.parametrize(
    "layout", [{}, {**CHUNKS, "compression": "gzip"}, {**CHUNKS, "dtype": "int16", "scaleoffset": 0}], ids=str
)
@pytest.mark.parametrize("change", ["renamed", "replaced"])
def test_a_file_that_is_moved_while_it_is_read(make_file, tmp_path, change, layout):
    path, images, _ = make_file(**layout)
    other, _, _ = make_file(name="other.h5", **layout)
    used, fresh = open_images(path), open_images(path)
    used.array(np.arange(4))
    path.rename(tmp_path / "away.h5") if change == "renamed" else os.replace(other, path)
    np.testing.assert_array_equal(used.array(np.arange(N)), images)  # it has the old file open, whatever its name is now
    error, message = (FileNotFoundError, "") if change == "renamed" else (DataError, "': changed or replaced since")
    with pytest.raises(error, match=rf"images\.h5'.*{message}"):
        fresh.array(np.arange(4))


@pytest.mark.parametrize("layout", [{}, CHUNKS, {**CHUNKS, "compression": "gzip"}], ids=str)
def test_a_file_that_is_written_anew_while_it_is_read(make_file, layout):
    path, _, _ = make_file(**layout)
    os.utime(path, ns=(1, 1))  # so that the time differs even if all of this happens within one tick of the clock
    reader = open_images(path)
    reader.array(np.arange(4))
    path.write_bytes(make_file(name="other.h5", **layout)[0].read_bytes())
    for _ in range(2):
        with pytest.raises(DataError, match=r"images\.h5', dataset 'images'.* changed or replaced since it was opened first"):
            reader.array(np.arange(N))


@pytest.mark.parametrize("linked", [False, True])
def test_an_image_that_is_overwritten_in_a_file_that_hdf5_reads(tmp_path, rng, linked):
    """HDF5 itself does not object to bytes that have changed."""
    path = asked = tmp_path / "images.h5"
    images = rng.integers(0, 256, (N, 64, 64, 3), dtype=np.uint8)  # more than HDF5 caches
    with h5py.File(path, "w", userblock_size=512) as file:
        file["images"] = images
    if linked:
        asked = tmp_path / "linking.h5"
        with h5py.File(asked, "w") as file:
            file["images"] = h5py.ExternalLink("images.h5", "images")
    os.utime(path, ns=(1, 1))  # so that the time differs even if all of this happens within one tick of the clock
    reader = open_images(asked)
    assert reader.index.reason
    np.testing.assert_array_equal(reader.array(np.arange(4)), images[:4])
    with open(path, "r+b") as file:
        file.seek(path.read_bytes().find(images[9].tobytes()))
        file.write(b"\x07" * images[9].nbytes)
    for _ in range(2):
        with pytest.raises(ChangedError, match=r"dataset 'images'.* changed or replaced since it was opened first"):
            reader.array(np.array([9]))
    reader.close()  # nor when it is opened again
    with pytest.raises(ChangedError, match="changed or replaced"):
        reader.array(np.array([9]))


WRITER = """
import sys, h5py
file = h5py.File(sys.argv[1], "a", libver="latest")
if sys.argv[2] == "swmr":
    file.swmr_mode = True
file["images"].resize(9, 0)
file["images"][4:] = 7
file["images"].flush()
print("writing", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("mode", ["swmr", "plain"])
def test_a_file_that_another_process_writes(tmp_path, rng, mode):
    path = tmp_path / "w.h5"
    with h5py.File(path, "w", libver="latest") as file:
        file.create_dataset(
            "images", data=rng.integers(0, 256, (4, *IMAGE), dtype=np.uint8), chunks=(1, *IMAGE), maxshape=(None, *IMAGE)
        )
    arguments = [sys.executable, "-c", WRITER, str(path), mode]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
        try:
            assert writer.stdout.readline() == "writing\n"
            with pytest.raises(DataError, match=r"w\.h5': (another|a) program has it open for writing"):
                open_images(path)
            if mode == "swmr":
                with h5py.File(path, "r", swmr=True):  # an open file is opened again in the same mode
                    assert_reads_like_h5py(path, expected_layout="read by HDF5: single-writer/multiple-reader mode")
        finally:
            writer.stdin.close()
    assert_reads_like_h5py(path, expected_layout="chunked, 1 image each")
