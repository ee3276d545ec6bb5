"""The crop kernel against the oracle, bit by bit."""

import ml_dtypes
import numpy as np
import pytest
import reference
from conftest import CPU_VERSIONS, host, on_device, use_cpu_kernel
from crop_cases import SOURCES, assert_same_bits, random_images, random_table
from guarded_memory import run_alone
from hypothesis import given, settings
from hypothesis import strategies as st

from fastprep.kernels import cpu_version, crop
from fastprep.kernels._cpu import supported_versions

DTYPES = ("float32", "float16", "bfloat16")


@st.composite
def cases(draw):
    height, width = draw(st.integers(1, 40)), draw(st.integers(1, 40) | st.integers(60, 512))
    return {
        "seed": draw(st.integers(0, 2**32)),
        "shape": (draw(st.integers(1, 4)), height, width, draw(st.integers(1, 5))),
        "size": (draw(st.integers(1, height)), draw(st.integers(1, width))),
        "source": draw(st.sampled_from(SOURCES)),
        "mean": draw(st.sampled_from([None, "scalar", "channels", "image"])),
        "scale": draw(st.sampled_from([None, "scalar", "channels"])),
        "dtype": draw(st.sampled_from(DTYPES)),
        "layout": draw(st.sampled_from(["channels_last", "channels_first"])),
        "n_out": draw(st.integers(1, 12)),
        "stream": draw(st.booleans()),
        "numbers_before": draw(st.integers(0, 40)),
    }


def empty_like(wanted, numbers_before):
    """Return an array whose data begin anywhere in a cache line."""
    return np.empty(wanted.size + numbers_before, wanted.dtype)[numbers_before:].reshape(wanted.shape)


@settings(deadline=None)  # a busy machine is not a failure
@given(case=cases())
def test_equals_the_oracle_on_random_cases(case):
    rng = np.random.default_rng(case["seed"])
    n, height, width, channels = shape = case["shape"]
    images = random_images(rng, shape, case["source"])
    numbers = {"scalar": (), "channels": (channels,), "image": shape[1:]}
    mean = rng.uniform(0, 255, numbers[case["mean"]]) if case["mean"] else None
    scale = rng.uniform(0, 2, numbers[case["scale"]]) if case["scale"] else None
    table = random_table(rng, n, case["n_out"], height, width, *case["size"])
    arguments = (images, table, case["size"], mean, scale, case["dtype"], case["layout"])
    wanted = reference.crop(*arguments)
    for version in supported_versions():
        with pytest.MonkeyPatch.context() as patch:
            use_cpu_kernel(version, patch)
            if not case["stream"]:
                patch.setattr("fastprep.kernels.spec.stream_bytes", lambda: 1 << 40)
            assert_same_bits(crop(*arguments, out=empty_like(wanted, case["numbers_before"])), wanted)


@pytest.mark.parametrize("layout", ["channels_last", "channels_first"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
def test_equals_the_oracle_at_the_size_people_use(device, rng, channels, dtype, layout):
    images = rng.integers(0, 256, (3, 256, 256, channels), dtype=np.uint8)
    table = np.array([[0, 0, 0, 0], [1, 29, 29, 1], [2, 0, 29, 2], [0, 29, 0, 3], [1, 14, 14, 1]], np.int32)
    mean = np.linspace(100.1, 130.7, channels)
    arguments = (images, table, (227, 227), mean, 1 / 255, dtype, layout)
    assert_same_bits(crop(*arguments, device=device), reference.crop(*arguments))


@pytest.mark.parametrize("version", CPU_VERSIONS)
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
def test_short_rows_of_every_width_equal_the_oracle(version, channels, rng, monkeypatch):
    """Several rows are arranged at a time; rows of up to 64, up to 128, and more bytes differ."""
    use_cpu_kernel(version, monkeypatch)
    for width in range(1, 140 // channels):
        images = rng.integers(0, 256, (2, 5, width + 1, channels), dtype=np.uint8)
        table = np.array([[k % 2, k % 3, k % 2, k % 4] for k in range(8)], np.int32)
        arguments = (images, table, (3, width), np.arange(channels) + 0.5, 1 / 255)
        assert_same_bits(crop(*arguments), reference.crop(*arguments))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("mirrored", [0, 1])
def test_rounds_every_float32_pattern_to_nearest_even(device, dtype, mirrored):
    """Every upper half of a float32, with lower halves at, just below and just above each tie."""
    upper = np.arange(65536, dtype=np.uint32) << 16
    lower = np.array([0, 1, 0x0FFF, 0x1000, 0x1001, 0x2FFF, 0x3000, 0x7FFF, 0x8000, 0x8001, 0xFFFF], np.uint32)
    values = (upper[:, None] | lower).view(np.float32).reshape(1, 256, -1, 1)
    table = np.array([[0, 0, 0, mirrored]], np.int32)
    with np.errstate(over="ignore"):
        wanted = reference.crop(values, table, values.shape[1:3], None, None, dtype)
    assert_same_bits(crop(values, table, values.shape[1:3], dtype=dtype, device=device), wanted)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("source", ["uint8", "uint16", "int16"])
def test_integers_round_to_nearest_even_at_ties_and_among_subnormal_results(device, source, dtype):
    """Channels whose results are halfway between two numbers, subnormal in float16, and subnormal in bfloat16 and float32."""
    images = np.repeat(np.arange(256).astype(source), 3).reshape(1, 4, 64, 3)
    mean, scale = [0.5, 1 / 16, 127.25], np.array([1.0, 2.0**-22, 2.0**-140], np.float32)
    table = np.array([[0, 0, 0, 0], [0, 0, 0, 1]], np.int32)
    for layout in ("channels_last", "channels_first"):
        arguments = (images, table, (4, 64), mean, scale, dtype, layout)
        assert_same_bits(crop(*arguments, device=device), reference.crop(*arguments))


@pytest.mark.parametrize("layout", ["channels_last", "channels_first"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_of_every_length_follow_each_other_in_lines(device, rng, dtype, layout):
    """With a mean image each row is converted alone: lines hold parts of several rows, or of two, and begin before the result."""
    mean = rng.uniform(0, 255, (5, 70, 2)).astype(np.float32)
    table = np.array([[1, 0, 0, 0], [0, 0, 0, 1]], np.int32)
    for source in SOURCES:
        images = random_images(rng, (2, 5, 70, 2), source)
        for width in (*range(1, 35), 63, 64, 65, 70):
            arguments = (images, table, (5, width), mean, None, dtype, layout)
            wanted = reference.crop(*arguments)
            assert_same_bits(crop(*arguments, device=device), wanted)


def test_special_values_of_float_images(device):
    values = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, 3.4e38, 1e300, -1e-300, 0.1, 65520.0, 65519.99])
    for source in (np.float32, np.float64):
        with np.errstate(over="ignore", invalid="ignore"):
            images = values.astype(source).reshape(1, 1, -1, 1)
            for dtype in DTYPES:
                arguments = (images, np.array([[0, 0, 0, 1]]), (1, len(values)), [0.0], [1.0], dtype)
                assert_same_bits(crop(*arguments, device=device), reference.crop(*arguments))


def test_subtraction_is_rounded_before_the_multiplication(device):
    """A fused multiply-add would give another last bit for about one in sixteen of these."""
    images = np.arange(256, dtype=np.uint8).reshape(1, 1, 256, 1)
    table = np.array([[0, 0, 0, 0]], np.int32)
    mean, scale = np.float32(103.939), np.float32(1 / 57.375)
    got = host(crop(images, table, (1, 256), mean, scale, device=device)).ravel()
    stepwise = (np.arange(256, dtype=np.float32) - mean) * scale
    fused = (np.arange(256) * np.float64(scale) - np.float64(mean) * np.float64(scale)).astype(np.float32)
    np.testing.assert_array_equal(got, stepwise)
    assert (got != fused).sum() > 5


@pytest.mark.parametrize("channels_first", [False, True])
def test_writes_into_out_and_nowhere_else(device, rng, channels_first):
    images = rng.integers(0, 256, (2, 9, 11, 3), dtype=np.uint8)
    table = random_table(rng, 2, 5, 9, 11, 4, 7)
    layout = "channels_first" if channels_first else "channels_last"
    wanted = reference.crop(images, table, (4, 7), layout=layout)
    guarded = on_device(np.full(wanted.size + 64, np.nan, np.float32), device)
    out = guarded[32:-32].reshape(wanted.shape)
    assert crop(images, table, (4, 7), layout=layout, out=out, device=device) is out
    np.testing.assert_array_equal(host(out), wanted)
    assert np.isnan(host(guarded)[:32]).all()
    assert np.isnan(host(guarded)[-32:]).all()


def test_strided_and_byte_swapped_images(device, rng):
    images = rng.uniform(0, 255, (4, 8, 9, 3))
    table = random_table(rng, 4, 6, 8, 9, 5, 5)
    wanted = reference.crop(images, table, (5, 5))
    for variant in (images.astype(">f8"), np.asfortranarray(images)):
        np.testing.assert_array_equal(host(crop(variant, table, (5, 5), device=device)), wanted)


def test_bfloat16_is_the_type_of_ml_dtypes(device):
    got = crop(np.zeros((1, 2, 2, 1), np.uint8), np.array([[0, 0, 0, 0]]), (2, 2), dtype="bfloat16", device=device)
    assert got.dtype == ml_dtypes.bfloat16


IMAGES = np.zeros((2, 6, 7, 3), np.uint8)
ROW = [[0, 0, 0, 0]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"images": IMAGES[0]}, r"images must have the shape \(n, H, W, C\), got \(6, 7, 3\)"),
        (
            {"images": IMAGES.astype("int32")},
            "images must have one of the types uint8, uint16, int16, float32, float64, got int32",
        ),
        ({"table": [[2, 0, 0, 0]]}, r"slot in the crop table must lie in 0\.\.1, found 2\.\.2"),
        ({"table": [[0, -1, 0, 0]]}, r"y in the crop table must lie in 0\.\.2, found -1\.\.-1"),
        ({"table": [[0, 0, 5, 0]]}, r"x in the crop table must lie in 0\.\.4, found 5\.\.5"),
        ({"table": [[0, 0, 0, 4]]}, r"flags in the crop table must lie in 0\.\.3"),
        ({"table": np.zeros((3, 3), int)}, r"table must be integers of shape \(n_out, 4\)"),
        ({"table": np.zeros((3, 4))}, "table must be integers"),
        ({"table": np.zeros((0, 4), int)}, "table must be integers"),
        ({"size": (7, 3)}, "crop is larger than the image: 7x3 from 6x7 pixels"),
        ({"mean": [1.0, 2.0]}, r"mean must be a scalar or have the shape \(3,\), or \(6, 7, 3\), got \(2,\)"),
        ({"scale": np.ones((6, 7, 3))}, r"scale must be a scalar or have the shape \(3,\), got \(6, 7, 3\)"),
        ({"mean": [1.0, np.nan, 2.0]}, "mean must be finite, found NaN or infinity"),
        ({"scale": np.inf}, "scale must be finite, found NaN or infinity"),
        (
            {"out": np.empty(4 * 3 * 3 * 4 + 1, np.uint8)[1:].view(np.float32).reshape(1, 4, 3, 3)},
            "out must be a writeable, aligned",
        ),
        ({"dtype": "float64"}, "dtype must be one of 'float32', 'float16', 'bfloat16', got 'float64'"),
        ({"layout": "NCHW"}, "layout must be one of 'channels_last', 'channels_first', got 'NCHW'"),
        (
            {"out": np.empty((1, 4, 3, 3))},
            r"out must be a writeable, aligned, C-contiguous float32 array of shape \(1, 4, 3, 3\)",
        ),
        ({"out": np.empty((1, 4, 3, 6), np.float32)[..., ::2]}, "out must be a writeable, aligned, C-contiguous"),
        ({"device": "gpu"}, 'device must be "cpu", "cuda"'),
    ],
)
def test_refusals(arguments, message):
    with pytest.raises(ValueError, match=message):
        crop(**{"images": IMAGES, "table": np.array(ROW), "size": (4, 3), **arguments})


def test_the_quickest_version_is_the_default_and_others_can_be_asked_for(monkeypatch):
    monkeypatch.delenv("FASTPREP_CPU_KERNEL", raising=False)
    assert cpu_version() == supported_versions()[-1]
    monkeypatch.setenv("FASTPREP_CPU_KERNEL", "portable")
    assert cpu_version() == "portable"
    monkeypatch.setenv("FASTPREP_CPU_KERNEL", "sse9")
    with pytest.raises(ValueError, match=r"FASTPREP_CPU_KERNEL must be one of portable.* on this processor, got 'sse9'"):
        crop(IMAGES, np.array(ROW), (4, 3))


GUARDED = """
import itertools, sys
import numpy as np
import reference
from guarded_memory import GuardedMemory
from fastprep.kernels import crop, spec

spec.stream_bytes = lambda: int(sys.argv[1])
rng = np.random.default_rng(0)
shapes = [(1, 1), (3, 5), (7, 16), (4, 17), (5, 21), (3, 22), (3, 63), (4, 64), (2, 65), (6, 85), (3, 129), (2, 256)]
for at_the_end, (height, width), channels in itertools.product([False, True], shapes, [1, 2, 3, 4, 5]):
    memory = GuardedMemory(at_the_end)
    images = memory.copy(rng.integers(0, 256, (2, height, width, channels), np.uint8))
    for h, w in {(height, width), ((height + 1) // 2, (width + 1) // 2)}:
        corners = itertools.product([0, 1], {0, height - h}, {0, width - w}, range(4))
        table = np.array(list(corners), np.int32)
        for dtype, layout in itertools.product(["float32", "float16", "bfloat16"], ["channels_last", "channels_first"]):
            arguments = (images, table, (h, w), 117.5, None, dtype, layout)
            wanted = reference.crop(*arguments)
            out = memory.copy(np.zeros_like(wanted))
            crop(*arguments, out=out)
            assert out.tobytes() == wanted.tobytes(), (images.shape, h, w, dtype, layout)
            memory.forget()
for at_the_end, (height, width), channels in itertools.product([False, True], [(3, 5), (2, 130)], [3, 13]):
    memory = GuardedMemory(at_the_end)
    for source, order in itertools.product(["uint16", "int16", "float32", "float64"], ["HWC", "CHW", "WCH"]):
        shape = (1, *({"H": height, "W": width, "C": channels}[axis] for axis in order))
        images = memory.copy(rng.integers(0, 256, shape).astype(source))
        plain = reference.as_height_width_channels(images, "N" + order)
        for dtype, layout in [("float32", "channels_last"), ("float16", "channels_first"), ("bfloat16", "channels_last")]:
            table = np.array([[0, 0, 0, flags] for flags in range(4)], np.int32)
            wanted = reference.crop(plain, table, (height, width), np.ones(channels), 0.5, dtype, layout)
            out = memory.copy(np.zeros_like(wanted))
            crop(images, table, (height, width), np.ones(channels), 0.5, dtype, layout, out=out, order=order)
            assert out.tobytes() == wanted.tobytes(), (images.shape, order, dtype, layout)
            memory.forget()
        memory.forget()
print("done")
"""


@pytest.mark.parametrize("stream_bytes", [0, 1 << 40], ids=["streamed", "cached"])
@pytest.mark.parametrize("version", CPU_VERSIONS)
def test_nothing_outside_images_and_result_is_touched(version, stream_bytes, monkeypatch):
    """The pages before and after them are protected: the process would end with a segmentation fault."""
    use_cpu_kernel(version, monkeypatch)
    run_alone(GUARDED, stream_bytes)
