"""Files as others publish them, small and drawn at random, each written by the library that writes the real ones.

Sizes of images, names, types and orders of axes are those of the real files; there are a few images only. Each function writes
into a folder, and returns images (N, H, W, C) and labels as the files have them, in the order in which a loader has to give them.
"""

import h5py
import numpy as np

N = 40


def drawn(seed, height, width, channels, n=N, classes=4):
    """Return images of a size, uint8, and their classes, of which each occurs equally often."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (n, height, width, channels), dtype=np.uint8)
    return images, rng.permutation(np.arange(n) % classes)


def patch_camelyon(folder):
    for seed, part in enumerate(("train", "valid")):
        images, labels = drawn(seed, 96, 96, 3, classes=2)
        with h5py.File(folder / f"camelyonpatch_level_2_split_{part}_x.h5", "w") as file:
            file["x"] = images
        with h5py.File(folder / f"camelyonpatch_level_2_split_{part}_y.h5", "w") as file:
            file["y"] = labels.astype(np.uint8).reshape(-1, 1, 1, 1)
        if part == "train":
            written = images, labels
    return written


def galaxy10(folder):
    images, labels = drawn(2, 69, 69, 3, classes=10)
    with h5py.File(folder / "Galaxy10.h5", "w") as file:
        file["images"], file["ans"] = images, labels.astype(np.uint8)
    return images, labels


def coursera_signs(folder):
    for seed, part in enumerate(("train", "test"), start=3):
        images, labels = drawn(seed, 64, 64, 3, classes=6)
        with h5py.File(folder / f"{part}_signs.h5", "w") as file:
            file[f"{part}_set_x"], file[f"{part}_set_y"], file["list_classes"] = images, labels, np.arange(6)
        if part == "train":
            written = images, labels
    return written


def caffe(folder):
    images, labels = drawn(5, 28, 28, 1, classes=5)
    images = np.float32(images) / 256
    with h5py.File(folder / "train.h5", "w") as file:
        file["data"], file["label"] = np.moveaxis(images, -1, 1), np.float32(labels)
    return images, np.float32(labels)


def nyu_depth(folder):
    import hdf5storage

    images, _ = drawn(6, 480, 640, 3, n=10)
    rng = np.random.default_rng(7)
    depths, objects = rng.random((10, 480, 640), dtype=np.float32) * 10, rng.integers(0, 894, (10, 480, 640), dtype=np.uint16)
    variables = {
        "images": images.transpose(1, 2, 3, 0),
        "depths": depths.transpose(1, 2, 0),
        "labels": objects.transpose(1, 2, 0),
        "sceneTypes": np.array(["kitchen", "office"] * 5, object)[:, None],
    }
    hdf5storage.savemat(str(folder / "nyu_depth_v2_labeled.mat"), variables, format="7.3")
    return images, depths


def svhn(folder):
    import hdf5storage

    images, labels = drawn(8, 32, 32, 3, classes=10)
    labels = labels + 1  # ten is the digit 0
    variables = {"X": images.transpose(1, 2, 3, 0), "y": labels.astype(np.uint8)[:, None]}
    hdf5storage.savemat(str(folder / "train_32x32.mat"), variables, format="7.3")
    return images, labels


def so2sat(folder):
    for seed, part in enumerate(("training", "validation"), start=9):
        rng = np.random.default_rng(seed)
        bands, labels = rng.random((N, 32, 32, 10)), rng.permutation(np.arange(N) % 17)
        with h5py.File(folder / f"{part}.h5", "w") as file:
            file["sen1"], file["sen2"], file["label"] = rng.normal(size=(N, 32, 32, 8)), bands, np.eye(17)[labels]
        if part == "training":
            written = bands[..., [2, 1, 0]], np.eye(17)[labels]
    return written


def brats_slices(folder):
    rng, names = np.random.default_rng(11), [f"volume_{volume}_slice_{k}.h5" for volume in (1, 2) for k in range(12)]
    images, masks = rng.normal(size=(len(names), 240, 240, 4)), np.zeros((len(names), 240, 240, 3), np.uint8)
    masks[::2, 100:140, 90:120] = rng.integers(0, 2, (len(names) // 2, 40, 30, 3))
    for name, image, mask in zip(names, images, masks, strict=True):
        with h5py.File(folder / name, "w") as file:
            file["image"], file["mask"] = image, mask
    order = np.argsort(names)  # slice_10 before slice_2
    return images[order], masks[order]


def a_dataset_an_image(folder):
    images, labels = drawn(12, 64, 64, 3)
    with h5py.File(folder / "groups.h5", "w") as file:
        for k, (image, label) in enumerate(zip(images, labels, strict=True)):
            file[f"images/{k}"], file[f"labels/{k}"] = image, label
    return images, labels


def usps(folder):
    with h5py.File(folder / "usps.h5", "w") as file:
        for seed, part in enumerate(("test", "train"), start=13):
            images, labels = drawn(seed, 16, 16, 1, classes=10)
            images = np.float32(images) / 255
            file[f"{part}/data"], file[f"{part}/target"] = images.reshape(N, 256), labels.astype(np.int32)
    return images, labels


def reversed_by_julia(folder):
    """As HDF5.jl writes Flux's arrays (W, H, C, N): it keeps the order in memory, so that HDF5 has the axes in reverse."""
    images, labels = drawn(15, 64, 60, 3)
    with h5py.File(folder / "julia.h5", "w") as file:
        in_julia = np.asfortranarray(images.transpose(2, 1, 3, 0))
        file["images"], file["labels"] = in_julia.T, labels
    return images, labels


def reversed_by_r(folder):
    """As rhdf5 writes R's arrays (N, H, W, C): in reverse like Julia's, as one chunk with gzip."""
    images, labels = drawn(16, 64, 60, 3)
    with h5py.File(folder / "r.h5", "w") as file:
        in_r = np.asfortranarray(images, np.int32)
        file.create_dataset("images", data=in_r.T, chunks=in_r.T.shape, compression="gzip", compression_opts=6)
        file["labels"] = labels.astype(np.int32)
    return images, labels


def netcdf(folder):
    from netcdf import netCDF4

    images, labels = drawn(17, 64, 60, 4)
    with netCDF4.Dataset(folder / "scenes.nc", "w") as file:
        for name, size in zip(("time", "band", "y", "x"), (None, 4, 64, 60), strict=True):
            file.createDimension(name, size)
            file.createVariable(name, "f8", (name,))[:] = np.arange(size or N) * 30
        file.createVariable("reflectance", "i2", ("time", "band", "y", "x"), zlib=True)[:] = np.moveaxis(images, -1, 1)
        file.createVariable("cover", "i4", ("time",))[:] = labels
    return images, labels


def pytables(folder):
    import tables

    images, labels = drawn(18, 64, 64, 3)
    names = np.array(["setosa", "versicolor", "virginica", "other"])[labels]
    with tables.open_file(folder / "plants.h5", "w") as file:
        rows = file.create_earray("/", "images", tables.UInt8Atom(), (0, 64, 64, 3), filters=tables.Filters(5, "blosc"))
        rows.append(images)
        records = np.zeros(N, [("id", "i8"), ("species", "S12"), ("height", "f4")])
        records["id"], records["species"] = np.arange(N), names
        file.create_table("/", "meta", records)
    return images, np.unique(names, return_inverse=True)[1]
