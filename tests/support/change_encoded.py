"""Changes bytes anywhere in a small file of encoded images, reads all of them, and notes what broke the rules.

    python change_encoded.py FOLDER KIND whole|part N_CASES

Crops are of whole images, or of a part, which of a JPEG is all that is decoded.

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

from fastprep import CenterCrop, DataError, Resize
from fastprep.loader import Loader

N = 4
CROPS = {  # and the sizes of the images: for a part, JPEGs of several rows and columns of blocks
    "whole": (Resize((6, 5)), [(9, 12), (8, 10), (14, 7), (9, 12)]),
    "part": (CenterCrop(8), [(40, 52), (33, 47), (60, 35), (40, 52)]),
}


def write(path: Path, kind: str, sizes: list[tuple[int, int]]) -> list[np.ndarray]:
    rows = [by_pillow(photograph(*size) ^ (17 * k), kind) for k, size in enumerate(sizes)]
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


def each(path: Path, crop: Resize | CenterCrop, **options) -> list[np.ndarray | DataError] | DataError:
    """Return the crop of each sample or its error; or the error of opening the file."""
    found: list[np.ndarray | DataError] = []
    try:
        with Loader(path, 1, crop, mean=None, labels=None, workers=1, **options) as loader:
            for step in range(min(len(loader), 3 * N)):  # a damaged file may claim any number
                try:
                    found.append(np.array(loader.batch(0, step))[0])
                except DataError as error:
                    found.append(error)
    except DataError as error:
        return error
    return found


def cropped(loader: Loader, images: list[np.ndarray]) -> list[np.ndarray]:
    """Return what the oracle makes of whole images; nothing is drawn for this crop."""
    return list(oracle(loader, images, np.arange(len(images)), 0))


def is_what_pillow_decodes(path: Path, sample: int, image: np.ndarray, loader: Loader) -> bool:
    """Tell whether an image that was read is that of the changed row. HDF5 is not asked of rows that could not be read."""
    with h5py.File(path) as file:
        row = file["images"][sample].tobytes()
    return np.array_equal(image, cropped(loader, [by_pillow_upright(row)])[0])


def run(folder: Path, kind: str, extent: str, n_cases: int) -> dict:
    whole = folder / "whole.h5"
    crop, sizes = CROPS[extent]
    images = write(whole, kind, sizes)
    loader = Loader(whole, 3, crop, mean=None, labels=None)
    right = cropped(loader, images)
    content, problems = whole.read_bytes(), []
    counts = Counter({"right": 0, "sample refused": 0, "file refused": 0, "replaced": 0})
    with open(folder / "progress", "w") as progress:
        for case in range(n_cases):
            path = folder / f"{case}.h5"
            path.write_bytes(changed(content, case))
            print(f"{kind}, {extent}, case {case}", file=progress, flush=True)
            try:
                problems += [f"case {case}: {problem}" for problem in broken_rules(path, right, loader, counts)]
            except Exception as error:
                problems.append(f"case {case}: {type(error).__name__}: {error}")
            path.unlink()
    loader.close()
    return {"problems": problems, "counts": counts}


def broken_rules(path: Path, right: list[np.ndarray], loader: Loader, counts: Counter) -> Iterator[str]:
    found, skipped = each(path, loader.crop), each(path, loader.crop, on_corrupt="skip")
    if isinstance(found, DataError):
        counts["file refused"] += 1
        if found.file != str(path):
            yield f"the error does not name the file: {found}"
        if not isinstance(skipped, DataError) or str(skipped) != str(found):
            yield f"another error where damaged samples are skipped: {skipped!r}"
        return
    for sample, got in enumerate(found):
        if isinstance(got, DataError):
            counts["sample refused"] += 1
            if (got.file, got.dataset, got.sample) != (str(path), "images", sample):
                yield f"the error does not name what is damaged: {got}"
        elif sample < N and np.array_equal(got, right[sample]):
            counts["right"] += 1
        elif is_what_pillow_decodes(path, sample, got, loader):
            counts["as Pillow has it"] += 1
        else:
            yield f"sample {sample} is neither right nor what Pillow decodes"
    intact = [sample for sample, got in enumerate(found) if not isinstance(got, DataError)]
    for sample, got in enumerate(skipped):
        wanted = next((other for other in intact if other >= sample), intact[0] if intact else None)
        if isinstance(got, DataError) != (wanted is None):
            yield f"sample {sample} with on_corrupt='skip', where {intact} are intact: {got!r}"
        elif wanted is not None:
            counts["replaced"] += wanted != sample
            if not np.array_equal(got, found[wanted]):
                yield f"sample {sample} is not replaced by {wanted}"


if __name__ == "__main__":
    report = run(Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]))
    Path(sys.argv[1], "report.json").write_text(json.dumps(report))
