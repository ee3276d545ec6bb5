"""2,000 random damages of each kind: pixels of the right shape or a DecodeError; no crash, no hang, no growth of memory."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("damage.py")
CASES = 2000
# Pages that the allocators keep. A leak of one image of 45 x 62 in each case would be 8 MiB in the second half; that of
# imagecodecs, which sixteen_bits.py avoids, was 2.4 MiB
MAX_GROWTH_KIB = 2 << 10


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WebP", "TIFF", "GIF", "JPEG 2000", "BMP"])
def test_damaged_images(tmp_path, kind):
    """In a process of its own, because a crash or a hang of native code would end it."""
    if kind == "JPEG" and importlib.util.find_spec("simplejpeg") is None:
        pytest.skip("simplejpeg is not installed")
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
    assert report["counts"]["decoded"] > 20
    assert sum(report["counts"].values()) == CASES


def last_case(folder):
    return (folder / "progress").read_text().splitlines()[-1]
