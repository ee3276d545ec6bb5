"""The tests themselves where libraries of the extras are missing, as on a machine that is borrowed for its GPU."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from optional_libraries import OPTIONAL, missing_library, needs

TESTS = Path(__file__).parent
SUPPORT = TESTS / "support"


def run(*options, without=OPTIONAL, **environment):
    """Run pytest where libraries are missing; return exit status and output."""
    paths = os.pathsep.join(map(str, (TESTS, SUPPORT, os.environ.get("PYTHONPATH", ""))))
    settings = {**os.environ, "PYTHONPATH": paths, "WITHOUT": " ".join(without), "CUDA_VISIBLE_DEVICES": "", **environment}
    settings.pop("PYTEST_XDIST_WORKER", None)
    command = [sys.executable, "-m", "pytest", "-p", "without_libraries", "-p", "no:cacheprovider", "-p", "no:xdist", *options]
    done = subprocess.run(command, cwd=TESTS.parent, env=settings, capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout + done.stderr


def test_no_module_of_tests_ends_the_run_where_libraries_are_missing():
    status, out = run("-m", "gpu", "--collect-only", "-q")
    assert status == 0, out
    assert "error" not in out.splitlines()[-1]
    for name in ("kernels/test_gpu.py::test_the_doctors_comparison", "kernels/test_crop.py::test_special_values"):
        assert name in out
    for name, library in (("model/test_alexnet.py", "keras"), ("h5/test_matrix.py", "hdf5plugin")):
        assert f"tests/{name}:1: {library} is not installed" in out


def test_a_test_that_is_wrong_is_not_skipped(tmp_path):
    (tmp_path / "conftest.py").write_text((TESTS / "conftest.py").read_text())
    for name, line in (("wrong", "import nowhere_to_be_found"), ("broken", "raise ImportError('keras is broken')")):
        (tmp_path / f"test_{name}.py").write_text(line)
    status, out = run(str(tmp_path), "-q", "-c", str(TESTS.parent / "pyproject.toml"), "--rootdir", str(tmp_path))
    assert status == 2, out
    assert "2 errors" in out


MIDDLE = """
import pytest
from optional_libraries import needs

from fastprep.encoded import decode

@pytest.fixture
def image():
    from encoded_images import by_tifffile, photograph
    return by_tifffile(photograph())

@pytest.fixture
def jpeg():
    from encoded_images import by_pillow, photograph
    return by_pillow(photograph(), "JPEG")

def test_that_imports():
    import cv2

def test_whose_fixture_imports(image):
    pass

@needs("simplejpeg")
def test_that_is_marked(jpeg):
    decode(jpeg)

@pytest.mark.parametrize("kind", [pytest.param("JPEG", marks=needs("keras", "simplejpeg")), "PNG"])
def test_with_a_parameter_that_is_marked(kind):
    assert kind == "PNG"

def test_for_which_fastprep_asks(jpeg):
    decode(jpeg)

def test_that_hides_it(jpeg):
    try:
        import cv2
    except ModuleNotFoundError:
        raise AssertionError("wrong")
"""


def test_only_what_tests_ask_for_themselves_or_say_that_they_need_is_skipped(tmp_path):
    (tmp_path / "conftest.py").write_text((TESTS / "conftest.py").read_text())
    (tmp_path / "test_middle.py").write_text(MIDDLE)
    status, out = run(str(tmp_path), "-q", "-c", str(TESTS.parent / "pyproject.toml"), "--rootdir", str(tmp_path))
    assert status == 1, out
    assert "2 failed, 1 passed, 4 skipped" in out
    for name in ("test_for_which_fastprep_asks", "test_that_hides_it"):
        assert re.search(rf"^FAILED .*test_middle\.py::{name}", out, re.M)
    for library in ("cv2", "tifffile", "simplejpeg", "keras"):
        assert re.search(rf"^SKIPPED \[1\] .*test_middle\.py:\d+: {library} is not installed$", out, re.M)


def test_a_library_that_is_needed_has_to_be_among_the_optional_ones():
    with pytest.raises(ValueError, match=r"must be among the optional ones, tensorflow, .*; got numpy"):
        needs("simplejpeg", "numpy")


def test_the_tests_for_a_gpu_pass_on_the_stand_in():
    """Nobody runs them otherwise where there is no GPU, and what nobody runs goes wrong."""
    status, out = run("-m", "gpu", "-q", "tests/kernels/test_gpu.py", STAND_IN="1")
    assert status == 0, out
    assert ", 2 skipped" in out  # those two need TensorFlow


@pytest.mark.parametrize(
    ("error", "wanted"),
    [
        (ModuleNotFoundError("No module named 'keras'", name="keras"), "keras"),
        (ModuleNotFoundError("No module named 'tensorflow.python'", name="tensorflow.python"), "tensorflow"),
        (ModuleNotFoundError("No module named 'fastprep.nothing'", name="fastprep.nothing"), None),
        (ModuleNotFoundError("without a name"), None),
        (ImportError("keras is broken", name="keras"), None),
        (ValueError("keras"), None),
    ],
)
def test_only_a_library_that_is_not_there_is_missing(error, wanted):
    assert missing_library(error) == wanted
    outer = RuntimeError("in other words")
    outer.__cause__ = error
    assert missing_library(outer) == wanted
