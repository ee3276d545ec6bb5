"""2,000 random damages: the right pixels, a DataError that names the file, or, where nothing can notice, what h5py reads, too."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from optional_libraries import needs

SCRIPT = Path(__file__).with_name("damage.py")
LAYOUTS = [
    *("contiguous", "chunked", "gzip", "shuffle+gzip+fletcher32"),
    *(pytest.param(layout, marks=needs("hdf5plugin")) for layout in ("lz4", "zstd", "bitshuffle-lz4")),
]
CASES = 143  # for each of the 14 kinds of files: 2,002
# Pages that the allocators keep. A leak of one image or chunk in each case would be smaller, that of a whole file larger
MAX_GROWTH_KIB = 64 << 10


@pytest.mark.parametrize("libver", ["earliest", "latest"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_damaged_files(tmp_path, layout, libver):
    """In a process of its own, because a crash or a hang of native code would end it."""
    command = [sys.executable, str(SCRIPT), str(tmp_path), f"{layout}, {libver}", "0", str(CASES)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    except subprocess.TimeoutExpired:
        pytest.fail(f"hangs in {last_case(tmp_path)}")
    assert done.returncode == 0, f"crashed in {last_case(tmp_path)}: {done.stderr[-2000:]}"
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["problems"] == []
    half, whole = report["memory_kib"]
    assert whole - half < MAX_GROWTH_KIB
    assert report["counts"].get("refused at opening", 0) > 0
    assert report["counts"].get("sample right", 0) > 0


def last_case(folder):
    return (folder / "progress").read_text().splitlines()[-1]
