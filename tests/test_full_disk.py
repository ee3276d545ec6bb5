"""A full disk, for real, under the commands that write files: one line that names the file, nothing half-written, and on it goes.

What training does then is in test_train_faults.py.
"""

import h5py
import numpy as np
from full_disk import run_on_small_disk
from PIL import Image
from training_files import IMAGES, LAYOUTS, check_rest, make

COMMON = """
from pathlib import Path
def attempt(main, *words):
    print("status", main([str(word) for word in words]), *listing("out"), file=sys.stderr, flush=True)
os.mkdir(disk + "/out")
"""


def lines(done):
    assert done.returncode == 0, done.stderr
    return [line for line in done.stderr.splitlines() if line.startswith(("fastprep.", "status"))]


def test_convert(make_file, tmp_path):
    path, _, _ = make_file(n=600)  # noise: gzip does not make it smaller, and how small it will be is not known beforehand
    script = COMMON + (
        f"""
from fastprep import convert
words = [{str(path)!r}, disk + "/out/new.h5", "--compression", "gzip"]
attempt(convert.main, *words)
resize("8m")
attempt(convert.main, *words)
"""
    )
    done = run_on_small_disk(tmp_path / "disk", "200k", script)
    assert lines(done) == [
        f"fastprep.convert: [Errno 28] No space left on device: '{tmp_path}/disk/out/new.h5'",
        "status 2",
        "status 0 new.h5",
    ]


def test_build(tmp_path, rng):
    for label in ("a", "b"):
        (tmp_path / "images" / label).mkdir(parents=True)
        for k in range(15):
            image = Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8))
            image.save(tmp_path / "images" / label / f"{k}.png")
    script = COMMON + (
        f"""
from fastprep import build
words = [{str(tmp_path / "images")!r}, disk + "/out", "--size", "64", "--compression", "gzip"]
attempt(build.main, *words)
resize("8m")
attempt(build.main, *words)
"""
    )
    done = run_on_small_disk(tmp_path / "disk", "500k", script)
    problem = "[Errno 28] No space left on device"
    assert lines(done) == [
        f"fastprep.build: {problem}: '{tmp_path}/disk/out/.fastprep-build/finishing/train.h5'",
        "status 2 .fastprep-build",
        "status 0 mean.json report.csv sizes.png test.h5 train.h5 val.h5",
    ]


def test_a_mean_is_not_stored_and_the_training_file_is_as_it_was(tmp_path):
    """The old bytes are there, and with room the command works, for every layout."""
    originals = tmp_path / "originals"
    originals.mkdir()
    for k, layout in enumerate(LAYOUTS):
        make(originals / f"{k}.h5", layout)
    script = COMMON + (
        f"""
import contextlib, shutil
from fastprep import show
for k in range({len(LAYOUTS)}):
    path, original = f"{{disk}}/{{k}}.h5", open(f"{originals}/{{k}}.h5", "rb").read()
    with open(path, "wb") as file:
        file.write(original)
    with open(disk + "/filler", "wb", buffering=0) as filler, contextlib.suppress(OSError):
        while filler.write(bytes(4096)):
            pass
    attempt(show.main, path, "--mean", "--store", "--overwrite")
    if open(path, "rb").read() != original:
        print("status: changed", k, file=sys.stderr)
    os.unlink(disk + "/filler")
    attempt(show.main, path, "--mean", "--store", "--overwrite")
    shutil.copy(path, f"{tmp_path}/{{k}}.h5")
    os.unlink(path)
"""
    )
    done = run_on_small_disk(tmp_path / "disk", "8m", script)
    assert lines(done) == [
        line
        for k in range(len(LAYOUTS))
        for line in (
            f"fastprep.show: [Errno 28] No space left on device: '{tmp_path}/disk/{k}.h5'",
            "status 2",
            "status 0",
        )
    ]
    for k in range(len(LAYOUTS)):
        check_rest(tmp_path / f"{k}.h5")
        with h5py.File(tmp_path / f"{k}.h5") as file:
            np.testing.assert_allclose(file["images"].attrs["mean"], IMAGES.mean(axis=(0, 1, 2)))


def test_any_file_or_folder_that_is_written_whole(tmp_path):
    """As those of an evaluation are; a file that was there stays."""
    script = """
from fastprep.system.atomic import whole_file, whole_folder
def fill(path):
    with open(path, "wb") as file:
        file.write(bytes(1 << 20))
with whole_file(disk + "/file") as temporary:
    open(temporary, "w").write("old")
for whole, name in ((whole_file, "file"), (whole_folder, "folder")):
    try:
        with whole(disk + "/" + name) as temporary:
            fill(temporary if name == "file" else temporary / "inside")
    except OSError as error:
        print("status", error.errno, error.filename, *listing("."), open(disk + "/file").read(), file=sys.stderr)
"""
    done = run_on_small_disk(tmp_path / "disk", "200k", script)
    disk = tmp_path / "disk"
    assert lines(done) == [f"status 28 {disk}/file file old", f"status 28 {disk}/folder file old"]
