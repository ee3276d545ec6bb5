"""Encoded images of different sizes on a device of the stand-in for a GPU: the batches of the CPU, whatever their sizes are."""

import fake_cupy
import numpy as np
import pytest
from crop_cases import assert_same_bits
from encoded_files import by_pillow_upright, encoded, write_rows
from encoded_images import by_pillow
from fake_cupy import Schedule
from optional_libraries import needs
from warp_cases import joined, oracle

from fastprep import (
    CenterCrop,
    ColorJitter,
    DataError,
    Loader,
    Mask,
    MixUp,
    RandomAffine,
    RandomErasing,
    RandomResizedCrop,
    TenCrop,
)
from fastprep._sink import hand_over
from fastprep.h5 import PackSink
from fastprep.kernels import WarpSpec
from fastprep.kernels.device import Gpu
from fastprep.pipeline import BufferPool, sized_staging
from fastprep.pipeline.companions import Rows
from fastprep.pipeline.cuda import CudaBackend, NotFiniteOnDevice
from fastprep.transforms import TransformTable

N = 13
CROP = RandomResizedCrop(24, mirror=True)


@pytest.fixture(scope="module")
def rows():
    return encoded(N, least=20, most=90)


@pytest.fixture
def path(tmp_path, rows):
    return write_rows(tmp_path / "images.h5", rows)


def batches(path, crop, n_epochs=2, **options):
    with Loader(path, 4, crop, mean=None, shuffle=True, seed=3, device="cpu", **options) as loader:
        return [batch[0].copy() for _ in range(n_epochs) for batch in loader]


def check_on_device(path, crop, eagerness=0.0, n_epochs=2, **options):
    """Check that batches on a device are those of the CPU. Return the machine's number of launches of the warp kernel."""
    wanted = batches(path, crop, n_epochs, **options)
    read, allocated, launched = [], [], 0
    with fake_cupy.installed(Schedule(eagerness)) as machine:
        with Loader(path, 4, crop, mean=None, shuffle=True, seed=3, device="cuda", **options) as loader:
            for _ in range(n_epochs):
                for x, *_ in loader:
                    allocated.append([machine.calls[name] for name in ("malloc", "hostAlloc", "RawModule")])
                    read.append(machine.read_later(x))
                    del x
        machine.finish_device(0)
        launched = machine.calls["launch"]
        assert machine.error is None
    assert len(read) == len(wanted)
    for (got,), want in zip(read, wanted, strict=True):
        assert_same_bits(got, want)
    assert len({tuple(counts) for counts in allocated}) == 1  # nothing is allocated, or compiled, while training runs
    return launched


@pytest.mark.parametrize("eagerness", [0, 0.5])
@pytest.mark.parametrize(
    ("crop", "options"),
    [
        (CROP, {"color": ColorJitter(brightness=0.4, hue=0.1), "erase": RandomErasing(p=0.7), "dtype": "float16"}),
        (RandomResizedCrop(24, turn=True), {"standardize": True, "layout": "channels_first", "erase": RandomErasing(p=0.7)}),
        (RandomAffine(24, degrees=30, translate=(0.1, 0.1)), {"blend": MixUp(0.4), "num_classes": N}),
        (TenCrop(20, resize=24), {}),
        (CenterCrop(20), {"dtype": "bfloat16"}),
    ],
)
def test_a_loader_makes_the_batches_of_the_cpu(path, crop, options, eagerness):
    n_warps = -(-N // 4) * (3 if options.get("standardize") else 1)
    n_blends = N // 4 if "blend" in options else 0  # the last batch has one image
    assert check_on_device(path, crop, eagerness, workers=2, **options) == 2 * (n_warps + n_blends)


def test_images_that_are_too_large_for_the_memory_there_is_are_cropped_on_the_cpu(path, monkeypatch):
    """Some batches are, and others are not; all have the bits that they always have."""
    with monkeypatch.context() as patch:
        patch.setattr(sized_staging.SizedStaging, "_memory_bytes", lambda self, n_images, n_rows: 36_000)
        n_launches = check_on_device(path, CROP, workers=2)
    assert 0 < n_launches < 2 * -(-N // 4)
    monkeypatch.setattr(sized_staging, "_LEAST_IMAGE_BYTES", 1)
    monkeypatch.setattr(sized_staging, "_MOST_STEP", 0)
    # the only image of the last batch may fit
    assert check_on_device(path, CROP, workers=2, standardize=True, erase=RandomErasing(p=0.7)) <= 2 * 3
    assert check_on_device(path, RandomAffine(24), workers=2, blend=MixUp(0.4), num_classes=N) <= 2 * (N // 4 + 1)  # blends


def test_boxes_with_more_taps_than_there_is_room_for_are_resized_on_the_cpu(tmp_path):
    path = write_rows(tmp_path / "images.h5", encoded(6, least=70, most=90))
    assert check_on_device(path, CenterCrop(4, resize=4)) == 0
    assert check_on_device(path, CenterCrop(30, resize=30)) == 4


@needs("simplejpeg")
def test_damaged_images_are_replaced_or_named_as_on_the_cpu(tmp_path, rows):
    path = write_rows(tmp_path / "images.h5", [row[:-300] if k in (4, 5) else row for k, row in enumerate(rows)])
    check_on_device(path, CROP, on_corrupt="skip")
    with fake_cupy.installed() as machine:
        with Loader(path, N, CROP, mean=None, device="cuda") as loader, pytest.raises(DataError, match="cut short") as error:
            loader.batch(0, 0)
        assert machine.calls["launch"] == 0
    assert error.value.sample == 4


def test_an_image_with_a_result_that_is_not_finite_is_named():
    shapes = [(20, 30, 3), (40, 25, 3), (33, 20, 3)]
    images = [np.ones(shape, np.float32) for shape in shapes]
    tables = [TransformTable(np.zeros((2, 4), np.int32), np.tile([0.0, 0, *shape[:2]], (2, 1))) for shape in shapes]
    spec = WarpSpec((20, 30, 3), "float32", (12, 12), geometry="box", has_sizes=True, check_finite=True)
    table = joined(tables, shapes)

    def read(sink):
        pixels = np.concatenate([image.reshape(-1) for image in images]).view(np.uint8)
        offsets = np.cumsum([0, *(image.nbytes for image in images[:-1])])
        hand_over(pixels, offsets, np.arange(3), sink)
        return Rows(np.arange(3), None, None)

    with fake_cupy.installed() as machine:
        backend = CudaBackend(spec, Gpu(0), 3, 6)
        pool = BufferPool(backend.buffer_bytes(6), 2, memory=backend.memory)
        seen = machine.read_later(backend.make(read, 3, table, pool.lease).x)
        machine.finish_device(0)
        wanted = [oracle(image[None], own, (12, 12)) for image, own in zip(images, tables, strict=True)]
        assert_same_bits(seen[0], np.concatenate(wanted))
        images[1][5, 5] = np.nan
        with pytest.raises(NotFiniteOnDevice) as error:
            backend.make(read, 3, table, pool.lease)
        assert error.value.slot == 1


@pytest.mark.parametrize(
    ("offsets", "lengths", "message"),
    [([0, 60], [60, 41], "slot 1"), ([-1, 0], [1, 1], "slot 0"), ([0, 0], [1, -1], "slot 1"), ([0], [1], "same slots")],
)
def test_images_must_lie_in_the_memory_into_which_they_are_copied(offsets, lengths, message):
    sizes = np.ones((2, 2), np.int64)
    with pytest.raises(ValueError, match=message):
        PackSink(np.zeros(100, np.uint8), np.array(offsets), np.array(lengths), sizes)


@pytest.fixture(scope="module")
def path_of_several(tmp_path_factory, rows):
    """Images, a second one of the same size for each, and masks."""
    path = write_rows(tmp_path_factory.mktemp("several") / "images.h5", rows)
    images = [by_pillow_upright(row) for row in rows]
    write_rows(path, [by_pillow(image[..., ::-1].copy(), "PNG") for image in images], "second")
    write_rows(path, [by_pillow(image[..., 0].copy(), "PNG") for image in images], "masks")
    return path


@pytest.mark.parametrize(
    "options",
    [
        {"labels": Mask("masks")},
        {"images": {"first": "images", "other": "second"}, "labels": None},
        {"images": {"first": "images", "other": "second"}, "labels": Mask("masks"), "color": ColorJitter(brightness=0.4)},
    ],
    ids=["masks", "inputs", "inputs and masks"],
)
def test_masks_and_several_inputs_are_those_of_the_cpu(path_of_several, options):
    def arrays(batch):
        x, *rest = batch if isinstance(batch, tuple) else (batch,)
        return [*(x.values() if isinstance(x, dict) else [x]), *rest]

    options = {"mean": None, "shuffle": True, "seed": 3, "workers": 2, **options}
    with Loader(path_of_several, 4, CROP, device="cpu", **options) as loader:
        wanted = [[array.copy() for array in arrays(batch)] for batch in loader]
    with fake_cupy.installed(Schedule(0.5)) as machine:
        read = []
        with Loader(path_of_several, 4, CROP, device="cuda", **options) as loader:
            for batch in loader:
                read.append(
                    [
                        machine.read_later(a) if hasattr(a, "device") and not isinstance(a, np.ndarray) else [a]
                        for a in arrays(batch)
                    ]
                )
                del batch
        machine.finish_device(0)
        assert machine.error is None
        assert machine.calls["launch"] > 0
    for got, want in zip(read, wanted, strict=True):
        for (one,), other in zip(got, want, strict=True):
            np.testing.assert_array_equal(one, other, strict=True)
