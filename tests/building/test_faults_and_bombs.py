"""Faults of the machine end a build and lose nothing; images too large for the memory bound are left out, and both are told."""

import csv
import errno
import io
import os
import struct
import subprocess
import sys
import threading
import time
import zlib

import numpy as np
import pytest
from image_folder import write_image_folder
from PIL import Image

from fastprep import build
from fastprep.building import decode, scan, source
from fastprep.building import report as reporting
from fastprep.building.decode import OutOfReachError, UnreadableError, read_image
from fastprep.building.memory import MIB, Memory, TooLargeError
from fastprep.building.write import NAMES

SIZE = 8


@pytest.fixture
def images(tmp_path):
    return write_image_folder(tmp_path / "images")


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr("fastprep.system.machine_faults.WAITS", (0.0, 0.0, 0.0))


def run(images, out, *options):
    return build.main([str(images), str(out), "--size", str(SIZE), *map(str, options)])


def contents(out):
    return {path.name: path.read_bytes() for path in out.iterdir()}


def report(out):
    with open(out / "report.csv", newline="", encoding="utf-8") as file:
        return {row["file"]: row for row in csv.DictReader(file)}


def failing(function, number, after=0, until=10**9):
    """Return a function of the system that fails in some of its calls."""
    calls = []

    def fail(first, *more, **options):
        if not isinstance(first, int) and "images" not in os.fspath(first):
            return function(first, *more, **options)
        calls.append(first)
        if after < len(calls) <= until:
            raise OSError(number, os.strerror(number))
        return function(first, *more, **options)

    return fail


FAULTS = ["EIO", "ESTALE", "EMFILE", "ENFILE", "ENOMEM", "ENXIO", "ETIMEDOUT", "ENODEV"]


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("call", ["open", "readv"])
def test_a_fault_of_the_machine_is_not_damage(images, monkeypatch, call, name):
    monkeypatch.setattr(source.os, call, failing(getattr(os, call), getattr(errno, name)))
    with pytest.raises(OutOfReachError, match=os.strerror(getattr(errno, name))):
        read_image(images / "a" / "0.png", SIZE)


@pytest.mark.parametrize("ending", ["png", "jpg", "webp", "bmp", "tif", "gif", "ppm"])
@pytest.mark.parametrize("number", [errno.EIO, errno.EINVAL])  # even one that decoders raise themselves, for offsets below 0
def test_nor_is_one_in_the_middle_of_a_file_whatever_its_decoder_makes_of_it(tmp_path, monkeypatch, rng, ending, number):
    path = tmp_path / f"images.{ending}"
    Image.fromarray(rng.integers(0, 256, (900, 900, 3), dtype=np.uint8)).save(path)
    monkeypatch.setattr(source, "_BUFFER", 4096)
    monkeypatch.setattr(source.os, "readv", failing(os.readv, number, after=3))
    with pytest.raises(OutOfReachError, match=os.strerror(number)):
        read_image(path, SIZE)


@pytest.mark.parametrize(("is_there", "kind"), [(True, UnreadableError), (False, OutOfReachError)])
def test_a_file_that_may_not_be_read_is_left_out_unless_it_is_its_folder(images, monkeypatch, is_there, kind):
    monkeypatch.setattr(source.os, "open", failing(os.open, errno.EACCES))
    monkeypatch.setattr(os.path, "lexists", lambda path: is_there)
    with pytest.raises(UnreadableError, match="Permission denied") as caught:
        read_image(images / "a" / "0.png", SIZE)
    assert type(caught.value) is kind


def test_too_little_memory_is_a_fault_of_the_machine(images, monkeypatch):
    def no_memory(*_):
        raise MemoryError

    monkeypatch.setattr(decode, "_upright", no_memory)
    with pytest.raises(OutOfReachError, match="not enough memory"):
        read_image(images / "a" / "0.png", SIZE)


def test_a_disk_that_goes_away_ends_the_build_and_the_next_one_goes_on(images, out, tmp_path, monkeypatch, capsys):
    assert run(images, tmp_path / "whole") == 0
    capsys.readouterr()
    with monkeypatch.context() as patch:
        patch.setattr(source.os, "open", failing(os.open, errno.EIO, after=12))
        assert run(images, out, "--workers", 2) == 2
    printed, errors = capsys.readouterr()
    assert printed == ""
    assert errors.count("\n") == 1
    assert "can't be read, after 4 tries: Input/output error. The machine is at fault, not the image" in errors
    assert "run the same command again to go on" in errors
    assert os.listdir(out) == [build.WORK]
    assert (out / build.WORK / "journal").read_bytes().count(b"\n") >= 10
    assert run(images, out) == 0
    assert contents(out) == contents(tmp_path / "whole")


def test_a_fault_that_passes_is_waited_for(images, out, tmp_path, monkeypatch):
    assert run(images, tmp_path / "whole") == 0
    with monkeypatch.context() as patch:
        patch.setattr(source.os, "open", failing(os.open, errno.EMFILE, after=5, until=8))
        assert run(images, out, "--workers", 1) == 0
    assert contents(out) == contents(tmp_path / "whole")


def test_an_image_that_disappears_ends_the_build(images, out, monkeypatch, capsys):
    """As all of them do where a drive is unmounted; the next build does not find them, and says nothing of damage."""
    find = scan.find

    def find_and_lose(*arguments):
        found = find(*arguments)
        (images / "a" / "3.png").unlink()
        return found

    monkeypatch.setattr(scan, "find", find_and_lose)
    assert run(images, out) == 2
    assert "3.png' can't be read, after 4 tries: No such file or directory" in capsys.readouterr().err


def test_the_search_of_the_folder_does_not_lose_what_the_machine_could_not_read(images, out, monkeypatch, capsys):
    scandir = os.scandir

    def fail(path):
        if os.fspath(path).endswith("/b"):
            raise OSError(errno.EIO, "Input/output error")
        return scandir(path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", fail)
        assert run(images, out) == 2
    assert f"{str(images / 'b')!r}: Input/output error" in capsys.readouterr().err
    assert not out.exists()


def test_damage_is_still_damage(images, out, capsys):
    (images / "a" / "bad.png").write_bytes((images / "a" / "0.png").read_bytes()[:200])
    (images / "a" / "pipe.png").symlink_to("/dev/null")
    assert run(images, out) == 0
    assert report(out)["a/bad.png"]["status"] == "unreadable"
    assert report(out)["a/pipe.png"]["why"] == "not a regular file"


@pytest.mark.parametrize("name", ["pixels", "journal"])
def test_a_fault_of_the_disk_that_is_written_to_names_the_file(images, out, monkeypatch, capsys, name):
    pwrite = os.pwrite

    def fail(descriptor, data, offset):
        if os.readlink(f"/proc/self/fd/{descriptor}").endswith(name):
            raise OSError(errno.EIO, "Input/output error")
        return pwrite(descriptor, data, offset)

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", fail)
        check_one_line(capsys, f"Input/output error: '{out / build.WORK / name}'", images, out)
    assert run(images, out) == 0


def test_pixels_that_change_before_they_are_in_their_file_end_the_build(images, out, tmp_path, monkeypatch, capsys):
    assert run(images, tmp_path / "whole") == 0
    notes = reporting.notes

    def spoil(*arguments):
        os.truncate(out / build.WORK / "pixels", 1000)
        return notes(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(reporting, "notes", spoil)
        assert run(images, out) == 2
    assert "decoded pixels have changed on the disk; run the same command again" in capsys.readouterr().err
    assert os.listdir(out) == [build.WORK]
    assert run(images, out) == 0
    assert contents(out) == contents(tmp_path / "whole")


# --- memory


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def bomb(path, width, height, color=2):
    """Write a PNG of some kilobytes whose pixels are all black."""
    channels = {0: 1, 2: 3, 6: 4}[color]
    packer, rows = zlib.compressobj(9), io.BytesIO()
    row = bytes(1 + width * channels)
    for _ in range(height):
        rows.write(packer.compress(row))
    rows.write(packer.flush())
    header = struct.pack(">IIBBBBB", width, height, 8, color, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows.getvalue()) + chunk(b"IEND", b""))
    return path


def test_an_image_above_the_bound_is_not_decoded_and_the_report_says_so(images, out, capsys):
    bomb(images / "a" / "bomb.png", 3000, 3000)
    assert run(images, out, "--memory", 32) == 0
    row = report(out)["a/bomb.png"]
    assert row["status"] == "unreadable"
    assert row["why"].startswith("too large: 84 MiB are needed, and at most 32 MiB may be taken; allow more with --memory")
    assert "unreadable: a/bomb.png: too large" in capsys.readouterr().err
    assert run(images, out, "--memory", 100, "--overwrite") == 0
    assert report(out)["a/bomb.png"]["status"] == "used"


def test_a_bound_that_is_too_small_for_any_image_is_refused(images, out, capsys):
    assert build.main([str(images), str(out), "--size", "2000", "--memory", "100"]) == 2
    assert "--memory must be at least 123, the MiB that an image of --size 2000 takes; got 100" in capsys.readouterr().err


@pytest.mark.parametrize(("tag", "value"), [(322, 40_000), (323, 40_000)])
def test_a_tile_far_larger_than_its_image_counts(tmp_path, tag, value):
    tags = {256: 16, 257: 16, 258: 8, 259: 5, 262: 1, 277: 1, 322: 40_000, 323: 40_000, 324: 300, 325: 10, tag: value}
    fields = b"".join(struct.pack("<HHII", key, 4, 1, tags[key]) for key in sorted(tags))
    content = b"II*\0" + struct.pack("<IH", 8, len(tags)) + fields + bytes(4)
    (tmp_path / "tile.tif").write_bytes(content.ljust(400, b"\0"))
    with pytest.raises(UnreadableError, match="too large"):
        read_image(tmp_path / "tile.tif", SIZE, memory=Memory(1024 * MIB))


def test_a_file_larger_than_the_bound_is_not_read(tmp_path):
    with open(tmp_path / "large.webp", "wb") as file:
        file.truncate(100 * MIB)
    with pytest.raises(UnreadableError, match="too large: the file has 100 MiB, and at most 50 MiB may be taken"):
        read_image(tmp_path / "large.webp", SIZE, memory=Memory(50 * MIB))


def test_threads_never_take_more_than_the_limit_together():
    memory, lock, now, most = Memory(100), threading.Lock(), [0], [0]

    def work(n):
        for _ in range(10):
            with memory.taken(n):
                with lock:
                    now[0] += n
                    most[0] = max(most[0], now[0])
                time.sleep(0.001)  # lets the others come
                with lock:
                    now[0] -= n

    threads = [threading.Thread(target=work, args=(n,)) for n in (10, 40, 60, 100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 0 < most[0] <= 100
    with memory.taken(100):  # all of it has been given back
        pass
    with pytest.raises(TooLargeError), memory.taken(101):
        pass


PEAK = """
import sys
from PIL import Image
from fastprep.building import decode
def kibibytes(name):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(name))
needed, of_header = [], decode.bytes_needed
decode.bytes_needed = lambda *facts: needed.append(of_header(*facts)) or needed[-1]
decode.read_image(sys.argv[1], 16)
for path in sys.argv[2:]:
    for order in ("RGB", "L"):
        open("/proc/self/clear_refs", "w").write("5")  # the peak begins anew (proc(5))
        before = kibibytes("VmRSS")
        decode.read_image(path, 16, order)
        print(path, order, (kibibytes("VmHWM") - before) * 1024, needed[-1])
"""


def test_the_memory_that_is_counted_is_enough(tmp_path):
    """Measured in a process of its own, for what takes most: turned, transparent, 16 bits, with canvases or coefficients."""
    turned = Image.Exif()
    turned[0x112] = 6
    paths = [bomb(tmp_path / "small.png", 20, 20)]
    for name, mode, options in (
        ("a.png", "RGBA", {"exif": turned}),
        ("b.webp", "RGBA", {"lossless": True, "method": 0}),
        ("c.tif", "RGB", {"compression": "tiff_lzw"}),
        ("d.jpg", "RGB", {"progressive": True}),
        ("e.png", "I;16", {}),
        ("f.gif", "P", {"transparency": 0}),
    ):
        image = Image.fromarray(np.zeros((1500, 2000), np.uint16)) if mode == "I;16" else Image.new(mode, (2000, 1500))
        image.save(tmp_path / name, **options)
        paths.append(tmp_path / name)
    done = subprocess.run([sys.executable, "-c", PEAK, *paths], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    for line in done.stdout.splitlines():
        path, order, peak, needed = line.rsplit(" ", 3)
        assert int(peak) <= int(needed) + 2 * MIB, (path, order)  # the interpreter itself takes some


# --- paths that can't be written to


def check_one_line(capsys, message, *arguments):
    assert run(*arguments) == 2
    printed, errors = capsys.readouterr()
    assert printed == ""
    assert errors.count("\n") == 1, errors
    assert message in errors


def test_out_where_nothing_can_be_written_is_refused_before_the_images_are_searched(images, out, monkeypatch, capsys):
    check_one_line(capsys, "OUT: nothing can be written to '/proc/x': No such file or directory", images, "/proc/x")
    mkdir = os.mkdir

    def read_only(path, *more):
        if os.fspath(path).startswith(str(images.parent)):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)
        mkdir(path, *more)

    monkeypatch.setattr(os, "mkdir", read_only)
    monkeypatch.setattr("fastprep.building.scan.find", None)
    check_one_line(capsys, f"OUT: nothing can be written to {str(out)!r}: Read-only file system", images, out)


@pytest.mark.parametrize("encoding", ["ascii:strict", "utf-8:strict"])
def test_names_that_the_terminal_can_not_show(tmp_path, encoding):
    root, target = os.fsencode(tmp_path) + b"/im\xff", os.fsencode(tmp_path) + b"/o\xfe\xc3\xb6"
    rng = np.random.default_rng(1)
    for label in (b"a", b"\xe9"):
        os.makedirs(root + b"/" + label)
        for k in range(3):
            Image.fromarray(rng.integers(0, 256, (9, 9, 3), dtype=np.uint8)).save(tmp_path / "x.png")
            os.rename(tmp_path / "x.png", root + b"/" + label + b"/\xff%d.png" % k)
    command = [sys.executable, "-m", "fastprep.build", root, target, "--size", "8", "--split", "0.5", "0.5", "0"]
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    for status in (0, 2):
        done = subprocess.run(command, capture_output=True, env=environment, timeout=120, check=False)
        assert done.returncode == status, done.stderr
        assert b"Traceback" not in done.stderr
    assert sorted(os.listdir(target)) == sorted(os.fsencode(name) for name in NAMES if name != "test.h5")
