"""A disk that is full for real: a memory file system of a few megabytes, in a mount namespace that ends with the test."""

import shutil
import subprocess
import sys
import textwrap

import pytest

PREAMBLE = """
import os, subprocess, sys
disk = {disk!r}
os.makedirs(disk, exist_ok=True)
def resize(size):
    subprocess.run(["mount", "-o", f"remount,size={{size}}", disk], check=True)
def listing(folder):
    return sorted(os.listdir(os.path.join(disk, folder)))
subprocess.run(["mount", "-t", "tmpfs", "-o", "size={size}", "none", disk], check=True)
"""


def run_on_small_disk(disk, size, script, timeout=120):
    """Run a script of Python that has `disk`, of `size` bytes ("5m"), `resize(size)` and `listing(folder)`.

    Returns
    -------
    subprocess.CompletedProcess
        Skips the test where one may not make such a disk.
    """
    unshare = shutil.which("unshare")
    probe = ["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt"]
    if unshare is None or subprocess.run(probe, capture_output=True, check=False).returncode:
        pytest.skip("this system does not let a user mount a small disk (unshare -rm)")
    source = PREAMBLE.format(disk=str(disk), size=size) + textwrap.dedent(script)
    command = ["unshare", "-rm", sys.executable, "-c", source]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
