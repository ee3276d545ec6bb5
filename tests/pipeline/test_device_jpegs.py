"""JPEGs decoded on a device, on stand-ins for nvImageCodec and a GPU: the CPU's batches, and what is not decoded there."""

import contextlib
import gc
import os

import fake_cupy
import fake_nvimgcodec
import numpy as np
import pytest
from crop_cases import assert_same_bits
from encoded_files import by_pillow_upright, encoded, write_rows
from encoded_images import by_pillow
from fake_cupy import CUDARuntimeError, Schedule
from optional_libraries import needs
from PIL import Image

from fastprep import CenterCrop, DataError, DeviceUnavailableError, Loader, MixUp, RandomAffine, RandomCrop, RandomResizedCrop
from fastprep.pipeline import sized_staging

pytestmark = [needs("simplejpeg"), pytest.mark.usefixtures("no_thread_left")]

N = 13
CROP = RandomResizedCrop(24, mirror=True)
OPTIONS = {"mean": None, "shuffle": True, "seed": 3}


@pytest.fixture(scope="module")
def rows():
    return encoded(N, least=20, most=90)


@pytest.fixture
def path(tmp_path, rows):
    return write_rows(tmp_path / "images.h5", rows)


@contextlib.contextmanager
def stand_ins(eagerness=0.0, **options):
    with fake_cupy.installed(Schedule(eagerness)) as machine, fake_nvimgcodec.installed(machine, **options) as codec:
        yield machine, codec


def epochs(loader, take, n_epochs=2):
    return [take(x) for _ in range(n_epochs) for x, *_ in loader]


def check(path, crop=CROP, eagerness=0.0, refuses=None, is_ordered=True, **options):
    """Check that batches are those of the CPU; return how many images were decoded where, and the stand-in."""
    options = {**OPTIONS, **options}
    with Loader(path, 4, crop, device="cpu", **options) as loader:
        wanted = epochs(loader, np.copy)
    read, allocated = [], []
    with stand_ins(eagerness) as (machine, codec):
        codec.refuses, codec.is_ordered = refuses or codec.refuses, is_ordered
        with Loader(path, 4, crop, device="cuda", decode="device", **options) as loader:
            for _ in range(2):
                for x, *_ in loader:
                    read.append(machine.read_later(x))
                    allocated.append([machine.calls[name] for name in ("malloc", "hostAlloc", "RawModule")])
                    del x
            decoded = loader.stats()["decoded"]
        machine.finish_device(0)
        assert machine.error is None
        del loader
        gc.collect()
        assert codec.n_images == 0  # nothing stays after `close`
    for (got,), want in zip(read, wanted, strict=True):
        assert_same_bits(got, want)
    assert len({tuple(counts) for counts in allocated}) == 1  # by fastprep, nothing is allocated while training runs
    return decoded, codec


@pytest.mark.parametrize("eagerness", [0, 0.5])
@pytest.mark.parametrize(
    ("crop", "options"),
    [(CROP, {}), (RandomAffine(24, degrees=30), {"blend": MixUp(0.4), "num_classes": N}), (CenterCrop(20), {"workers": 1})],
)
def test_batches_are_those_of_the_cpu_where_the_pixels_are(path, crop, options, eagerness):
    decoded, codec = check(path, crop, eagerness, **{"workers": 2, **options})
    assert decoded["cpu"] == 0
    assert decoded["device"] >= 2 * N  # and those that were made ahead
    assert sum(again for _, again in codec.calls) > 0  # the library's memory is used again


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_images_of_one_size_are_only_cropped_there(tmp_path, mode):
    images = [by_pillow_upright(row, mode) for row in encoded(6, size=(30, 40))]
    path = write_rows(tmp_path / "images.h5", [by_pillow(image.squeeze(), "JPEG", quality=90) for image in images])
    decoded, _ = check(path, RandomCrop(20), workers=2)
    assert decoded["cpu"] == 0


def test_what_is_out_of_the_ordinary_is_decoded_on_the_cpu(tmp_path, rows):
    image = by_pillow_upright(rows[0])
    turned = Image.Exif()
    turned[0x0112] = 6
    others = [
        by_pillow(image, "PNG"),
        by_pillow(image, "JPEG", mode="CMYK"),
        by_pillow(image, "JPEG", mode="L"),
        by_pillow(image, "JPEG", keep_rgb=True),
        by_pillow(image, "JPEG", exif=turned.tobytes()),
    ]
    path = write_rows(tmp_path / "images.h5", [*rows[:5], *others])
    decoded, codec = check(path, workers=1, prefetch=0)
    assert codec.calls
    assert decoded["cpu"] * 2 == decoded["device"] + decoded["cpu"]


def test_progressive_jpegs_are_decoded_there(tmp_path, rows):
    images = [by_pillow(by_pillow_upright(row), "JPEG", progressive=True) for row in rows]
    assert check(write_rows(tmp_path / "images.h5", images))[0]["cpu"] == 0


def test_an_image_that_the_library_refuses_is_decoded_on_the_cpu(path, rows):
    decoded, _ = check(path, workers=2, refuses=lambda data: data in rows[3:6])
    assert decoded["cpu"] >= 2 * 3
    assert decoded["device"] >= 2 * (N - 3)


@pytest.mark.parametrize("damage", ["cut short", "without an end", "a hole"])
def test_damaged_images_are_replaced_or_named_as_on_the_cpu(tmp_path, rows, damage):
    harm = {
        "cut short": lambda row: row[:-300],
        "without an end": lambda row: row[:-2],
        "a hole": lambda row: row[:-400] + row[-300:],
    }[damage]
    path = write_rows(tmp_path / "images.h5", [harm(row) if k in (4, 5) else row for k, row in enumerate(rows)])
    check(path, workers=2, on_corrupt="skip")
    with (
        stand_ins(),
        Loader(path, N, CROP, mean=None, device="cuda", decode="device") as loader,
        pytest.raises(DataError, match="cut short") as error,
    ):
        loader.batch(0, 0)
    assert error.value.sample == 4


def test_batches_that_are_too_large_are_decoded_and_cropped_on_the_cpu(path, monkeypatch):
    monkeypatch.setattr(sized_staging.SizedStaging, "_memory_bytes", lambda self, n_images, n_rows: 36_000)
    decoded, _ = check(path, workers=2)
    assert decoded["cpu"] > 0
    assert decoded["device"] > 0


@pytest.mark.filterwarnings("ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning")  # memory that is used
def test_pixels_are_not_used_before_they_are_there(path):
    """Without the wait of the stream for the library, which the stand-in can leave out, batches are wrong."""
    with pytest.raises((AssertionError, CUDARuntimeError)):
        check(path, is_ordered=False)


def test_pixels_on_another_stream_are_an_error(path):
    with stand_ins() as (_, codec), Loader(path, 4, CROP, mean=None, device="cuda", decode="device") as loader:
        loader.batch(0, 0)
        decode = codec.decode
        codec.decode = lambda *arguments: [_elsewhere(image) for image in decode(*arguments)]
        with pytest.raises(RuntimeError, match="on another stream"):
            loader.batch(0, 1)


def _elsewhere(image):
    image.__cuda_array_interface__["stream"] = 1
    return image


def test_a_library_that_decodes_nothing_or_something_else_is_an_error(path):
    def first_batch(codec, **facts):
        decode = codec.decode

        def changed(*arguments):
            images = decode(*arguments)
            for image in filter(None, images):
                image.__cuda_array_interface__.update(facts)
            return images

        codec.decode = changed
        with Loader(path, 4, CROP, mean=None, device="cuda", decode="device") as loader:
            loader.batch(0, 0)

    with stand_ins() as (_, codec):
        codec.refuses = lambda data: True
        with pytest.raises(DeviceUnavailableError, match=r"decodes no JPEG.*gpu-jpeg"):
            first_batch(codec)
    with stand_ins() as (_, codec), pytest.raises(DeviceUnavailableError, match=r"an array \(3, 16, 24\)"):
        first_batch(codec, shape=(3, 16, 24))
    with stand_ins() as (_, codec):
        codec.writing = lambda address, pixels, device: lambda: None
        with pytest.raises(DeviceUnavailableError, match="to another"):
            first_batch(codec)


def test_arguments_that_mean_nothing_are_errors(path, make_file):
    pixels, _, _ = make_file(name="pixels.h5")

    def make(file, **options):
        Loader(file, 4, CROP, mean=None, **options).close()

    with pytest.raises(ValueError, match='decode must be "cpu" or "device", got \'gpu\''):
        make(path, decode="gpu")
    with pytest.raises(ValueError, match="made on the CPU"):
        make(path, decode="device", device="cpu")
    with pytest.raises(ValueError, match="made on the CPU"):
        make(path, decode="device", transform=lambda x, rng: None)
    with pytest.raises(ValueError, match="has pixels"):
        make(pixels, decode="device")
    with pytest.raises(DeviceUnavailableError, match="device='auto' has taken the CPU"):
        make(path, decode="device")
    with fake_cupy.installed():
        with pytest.raises(DeviceUnavailableError, match=r"needs nvImageCodec.*pip install 'fastprep\[gpu-jpeg\]'"):
            make(path, decode="device", device="cuda")
        with stand_ins(version="0.8.1"), pytest.raises(DeviceUnavailableError, match=r"0\.9 or later, and 0\.8\.1"):
            make(path, decode="device", device="cuda")


def test_the_cpu_decodes_unless_it_is_asked_for(path):
    with stand_ins() as (_, codec), Loader(path, 4, CROP, mean=None, device="cuda") as loader:
        loader.batch(0, 0)
        assert loader.decode == "cpu"
        assert loader.stats()["decoded"] is None
        assert codec.calls == []


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning", "ignore:.*fork.*:RuntimeWarning")
def test_several_inputs_are_decoded_there_and_a_forked_process_leaves_the_library_alone(path, rows):
    write_rows(path, [by_pillow(by_pillow_upright(row)[..., ::-1].copy(), "JPEG") for row in rows], "second")
    options = {**OPTIONS, "images": {"first": "images", "second": "second"}, "labels": None, "workers": 2}
    with Loader(path, 4, CROP, device="cpu", **options) as loader:
        wanted = [{name: x.copy() for name, x in batch.items()} for batch in loader]
    with stand_ins(0.5) as (machine, codec):
        loader, read = Loader(path, 4, CROP, device="cuda", decode="device", **options), []
        for batch in loader:
            read.append({name: machine.read_later(x) for name, x in batch.items()})
            del batch
        machine.finish_device(0)
        assert loader.stats()["decoded"]["cpu"] == 0
        n_images = codec.n_images
        if (child := os.fork()) == 0:
            loader.close()
            del loader
            gc.collect()
            os._exit(codec.n_images != n_images)
        assert os.waitpid(child, 0)[1] == 0
        loader.close()
        gc.collect()
        assert codec.n_images == 0
    for got, want in zip(read, wanted, strict=True):
        for name in want:
            assert_same_bits(got[name][0], want[name])
