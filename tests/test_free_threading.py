"""Where Python has no global lock, fastprep leaves it so."""

import os
import subprocess
import sys
import sysconfig

import pytest

pytestmark = pytest.mark.skipif(not sysconfig.get_config_var("Py_GIL_DISABLED"), reason="this Python has its global lock")

PROGRAM = """
import importlib, pathlib, sys, warnings
warnings.simplefilter("error")
import numpy, h5py, hdf5plugin, imagecodecs, PIL.Image
assert not sys._is_gil_enabled(), "a library that fastprep needs has switched the lock on"
import fastprep
from fastprep.loader import Loader
folder = pathlib.Path(fastprep.__file__).parent
extensions = sorted({path.relative_to(folder.parent).as_posix().partition(".")[0] for path in folder.rglob("*.so")})
assert len(extensions) >= 11, extensions
for name in extensions:
    importlib.import_module(name.replace("/", "."))
with Loader(sys.argv[1], 4, fastprep.RandomCrop(7), shuffle=True, mean=None, workers=2) as loader:
    assert len(list(loader)) == len(loader)
print(sys._is_gil_enabled())
"""


@pytest.mark.parametrize("layout", [{}, {"compression": "gzip", "chunks": (4, 12, 14, 3)}], ids=["plain", "gzip"])
def test_neither_an_import_nor_an_epoch_switches_the_lock_on(make_file, layout):
    path, _, _ = make_file(**layout)
    undecided = {name: value for name, value in os.environ.items() if name != "PYTHON_GIL"}
    program = [sys.executable, "-c", PROGRAM, str(path)]
    done = subprocess.run(program, capture_output=True, text=True, timeout=120, check=False, env=undecided)
    assert (done.stdout.strip(), done.stderr) == ("False", "")
