"""What a person sees of a loader: its page in a notebook, figures of batches, and the table of what it has read."""

import json
import logging
import sys
import warnings

import numpy as np
import pytest
from matplotlib.figure import Figure

from fastprep import _log
from fastprep.h5 import write_images
from fastprep.loader import Loader
from fastprep.presentation.preview import Preview
from fastprep.transforms import Boxes, CenterCrop, Mask, RandomCrop, TenCrop

NAMES = ["猫", "قطة", "😀 <script>"]


@pytest.fixture
def path(tmp_path, rng):
    images = rng.integers(0, 256, (23, 12, 14, 3), dtype=np.uint8)
    write_images(tmp_path / "x.h5", images, np.arange(23) % 3, channel_order="RGB", class_names=NAMES)
    return tmp_path / "x.h5"


def test_a_page_has_facts_classes_and_images_and_is_escaped(path):
    with Loader(path, 4, RandomCrop(8), shuffle=True) as loader:
        page = loader._repr_html_()
    assert page.count("data:image/png;base64,") == 12
    assert "<script>" not in page
    assert "<bdi>猫</bdi> 8" in page
    assert "23 images of 12x14x3 uint8" in page


def test_many_classes_are_a_few_and_a_number(tmp_path):
    write_images(tmp_path / "x.h5", np.zeros((1000, 2, 2, 1), np.uint8), np.arange(1000))
    with Loader(tmp_path / "x.h5", 8, None) as loader:
        assert "and 990 more" in loader._repr_html_()


def test_the_page_of_a_damaged_file_says_so_and_does_not_fail(make_damaged_file):
    with Loader(make_damaged_file(400, 20, 30), 20, CenterCrop(4)) as loader:
        loader.set_epoch(0, 17)
        page = loader._repr_html_()
    assert "can't be read" in page
    assert "DataError" in page


def test_images_that_cost_too_much_are_left_out(path, monkeypatch):
    monkeypatch.setattr("fastprep.presentation.page._MOST_BYTES", 10)
    with Loader(path, 4, None) as loader:
        page = loader._repr_html_()
    assert "<img" not in page
    assert "loader.show() does it" in page


@pytest.mark.parametrize("layout", ["channels_last", "channels_first"])
@pytest.mark.parametrize("mean", ["file", "image"])
def test_normalisation_is_undone_by_its_own_numbers(path, rng, layout, mean):
    crop = RandomCrop(8, mirror=True, flip=True)
    mean = rng.uniform(0, 255, (12, 14, 3)) if mean == "image" else mean
    with Loader(path, 5, crop, mean=None, seed=3, shuffle=True) as plain:
        wanted = plain.batch(2, 1)[0]
    with Loader(path, 5, crop, mean=mean, scale=(0.5, 1 / 64, 2), seed=3, shuffle=True, layout=layout) as loader:
        seen = Preview(loader._source, 64).rows(2, 1, 5)
    np.testing.assert_array_equal([row.images[""] for row in seen], wanted)
    assert {row.title for row in seen} <= set(NAMES)


def test_looking_moves_nothing(path):
    options = {"batch_size": 5, "crop": RandomCrop(8), "shuffle": True}
    with Loader(path, **options) as loader, Loader(path, **options) as other:
        for (x, _), (wanted, _) in zip(loader, other, strict=True):
            np.testing.assert_array_equal(x, wanted)
            before = json.dumps(loader.state_dict()), loader.next_epoch, loader.stats()
            loader.show(7)
            loader._repr_html_()
            stats = {**loader.stats(), "buffers": before[2]["buffers"]}  # of which the workers may have needed more by now
            assert (json.dumps(loader.state_dict()), loader.next_epoch, stats) == before


def test_a_figure_has_names_in_any_script_without_a_warning(path):
    with warnings.catch_warnings(), Loader(path, 5, TenCrop(8)) as loader:
        warnings.simplefilter("error")
        figure = loader.show(12)
        assert figure._repr_png_().startswith(b"\x89PNG")
    assert isinstance(figure, Figure)
    assert [axes.get_title() for axes in figure.axes[:12]] == [NAMES[0]] * 10 + [NAMES[1]] * 2


def test_masks_and_boxes_are_drawn(path, rng):
    masks, boxes = rng.integers(0, 3, (23, 12, 14)), np.tile([2.0, 3, 7, 8], (23, 1, 1))
    with Loader(path, 4, None, labels={"mask": Mask(masks), "box": Boxes(boxes)}) as loader:
        (first, *_) = loader.show(4).axes
    assert len(first.images) == 2
    assert len(first.patches) == 1


def test_without_matplotlib_the_way_out_is_named(path, monkeypatch):
    monkeypatch.delitem(sys.modules, "fastprep.cli.notebook_figure", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with Loader(path, 4, None) as loader, pytest.raises(ModuleNotFoundError, match="pip install matplotlib"):
        loader.show()


def test_stats_are_a_dict_that_prints_with_units(path):
    with Loader(path, 4, None) as loader:
        stats = loader.stats()
    assert json.loads(json.dumps(stats))["samples"] == 0
    assert "wait_s          0.000 s for batches" in repr(stats)


def test_the_log_says_a_warning_once_and_as_much_as_is_asked(monkeypatch, capsys):
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    logger = logging.getLogger("fastprep")
    monkeypatch.setattr(logger, "level", logger.level)
    _log.HANDLER.begin_anew()
    for _ in range(2):
        logging.getLogger("fastprep.h5").warning("odd")
    assert capsys.readouterr().err == "odd\n"
    monkeypatch.setenv("FASTPREP_LOG", "info")
    monkeypatch.setattr(_log.HANDLER, "is_detailed", False)
    _log.set_up()
    logging.getLogger("fastprep.h5").info("found")
    assert capsys.readouterr().err.endswith(" info fastprep.h5: found\n")
    logger.setLevel(logging.NOTSET)
