"""Changes bytes anywhere in a small file of encoded images, reads all of them, and notes what broke the rules.

    python change_encoded.py FOLDER KIND N_CASES

The rules: pixels that Pillow decodes from the row that h5py reads, or an error that names file and dataset, and the sample if it is
one of a sample. PNG has checksums, so that pixels are those of the whole file; a JPEG may decode to others.
"""

import io
import json
import sys
from collections import Counter
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

import h5py
import numpy as np
from encoded_images import by_pillow, photograph
from PIL import Image

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
    return [np.asarray(Image.open(io.BytesIO(row)).convert("RGB")) for row in rows]


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


def crops(images: list[np.ndarray], folder: Path) -> list[np.ndarray]:
    """Return the crops of whole images, each from a file of its own."""
    made = []
    for k, image in enumerate(images):
        with h5py.File(folder / f"crop{k}.h5", "w") as file:
            file["images"] = image[None]
        with Loader(folder / f"crop{k}.h5", 1, CROP, mean=None, labels=None) as loader:
            made.append(np.array(loader.batch(0, 0))[0])
    return made


def run(folder: Path, kind: str, n_cases: int) -> dict:
    whole = folder / "whole.h5"
    right = crops(write(whole, kind), folder)
    content, problems, counts = whole.read_bytes(), [], Counter({"right": 0, "sample refused": 0, "file refused": 0})
    with open(folder / "progress", "w") as progress:
        for case in range(n_cases):
            path = folder / f"{case}.h5"
            path.write_bytes(changed(content, case))
            print(f"{kind}, case {case}", file=progress, flush=True)
            try:
                found, skipped = batches(path), batches(path, on_corrupt="skip")
            except Exception as error:
                problems.append(f"case {case}: {type(error).__name__}: {error}")
                continue
            for got in (found, skipped):
                if isinstance(got, DataError):
                    counts["file refused" if got.sample is None else "sample refused"] += 1
                    if got.file != str(path) or (got.sample is not None and (got.dataset != "images" or got.sample >= 3 * N)):
                        problems.append(f"case {case}: the error does not name what is damaged: {got}")
            for sample, image in {} if isinstance(found, DataError) else found.items():
                if sample < N and np.array_equal(image, right[sample]):
                    counts["right"] += 1
                elif kind == "PNG" and not any(np.array_equal(image, one) for one in right):
                    problems.append(f"case {case}: sample {sample} is wrong, though PNG has checksums")
            for sample, image in {} if isinstance(skipped, DataError) else skipped.items():
                if kind == "PNG" and not any(np.array_equal(image, one) for one in right):
                    problems.append(f"case {case}: sample {sample} is wrong with on_corrupt='skip'")
            path.unlink()
    return {"problems": problems, "counts": counts}


if __name__ == "__main__":
    report = run(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
    Path(sys.argv[1], "report.json").write_text(json.dumps(report))
