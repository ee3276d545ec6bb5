"""`fastprep.show` draws batches that a caller holds as `Loader.show` draws those of a loader."""

import importlib
import inspect
import warnings

import ml_dtypes
import numpy as np
import pytest
from matplotlib.figure import Figure

import fastprep
from fastprep.h5 import write_images
from fastprep.loader import Loader
from fastprep.presentation.given import show
from fastprep.transforms import Boxes, CenterCrop, Mask, MixUp, Points, RandomCrop

NAMES = ["cat", "dog", "猫"]


@pytest.fixture
def path(tmp_path, rng):
    images = rng.integers(0, 256, (23, 12, 14, 3), dtype=np.uint8)
    write_images(tmp_path / "x.h5", images, np.arange(23) % 3, channel_order="BGR", class_names=NAMES)
    return tmp_path / "x.h5"


def drawn(figure):
    """Return what a figure has: titles, and the arrays over each other, the edges of boxes, and points of each of its axes."""
    return [
        (
            axes.get_title(),
            [np.ma.filled(image.get_array(), -1).tolist() for image in axes.images],
            [patch.get_bbox().extents.tolist() for patch in axes.patches],
            [line.get_xydata().tolist() for line in axes.lines],
        )
        for axes in figure.axes
    ]


@pytest.mark.parametrize(
    "options",
    [
        {"scale": (0.5, 1 / 64, 2), "layout": "channels_first"},
        {"standardize": True},
        {"blend": MixUp(), "num_classes": 3, "dtype": "float16"},
        {"images": {"a": "images", "b": "images"}, "channels": {"a": None, "b": [1]}, "mean": {"a": "file", "b": None}},
        {"labels": {"mask": Mask(np.arange(23 * 12 * 14).reshape(23, 12, 14) % 5), "box": Boxes([[[2.0, 3, 9, 8]]] * 23)}},
        {"labels": (Points([[[2.0, 3]]] * 23, center=0), np.arange(23.0))},
        {"labels": None},
    ],
    ids=lambda options: next(iter(options)),
)
def test_a_batch_of_a_loader_is_drawn_as_by_itself(path, options):
    with Loader(path, 5, RandomCrop(8, mirror=True), shuffle=True, seed=3, **options) as loader:
        batch = loader.batch(2, 1)
        wanted = drawn(loader.show(5, epoch=2, step=1))
        figure = show(batch, loader=loader)
        samples = loader.samples(2, 1)
    found = drawn(figure)
    if wanted[0][0] == f"sample {samples[0]}":  # which x alone does not tell
        assert [title for title, *_ in found[:5]] == [f"row {row}" for row in range(5)]
        found, wanted = ([rest for _, *rest in axes] for axes in (found, wanted))
    assert found == wanted


def test_it_says_how_much_is_drawn_and_what_was_undone(path):
    with Loader(path, 5, RandomCrop(8)) as loader:
        x, y = loader.batch(0, 0)
        figure = show(x, y, loader=loader, n=2)
    assert figure.get_suptitle() == "2 of 5 rows of a batch; mean and scale undone"
    assert isinstance(figure, Figure)
    assert figure._repr_png_().startswith(b"\x89PNG")
    assert show(x[:1]).get_suptitle() == "1 of 1 rows of a batch; no mean, no scale"


def test_numbers_of_ones_own_are_undone(rng):
    images = rng.integers(0, 256, (3, 6, 7, 3)).astype("float32")
    images[0, 0, 0] = 0, 128, 255
    mean, scale = rng.uniform(0, 255, (6, 7, 3)).astype("float32"), np.float32([0.5, 2, 1 / 64])
    figure = show((images - mean) * scale, [2, 0, 1], mean=mean, scale=scale, class_names=NAMES)
    assert [axes.get_title() for axes in figure.axes] == [NAMES[2], NAMES[0], NAMES[1]]
    np.testing.assert_array_equal([axes.images[0].get_array() for axes in figure.axes], images)
    first = show(np.moveaxis(images, 3, 1), layout="channels_first", channel_order="BGR").axes[0]
    np.testing.assert_array_equal(first.images[0].get_array(), images[0, ..., ::-1])
    ones = show(images / 255)  # and not nearly black
    np.testing.assert_array_equal(ones.axes[1].images[0].get_array(), images[1])


def test_masks_are_known_by_their_shape_and_other_targets_by_labels(rng):
    images = rng.integers(0, 256, (2, 6, 7, 1), dtype=np.uint8)
    (first, _) = show(images, {"mask": np.ones((2, 6, 7), int), "kind": np.array([1, 0])}, class_names={"kind": ["a", "b"]}).axes
    assert len(first.images) == 2
    assert first.get_title() == "kind b"
    boxes = np.float32([[[1, 2, 4, 3, 0], [-1, -1, -1, -1, -1]]] * 2)
    (first, _) = show(images, boxes, labels=Boxes("not read", format="xywh")).axes
    assert [patch.get_bbox().extents.tolist() for patch in first.patches] == [[0.5, 1.5, 4.5, 4.5]]


class Torch:
    """A tensor of torch on a GPU, with a gradient, as far as it is asked; numpy has no type for its numbers."""

    def __init__(self, values, steps=()):
        self.values, self.steps = values, steps

    def detach(self):
        return Torch(self.values, (*self.steps, "detach"))

    def cpu(self):
        return Torch(self.values, (*self.steps, "cpu"))

    def is_floating_point(self):
        return self.values.dtype.kind == "f"

    def float(self):
        return Torch(self.values.astype("float32"), (*self.steps, "float"))

    def __array__(self, dtype=None, copy=None):
        if self.steps[:2] != ("detach", "cpu"):
            raise TypeError("can't convert cuda:0 device type tensor to numpy")
        return self.values


class Cupy:
    __cuda_array_interface__ = None

    def __init__(self, values):
        self.values = values

    def get(self):
        return self.values


@pytest.mark.parametrize("kind", [np.asarray, Torch, Cupy, lambda values: values.astype(ml_dtypes.bfloat16), "tensorflow", "jax"])
def test_tensors_of_any_library_are_taken(kind, rng):
    images, labels = rng.integers(0, 2, (2, 6, 7, 3)) * 255.0, np.array([1, 0])
    if isinstance(kind, str):
        library = pytest.importorskip("tensorflow" if kind == "tensorflow" else "jax.numpy")
        kind = library.constant if kind == "tensorflow" else library.asarray
    first, second = show(kind(images.astype("float32")), kind(labels)).axes
    assert [first.get_title(), second.get_title()] == ["1", "0"]
    np.testing.assert_array_equal(first.images[0].get_array(), images[0])


def test_texts_are_titles():
    figure = show(np.zeros((3, 4, 4, 3)), np.array([b"cat", "猫".encode(), b"\xff"]))
    assert [axes.get_title() for axes in figure.axes] == ["cat", "猫", "\ufffd"]


IMAGES = np.zeros((2, 6, 7, 3), np.uint8)


@pytest.mark.parametrize(
    ("x", "options", "words"),
    [
        (IMAGES[0], {}, r"got uint8 of shape \(6, 7, 3\); for one image pass x\[None\]"),
        (IMAGES[:0], {}, r"x must be images, numbers of shape .*got uint8 of shape \(0, 6, 7, 3\)"),
        (IMAGES.astype(str), {}, "x must be images, numbers"),
        ("train.h5", {}, r"x must be images, got the file 'train\.h5': open it by fastprep\.Loader"),
        ({}, {}, "x must be images, or inputs"),
        ({"a": IMAGES, "b": IMAGES[:1]}, {}, r"as many rows each, got \[1, 2\]"),
        ({"a": IMAGES, "b": IMAGES[:, :5]}, {}, "one height and width"),
        (IMAGES, {"n": 0}, "n must be an integer of at least 1, got 0"),
        (IMAGES, {"y": [1, 2, 3]}, r"y must have an entry for each of the 2 rows of x, got the shape \(3,\)"),
        (IMAGES, {"y": [1, 2], "labels": {"a": Mask("m")}}, "labels must have the structure of y"),
        (IMAGES, {"layout": "NHWC"}, "layout must be"),
        (np.moveaxis(np.zeros((2, 60, 70, 3)), 3, 1), {}, r'channels elsewhere: pass layout="channels_first"'),
        (IMAGES, {"mean": [1, 2]}, r"mean must be a scalar or 3 numbers, or an image of shape \(6, 7, 3\), got int64"),
        (IMAGES, {"scale": np.ones((6, 7, 3))}, r"scale must be a scalar or 3 numbers, got float64 of shape \(6, 7, 3\)"),
        (IMAGES, {"mean": "file"}, "mean must be a scalar or 3 numbers"),
        ({"a": IMAGES}, {"mean": {"b": 1}}, "mean as a dict must have the names of the inputs in x, got 'b'"),
        (IMAGES, {"loader": "train.h5"}, "loader must be a fastprep.Loader, got 'train.h5'"),
    ],
)
def test_what_can_not_be_drawn_is_said(x, options, words):
    with pytest.raises(ValueError, match=words):
        show(x, **options)


def test_what_does_not_fit_the_loader_is_said(path, rng):
    with Loader(path, 5, CenterCrop(8), mean=rng.uniform(0, 255, (12, 14, 3)), scale=(1, 2, 3)) as loader:
        x, _ = loader.batch(0, 0)
        with pytest.raises(ValueError, match=r"mean of the loader is an image.*loader\.show\(epoch=, step=\) draws the batch"):
            show(x, loader=loader)
        assert show(x, loader=loader, mean=0)
        with pytest.raises(ValueError, match=r"got a loader, which draws itself: loader\.show\(\)"):
            show(loader)
        with pytest.raises(ValueError, match="x of this loader must be one array, got 'a'"):
            show({"a": x}, loader=loader)
        with pytest.raises(ValueError, match="x has 1 channels, and the scale of the loader is of 3"):
            show(x[..., :1], loader=loader, mean=0)


def test_the_module_of_the_command_is_the_function():
    assert fastprep.show is importlib.import_module("fastprep.show")
    assert inspect.signature(fastprep.show) == inspect.signature(show)
    assert isinstance(fastprep.show(IMAGES, n=1), Figure)
    with pytest.raises(SystemExit):
        fastprep.show.main(["--help"])


def test_nothing_warns_of_values_that_are_not_finite():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (axes,) = show(np.full((1, 4, 4, 3), np.nan, "float32"), np.float32([np.nan])).axes
    assert not axes.images[0].get_array().any()
