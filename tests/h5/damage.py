"""Damages one kind of file again and again, reads it with fastprep and with h5py, and notes what broke the rules.

A process of its own, started by test_damage.py, because a crash or a hang of native code ends the process:

    python damage.py FOLDER KIND FIRST_CASE N_CASES

Case numbers are seeds, so a case can be repeated alone. The last line of FOLDER/progress is the current case, and
FOLDER/report.json is written at the end: standard output belongs to filters, which may write to it after Python's last word.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import sys
from collections import Counter
from pathlib import Path

import h5py
import numpy as np

from fastprep.errors import DataError
from fastprep.h5 import open_images, read_labels, read_metadata

SHAPE = (12, 8, 9, 3)
CHUNKS = {"chunks": (1, *SHAPE[1:])}
LAYOUTS = {
    "contiguous": {},
    "chunked": {"chunks": (2, *SHAPE[1:])},
    "gzip": {**CHUNKS, "compression": "gzip"},
    "lz4": CHUNKS,
    "zstd": CHUNKS,
    "shuffle+gzip+fletcher32": {**CHUNKS, "shuffle": True, "compression": "gzip", "fletcher32": True},
    "bitshuffle-lz4": CHUNKS,
}
PLUGINS = {"lz4": ("LZ4", {}), "zstd": ("Zstd", {}), "bitshuffle-lz4": ("Bitshuffle", {"cname": "lz4"})}  # of hdf5plugin
# the metadata of HDF5's old format have no checksums; those of the new format have them everywhere
KINDS = {f"{layout}, {libver}": (layout, libver) for layout in LAYOUTS for libver in ("earliest", "latest")}
# These notice each change of their data. LZ4's blocks and the frames that the zstd filter writes have no checksum.
CHECKED = ("gzip", "shuffle+gzip+fletcher32")
# Not compared with h5py: the filter that hdf5plugin brings for it crashes on some damaged chunks
CRASHES_H5PY = ("bitshuffle-lz4",)
ADDRESS_SPACE = 6 << 30


def plugin_of(layout: str) -> dict:
    """Return the options of the filter that hdf5plugin brings for a layout; none if HDF5 has it itself."""
    if layout not in PLUGINS:
        return {}
    import hdf5plugin

    name, options = PLUGINS[layout]
    return dict(getattr(hdf5plugin, name)(**options))


def write(path: Path, kind: str) -> tuple[np.ndarray, np.ndarray]:
    layout, libver = KINDS[kind]
    rng = np.random.default_rng(0)
    images = (np.arange(SHAPE[1])[:, None, None] * 20 + rng.integers(0, 6, SHAPE)).astype(np.uint8)  # compressible, a little
    labels = np.arange(SHAPE[0]) % 3
    with h5py.File(path, "w", libver=libver) as file:
        file.create_dataset("images", data=images, **LAYOUTS[layout], **plugin_of(layout))
        file["labels"] = labels
        file["images"].attrs["mean"] = [80.0, 90.0, 100.0]
        # of fixed length: HDF5 1.14.6 loops for ever in some damaged heaps of variable-length strings
        file["images"].attrs["class_names"] = np.array(["cat", "dog", "owl"], "S3")
    return images, labels


def damage(content: bytes, case: int) -> tuple[bytes, list[slice], str]:
    """Return the damaged file, the bytes that may differ, and what was done."""
    rng = np.random.default_rng([20120930, case])
    damaged, size = bytearray(content), len(content)
    match rng.integers(0, 8):
        case 0 | 1 | 2 | 3:
            place, value = int(rng.integers(0, size)), int(rng.integers(1, 256))
            damaged[place] ^= value
            return bytes(damaged), [slice(place, place + 1)], f"byte {place} changed by ^ {value:#x}"
        case 4 | 5:
            length = int(rng.integers(0, size))
            return content[:length], [slice(length, size)], f"cut to {length} of {size} bytes"
        case 6:
            n_bytes = 1
        case _:
            n_bytes = int(rng.integers(2, 300))
    first, second = (int(place) for place in rng.integers(0, size - n_bytes, 2))
    one, other = slice(first, first + n_bytes), slice(second, second + n_bytes)
    damaged[one], damaged[other] = content[other], content[one]
    return bytes(damaged), [one, other], f"{n_bytes} bytes at {first} and {second} swapped"


def pixel_bytes(path: Path, size: int) -> np.ndarray:
    """Tell which bytes of the undamaged file are the stored images."""
    index, inside = open_images(path).index, np.zeros(size, bool)
    for offset, n_bytes in zip(index.chunks.offsets, index.chunks.sizes, strict=True):
        inside[offset : offset + n_bytes] = True
    return inside


def by_fastprep(path: Path) -> list[np.ndarray | DataError] | DataError:
    """Open the file and read all samples one by one: images, or the error of each, or of opening."""
    try:
        reader = open_images(path)
    except DataError as error:
        return error
    found: list[np.ndarray | DataError] = []
    for sample in range(min(reader.index.shape[0], 3 * SHAPE[0])):  # a damaged file may claim any number
        try:
            found.append(reader.array(np.array([sample]))[0])
        except DataError as error:
            found.append(error)
    reader.close()
    return found


def by_h5py(path: Path) -> list[np.ndarray | Exception] | Exception:
    """Do the same with h5py, whose errors may be of any type."""
    try:
        with h5py.File(path, "r") as file:
            dataset, found = file["images"], []
            for sample in range(min(dataset.shape[0], 3 * SHAPE[0])):
                try:
                    found.append(dataset[sample])
                except Exception as error:
                    found.append(error)
            return found
    except Exception as error:
        return error


def broken_rules(case: int, path: Path, images: np.ndarray, ours, theirs, may_differ: bool, counts: Counter) -> list[str]:
    """Compare: right pixels, a DataError that names the file, or pixels that h5py reads too where nothing can notice."""
    problems = []
    if isinstance(ours, DataError):
        counts["refused at opening"] += 1
        if isinstance(theirs, list) and len(theirs) == len(images):
            right = (isinstance(t, np.ndarray) and np.array_equal(t, i) for t, i in zip(theirs, images, strict=True))
            counts["refused, though HDF5 reads it right"] += all(right)
        return [] if str(path) in str(ours) else [f"the error does not name the file: {ours}"]
    if theirs is None:
        for got in ours:
            counts["sample refused" if isinstance(got, DataError) else "sample right"] += 1
        return [
            f"the error does not name the file: {got}" for got in ours if isinstance(got, DataError) and str(path) not in str(got)
        ]
    if not isinstance(theirs, list):
        theirs = [theirs] * len(ours)
    if len(ours) != len(theirs):
        return [f"{len(ours)} images, h5py has {len(theirs)}"]
    for sample, (got, wanted) in enumerate(zip(ours, theirs, strict=True)):
        if isinstance(got, DataError):
            counts["sample refused"] += 1
            counts["sample refused, though HDF5 reads it right"] += (
                sample < len(images) and isinstance(wanted, np.ndarray) and np.array_equal(wanted, images[sample])
            )
            if str(path) not in str(got):
                problems.append(f"sample {sample}: the error does not name the file: {got}")
            continue
        right = sample < len(images) and np.array_equal(got, images[sample])
        counts["sample right" if right else "sample changed, as h5py has it"] += 1
        if isinstance(wanted, Exception):
            if not right:
                problems.append(f"sample {sample}: wrong pixels, where HDF5 has an error: {wanted!r}")
            counts["sample right, though HDF5 refuses it"] += right
            continue
        wanted = wanted.reshape(got.shape) if wanted.size == got.size else wanted
        if right:
            continue  # also where HDF5, which looks every chunk up, does not find it and gives the fill value
        if not np.array_equal(got, wanted.astype(got.dtype), equal_nan=True):
            problems.append(f"sample {sample}: neither right nor what h5py reads")
        if not may_differ:
            problems.append(f"sample {sample}: changed pixels, though a checksum tells")
    return problems


def run(folder: Path, kind: str, first: int, n_cases: int) -> dict:
    layout, libver = KINDS[kind]
    original = folder / "whole.h5"
    images, _ = write(original, kind)
    content = original.read_bytes()
    pixels = pixel_bytes(original, len(content))
    counts: Counter = Counter()
    problems, memory = [], []
    with open(folder / "progress", "w") as progress:
        for case in range(first, first + n_cases):
            damaged, places, what = damage(content, case)
            path = folder / f"{case}.h5"
            path.write_bytes(damaged)
            note = f"{kind}, case {case}: {what}"
            # in the old format, neither fastprep nor HDF5 can tell a changed address or size from a true one
            in_pixels = all(pixels[place].all() for place in places)
            may_differ = (libver == "earliest" and not in_pixels) or layout not in CHECKED
            if libver == "latest" and not any(pixels[place].any() for place in places):
                may_differ = False
            try:
                print(note, "(fastprep)", file=progress, flush=True)
                ours = by_fastprep(path)
                for read in (lambda p=path: read_metadata(p, "images"), lambda p=path: read_labels(p, "labels", SHAPE[0])):
                    try:
                        read()
                    except DataError as error:
                        if str(path) not in str(error):
                            problems.append(f"{note}: the error does not name the file: {error}")
                print(note, "(h5py)", file=progress, flush=True)
                theirs = by_h5py(path) if layout not in CRASHES_H5PY else None
                problems += [f"{note}: {p}" for p in broken_rules(case, path, images, ours, theirs, may_differ, counts)]
            except Exception as error:
                trace = error.__traceback__
                while trace.tb_next is not None and "fastprep" in trace.tb_next.tb_frame.f_code.co_filename:
                    trace = trace.tb_next
                code = trace.tb_frame.f_code
                place = f"{Path(code.co_filename).name}:{trace.tb_lineno} {code.co_name}"
                problems.append(f"{note}: {type(error).__name__} at {place}: {error}")
            path.unlink()  # a new file each time: HDF5 takes a file with the same inode for one that it failed to close
            if case - first in (n_cases // 2, n_cases - 1):
                gc.collect()
                memory.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    return {"problems": problems, "counts": counts, "memory_kib": memory}


if __name__ == "__main__":
    if "asan" not in os.environ.get("LD_PRELOAD", ""):  # its shadow memory exceeds any limit
        resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    found = run(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    Path(sys.argv[1], "report.json").write_text(json.dumps(found))
