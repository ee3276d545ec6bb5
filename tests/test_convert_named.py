"""Errors and warnings name the very command that writes a file which loaders take: each is run, and its file loaded."""

import logging
import re
import shlex

import h5py
import numpy as np
import pytest

from fastprep import convert
from fastprep.cli.image_options import shape_of
from fastprep.diagnostics.contents import Contents
from fastprep.diagnostics.rates import Rates, advice
from fastprep.errors import DataError, MissingMeanError
from fastprep.h5 import open_images
from fastprep.loader import Loader

N, H, W = 20, 24, 28
COMMAND = re.compile(r"`(python -m fastprep\.convert [^`]+)`")


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def images():
    return np.random.default_rng(3).integers(0, 256, (N, H, W, 3), dtype=np.uint8)


def write(path, name="images", images=None, labels="labels", **attributes):
    with h5py.File(path, "w") as file:
        file[name] = images
        file[labels] = np.arange(N)
        file[name].attrs.update(attributes)


def write_members(path, images, **layouts):
    with h5py.File(path, "w") as file:
        for k, image in enumerate(images):
            file.create_dataset(f"X/{k}", data=image, **layouts.get("first" if k == 0 else "others", {}))
        file["labels"] = np.arange(len(images))


def channels_first(images):
    write("it's a file.h5", images=images.transpose(0, 3, 1, 2))
    return {"files": "it's a file.h5"}, {}


def written_by_matlab(images):
    with h5py.File("x.mat", "w") as file:
        file["X Y"] = images[..., 0].transpose(0, 2, 1)
        file["X Y"].attrs["MATLAB_class"] = np.bytes_(b"uint8")
    return {"files": "x.mat", "images": "X Y", "labels": None}, {"images": "X Y", "labels": np.arange(N)}


def last_axis_has_as_many_entries_as_there_are_labels(images):
    write("-x.h5", "a/b", images.transpose(1, 2, 3, 0))
    return {"files": "-x.h5", "images": "a/b"}, {"images": "a/b"}


def one_image(images):
    with h5py.File("x.h5", "w") as file:
        file["images"], file["labels"] = images[0], 0
    return {"files": "x.h5"}, {}


def flat_rows(images):
    write("x.h5", images=images[:, :24, :24].reshape(N, -1))
    return {"files": "x.h5"}, {}


def flat_rows_along_the_second_axis(images):
    write("x.h5", images=images[:, :20, :20, 0].reshape(N, -1).T)
    return {"files": "x.h5"}, {}


def a_group_of_images_with_channels_first(images):
    write_members("x.h5", images.transpose(0, 3, 1, 2))
    return {"files": "x.h5", "images": "X/"}, {}


def files_of_two_types(images):
    with h5py.File("a.h5", "w") as first, h5py.File("b.h5", "w") as second:
        first["x"], second["x"] = images[:5].astype("f4"), images[5:].astype("i4")
        first["y"], second["y"] = np.arange(5), np.arange(5, N)
    return {"files": ["a.h5", "b.h5"], "images": "x", "labels": "y"}, {"images": "x", "labels": "y"}


def files_of_a_pattern_with_a_label_beside_each_image(images):
    for k, image in enumerate(images):
        with h5py.File(f"s{k:02}.h5", "w") as file:
            file["X/0"], file["y/0"] = image.astype("u1" if k % 3 else "f8"), k
    return {"files": "s*.h5", "images": "X/", "labels": "y/"}, {}


def files_of_two_orders_of_axes(images):
    write("a.h5", images=images)
    write("b.h5", images=images.transpose(0, 3, 1, 2), CLASS=np.bytes_(b"IMAGE"), INTERLACE_MODE=np.bytes_(b"INTERLACE_PLANE"))
    with h5py.File("b.h5", "r+") as file:
        file["images"].attrs["IMAGE_SUBCLASS"] = np.bytes_(b"IMAGE_TRUECOLOR")
    return {"files": ["a.h5", "b.h5"]}, {}


REFUSED = [
    channels_first,
    written_by_matlab,
    last_axis_has_as_many_entries_as_there_are_labels,
    one_image,
    flat_rows,
    flat_rows_along_the_second_axis,
    a_group_of_images_with_channels_first,
    files_of_two_types,
    files_of_a_pattern_with_a_label_beside_each_image,
    files_of_two_orders_of_axes,
]


def run_named(text):
    """Run the command that a text names, once in it; return its words."""
    (command,) = COMMAND.findall(text)
    words = shlex.split(command)
    assert words[:3] == ["python", "-m", "fastprep.convert"]
    assert convert.main(words[3:]) == 0
    return words[3:]


def check_new_file(images, n=N, /, **arguments):
    with Loader("NEW.h5", 7, None, mean=None, **arguments) as loader:
        batches = list(loader)
        assert loader.stats()["files"][0]["read"] == "contiguous"
    np.testing.assert_array_equal(np.concatenate([x for x, _ in batches]), images)
    np.testing.assert_array_equal(np.concatenate([y for _, y in batches]), np.arange(n))


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.__name__)
def test_what_a_loader_refuses_is_loaded_after_the_command_that_it_names(images, case):
    arguments, after = case(images)
    with pytest.raises(DataError) as refused:
        Loader(batch_size=4, crop=None, **arguments)
    run_named(str(refused.value))
    if case is one_image:
        check_new_file(images[:1], 1, **after)
    elif case is written_by_matlab:
        check_new_file(images[..., :1], **after)
    elif case is flat_rows:
        check_new_file(images[:, :24, :24], **after)
    elif case is flat_rows_along_the_second_axis:
        check_new_file(images[:, :20, :20, :1], **after)
    elif case is files_of_two_orders_of_axes:
        with Loader("NEW.h5", 2 * N, None, mean=None) as loader:
            np.testing.assert_array_equal(next(iter(loader))[0], np.concatenate([images, images]))
    else:
        check_new_file(images, **after)


def test_a_shape_that_is_not_known_is_named_by_its_sides(images):
    write("x.h5", images=images.reshape(N, -1))
    with pytest.raises(DataError, match=r"x\.h5 NEW\.h5 --shape HEIGHTxWIDTHxCHANNELS`"):
        Loader("x.h5", 4, None)


def n_last(images):
    write("x.h5", images=images.transpose(1, 2, 3, 0))
    return {"axes": "HWCN"}, {}


def flat_rows_with_n_last(images):
    write("x.h5", images=images.reshape(N, -1).T)
    return {"axes": "HWCN", "shape": (H, W, 3)}, {}


def a_user_block(images):
    with h5py.File("x.h5", "w", userblock_size=512) as file:
        file["x"], file["labels"] = images, np.arange(N)
    return {"images": "x"}, {"images": "x"}


def external_storage(images):
    images.tofile("raw.bin")
    with h5py.File("x.h5", "w") as file:
        file.create_dataset("images", images.shape, "u1", external=[("raw.bin", 0, h5py.h5f.UNLIMITED)])
        file["labels"] = np.arange(N)
    return {}, {}


def a_virtual_dataset(images):
    write("parts.h5", "x", images)
    layout = h5py.VirtualLayout(images.shape, "u1")
    layout[:] = h5py.VirtualSource("parts.h5", "x", images.shape)
    with h5py.File("x.h5", "w") as file:
        file.create_virtual_dataset("images", layout)
        file["labels"] = np.arange(N)
    return {}, {}


def a_group_stored_in_different_ways(images):
    write_members("x.h5", images, first={"chunks": (H, W, 3)})
    return {"images": "X/"}, {}


def a_group_of_links_to_several_files(images):
    with h5py.File("x.h5", "w") as file:
        for k, image in enumerate(images):
            with h5py.File(f"part{k}.h5", "w") as part:
                part["i"] = image
            file[f"X/{k}"] = h5py.ExternalLink(f"part{k}.h5", "i")
        file["labels"] = np.arange(N)
    return {"images": "X/"}, {}


def floats_in_reverse(images):
    with h5py.File("x.h5", "w") as file:
        file["images"] = images.astype("f4").transpose(3, 2, 1, 0)
        file["labels"] = np.arange(N)
    return {"axes": "CWHN"}, {}


def images_of_matlab_that_labels_of_another_name_settle(images):
    with h5py.File("x.h5", "w", userblock_size=512) as file:
        file["X"], file["ans"] = images[..., 0].transpose(0, 2, 1), np.arange(float(N))[None]
        file["X"].attrs["MATLAB_class"] = np.bytes_("uint8")
    return {"images": "X", "labels": "ans"}, {"images": "X", "labels": "ans", "wanted": images[..., :1]}


def axes_that_the_user_said_against_a_doubt(images):
    with h5py.File("x.h5", "w", userblock_size=512) as file:
        file["images"], file["labels"] = (low := images.transpose(0, 3, 1, 2)[..., :8]), np.arange(N)
    return {"axes": "NHWC"}, {"wanted": low}


def axes_of_which_only_labels_leave_no_doubt(images):
    with h5py.File("x.h5", "w", userblock_size=512) as file:
        file["x"], file["y"] = images[:, :N, :, 0], np.arange(N)
    return {"images": "x", "labels": "y"}, {"images": "x", "labels": "y", "wanted": images[:, :N, :, :1]}


def axes_by_the_names_of_dimensions(images):
    with h5py.File("x.h5", "w", userblock_size=512) as file:
        file["images"], file["labels"] = images.transpose(0, 3, 1, 2), np.arange(N)
        for axis, name in enumerate(("time", "band", "y", "x")):
            file["images"].dims[axis].label = name
    return {}, {}


SLOW = [
    n_last,
    flat_rows_with_n_last,
    a_user_block,
    external_storage,
    a_virtual_dataset,
    a_group_stored_in_different_ways,
    a_group_of_links_to_several_files,
    floats_in_reverse,
    images_of_matlab_that_labels_of_another_name_settle,
    axes_that_the_user_said_against_a_doubt,
    axes_of_which_only_labels_leave_no_doubt,
    axes_by_the_names_of_dimensions,
]


@pytest.mark.parametrize("case", SLOW, ids=lambda case: case.__name__)
def test_what_hdf5_has_to_read_is_read_directly_after_the_command_that_the_warning_names(images, case, caplog):
    arguments, after = case(images)
    with Loader("x.h5", 4, None, mean=None, **arguments) as loader:
        (doctors,) = [text for text in advice(loader, Rates({}, 0, (1, 1))) if "has to be read by HDF5" in text]
    (warning,) = [record.getMessage() for record in caplog.records if "which is slower" in record.getMessage()]
    assert ("if its values are whole numbers from 0 to 255" in warning) == (case is floats_in_reverse)
    if isinstance(arguments.get("images", ""), str):
        shape = arguments.get("shape")
        names = arguments.get("images", "images"), arguments.get("labels", "labels")
        with Contents("x.h5", *names, axes=arguments.get("axes"), shape=shape) as contents:
            (shown,) = [line for line in contents.describe() if line.startswith("  read ")]
        assert COMMAND.findall(shown) == COMMAND.findall(warning) == COMMAND.findall(doctors)
    caplog.clear()
    words = run_named(warning)
    assert not [record for record in caplog.records if "which is slower" in record.getMessage()], "convert advises itself"
    if "--shape" in words:
        assert shape_of(words[words.index("--shape") + 1]) == (H, W, 3)
    check_new_file(after.pop("wanted", images), **after)


def test_chunks_that_do_not_mix_are_named_with_their_dataset_and_files(images, caplog):
    for name in ("a.h5", "b.h5"):
        with h5py.File(name, "w") as file:
            file.create_dataset("x", data=images, chunks=(10, H, W, 3), compression="gzip")
            file["y"] = np.arange(N) // 10
    with Loader(["a.h5", "b.h5"], 4, None, images="x", labels="y", mean=None, shuffle=True, shuffle_window=10) as loader:
        (compromise,) = [text for text in advice(loader, Rates({}, 0, (1, 1))) if "compromise" in text]
    (warning,) = [record.getMessage() for record in caplog.records if "shuffle=True" in record.getMessage()]
    assert COMMAND.findall(warning) == COMMAND.findall(compromise)
    run_named(warning)
    with Loader("NEW.h5", 2 * N, None, images="x", labels="y", mean=None) as loader:
        x, y = next(iter(loader))
    np.testing.assert_array_equal(x, np.concatenate([images, images]))
    np.testing.assert_array_equal(y, np.tile(np.arange(N) // 10, 2))


def encoded_images(images):
    with h5py.File("x.h5", "w") as file:
        rows = file.create_dataset("images", (N,), h5py.vlen_dtype(np.uint8))
        rows[:] = [image.reshape(-1)[:9] for image in images]
    return {}


def records(images):
    write("x.h5", images=np.zeros((N, 6, 5), [("r", "u1"), ("g", "u1")]))
    return {}


def films(images):
    write("x.h5", images=images[:, None])
    return {}


def a_list_of_names(images):
    write_members("x.h5", images.transpose(0, 3, 1, 2))
    return {"images": ["X/3", "X/1"]}


def files_of_two_sizes(images):
    write("x.h5", images=images)
    write("y.h5", images=images[:, :20])
    return {"files": ["x.h5", "y.h5"]}


def a_group_of_two_sizes(images):
    with h5py.File("x.h5", "w") as file:
        file["X/0"], file["X/1"] = images[0], images[0, :20]
    return {"images": "X/", "labels": None}


def a_part_of_a_virtual_dataset_is_gone(images):
    layout = h5py.VirtualLayout(images.shape, "u1")
    layout[:] = h5py.VirtualSource("gone.h5", "x", images.shape)
    with h5py.File("x.h5", "w") as file:
        file.create_virtual_dataset("images", layout)
    return {"labels": None}


HOPELESS = [
    encoded_images,
    records,
    films,
    a_list_of_names,
    files_of_two_sizes,
    a_group_of_two_sizes,
    a_part_of_a_virtual_dataset_is_gone,
]


@pytest.mark.parametrize("case", HOPELESS, ids=lambda case: case.__name__)
def test_where_convert_does_not_help_no_error_names_it(images, case):
    arguments = {"files": "x.h5", **case(images)}
    with pytest.raises(DataError) as refused:
        Loader(batch_size=4, crop=None, **arguments)
    assert "convert" not in str(refused.value)
    if isinstance(arguments["files"], str) and isinstance(arguments.get("images", ""), str):
        assert convert.main(["x.h5", "NEW.h5", "--images", arguments.get("images", "images")]) == 2
    elif case is files_of_two_sizes:
        assert convert.main([*arguments["files"], "NEW.h5"]) == 2


def test_where_convert_does_not_help_no_warning_names_it(images, caplog):
    with h5py.File("x.h5", "w") as file:
        file.create_dataset("empty", (N, H, W, 3), "u1")
        file["images"], file["labels"] = images, np.arange(N)
        file.flush()
        open_images("x.h5").close()
    open_images("x.h5", "empty").close()
    write_members("y.h5", images, first={"chunks": (H, W, 3)})
    open_images("y.h5", ["X/0", "X/2"]).close()
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len([text for text in warnings if "which is slower" in text]) == 3
    assert not [text for text in warnings if "convert" in text]


@pytest.mark.parametrize("order", [["a.h5", "b.h5"], ["b.h5", "a.h5"]])
def test_axes_that_one_of_two_files_names_are_not_said_of_both(images, order):
    files_of_two_orders_of_axes(images)
    with pytest.raises(DataError) as refused:
        Loader(order, 4, None)
    run_named(str(refused.value))
    with Loader("NEW.h5", 2 * N, None, mean=None) as loader:
        np.testing.assert_array_equal(next(iter(loader))[0], np.concatenate([images, images]))


def test_names_that_begin_with_a_dash_are_no_options(images):
    with h5py.File("-x.h5", "w", userblock_size=512) as file:
        file["-i"], file["labels"] = images.transpose(0, 3, 1, 2), np.arange(N)
    with pytest.raises(DataError) as refused:
        Loader("-x.h5", 4, None, images="-i")
    assert "./-x.h5 NEW.h5 --images=-i --axes NCHW" in str(refused.value)
    run_named(str(refused.value))
    check_new_file(images, images="-i")
    with pytest.raises(MissingMeanError) as missing:
        Loader("-x.h5", 4, None, images="-i", axes="NCHW")
    assert "`python -m fastprep.show ./-x.h5 --images=-i --axes NCHW --mean --store` computes" in str(missing.value)
