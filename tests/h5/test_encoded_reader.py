"""What a sink that learns sizes may not be used for, and JPEGs of which only parts are decoded."""

import numpy as np
import pytest
from encoded_files import encoded, write_rows
from encoded_images import examples
from optional_libraries import needs

import fastprep
from fastprep._sink import hand_over
from fastprep.errors import DataError
from fastprep.h5 import SizeSink, encoded_reader, open_images


def test_a_sink_of_sizes_is_refused_by_readers_of_pixels(make_file):
    path, _, _ = make_file(n=4)
    with pytest.raises(TypeError, match="SizeSink takes no pixels"):
        open_images(path).read(np.arange(4), np.arange(4), SizeSink(4))
    with pytest.raises(TypeError, match="SizeSink takes no pixels"):
        hand_over(np.zeros(12, np.uint8), np.zeros(1, np.int64), np.zeros(1, np.int64), SizeSink(1))


USUAL, OTHER = "JPEG", ["JPEG progressive", "JPEG turned", "JPEG CMYK", "JPEG grey", "PNG"]
CROP = fastprep.RandomResizedCrop(9, mirror=True)


@pytest.fixture
def mixed():
    """Rows of usual JPEGs of several sizes, among which others lie alone, side by side, and at the end."""
    rows, others = encoded(9), examples()
    for place, name in zip([2, 5, 6, 7, 13], OTHER, strict=True):
        rows.insert(place, others[name])
    return rows


def x_of(path, **options):
    with fastprep.Loader(path, 14, CROP, labels=None, mean=None, device="cpu", **options) as loader:
        return [np.array(loader.batch(epoch, 0)) for epoch in (0, 1)]


def without_parts(monkeypatch):
    monkeypatch.setattr(encoded_reader, "part_decoder", lambda: None)


@needs("simplejpeg")
def test_pixels_are_the_same_whether_parts_are_decoded_or_whole_images(tmp_path, monkeypatch, mixed):
    pytest.importorskip("fastprep.encoded._libjpeg", reason="fastprep was built without libjpeg-turbo")
    path = write_rows(tmp_path / "mixed.h5", mixed)
    in_parts = x_of(path)
    without_parts(monkeypatch)
    for parts, whole in zip(in_parts, x_of(path), strict=True):
        np.testing.assert_array_equal(parts, whole)


@needs("simplejpeg")
@pytest.mark.parametrize("has_parts", [True, False])
def test_a_damaged_jpeg_among_others_is_named_wherever_its_crop_lies(tmp_path, monkeypatch, mixed, has_parts):
    mixed[8] = mixed[8][:-9] + mixed[8][-2:]
    path = write_rows(tmp_path / "mixed.h5", mixed)
    if not has_parts:
        without_parts(monkeypatch)
    with fastprep.Loader(path, 14, CROP, labels=None, mean=None, device="cpu") as loader:
        for epoch in range(6):
            with pytest.raises(DataError, match=r"the JPEG is damaged or cut short.*sample 8|sample 8.*damaged or cut short"):
                loader.batch(epoch, 0)


@needs("simplejpeg")
def test_jpegs_are_handed_over_in_calls_of_many(tmp_path, monkeypatch, mixed):
    """Else each would wait for the GIL; only those that libjpeg does not give as they are wanted are decoded one by one."""
    libjpeg = pytest.importorskip("fastprep.encoded._libjpeg", reason="fastprep was built without libjpeg-turbo")
    calls = []

    def counted(rows, *arguments):
        status, n_done = libjpeg.hand_over_jpegs(rows, *arguments)
        calls.append((len(rows), n_done))
        return status, n_done

    monkeypatch.setattr(encoded_reader, "part_decoder", lambda: counted)
    path = write_rows(tmp_path / "mixed.h5", mixed)
    with fastprep.Loader(path, 14, CROP, labels=None, mean=None, device="cpu") as loader:
        loader.batch(0, 0)
    # usual JPEGs, and the grey one as well; the progressive one is found out when it is tried
    assert sum(n_done for _, n_done in calls) == 10
    assert len(calls) <= 6


@needs("simplejpeg")
def test_a_sink_that_takes_no_pixels_is_refused_by_the_decoder(mixed):
    libjpeg = pytest.importorskip("fastprep.encoded._libjpeg", reason="fastprep was built without libjpeg-turbo")
    rows, sizes = [np.frombuffer(mixed[0], np.uint8)], np.array([[40, 40]])
    with pytest.raises(TypeError, match="SizeSink takes no pixels"):
        libjpeg.hand_over_jpegs(rows, sizes, np.zeros(1, np.int64), 3, np.empty(4800, np.uint8), SizeSink(1))
