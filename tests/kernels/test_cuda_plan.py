"""The launch plan: a pure function of shapes, types and arguments, without a GPU or cupy."""

import dataclasses
import doctest
import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest

from fastprep.kernels import cuda
from fastprep.kernels.cuda import plan

IMAGES = np.zeros((2, 6, 7, 3), np.uint8)
TABLE = np.array([[0, 0, 0, 0], [1, 2, 3, 1]])


def test_the_example_in_the_documentation():
    assert doctest.testmod(cuda) == (0, 3)


def test_needs_no_cupy_and_is_in_the_package():
    script = """
        import sys
        sys.modules["cupy"] = None
        import numpy as np
        from fastprep.kernels.cuda import plan
        print("fastprep_crop" in plan(np.zeros((1, 2, 2, 1), np.uint8), np.zeros((1, 4), int), (1, 1)).source)
    """
    done = subprocess.run([sys.executable, "-c", "if True:" + script], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"


def test_arguments_are_in_the_order_of_the_kernel():
    out = np.empty((2, 4, 3, 3), np.float32)
    launch = plan(IMAGES, TABLE, (4, 3), mean=[1, 2, 3], scale=0.5)
    images, table, mean, scale, last = launch.arguments(out)
    assert images is IMAGES
    assert last is out
    assert table.dtype == np.int32
    np.testing.assert_array_equal(table, TABLE)
    np.testing.assert_array_equal(mean, np.float32([1, 2, 3]))
    np.testing.assert_array_equal(scale, np.full(3, 0.5, np.float32))
    none, nothing = plan(IMAGES, TABLE, (4, 3)).arguments(out)[2:4]
    assert none == nothing == 0
    assert none.dtype == nothing.dtype == np.uint64
    with pytest.raises(dataclasses.FrozenInstanceError):
        launch.name = "other"


def test_batches_of_one_shape_share_a_compiled_kernel():
    a = plan(IMAGES, TABLE, (4, 3), mean=[1, 2, 3])
    b = plan(IMAGES[:1], TABLE[:1], (4, 3), mean=[4, 5, 6])
    assert (a.source, a.options, a.name, a.block) == (b.source, b.options, b.name, b.block)
    assert a.grid == (2,)
    assert b.grid == (1,)
    assert a.options != plan(IMAGES, TABLE, (4, 3)).options


def test_a_mean_image_of_one_row_is_a_mean_image():
    one_row = np.zeros((1, 1, 7, 3), np.uint8)
    assert "-DMEAN=2" in plan(one_row, TABLE[:1], (1, 3), mean=np.zeros((1, 7, 3))).options
    assert "-DMEAN=1" in plan(one_row, TABLE[:1], (1, 3), mean=np.zeros(3)).options
    assert "-DMEAN=0" in plan(one_row, TABLE[:1], (1, 3)).options


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32", "float64"])
@pytest.mark.parametrize("mean", [False, True])
def test_tiles_fit_into_shared_memory_and_cover_the_crop(dtype, mean):
    for height, width, channels in [(256, 256, 3), (4000, 6000, 3), (9, 100000, 1), (1000, 1, 1), (3, 5, 900), (3, 5, 9000)]:
        images = np.lib.stride_tricks.as_strided(np.zeros(1, dtype), (1, height, width, channels), (0, 0, 0, 0))
        spec = cuda.CropSpec(images.shape[1:], dtype, (height, width))
        rows, columns, staged = cuda._tile(spec, images.itemsize + 4 * mean)
        assert 1 <= rows <= height
        assert 1 <= columns <= width
        assert rows == 1 or columns == width
        if staged:
            assert (rows * (columns * channels + 30) + 16) * (images.itemsize + 4 * mean) <= cuda._TILE_BYTES


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"images": IMAGES[0]}, r"images must be C-contiguous, of the shape \(n, H, W, C\).* got uint8 \(6, 7, 3\)"),
        ({"images": IMAGES[:, :, ::2]}, r"images must be C-contiguous.* got uint8 \(2, 6, 4, 3\)"),
        ({"images": IMAGES[:0]}, r"images must be C-contiguous.* got uint8 \(0, 6, 7, 3\)"),
        ({"images": IMAGES.astype(">u2")}, "images must be .* in native byte order, got >u2"),
        ({"images": IMAGES.astype("int32")}, "must be one of 'uint8', 'uint16', 'int16', 'float32', 'float64', got 'int32'"),
        ({"table": TABLE + 1}, r"slot in the crop table must lie in 0\.\.1, found 1\.\.2"),
        ({"size": (7, 3)}, "crop is larger than the image: 7x3 from 6x7 pixels"),
        ({"mean": [1.0, 2.0]}, r"mean must be a scalar or have the shape \(3,\)"),
        ({"dtype": "float64"}, "dtype must be one of"),
    ],
)
def test_refusals(arguments, message):
    with pytest.raises(ValueError, match=message):
        plan(**{"images": IMAGES, "table": TABLE, "size": (4, 3), **arguments})


def test_refuses_a_batch_of_too_many_blocks(monkeypatch):
    monkeypatch.setattr(cuda, "MAX_BLOCKS", 1)
    with pytest.raises(ValueError, match="table must have at most 1 rows for crops of this size, got 2"):
        plan(IMAGES, TABLE, (4, 3))


def test_refuses_a_wrong_out():
    launch = plan(IMAGES, TABLE, (4, 3), dtype="bfloat16", layout="channels_first")
    right = np.empty((2, 3, 4, 3), ml_dtypes.bfloat16)
    assert launch.arguments(right)[-1] is right
    launch.arguments(right.view(np.uint16))
    for wrong in (right[:1], right.view(np.float16), np.empty((2, 3, 4, 6), ml_dtypes.bfloat16)[..., ::2]):
        with pytest.raises(ValueError, match=r"out must be a C-contiguous bfloat16 array of shape \(2, 3, 4, 3\), got"):
            launch.arguments(wrong)
