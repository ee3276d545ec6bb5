"""Batches of remote files: bit for bit those of the same files on this machine, whatever their layout."""

import h5py
import hdf5plugin
import numpy as np
import obstore  # noqa: F401 - without it these tests are skipped
import pytest
from encoded_files import encoded
from encoded_layouts import layouts, write_layout
from optional_libraries import needs

from fastprep import CenterCrop, DataError, Mask, RandomCrop, RandomResizedCrop, image_mean
from fastprep.__main__ import main
from fastprep.errors import MissingMeanError
from fastprep.loader import Loader
from fastprep.training.data import no_mean

ROWS = encoded(13)
ENCODED = layouts(ROWS)
LAYOUTS = {
    "contiguous": {},
    "big-endian": {"dtype": ">f4"},
    "an image a chunk": {"chunks": (1, 12, 14, 3)},
    "gzip": {"chunks": (1, 12, 14, 3), "compression": "gzip", "shuffle": True},
    "several images a chunk": {"chunks": (5, 12, 14, 3), "compression": "lzf", "fletcher32": True},
    "split chunks": {"chunks": (2, 5, 6, 2), "compression": "gzip"},
    "lz4": {"chunks": (1, 12, 14, 3), **hdf5plugin.LZ4()},
    "zstd": {"chunks": (4, 12, 14, 3), **hdf5plugin.Zstd()},
    "blosc": {"chunks": (1, 12, 14, 3), **hdf5plugin.Blosc()},
    "blosc2": {"chunks": (1, 12, 14, 3), **hdf5plugin.Blosc2()},
    "bitshuffle": {"chunks": (1, 12, 14, 3), **hdf5plugin.Bitshuffle()},
}


def upload(server, path):
    return server.put(path.name, path.read_bytes())


def check_equal(local, remote, n_epochs=1):
    """Compare the images and labels of all batches, by the samples that they have: the order of remote files is another one."""
    assert local.n_samples == remote.n_samples
    wanted = local.batch(0, 0)
    for epoch in range(n_epochs):
        seen = []
        for step in range(len(remote)):
            samples = remote.samples(epoch, step)
            for got, all_of_them in zip(remote.batch(epoch, step), wanted, strict=True):
                np.testing.assert_array_equal(np.asarray(got), np.asarray(all_of_them)[samples])
            seen += samples.tolist()
        assert sorted(seen) == list(range(local.n_samples))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_pixels_of_every_layout(make_file, server, layout):
    path, _, _ = make_file(**LAYOUTS[layout])
    with Loader(path, 23, None) as local, Loader(upload(server, path), 5, None, shuffle=True) as remote:
        check_equal(local, remote, n_epochs=2)
        read = remote.stats()["files"][0]["read"]
        assert read == local.stats()["files"][0]["read"]


@needs("simplejpeg")
@pytest.mark.parametrize("name", ENCODED)
def test_encoded_images_of_every_layout(tmp_path, server, name):
    path, images = write_layout(tmp_path / "a.h5", ENCODED[name][0], 13), ENCODED[name][1]
    crop = RandomResizedCrop(9, mirror=True)
    options = {"images": images, "mean": None, "seed": 3}
    with Loader(path, 13, crop, **options) as local, Loader(upload(server, path), 4, crop, **options) as remote:
        check_equal(local, remote)
        assert remote.stats()["files"][0]["read"] == local.stats()["files"][0]["read"]


def test_compact_data_a_user_block_and_what_else_only_hdf5_reads(tmp_path, server, rng):
    values = rng.integers(0, 256, (4, 5, 6, 3), np.uint8)
    with h5py.File(tmp_path / "a.h5", "w", userblock_size=512) as file:
        space = h5py.h5s.create_simple(values.shape)
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_layout(h5py.h5d.COMPACT)
        h5py.h5d.create(file.id, b"images", h5py.h5t.STD_U8LE, space, properties).write(h5py.h5s.ALL, h5py.h5s.ALL, values)
    with Loader(upload(server, tmp_path / "a.h5"), 4, None, labels=None, mean=None) as remote:
        np.testing.assert_array_equal(np.asarray(remote.batch(0, 0)), values)


def test_groups_of_images_masks_and_labels_of_another_file(tmp_path, server, rng):
    images, masks = rng.integers(0, 256, (6, 9, 8, 3), np.uint8), rng.integers(0, 4, (6, 9, 8), np.uint8)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for k, image in enumerate(images):
            file[f"X/{k}"] = image
    with h5py.File(tmp_path / "y.h5", "w") as file:
        file["masks"], file["y"] = masks, np.arange(6)
    names = [tmp_path / "a.h5", tmp_path / "y.h5"]
    addresses = [upload(server, path) for path in names]

    def loader(files, other, batch_size):
        labels = (Mask(f"{other}:masks"), f"{other}:y")
        return Loader(files, batch_size, CenterCrop(7), images="X/", labels=labels, mean=None)

    with loader(names[0], names[1], 6) as local, loader(addresses[0], addresses[1], 4) as remote:
        wanted = local.batch(0, 0)
        for step in range(2):
            x, (mask, y) = remote.batch(0, step)
            samples = remote.samples(0, step)
            np.testing.assert_array_equal(np.asarray(x), np.asarray(wanted[0])[samples])
            np.testing.assert_array_equal(np.asarray(mask), np.asarray(wanted[1][0])[samples])
            np.testing.assert_array_equal(y, samples)


def test_order_is_that_of_the_file_and_not_of_the_cache_and_resumes_over_shards(make_file, server, tmp_path, monkeypatch):
    monkeypatch.setattr("fastprep.h5.reader.RUN_BYTES", 2000)  # runs of three images
    path, _, _ = make_file(n=53)
    url = upload(server, path)
    options = {"shuffle": True, "seed": 4, "shuffle_window": 9}
    with Loader(url, 7, RandomCrop(8), **options) as one, Loader(url, 7, RandomCrop(8), cache=tmp_path / "c", **options) as two:
        for step in range(len(one)):
            np.testing.assert_array_equal(one.samples(1, step), two.samples(1, step))
            np.testing.assert_array_equal(np.asarray(one.batch(1, step)[0]), np.asarray(two.batch(1, step)[0]))
        iterator = iter(one)
        next(iterator), next(iterator)
        state = one.state_dict()
        iterator.close()
    seen = [one.samples(0, step) for step in range(2)]
    for rank in range(2):
        with Loader(url, 4, RandomCrop(8), shard=(rank, 2), **options) as rest:
            rest.load_state_dict(state)
            seen += [np.asarray(y) for _, y in rest] if False else [sum((len(y) for _, y in rest), 0)]
    assert sum(map(int, seen[2:])) == 53 - 14


def test_links_to_other_files_are_refused_and_files_of_this_machine_not_read(tmp_path, server, make_file):
    path, images, _ = make_file()
    with h5py.File(tmp_path / "links.h5", "w") as file:
        file["images"] = h5py.ExternalLink(str(path), "images")
        layout = h5py.VirtualLayout(images.shape, "uint8")
        layout[:] = h5py.VirtualSource(str(path), "images", images.shape)
        file.create_virtual_dataset("virtual", layout)
        file.create_dataset("raw", (4, 5, 5, 3), "uint8", external=[(str(path), 0, 300)])
    url = upload(server, tmp_path / "links.h5")
    for name in ("images", "virtual", "raw"):
        with pytest.raises(DataError, match=r"other file|another file|can't be opened|not there"):
            Loader(url, 4, None, images=name, labels=None)


def test_commands_take_addresses(make_file, server, tmp_path, capsys):
    path, images, _ = make_file()
    url = upload(server, path)
    assert main(["show", url]) == 0
    assert "23" in capsys.readouterr().out
    assert main(["convert", url, str(tmp_path / "out.h5")]) == 0
    with h5py.File(tmp_path / "out.h5") as file:
        np.testing.assert_array_equal(file["images"][()], images)
    np.testing.assert_array_equal(image_mean(url), image_mean(path))


def test_no_way_out_is_to_store_something_in_a_remote_file(make_file, server):
    path, _, _ = make_file(mean=False)
    url = upload(server, path)
    with pytest.raises(MissingMeanError, match=r"attribute 'mean' of the images\): pass mean=") as caught:
        Loader(url, 8, CenterCrop(8))
    assert "--store" not in str(caught.value)
    assert "--mean compute" in str(no_mean(caught.value))
    assert "--store" not in str(no_mean(caught.value))
    with pytest.raises(MissingMeanError, match="--mean --store"):
        Loader(path, 8, CenterCrop(8))
