"""What is fuzzed: any bytes as an HDF5 file, as references and a heap, and as a chunk of each filter pipeline.

A target returns where the bytes give images or an error that users are promised; all else is for the fuzzer to see: another
exception, a crash, a hang, memory without bound.
"""

from __future__ import annotations

import functools
import os
import sys
import tempfile
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np

from fastprep.errors import DataError
from fastprep.h5 import _decode, native, open_images, read_labels, read_metadata
from fastprep.h5._heap import HeapStatus, HeapTables
from fastprep.h5.filters import SLACK_BYTES, DecodeError, Filter, Pipeline, pipeline_of
from fastprep.h5.metadata import read_file_names, read_std

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.support.heaps import collection, read, reference

SHAPE = (6, 8, 9, 3)
ONE = (1, *SHAPE[1:])
MAX_SAMPLES = 24  # a damaged file may claim any number
GUARD = 64

_LAYOUTS: dict[str, dict] = {
    "contiguous": {},
    "two each": {"chunks": (2, *SHAPE[1:])},
    "gzip": {"chunks": ONE, "compression": "gzip"},
    "shuffle+gzip+fletcher32": {"chunks": ONE, "shuffle": True, "compression": "gzip", "fletcher32": True},
    "lzf": {"chunks": (4, *SHAPE[1:]), "compression": "lzf"},
    "split": {"chunks": (2, 5, 4, 2), "compression": "gzip"},
    "lz4": {"chunks": ONE, **hdf5plugin.LZ4()},
    "zstd": {"chunks": ONE, **hdf5plugin.Zstd()},
    "blosc": {"chunks": ONE, **hdf5plugin.Blosc(cname="lz4")},
    "blosc-zstd": {"chunks": ONE, **hdf5plugin.Blosc(cname="zstd", shuffle=hdf5plugin.Blosc.BITSHUFFLE)},
    "bitshuffle": {"chunks": ONE, **hdf5plugin.Bitshuffle(cname="none")},
    "bitshuffle-lz4": {"chunks": ONE, **hdf5plugin.Bitshuffle(cname="lz4")},
    "bitshuffle-zstd": {"chunks": ONE, **hdf5plugin.Bitshuffle(cname="zstd")},
    "blosc2": {"chunks": ONE, **hdf5plugin.Blosc2()},
}
_STORED = ("u1", ">u2", "<f4")
# HDF5 reads these by its own filters where the header, or a chunk of blosc2, says so; that of bitshuffle crashes on damaged ones
_NOT_AS_FILES = ("bitshuffle-lz4", "bitshuffle-zstd", "blosc2")


def write(path: Path, layout: str, stored: str, libver: str = "earliest") -> None:
    """Write a small file that is whole."""
    rng = np.random.default_rng(0)
    with h5py.File(path, "w", libver=libver) as file:
        images = (np.arange(SHAPE[1])[:, None, None] * 20 + rng.integers(0, 6, SHAPE)).astype(stored)
        dataset = file.create_dataset("images", data=images, **_LAYOUTS[layout])
        dataset.attrs["mean"] = [80.0, 90.0, 100.0]
        dataset.attrs["class_names"] = np.array(["cat", "dog"], "S3")  # HDF5 goes round in damaged texts of variable length
        file["labels"] = np.arange(SHAPE[0]) % 2


def file_seeds(folder: Path) -> None:
    """Write the files that the fuzzer begins with."""
    for layout in _LAYOUTS:
        if layout not in _NOT_AS_FILES:
            for stored in _STORED[:1] if layout != "split" else _STORED:
                for libver in ("earliest", "latest"):
                    write(folder / f"{layout}{stored[1:]}-{libver}", layout, stored, libver)


def read_file(data: bytes) -> None:
    """Open a file of these bytes, and read everything there is."""
    number, name = tempfile.mkstemp(dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
    path = Path(name)
    try:
        with open(number, "wb") as file:
            file.write(data)
        for read in (
            lambda: read_metadata(path, "images"),
            lambda: read_std(path, "images"),
            lambda: read_file_names(path, SHAPE[0]),
            lambda: read_labels(path, "labels", SHAPE[0]),
            lambda: _read_all(path),
        ):
            try:
                read()
            except (DataError, OSError) as error:
                _check_names(path, error)
    finally:
        path.unlink()  # never written anew: HDF5 takes a file of the same inode for one that it failed to close


def _check_names(path: Path, error: Exception) -> None:
    assert str(path) in str(error), f"the error does not name the file: {error}"


def _read_all(path: Path) -> None:
    reader = open_images(path)
    try:
        for sample in range(min(reader.index.shape[0], MAX_SAMPLES)):
            try:
                assert reader.array(np.array([sample])).shape == (1, *reader.index.shape[1:])
            except DataError as error:
                _check_names(path, error)
    finally:
        reader.close()


def heap_seeds(folder: Path) -> None:
    """Write the references and heaps that the fuzzer begins with: the references of four rows, then the file."""
    rows = [bytes([number]) * length for number, length in ((1, 9), (2, 0), (7, 40), (3, 4097))]
    for order in ((0, 1, 2, 3), (3, 0, 2, 1)):
        heap = collection(*[(rows[k][0] if rows[k] else 2, rows[k]) for k in order], n_bytes=4400)
        references = b"".join(reference(len(row), 64, row[0] if row else 2) for row in rows)
        (folder / "".join(map(str, order))).write_bytes(references + heap)


def read_heap(data: bytes) -> None:
    """Read four rows of a file of these bytes; what lies around the memory for them must stay as it is."""
    references = data[:64].ljust(64, b"\0")
    lengths = np.frombuffer(references, "<u4")[::4]
    number, name = tempfile.mkstemp(dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
    try:
        with open(number, "wb") as file:
            file.write(data)
        tables = HeapTables()
        for sample in np.flatnonzero(lengths <= len(data)).tolist() * 2:  # others are refused before memory is taken
            _, (status, *_) = read(Path(name), references, [sample], tables)
            assert status == 0 or status in list(HeapStatus)
    finally:
        os.unlink(name)


def pipelines() -> list[tuple[Pipeline, int, bytes]]:
    """Return each pipeline, the bytes of its chunk, and a chunk as it is stored."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for layout in list(_LAYOUTS)[2:]:
            for stored in _STORED:
                path = Path(folder) / f"{layout}{stored[1:]}"
                write(path, layout, stored)
                with h5py.File(path, "r") as file:
                    images = file["images"]
                    pipeline = pipeline_of(images.id.get_create_plist(), images.dtype.itemsize, native.further_filters())
                    n_bytes = int(np.prod(images.chunks)) * images.dtype.itemsize
                    found.append((pipeline, n_bytes, images.id.read_direct_chunk((0, 0, 0, 0))[1]))
    every = found[0][0].filters + tuple(Filter(code, values) for code, values in ((2, (1,)), (3, ()), (32004, ()), (32015, ())))
    return [*found, (Pipeline(every), found[0][1], found[0][2])]


def chunk_seeds(folder: Path, known: list[tuple[Pipeline, int, bytes]]) -> None:
    """Write the chunks that the fuzzer begins with: number of the pipeline, filter mask, chunk."""
    for number, (_, _, stored) in enumerate(known):
        (folder / str(number)).write_bytes(bytes([number, 0]) + stored)


def decode_chunk(data: bytes, known: list[tuple[Pipeline, int, bytes]]) -> None:
    """Decode a chunk of one of the pipelines; what lies around the memory for it must stay as it is."""
    if len(data) < 2:
        return
    pipeline, chunk_bytes, _ = known[data[0] % len(known)]
    stored, n_bytes = np.frombuffer(data, np.uint8, offset=2), chunk_bytes + SLACK_BYTES
    around = [np.full(n_bytes + 2 * GUARD, 0xA5, np.uint8) for _ in range(4)]
    out, spare, *others = (memory[GUARD : GUARD + n_bytes] for memory in around)
    chunk = None
    try:
        if pipeline.can_decode:
            chunk = pipeline.decode(stored, data[1], chunk_bytes, out, spare)
    except DecodeError:
        pass
    without_python = None
    if not native.foreign_filters(pipeline):
        without_python = _decode.undo_filters(_plan(pipeline, chunk_bytes), _decoder(), data[1], stored, *others)
    for memory in around:
        guards = np.concatenate([memory[:GUARD], memory[-GUARD:]])
        assert (guards == 0xA5).all(), "bytes beside the memory for a chunk were written to"
    assert chunk is None or (len(chunk) == chunk_bytes and chunk.dtype == np.uint8)
    if without_python is not None and pipeline.can_decode:  # what is refused there goes to `Pipeline.decode`
        assert chunk is not None, "decoded without Python, though it is damaged"
        assert without_python == chunk.tobytes(), "decoded otherwise without Python"


def _plan(pipeline: Pipeline, chunk_bytes: int) -> _decode.ChunkPlan:
    stages, sides, none = (
        [(stage.code, stage.values) for stage in pipeline.filters],
        (1, 1, 1, chunk_bytes),
        np.zeros(1, np.int64),
    )
    return _decode.ChunkPlan(stages, sides, sides, 1, False, SLACK_BYTES, none, none, none.astype(np.uint32))


@functools.cache
def _decoder() -> _decode.Decoder:
    return _decode.Decoder(native.codecs())
