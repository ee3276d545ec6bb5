"""Changes bytes anywhere in a small file of encoded images, reads all of them, and notes what broke the rules.

    python change_encoded.py FOLDER KIND N_CASES

The rules: the right pixels, or those that Pillow decodes of the row as h5py reads it; or an error that names file and dataset,
and the sample if it is one of a sample. Pillow does not look at the checksums of pixels in a PNG, and a JPEG has none.
"""

import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
from encoded_files import by_pillow_upright, oracle
from encoded_images import by_pillow, photograph

from fastprep import DataError, Resize
from fastprep.loader import Loader

N = 4
SIZES = [(9, 12), (8, 10), (14, 7), (9, 12)]
CROP = Resize((6, 5))


def write(path: Path, kind: str) -> list[np.ndarray]:
    rows = [by_pillow(photograph(*size) ^ (17 * k), kind) for k, size in enumerate(SIZES)]
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("images", (N,), h5py.vlen_dtype("uint8"))
        for k, row in enumerate(rows):
            dataset[k] = np.frombuffer(row, np.uint8)
        file["labels"] = np.arange(N)
    return [by_pillow_upright(row) for row in rows]


def changed(content: bytes, case: int) -> bytes:
    rng = np.random.default_rng([20120930, case])
    damaged = bytearray(content)
    for _ in range(int(rng.integers(1, 4))):
        place = int(rng.integers(0, len(content)))
        match rng.integers(0, 4):
            case 0:
                damaged[place] = int(rng.integers(0, 256))
            case 1:
                damaged[place] ^= 1 << int(rng.integers(0, 8))
            case 2:
                damaged[place] = (0, 255)[int(rng.integers(0, 2))]
            case _:
                damaged[place : place + 8] = rng.bytes(len(damaged[place : place + 8]))
    return bytes(damaged) if rng.integers(0, 20) else bytes(damaged[: rng.integers(0, len(damaged))])


def batches(path: Path, **options) -> dict[int, np.ndarray] | DataError:
    """Return the images of a loader by their number, or its error."""
    try:
        with Loader(path, 3, CROP, mean=None, labels=None, workers=1, **options) as loader:
            found = {}
            for step in range(min(len(loader), 3 * N)):  # a damaged file may claim any number
                found.update(zip(loader.samples(0, step).tolist(), np.array(loader.batch(0, step)), strict=True))
            return found
    except DataError as error:
        return error


def cropped(loader: Loader, images: list[np.ndarray]) -> list[np.ndarray]:
    """Return what the oracle makes of whole images; nothing is drawn for this crop."""
    return list(oracle(loader, images, np.arange(len(images)), 0))


def is_what_pillow_decodes(path: Path, sample: int, image: np.ndarray, loader: Loader) -> bool:
    """Tell whether an image that was read is that of the changed row. HDF5 is not asked of rows that could not be read."""
    with h5py.File(path) as file:
        row = file["images"][sample].tobytes()
    return np.array_equal(image, cropped(loader, [by_pillow_upright(row)])[0])


def run(folder: Path, kind: str, n_cases: int) -> dict:
    whole = folder / "whole.h5"
    images = write(whole, kind)
    loader = Loader(whole, 3, CROP, mean=None, labels=None)
    right = cropped(loader, images)
    content, problems = whole.read_bytes(), []
    counts = Counter({"right": 0, "sample refused": 0, "file refused": 0, "replaced": 0, "as Pillow has it": 0})
    with open(folder / "progress", "w") as progress:
        for case in range(n_cases):
            path = folder / f"{case}.h5"
            path.write_bytes(changed(content, case))
            print(f"{kind}, case {case}", file=progress, flush=True)
            try:
                problems += [f"case {case}: {problem}" for problem in broken_rules(path, right, loader, counts)]
            except Exception as error:
                problems.append(f"case {case}: {type(error).__name__}: {error}")
            path.unlink()
    loader.close()
    return {"problems": problems, "counts": counts}


def broken_rules(path: Path, right: list[np.ndarray], loader: Loader, counts: Counter) -> Iterator[str]:
    found, skipped = batches(path), batches(path, on_corrupt="skip")
    for got in (found, skipped):
        if isinstance(got, DataError):
            counts["file refused" if got.sample is None else "sample refused"] += 1
            if got.file != str(path) or (got.sample is not None and got.dataset != "images"):
                yield f"the error does not name what is damaged: {got}"
    for sample, image in {} if isinstance(found, DataError) else found.items():
        if sample < N and np.array_equal(image, right[sample]):
            counts["right"] += 1
        elif is_what_pillow_decodes(path, sample, image, loader):
            counts["as Pillow has it"] += 1
        else:
            yield f"sample {sample} is neither right nor what Pillow decodes"
    if isinstance(skipped, DataError):
        return
    for sample, image in skipped.items():
        if not isinstance(found, DataError):
            if not np.array_equal(image, found[sample]):
                yield f"sample {sample} is another one where damaged ones are skipped, and none is"
        elif any(np.array_equal(image, one) for one in right):
            counts["replaced"] += 1
        else:
            counts["replaced, or as Pillow has it"] += 1


if __name__ == "__main__":
    report = run(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
    Path(sys.argv[1], "report.json").write_text(json.dumps(report))
