"""2,000 random damages of each kind: pixels of the right shape or a DecodeError; no crash, no hang, no growth of memory."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from optional_libraries import needs
from PIL import Image

from fastprep.encoded import decode
from fastprep.errors import DecodeError

SCRIPT = Path(__file__).with_name("damage.py")
CASES = 2000
# Pages that the allocators keep. A leak of one image of 45 x 62 in each case would be 8 MiB in the second half; that of
# imagecodecs, which sixteen_bits.py avoids, was 2.4 MiB
MAX_GROWTH_KIB = 2 << 10


@pytest.mark.parametrize(
    "kind", [pytest.param("JPEG", marks=needs("simplejpeg")), "PNG", "WebP", "TIFF", "GIF", "JPEG 2000", "BMP"]
)
def test_damaged_images(tmp_path, kind):
    """In a process of its own, because a crash or a hang of native code would end it."""
    command = [sys.executable, str(SCRIPT), str(tmp_path), kind, "0", str(CASES)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    except subprocess.TimeoutExpired:
        pytest.fail(f"hangs in {last_case(tmp_path)}")
    assert done.returncode == 0, f"crashed in {last_case(tmp_path)}: {done.stderr[-2000:]}"
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["problems"] == []
    half, whole = report["memory_kib"]
    assert whole - half < MAX_GROWTH_KIB
    assert report["counts"]["refused"] > 100
    assert report["counts"]["decoded"] > (0 if kind == "PNG" else 20)  # all of a PNG has checksums
    assert sum(report["counts"].values()) == CASES


def last_case(folder):
    return (folder / "progress").read_text().splitlines()[-1]


def test_a_png_whose_checksums_are_wrong_is_an_error_however_few_bits():
    """Pillow gives wrong pixels for some changes of a byte, without a word."""
    buffer = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=0)
    whole = buffer.getvalue()
    np.testing.assert_array_equal(decode(whole), pixels)
    for place in range(60, len(whole) - 16, 97):
        changed = bytearray(whole)
        changed[place] ^= 4
        with pytest.raises(DecodeError, match="the checksum of its chunk at byte"):
            decode(changed)
