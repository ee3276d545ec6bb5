"""Damages references and heaps of one kind of file again and again, reads its rows, and notes what broke the rules.

A process of its own, started by test_heap.py: python heap_damage.py FOLDER LAYOUT LIBVER N_CASES. Case numbers are seeds.
The rows themselves stay as they are, so each must be read right, or be an error that names file and sample.
"""

from __future__ import annotations

import json
import logging
import resource
import sys
from collections import Counter
from pathlib import Path

import h5py
import numpy as np

from fastprep.errors import DataError
from fastprep.h5.byte_rows import open_rows

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.support.heaps import structure

ODD = [0, 1, 2, 15, 16, 2**15, 2**16 - 1, 2**31, 2**32 - 1, 2**32, 2**63 - 1, 2**63, 2**64 - 16, 2**64 - 1]


def write(path: Path, layout: str, libver: str) -> list[bytes]:
    """Write rows of different lengths, so that none can be taken for another one."""
    rng = np.random.default_rng(0)
    lengths = [*range(30), 300, 3000, 4000, 4100, 20_000, 30_000, 70_000]
    rows = [rng.integers(0, 256, length, np.uint8) for length in rng.permutation(lengths)]
    with h5py.File(path, "w", libver=libver) as file:
        chunks = {"chunks": (32,)} if layout == "chunked" else {}
        dataset = file.create_dataset("images", (len(rows),), dtype=h5py.vlen_dtype("uint8"), **chunks)
        for number, row in enumerate(rows):
            dataset[number] = row
    return [row.tobytes() for row in rows]


def damage(content: bytes, places: np.ndarray, case: int) -> tuple[bytes, str]:
    """Change bytes of the file that belong to its references and to headers in its heaps."""
    rng = np.random.default_rng([20120930, case])
    damaged = bytearray(content)
    kind, place = int(rng.integers(0, 4)), int(rng.choice(places))
    if kind == 0:
        damaged[place] ^= int(rng.integers(1, 256))
        return bytes(damaged), f"byte {place} changed"
    if kind == 1:
        for other in rng.choice(places, 5).tolist():
            damaged[other] = int(rng.integers(0, 256))
        return bytes(damaged), f"5 bytes changed, of seed {case}"
    if kind == 2:
        value, n_bytes = int(rng.choice(np.array(ODD, np.uint64))), int(rng.choice([2, 4, 8]))
        within = [k for k in range(place - place % 4, place - place % 4 + n_bytes) if k in set(places.tolist())]
        for k, byte in zip(within, (value % 256**n_bytes).to_bytes(n_bytes, "little"), strict=False):
            damaged[k] = byte
        return bytes(damaged), f"{n_bytes} bytes at {place} set to {value}"
    starts = places[:: len(places) // 60][:-1]
    one, other = (int(start) for start in rng.choice(starts, 2))
    inside = set(places.tolist())
    for k in range(8):
        if one + k in inside and other + k in inside:
            damaged[one + k], damaged[other + k] = content[other + k], content[one + k]
    return bytes(damaged), f"8 bytes at {one} and {other} swapped"


def read_all(path: Path, rows: list[bytes], counts: Counter) -> list[str]:
    """Read the rows one by one, then all together, and describe what is neither right nor an error."""
    try:
        found = open_rows(path, "images")
    except DataError as error:
        counts["refused at opening"] += 1
        return [] if str(path) in str(error) else [f"the error does not name the file: {error}"]
    problems = []
    for sample, wanted in enumerate(rows):
        try:
            (row,) = found.read([sample])
        except DataError as error:
            counts["row refused"] += 1
            if str(path) not in str(error) or error.sample != sample:
                problems.append(f"the error of sample {sample} does not name it: {error}")
            continue
        counts["row right"] += 1
        if row.tobytes() != wanted:
            problems.append(f"sample {sample}: {len(row)} bytes that are not those of the row; {found.index.reason}")
    try:
        if [row.tobytes() for row in found.read(range(len(rows)))] != rows:
            problems.append("rows that are read together differ")
    except DataError:
        pass
    found.close()
    return problems


def run(folder: Path, layout: str, libver: str, n_cases: int) -> dict:
    whole = folder / "whole.h5"
    rows = write(whole, layout, libver)
    content = whole.read_bytes()
    with h5py.File(whole) as file:
        dataset = file["images"].id
        if layout == "contiguous":
            parts = [(dataset.get_offset(), len(rows))]
        else:
            parts = [(dataset.get_chunk_info(k).byte_offset, len(rows[32 * k : 32 * k + 32])) for k in (0, 1)]
    places = np.flatnonzero(np.logical_or.reduce([structure(content, *part) for part in parts]))
    counts: Counter = Counter()
    problems, memory = read_all(whole, rows, Counter()), []
    for case in range(n_cases):
        damaged, what = damage(content, places, case)
        path = folder / f"{case}.h5"
        path.write_bytes(damaged)
        (folder / "progress").write_text(f"case {case}: {what}")
        problems += [f"case {case}, {what}: {problem}" for problem in read_all(path, rows, counts)]
        path.unlink()  # a new file each time: HDF5 takes a file with the same inode for one that it failed to close
        if case in (n_cases // 2, n_cases - 1):
            memory.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    return {"problems": problems, "counts": counts, "memory_kib": memory}


if __name__ == "__main__":
    logging.disable()
    result = run(Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]))
    Path(sys.argv[1], "report.json").write_text(json.dumps(result))
