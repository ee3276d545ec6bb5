"""Damages encoded images of one kind again and again, decodes them, and notes what broke the rules.

A process of its own, started by test_damage.py, because a crash or a hang of native code ends the process:

    python damage.py FOLDER KIND FIRST_CASE N_CASES

Case numbers are seeds, so a case can be repeated alone. The last line of FOLDER/progress is the current case, and
FOLDER/report.json is written at the end.
"""

import gc
import json
import sys
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
from encoded_images import by_pillow, examples, photograph

from fastprep.encoded import decode, read_header
from fastprep.errors import DecodeError

warnings.filterwarnings("ignore", module="PIL")  # of damaged EXIF data
# Damaged headers claim any size. That of the default bound is tried in test_headers.py, and would take all the time here
MAX_PIXELS = 1 << 20


def damage(content, case):
    """Return bytes that differ in one of five ways."""
    rng = np.random.default_rng(case)
    data = bytearray(content)
    # half of the damage is where the headers are
    end = len(data) if rng.integers(2) else min(len(data), 400)
    way = int(rng.integers(5))
    first = int(rng.integers(end))
    if way == 0:
        for place in rng.integers(0, end, 1 + rng.integers(8)):
            data[place] = rng.integers(256)
    elif way == 1:
        data[first] ^= 1 << int(rng.integers(8))
    elif way == 2:
        del data[first : first + 1 + int(rng.integers(40))]
    elif way == 3:
        data[first:first] = rng.integers(0, 256, 1 + rng.integers(40), dtype=np.uint8).tobytes()
    else:
        other = int(rng.integers(len(data)))
        data[first : first + 16] = data[other : other + 16]
    return bytes(data)


def resident_kib():
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4


def run(folder, kind, first, n_cases):
    whole = [data for name, data in examples().items() if name.removeprefix(kind)[:1] in ("", " ") and name.startswith(kind)]
    whole = [data for data in whole if read_header(data).kind == kind]
    if kind in ("PNG", "TIFF"):
        transparent = np.dstack([photograph(), photograph()[..., 0]])
        whole.append(by_pillow(transparent, kind))
    counts, problems, memory = Counter(), [], []
    with open(folder / "progress", "w") as progress:
        for case in range(first, first + n_cases):
            if case - first in (n_cases // 2, n_cases - 1):
                memory.append(resident_kib())
            data = damage(whole[case % len(whole)], case)
            print(f"{kind}, case {case}", file=progress, flush=True)
            mode = (None, "RGB", "L")[case % 3]
            try:
                pixels = decode(data, mode, max_pixels=MAX_PIXELS)
            except DecodeError as error:
                counts["refused"] += 1
                if len(str(error)) < 20:
                    problems.append(f"case {case}: the error says nothing: {error}")
                continue
            except Exception as error:
                problems.append(f"case {case}: {type(error).__name__}: {error}")
                continue
            counts["decoded"] += 1
            header = read_header(data)
            if (pixels.shape, pixels.dtype) != (header.shape(mode), header.dtype):
                problems.append(f"case {case}: {pixels.dtype} {pixels.shape}, the header says {header}")
    return {"counts": counts, "problems": problems, "memory_kib": memory}


if __name__ == "__main__":
    where, what, first_case, how_many = sys.argv[1:]
    report = run(Path(where), what, int(first_case), int(how_many))
    (Path(where) / "report.json").write_text(json.dumps(report))
