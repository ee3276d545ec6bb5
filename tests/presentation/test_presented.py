"""What a person sees of a loader: its page in a notebook, figures of batches, and the table of what it has read."""

import html.parser
import json
import sys
import warnings

import numpy as np
import pytest
from matplotlib.figure import Figure
from range_server import RangeServer

from fastprep.cli.overlays import Overlay, draw_overlay
from fastprep.h5 import write_images
from fastprep.loader import Loader
from fastprep.presentation.preview import Preview
from fastprep.transforms import Boxes, CenterCrop, CutMix, Mask, MixUp, RandomCrop, TenCrop

NAMES = ["猫", "قطة", "😀 <script>"]


@pytest.fixture
def path(tmp_path, rng):
    images = rng.integers(0, 256, (23, 12, 14, 3), dtype=np.uint8)
    write_images(tmp_path / "x.h5", images, np.arange(23) % 3, channel_order="RGB", class_names=NAMES)
    return tmp_path / "x.h5"


def pixels_of(figure):
    """Return the pixels of the images in a figure."""
    return [axes.images[0].get_array() for axes in figure.axes if axes.images]


def tags_of(page):
    """Return the tags that a browser sees in a page, and their attributes."""
    tags = []
    parser = html.parser.HTMLParser()
    parser.handle_starttag = lambda tag, attributes: tags.append((tag, dict(attributes)))
    parser.feed(page)
    return tags


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
    titles = [axes.get_title().removeprefix("\u200e") for axes in figure.axes[:12]]  # a mark before what is read from the right
    assert titles == [NAMES[0]] * 10 + [NAMES[1]] * 2


def test_masks_and_boxes_are_drawn(path, rng):
    masks, boxes = rng.integers(0, 3, (23, 12, 14)), np.tile([2.0, 3, 7, 8], (23, 1, 1))
    with Loader(path, 4, None, labels={"mask": Mask(masks), "box": Boxes(boxes)}) as loader:
        (first, *_) = loader.show(4).axes
    assert len(first.images) == 2
    assert len(first.patches) == 1


def test_no_class_of_a_mask_is_drawn_in_grey_and_only_0_is_left_out():
    colours = set()
    for number in range(1, 256):
        axes = Figure().add_subplot()
        draw_overlay(axes, Overlay(masks=np.full((1, 1), number, np.uint8)), None)
        (drawn,) = axes.images
        red, green, blue, _ = drawn.cmap(drawn.norm(drawn.get_array()))[0, 0]
        assert drawn.get_array().count() == 1
        assert not red == green == blue
        colours.add((red, green, blue))
    assert len(colours) == 18


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


def test_standardised_images_are_grey_at_0_and_white_two_deviations_above(path):
    with Loader(path, 5, None, standardize=True) as loader:
        x, _ = loader.batch(0, 0)
        figure = loader.show(5)
    np.testing.assert_array_equal(pixels_of(figure), np.clip(np.rint((x + 2) * 255 / 4), 0, 255))
    assert "standardised: grey is 0, and black and white are two standard deviations away" in figure.get_suptitle()


@pytest.mark.parametrize("blend", [MixUp(), CutMix()])
@pytest.mark.parametrize("mean", ["file", "image"])
def test_blended_images_have_their_shares_in_their_titles(path, rng, blend, mean):
    mean = rng.uniform(0, 255, (12, 14, 3)) if mean == "image" else mean
    options = {"blend": blend, "num_classes": 3, "shuffle": True, "seed": 5}
    with (
        Loader(path, 6, RandomCrop(8), mean=None, **options) as plain,
        Loader(path, 6, RandomCrop(8), mean=mean, **options) as loader,
    ):
        wanted, shares = plain.batch(1, 0)
        figure = loader.show(6, epoch=1)
    np.testing.assert_array_equal(pixels_of(figure), np.clip(np.rint(wanted), 0, 255))
    titles = [axes.get_title() for axes in figure.axes[:6]]
    for title, row in zip(titles, shares, strict=True):
        assert all(f"{share:.0%} {name}" in title for share, name in zip(row, NAMES, strict=True) if 0.005 <= share < 1)
    assert any(" + " in title for title in titles)


def test_each_input_is_drawn_under_its_name_by_its_own_numbers(path):
    options = {"images": {"whole": "images", "green": "images"}, "channels": {"whole": None, "green": [1]}}
    with Loader(path, 3, None, mean={"whole": "file", "green": None}, scale={"whole": 0.5, "green": 1}, **options) as loader:
        figure, page = loader.show(3), loader._repr_html_()
    assert [axes.get_title() for axes in figure.axes] == [f"{kind}: {name}" for name in NAMES for kind in ("whole", "green")]
    images = pixels_of(figure)
    np.testing.assert_array_equal(images[1::2], np.stack(images[::2])[..., 1])
    assert page.count("<img") == 24
    assert "images whole channels RGB" not in page
    assert "channels whole RGB" in page


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"n": 0}, ValueError, "n must be an integer of at least 1, got 0"),
        ({"n": 2.5}, ValueError, "n must be an integer"),
        ({"epoch": -1}, ValueError, "epoch must be an integer of at least 0, got -1"),
        ({"epoch": 0, "step": 6}, IndexError, "6"),
        ({"step": -7}, IndexError, "-7"),
        ({"epoch": 1.5}, ValueError, "epoch must be an integer"),
    ],
)
def test_what_can_not_be_drawn_is_said(path, options, error, words):
    with Loader(path, 4, None) as loader, pytest.raises(error, match=words):
        loader.show(**options)


def test_the_last_rows_of_an_epoch_are_fewer(path):
    with Loader(path, 4, None) as loader:
        assert len(loader.show(16, epoch=0, step=5).axes) == 3
        assert len(loader.show(30, epoch=0).axes) == 24  # three rows of eight, the last place empty


def test_the_page_of_a_file_that_is_gone_says_so(path):
    with Loader(path, 4, None) as loader:
        loader.close()
        path.unlink()
        page = loader._repr_html_()
        with pytest.raises(FileNotFoundError, match=r"x\.h5"):
            loader.show()
    assert "23 images of 12x14x3 uint8" in page
    assert (
        'class="problem">The first images can&#x27;t be read: FileNotFoundError' in page or "can't be read: FileNotFound" in page
    )
    assert "<img" not in page


def test_names_out_of_files_are_text(tmp_path, rng):
    bad = ['<script>alert("1")</script>', "&amp;", "'\"><img src=x>\x00"]
    images = rng.integers(0, 256, (6, 4, 4, 3), dtype=np.uint8)
    path = tmp_path / "<b>x&.h5"
    write_images(path, images, np.arange(6) % 3, channel_order="RGB", class_names=[*bad[:2], bad[2].rstrip("\0")])
    with Loader(path, 6, None) as loader:
        page = loader._repr_html_()
    tags = [tag for tag, _ in tags_of(page)]
    assert set(tags) == {"div", "style", "strong", "dl", "dt", "dd", "span", "bdi", "p", "figure", "img", "figcaption"}
    assert tags.count("img") == 6
    assert all(attributes["src"].startswith("data:image/png;base64,") for tag, attributes in tags_of(page) if tag == "img")
    assert "<b>x" not in page


def test_secrets_are_neither_on_the_page_nor_in_the_line_the_table_or_the_log(path, caplog):
    pytest.importorskip("obstore")
    server = RangeServer()
    try:
        address = server.put("x.h5", path.read_bytes())
        secret = {"client_options": {"default_headers": {"Authorization": "Bearer s3cret"}, "allow_http": True}}
        with caplog.at_level("DEBUG", "fastprep"), Loader(address, 4, RandomCrop(8), storage_options=secret) as loader:
            said = [loader._repr_html_(), repr(loader), repr(loader.stats()), loader.show(4).get_suptitle(), caplog.text]
    finally:
        server.close()
    assert said[0].count("<img") == 12
    assert all("x.h5" in text for text in said)
    assert not any("s3cret" in text for text in said)


def test_the_table_of_stats_has_a_line_for_each_file_and_units(tmp_path, rng):
    for k in range(10):
        write_images(tmp_path / f"{k}.h5", rng.integers(0, 256, (3, 4, 5, 1), dtype=np.uint8), [0, 1, 2], channel_order="L")
    with Loader(tmp_path / "*.h5", 7, None, mean=None, on_corrupt="skip", workers=1) as loader:
        for _ in loader:
            pass
        lines = repr(loader.stats()).splitlines()
    table = {line.split("  ")[0]: line for line in lines if line[0] != " "}
    assert list(table) == list(loader.stats())
    assert table["samples"] == "samples         30 handed out"
    assert table["batches"] == "batches         5 handed out"
    assert table["workers"] == "workers         1 thread"
    assert table["corrupt"] == "corrupt         0 samples left out"
    assert table["files"].endswith("0.h5: 3 samples of 4x5x1 uint8, contiguous")
    assert lines[-1] == "                and 2 more"
    assert repr(type(loader.stats())()) == "{}"
