"""Several inputs of one loader: each has its own numbers, and all of them the rows of one table."""

import pickle

import h5py
import numpy as np
import pytest
import reference
from augmentations import Brighter, Corner, Halves
from conftest import host
from loader_batches import CROPS, SIZE, SOURCE, check_same, table_of

from fastprep import (
    CenterCrop,
    DataError,
    Lighting,
    Mask,
    RandAugment,
    RandomCrop,
    RandomResizedCrop,
    Resize,
    TrivialAugment,
)
from fastprep.errors import MissingMeanError
from fastprep.loader import Loader

pytestmark = pytest.mark.usefixtures("no_thread_left")

N = 23
IMAGES = {"depth": "depth", "rgb": "images", "layers": "layers"}  # the first one is not the one of the labels
OPTIONS = {
    "images": IMAGES,
    "mean": {"rgb": [90.0, 100, 110], "depth": None, "layers": 3},
    "scale": {"rgb": 1 / 255, "depth": 0.001, "layers": [1, 2, 0.5]},
    "dtype": {"rgb": "float32", "depth": "float16", "layers": "bfloat16"},
    "channels": {"rgb": None, "depth": None, "layers": [3, 0, 3]},
}


@pytest.fixture
def path(make_file, rng):
    """A file of images, of a depth (N, H, W) in uint16, and of layers of float32, with masks and labels."""
    path, _, _ = make_file(n=N)
    with h5py.File(path, "r+") as file:
        file["labels"][...] = np.arange(N)
        file["depth"] = rng.integers(0, 60000, (N, *SOURCE)).astype("uint16")
        file["layers"] = rng.normal(0, 50, (N, *SOURCE, 4)).astype("float32")
        file["masks"] = rng.integers(0, 9, (N, *SOURCE)).astype("uint8")
    return path


def stored(path, name):
    with h5py.File(path) as file:
        return file[name][()]


def sources(path):
    """Return the images of each input, (N, H, W, C), with the channels that `OPTIONS` picks."""
    return {
        "depth": stored(path, "depth")[..., None],
        "rgb": stored(path, "images"),
        "layers": stored(path, "layers")[..., [3, 0, 3]],
    }


def numbers_of(name):
    """Return what the oracle takes for an input: mean, scale and dtype."""
    return {key: OPTIONS[key][name] for key in ("mean", "scale", "dtype")}


def epochs(loader, n=2):
    """Return copies of the batches of some epochs, flat: the inputs in their order, and the labels."""
    return [(*(np.array(host(part)) for part in x.values()), np.array(host(y))) for _ in range(n) for x, y in loader]


def check_batch(x, wanted):
    assert list(x) == list(IMAGES)
    for name, values in wanted.items():
        assert host(x[name]).dtype == values.dtype
        np.testing.assert_array_equal(host(x[name]), values, err_msg=name)


@pytest.mark.parametrize("crop", CROPS.values(), ids=CROPS)
@pytest.mark.parametrize("layout", ["channels_last", "channels_first"])
def test_every_input_is_what_the_oracle_makes_of_it_with_the_rows_of_all(path, backend, crop, layout):
    options = {**OPTIONS, "labels": {"mask": Mask("masks"), "number": "labels"}, "layout": layout, "shuffle": True, "seed": 4}
    arrays, masks = sources(path), stored(path, "masks")
    with Loader(path, 5, crop, **options, device=backend) as loader:
        for step, (x, y) in enumerate(loader):
            samples, _, rows = table_of(loader, 0, step)
            wanted = {
                name: reference.transform(images[samples], **rows, **numbers_of(name), layout=layout)
                for name, images in arrays.items()
            }
            check_batch(x, wanted)
            np.testing.assert_array_equal(host(y["mask"]), reference.transform_mask(masks[samples], **rows))
            np.testing.assert_array_equal(host(y["number"]), samples.repeat(crop.n_crops))


@pytest.mark.parametrize("batch_size", [4, 5])
def test_erasing_and_blending_are_shared_and_colour_is_that_of_the_inputs_it_names(path, backend, batch_size):
    crop, arrays = RandomResizedCrop(SIZE, mirror=True), sources(path)
    colors = {"rgb": [Brighter(0.1), Brighter(0.01)], "layers": Brighter(0.2)}
    options = {"color": colors, "erase": Corner(), "blend": Halves(), "num_classes": N, "shuffle": True, "seed": 11}
    with Loader(path, batch_size, crop, **OPTIONS, **options, device=backend) as loader:
        assert loader.color == {"depth": None, "rgb": tuple(colors["rgb"]), "layers": (colors["layers"],)}
        for epoch in range(2):
            for step, (x, y) in enumerate(loader):
                samples = loader.samples(epoch, step)
                draw = samples, 11, epoch
                rows, erasures, blends = (
                    crop.rows(*SOURCE, *draw),
                    Corner().rectangles(*SIZE, *draw),
                    Halves().table(*draw, *SIZE),
                )
                first, second = (color.matrices(*draw, None) for color in colors["rgb"])
                product = second[:, :, :3] @ first
                product[:, :, 3] += second[:, :, 3]
                maps = {"depth": None, "rgb": product, "layers": colors["layers"].matrices(*draw, None)}
                wanted = {}
                for name, images in arrays.items():
                    plain = reference.transform(
                        images[samples], rows.crops, SIZE, boxes=rows.boxes, **numbers_of(name), erasures=erasures,
                        erase_value=0.5, colors=None if maps[name] is None else maps[name].astype(np.float32),
                    )  # fmt: skip
                    wanted[name] = reference.blend(plain, blends.weights, blends.rectangles)
                check_batch(x, wanted)
                share, one_hot = blends.weights[:, None], np.eye(N, dtype=np.float32)[samples]
                np.testing.assert_array_equal(host(y), share * one_hot + (1 - share) * one_hot[::-1])


def test_policies_move_all_inputs_alike_and_each_is_standardized_by_itself_or_not_at_all(path, backend):
    policy = RandAugment(2, 9, operations=("rotation", "shear_x", "translation_y"))
    standardize = {"rgb": True, "depth": False, "layers": False}
    crop, options = RandomCrop(SIZE, mirror=True), {**OPTIONS, "policy": policy, "seed": 4}
    options["scale"] = {**OPTIONS["scale"], "rgb": 0.5}
    with Loader(path, 5, crop, **options, standardize=standardize, device=backend) as loader:
        assert loader.standardize == standardize
        assert loader.policy == policy
        for step, (x, _) in enumerate(loader):
            samples, table, rows = table_of(loader, 0, step)
            assert table.matrices is not None
            for name, images in sources(path).items():
                numbers = {**numbers_of(name), "scale": options["scale"][name]}
                plain = reference.transform(images[samples], **rows, **numbers)
                if not standardize[name]:
                    np.testing.assert_array_equal(host(x[name]), plain)
                    continue
                means, deviations = (part.reshape(-1, 1, 1, 1) for part in (plain.mean((1, 2, 3)), plain.std((1, 2, 3))))
                np.testing.assert_allclose(host(x[name]), (plain - means) / deviations, atol=1e-5)  # sums in another order
    with Loader(path, 5, crop, **options, standardize=False) as plain:
        state = plain.state_dict()
    with Loader(path, 5, crop, **options, standardize=standardize) as other, pytest.raises(ValueError, match="standardize"):
        other.load_state_dict(state)


def test_a_policy_with_colours_is_for_inputs_of_three_channels(path):
    names = {"images": {"a": "images", "b": "images"}, "channels": {"a": None, "b": [2, 1, 0]}, "mean": None}
    with Loader(path, 5, RandomCrop(SIZE), policy=TrivialAugment(), shuffle=True, **names) as loader:
        x, _ = loader.batch(0, 0)
        with Loader(path, 5, RandomCrop(SIZE), policy=TrivialAugment(), shuffle=True, mean=None) as plain:
            np.testing.assert_array_equal(x["a"], plain.batch(0, 0)[0])


def test_one_value_is_for_all_inputs_and_one_name_is_a_dict_too(path):
    with Loader(path, 5, CenterCrop(6), images={"a": "images", "b": "images"}, scale=0.5, dtype="float16") as loader:
        x, _ = loader.batch(0, 1)
        with Loader(path, 5, CenterCrop(6), scale=0.5, dtype="float16") as plain:
            for name in ("a", "b"):
                np.testing.assert_array_equal(x[name], plain.batch(0, 1)[0])
                np.testing.assert_array_equal(loader.mean[name], plain.mean)
        assert x["a"] is not x["b"]
    with Loader(path, 5, None, images={"only": "depth"}, mean=None, labels=None) as loader:
        x = loader.batch(0, 0)
        np.testing.assert_array_equal(x["only"][..., 0], stored(path, "depth")[:5])


def test_arguments_can_be_read_back_by_input_and_serve_another_loader(path):
    color = {"rgb": Lighting(0.1, covariance=np.eye(3)), "depth": None}
    with Loader(path, 5, RandomCrop(SIZE), **OPTIONS, color=color, axes={**dict.fromkeys(IMAGES), "depth": "NHW"}) as loader:
        assert loader.images == IMAGES
        assert loader.dtype == {name: OPTIONS["dtype"][name] for name in IMAGES}
        assert loader.channels == {"depth": None, "rgb": None, "layers": (3, 0, 3)}
        assert loader.axes == {"depth": "NHW", "rgb": None, "layers": None}
        assert loader.shape == loader.channel_order == dict.fromkeys(IMAGES)
        assert loader.output_shape == {"depth": (*SIZE, 1), "rgb": (*SIZE, 3), "layers": (*SIZE, 3)}
        assert "(depth: 1, rgb: 3, layers: 3)" in repr(loader)
        loader.images["rgb"] = loader.dtype["rgb"] = loader.mean["rgb"] = None  # of dicts that are the caller's
        names = ("images", "mean", "scale", "dtype", "channels", "color", "axes", "shape")
        with Loader(path, 5, RandomCrop(SIZE), **{name: getattr(loader, name) for name in names}) as other:
            check_same(epochs(loader, 1), epochs(other, 1))
        files = loader.stats()["files"]
        assert [(facts["input"], facts["dtype"], facts["shape"][2]) for facts in files] == [
            ("depth", "uint16", 1), ("rgb", "uint8", 3), ("layers", "float32", 4),
        ]  # fmt: skip


@pytest.mark.parametrize("shuffle", [False, True])
def test_batches_do_not_depend_on_workers_and_resume_in_mid_epoch(path, shuffle):
    options = {**OPTIONS, "color": {"rgb": Brighter(0.1)}, "erase": Corner(), "shuffle": shuffle, "seed": 5}
    crop = RandomResizedCrop(SIZE, mirror=True)
    with Loader(path, 4, crop, **options, workers=1) as loader:
        wanted = epochs(loader)
    with Loader(path, 4, crop, **options, workers=3) as loader:
        iteration = iter(loader)
        got = [(*(part.copy() for part in x.values()), y.copy()) for x, y in (next(iteration) for _ in range(2))]
        state = loader.state_dict()
    with pickle.loads(pickle.dumps(Loader(path, 4, crop, **options))) as loader:
        loader.load_state_dict(state)
        check_same(got + epochs(loader), wanted)
    with (
        Loader(path, 4, crop, **{**options, "color": {"layers": Brighter(0.1)}}) as other,
        pytest.raises(ValueError, match=r"color .*'rgb': \(Brighter"),
    ):
        other.load_state_dict(state)


def test_shards_and_parts_share_out_the_samples_of_one_loader(path):
    crop, rows = RandomCrop(SIZE, mirror=True), np.arange(N)[::-2]
    options = {**OPTIONS, "shuffle": True, "seed": 2, "indices": rows}
    found = []
    for rank in range(3):
        with Loader(path, 2, crop, **options, shard=(rank, 3)) as loader:
            for step, (x, y) in enumerate(loader):
                samples = loader.samples(0, step)
                np.testing.assert_array_equal(y, rows[samples])
                table = crop.table(*SOURCE, samples, 2, 0)
                for name, images in sources(path).items():
                    own = images[rows[samples]]
                    np.testing.assert_array_equal(x[name], reference.transform(own, table, SIZE, **numbers_of(name)))
                found += samples.tolist()
    assert sorted(found) == list(range(len(rows)))


def test_a_function_of_ones_own_gets_the_dict(path):
    def halved(x, rng):
        assert sorted(x) == sorted(IMAGES)
        x["depth"] *= 0.5
        return {**x, "rgb": x["rgb"] + np.float32(1)}

    with (
        Loader(path, 5, CenterCrop(6), **OPTIONS) as plain,
        Loader(path, 5, CenterCrop(6), **OPTIONS, transform=halved) as loader,
    ):
        x, wanted = loader.batch(0, 0)[0], plain.batch(0, 0)[0]
        np.testing.assert_array_equal(x["rgb"], wanted["rgb"] + np.float32(1))
        np.testing.assert_array_equal(x["depth"], wanted["depth"] * np.float16(0.5))
        np.testing.assert_array_equal(x["layers"], wanted["layers"])
    for function, problem in (
        (lambda x, rng: x["rgb"], "transform must return None or a dict with the names of x, 'depth', 'rgb', 'layers', got"),
        (lambda x, rng: {"rgb": x["rgb"]}, "got a dict of 'rgb'"),
        (lambda x, rng: {**x, "depth": x["rgb"]}, "array of x's type and shape for 'depth', float16"),
        (lambda x, rng: x["layers"].fill(np.inf), "transform made NaN or infinity for 'layers'"),
    ):
        with Loader(path, 5, CenterCrop(6), **OPTIONS, transform=function) as loader, pytest.raises(ValueError, match=problem):
            loader.batch(0, 0)


# --- where inputs are


def test_an_input_may_be_in_another_file_or_in_as_many_files_as_there_are(make_file, tmp_path, rng):
    paths = [make_file(n=n, name=f"part{k}.h5")[0] for k, n in enumerate((5, 8))]
    depth = rng.integers(0, 99, (13, *SOURCE)).astype("float64")
    with h5py.File(tmp_path / "all.hdf5", "w") as file:
        file["z"] = depth
    for k, part in enumerate(np.split(depth, [5])):
        with h5py.File(tmp_path / f"depth{k}.hdf5", "w") as file:
            file["z"] = part
    images = np.concatenate([stored(path, "images") for path in paths])
    for place in ("all.hdf5", "depth*.hdf5"):
        names = {"far": f"{tmp_path / place}:z", "near": "images"}
        with Loader(tmp_path / "part*.h5", 4, CenterCrop(SIZE), images=names, mean=None, shuffle=True) as loader:
            assert loader.images == names
            for step, (x, _) in enumerate(loader):
                samples = loader.samples(0, step)
                np.testing.assert_array_equal(x["far"][..., 0], depth[samples][:, 2:9, 2:11])
                np.testing.assert_array_equal(x["near"], images[samples][:, 2:9, 2:11])


def test_inputs_have_axes_and_shapes_of_their_own_and_images_may_have_a_dataset_each(tmp_path, rng):
    path, images = tmp_path / "odd.h5", rng.integers(0, 255, (6, 5, 7, 3)).astype("uint8")
    with h5py.File(path, "w") as file:
        file["matlab"] = images.transpose(3, 2, 1, 0)
        file["rows"] = images.reshape(6, -1)
        file["first"] = images.transpose(0, 3, 1, 2)
        for k, image in enumerate(images):
            file[f"single/{k}"], file[f"other/{k}"] = image, image[..., 0]
    names = {
        "matlab": "matlab",
        "rows": "rows",
        "first": "first",
        "single": "single/",
        "listed": [f"other/{k}" for k in range(6)],
    }
    none = dict.fromkeys(names)
    with Loader(
        path, 4, None, images=names, labels=None, mean=None, shuffle=True,
        axes={**none, "matlab": "CWHN", "first": "NCHW"}, shape={**none, "rows": (5, 7, 3)},
    ) as loader:  # fmt: skip
        assert loader.shape["rows"] == (5, 7, 3)
        assert loader.images["listed"] == tuple(names["listed"])
        for step, x in enumerate(loader):
            own = images[loader.samples(0, step)]
            for name in names:
                np.testing.assert_array_equal(x[name], own if name != "listed" else own[..., :1])


def test_chunks_of_several_sizes_are_decoded_once_an_epoch(make_file, rng):
    path, _, _ = make_file(n=40, chunks=(4, 12, 14, 3), compression="gzip")
    with h5py.File(path, "r+") as file:
        file.create_dataset("depth", data=rng.integers(0, 99, (40, *SOURCE)).astype("uint8"), chunks=(10, *SOURCE), compression=1)
    options = {"images": {"rgb": "images", "depth": "depth"}, "mean": None, "shuffle": True, "shuffle_window": 20}
    with Loader(path, 5, CenterCrop(4), **options) as loader:
        for x, _ in loader:
            assert x["depth"].shape == (5, 4, 4, 1)
        assert loader.stats()["blocks_decoded"] == 40 // 4 + 40 // 10


def test_damage_to_the_second_input_alone_has_the_whole_sample_replaced(make_file, rng, backend):
    path, images, _ = make_file(n=40, chunks=(3, 12, 14, 3), compression="gzip")
    depth = rng.integers(0, 256, (40, *SOURCE)).astype("uint8")
    with h5py.File(path, "r+") as file:
        file["labels"][...] = np.arange(40)
        file.create_dataset("depth", data=depth, chunks=(5, *SOURCE), compression="gzip")
        places = [file["depth"].id.get_chunk_info_by_coord((first, 0, 0)) for first in (10, 15, 35)]
    content = bytearray(path.read_bytes())
    for place in places:
        content[place.byte_offset + place.size // 2] ^= 0x55
    path.write_bytes(content)
    bad = {*range(10, 20), *range(35, 40)}
    instead = np.array([next(k % 40 for k in range(row, 80) if k % 40 not in bad) for row in range(40)])
    options = {"images": {"rgb": "images", "depth": "depth"}, "mean": None, "device": backend}
    with Loader(path, 7, None, **options) as loader, pytest.raises(DataError, match=r"dataset 'depth', chunk 2"):
        loader.batch(0, 1)
    for shuffle, workers, first in ((False, 1, 0), (True, 1, 3), (True, 3, 5)):
        with Loader(path, 7, None, **options, shuffle=shuffle, workers=workers, on_corrupt="skip") as loader:
            for step in range(first, len(loader)):
                loader.batch(0, step)
            for step, (x, y) in enumerate(loader):
                wanted = instead[loader.samples(0, step)]
                np.testing.assert_array_equal(host(y), wanted)
                np.testing.assert_array_equal(host(x["rgb"]), images[wanted].astype(np.float32))
                np.testing.assert_array_equal(host(x["depth"])[..., 0], depth[wanted].astype(np.float32))
            assert loader.stats()["corrupt"]["samples"] == len(bad)


def test_values_that_are_not_finite_are_those_of_the_input_that_has_them(path, backend):
    with h5py.File(path, "r+") as file:
        file["layers"][17, 3, 4, 0] = np.nan
    options = {**OPTIONS, "device": backend, "labels": {"mask": Mask("masks")}}
    with Loader(path, 5, None, **options) as loader:
        loader.batch(0, 2)
        with pytest.raises(DataError, match=r"dataset 'layers'.*sample 17"):
            loader.batch(0, 3)
    with h5py.File(path, "r+") as file:
        file["distance"] = np.zeros((N, *SOURCE), "float32")
        file["distance"][12, 0, 0] = np.inf
    for interpolation in ("nearest", "bilinear"):
        labels = {"mask": Mask("masks"), "distance": Mask("distance", interpolation=interpolation)}
        with Loader(path, 5, None, **{**options, "labels": labels}) as loader:
            loader.batch(0, 1)
            with pytest.raises(DataError, match=r"dataset 'distance'.*sample 12"):
                loader.batch(0, 2)
    with Loader(path, 5, None, **options, check_finite=False) as loader:
        assert np.isnan(np.asarray(host(loader.batch(0, 3)[0]["layers"]), np.float32)).sum() == 1


# --- what is refused

PLAIN = {**dict.fromkeys(("mean", "scale", "channels")), "dtype": "float32"}


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"images": {}}, "images as a dict must map the names of inputs to names of datasets, got {}"),
        ({"images": {3: "images"}}, "must map the names of inputs"),
        ({"images": {"a": None}, **PLAIN}, "images must be"),
        ({"mean": {"rgb": None}}, "mean as a dict must have each name that images= has, 'depth', .*; it lacks 'depth'"),
        ({"scale": {**OPTIONS["scale"], "d": 1}}, "scale as a dict must have no names but those that images= has, .*it has 'd'"),
        ({"dtype": {**OPTIONS["dtype"], "rgb": "int8"}}, "dtype must be"),
        ({"color": {"red": Brighter(1)}}, "color as a dict must have no names but those .*it has 'red'"),
        ({"color": Brighter(1)}, r"three channels in each, found images\['depth'\] with 1; .*color=\{'rgb': ...\}"),
        ({"color": {"depth": Brighter(1)}}, r"not for images with 1 channels.*dataset 'depth'"),
        ({"policy": TrivialAugment()}, r"policy with colours .* three channels in each, found images\['depth'\] with 1"),
        ({"standardize": {"rgb": True}}, "standardize as a dict must have each name .* it lacks 'depth'"),
        ({"standardize": {**dict.fromkeys(IMAGES, True), "rgb": 1}}, "standardize must be True, .*got 1"),
        ({"mean": [1, 2, 3]}, r"mean must .*dataset 'depth'"),
        ({"images": "images"}, "channels as a dict is for inputs that images= names, a dict as well; got 'rgb', .*and one input"),
        ({"images": {**IMAGES, "layers": "none"}}, "'none'"),
        ({"erase": Corner((1, 2, 3))}, r"erase_value must be .*dataset 'depth'"),
        ({"crop": CenterCrop(13)}, "13"),
    ],
)  # fmt: skip
def test_refusals(path, options, problem):
    with pytest.raises((ValueError, DataError), match=problem):
        Loader(path, 5, **{"crop": CenterCrop(6), **OPTIONS, **options})


def test_inputs_that_do_not_belong_together_are_refused(path, make_file, tmp_path):
    with h5py.File(path, "r+") as file:
        file["few"] = np.zeros((N - 1, *SOURCE), "uint8")
        file["small"] = np.zeros((N, 6, 7), "uint8")
        file["single/x1"] = file["single/x2"] = np.zeros((4, 4), "uint8")
        file["other/x1"] = file["other/x3"] = np.zeros((4, 4), "uint8")
    other, _, _ = make_file(n=N, name="other.h5")
    for names, options, problem in (
        (
            {"a": "images", "b": "few"},
            {},
            rf"dataset 'few': images\['b'\] must have one for each of the {N} of images\['a'\], found {N - 1}",
        ),
        ({"a": "images", "b": "small"}, {}, r"images\['b'\] have 6x7 pixels, and images\['a'\] 12x14; all inputs share one crop"),
        ({"a": f"{other}:images"}, {}, "images must name a dataset in `files` for one input or more"),
        ({"a": "images", "b": f"{tmp_path}/none.h5:x"}, {}, r"images\['b'\]=.*there is no file"),
        (
            {"a": "single/", "b": "other/"},
            {"labels": None},
            "paired in natural order, but 'other/x3' does not belong to 'single/x2'",
        ),
    ):
        with pytest.raises((ValueError, DataError, FileNotFoundError), match=problem):
            Loader(path, 5, None, images=names, mean=None, **options)
    with pytest.raises(ValueError, match=r"images\['b'\]: 2 files for 3 files of images; there must be one"):
        Loader([path, path, path], 5, None, images={"a": "images", "b": f"{tmp_path}/*.h5:images"}, mean=None)
    for name in ("part2.h5", "part10.h5", "depth2.hdf5", "depth10.hdf5"):
        make_file(n=3, name=name)
    parts = [tmp_path / "part2.h5", tmp_path / "part10.h5"]
    with pytest.raises(ValueError, match=r"which would pair .*; name both by patterns that sort alike$"):
        Loader(parts, 2, None, images={"a": "images", "b": f"{tmp_path}/depth*.hdf5:images"})
    with pytest.raises(MissingMeanError, match="dataset 'depth'"):
        Loader(path, 5, None, images=IMAGES)
    lists = {"a": ["single/x1", "single/x2"], "b": ["other/x1", "other/x3"]}
    with Loader(path, 2, Resize(2), images=lists, labels=None, mean=None) as loader:
        assert loader.batch(0, 0)["b"].shape == (2, 2, 2, 1)
