"""A saved state knows the order of the samples, chunks of masks included, and nothing of the labels."""

import json

import h5py
import numpy as np
import pytest

from fastprep import Boxes, Mask, Points, RandomCrop
from fastprep.loader import Loader

pytestmark = pytest.mark.usefixtures("no_thread_left")

N = 40


@pytest.fixture
def path(make_file, rng):
    """A file of images in chunks of 2, with masks in chunks of 1, 4 and 5."""
    path, _, _ = make_file(n=N, chunks=(2, 12, 14, 3), compression="gzip")
    with h5py.File(path, "r+") as file:
        for size in (1, 4, 5):
            file.create_dataset(
                f"masks_{size}", data=rng.integers(0, 3, (N, 12, 14), np.uint8), chunks=(size, 12, 14), compression="gzip"
            )
        file["boxes"], file["points"] = np.tile([1.0, 2, 8, 9], (N, 3, 1)), rng.uniform(1, 12, (N, 4, 2))
    return path


def loader_of(path, labels, window=8, **options):
    return Loader(path, 4, RandomCrop(8), labels=labels, mean=None, shuffle=True, shuffle_window=window, seed=3, **options)


def state_and_rest(path, labels, **options):
    """Return a state after three steps, and the samples of the fourth."""
    with loader_of(path, labels, **options) as loader:
        iteration = iter(loader)
        for _ in range(3):
            next(iteration)
        return json.loads(json.dumps(loader.state_dict())), loader.samples(0, 3)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("labels", None),
        ("labels", np.arange(N) % 2),
        ("labels", Mask("masks_1")),
        (Mask("masks_1"), Mask("masks_1", interpolation="bilinear", fill=2)),
        (Boxes("boxes"), Boxes("boxes", max_boxes=2, min_visible=0.5, format="xywh")),
        ({"boxes": Boxes("boxes")}, (Points("points"), "labels")),
    ],
)
def test_a_state_is_taken_by_a_loader_of_the_same_order_with_other_labels_or_targets(path, before, after):
    state, following = state_and_rest(path, before)
    with loader_of(path, after) as loader:
        loader.load_state_dict(state)
        assert loader.next_step == 3
        np.testing.assert_array_equal(loader.samples(0, 3), following)


@pytest.mark.parametrize("indices", [None, np.arange(N)[::-1]])
def test_a_state_is_refused_by_a_loader_whose_masks_lie_in_other_chunks(path, indices):
    state, following = state_and_rest(path, Mask("masks_4"), indices=indices)
    with loader_of(path, Mask("masks_5"), window=10, indices=indices) as loader:  # as many chunks in a window
        assert loader.samples(0, 3).tolist() != following.tolist()
        with pytest.raises(
            ValueError, match=r"other batches: chunks '10 of up to 4 images, .*here '8 of up to 5 .*follows the chunks"
        ):
            loader.load_state_dict(state)
    with loader_of(path, Mask("masks_4"), indices=indices) as loader:
        loader.load_state_dict(state)
        np.testing.assert_array_equal(loader.samples(0, 3), following)


def test_a_state_that_was_saved_without_the_chunks_still_goes_on(path):
    state, following = state_and_rest(path, "labels")
    assert state["of"].pop("chunks").startswith("20 of up to 2 images, ")
    with loader_of(path, "labels") as loader:
        loader.load_state_dict(state)
        np.testing.assert_array_equal(loader.samples(0, 3), following)


def test_an_order_that_follows_from_no_chunks_has_none_in_its_state(path):
    with loader_of(path, Mask("masks_4"), window=0) as loader:
        state = loader.state_dict()
    assert "chunks" not in state["of"]
    with loader_of(path, Mask("masks_5"), window=0) as loader:
        loader.load_state_dict(state)
