"""The C that is written by hand compiles without a warning: with each compiler that is here, and without x86's vectors."""

import shutil
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "fastprep"
FILES = [path for name in ("h5", "kernels") for path in sorted((FOLDER / name).glob("_*.c"))]
FILES = [path for path in FILES if not path.with_suffix(".pyx").exists()]  # what Cython wrote
if not FILES:
    pytest.skip("this copy of the tests has no sources beside it", allow_module_level=True)


@pytest.mark.parametrize("options", [(), ("-DFASTPREP_NO_X86",)], ids=["as it is", "without vectors of x86"])
@pytest.mark.parametrize("compiler", ["gcc", "clang", "aarch64-linux-gnu-gcc"])
def test_there_is_no_warning(compiler, options):
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    flags = ("-fsyntax-only", "-Wall", "-Wextra", "-Wno-unused-parameter", f"-I{FOLDER / 'kernels'}")
    done = subprocess.run([compiler, *flags, *options, *FILES], capture_output=True, text=True)
    assert done.stderr == ""
    assert done.returncode == 0
