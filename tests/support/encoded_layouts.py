"""The layouts in which people keep encoded images in HDF5, each written from the same rows."""

import h5py
import numpy as np

SPARE = 9  # bytes of padding behind the longest row


def table(rows, fill=0):
    """Return rows as uint8 of shape (N, longest), padded at the end."""
    values = np.full((len(rows), max(map(len, rows)) + SPARE), fill, np.uint8)
    for padded, row in zip(values, rows, strict=True):
        padded[: len(row)] = np.frombuffer(row, np.uint8)
    return values


def ends(rows):
    return np.cumsum([len(row) for row in rows])


def starts(rows):
    return ends(rows) - [len(row) for row in rows]


def with_offsets(rows):
    return np.append(0, ends(rows))


def fixed(rows, padding=h5py.h5t.STR_NULLPAD, fill=0, **options):
    """Write texts of a fixed length, in which h5py writes no other padding than zeros."""

    def write(file):
        values = table(rows, fill)
        kind = h5py.h5t.C_S1.copy()
        kind.set_size(values.shape[1])
        kind.set_strpad(padding)
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        if "chunks" in options:
            properties.set_chunk(options["chunks"])
            properties.set_deflate(4)
        space = h5py.h5s.create_simple((len(rows),))
        dataset = h5py.h5d.create(file.id, b"images", kind, space, properties)
        dataset.write(h5py.h5s.ALL, h5py.h5s.ALL, values.view(f"V{values.shape[1]}")[:, 0], kind)

    return write


def dataset(values, lengths=None, offsets=None, names=("lengths", "offsets"), **options):
    def write(file):
        file.create_dataset("images", data=values, **options)
        for name, numbers in zip(names, (lengths, offsets), strict=True):
            if numbers is not None:
                file[name] = numbers

    return write


def group(rows, make, name="images/{}.jpg"):
    def write(file):
        for k, row in enumerate(rows):
            make(file, name.format(k), row)

    return write


def vector(file, name, row, **options):
    file.create_dataset(name, data=np.frombuffer(row, np.uint8), **options)


def _chunked(file, name, row):
    vector(file, name, row, chunks=(min(100, len(row)),), maxshape=(None,))


def _matrix(file, name, row):
    file[name] = np.frombuffer(row, np.uint8)[None]
    file[name].attrs["MATLAB_class"] = np.bytes_("uint8")


def of_variable_length(file, name, row):
    file.create_dataset(name, (), h5py.vlen_dtype("uint8"))[()] = np.frombuffer(row, np.uint8)


def layouts(rows):
    """Return a function for each layout that writes it into an open file, the name of the images, and how they are read."""
    lengths, flat = np.array([len(row) for row in rows]), np.frombuffer(b"".join(rows), np.uint8)
    padded, opaque = table(rows), table(rows).view(f"V{table(rows).shape[1]}")[:, 0]
    beside = {"offsets": with_offsets(rows)}
    of_matlab = {"lengths": lengths[None].astype(float), "offsets": starts(rows)[None].astype(float)}
    short = ("image_len", "indptr")
    return {
        "text": (dataset(padded.view(f"S{padded.shape[1]}")[:, 0]), "images", "padded to"),
        "text with zero at the end": (fixed(rows, h5py.h5t.STR_NULLTERM), "images", "padded to"),
        "text with spaces, gzip": (fixed(rows, h5py.h5t.STR_SPACEPAD, ord(" "), chunks=(4,)), "images", "gzip"),
        "opaque": (dataset(opaque), "images", "contiguous"),
        "opaque, chunked": (dataset(opaque, chunks=(4,)), "images", "4 rows each, filters none"),
        "opaque, lengths": (dataset(opaque, lengths), "images", "lengths in 'lengths'"),
        "padded": (dataset(padded), "images", "contiguous"),
        "padded with rests, lengths": (dataset(table(rows, 7), lengths, names=("nbytes", "")), "images", "lengths in 'nbytes'"),
        "padded, split": (dataset(padded, chunks=(3, 100)), "images", "to a row, filters none"),
        "padded, gzip": (dataset(padded, lengths, chunks=(3, 999), compression="gzip", shuffle=True), "images", "shuffle+gzip"),
        "padded int8": (dataset(padded.view(np.int8), lengths.astype(">u2"), maxshape=(None, None)), "images", "chunked"),
        "joined": (dataset(flat, **beside), "images", "offsets in 'offsets'; contiguous"),
        "joined, begins": (dataset(flat, offsets=starts(rows), names=short), "images", "offsets in 'indptr'"),
        "joined, of MATLAB": (dataset(flat, **of_matlab), "images", "offsets in 'offsets', lengths in 'lengths'"),
        "joined, lengths": (dataset(flat, lengths), "images", "offsets in 'lengths'"),
        "joined with room": (dataset(np.append(flat, np.zeros(99, np.uint8)), **beside), "images", "contiguous"),
        "joined, chunked": (dataset(flat, **beside, chunks=(1000,)), "images", "1000 bytes each, filters none"),
        "joined, lzf": (dataset(flat, **beside, chunks=(1000,), compression="lzf"), "images", "lzf"),
        "vectors": (group(rows, vector), "images/", "one dataset each, contiguous"),
        "vectors of MATLAB": (group(rows, _matrix, "b/{}"), "b/", "one dataset each, contiguous"),
        "vectors, chunked": (group(rows, _chunked), "images/", "chunked, filters none"),
        "vectors, gzip": (group(rows, lambda *a: vector(*a, compression="gzip")), "images/", "filters gzip"),
        "opaque each": (group(rows, lambda f, n, row: f.create_dataset(n, data=np.void(row))), "images/", "contiguous"),
        "texts each": (group(rows, lambda f, n, row: f.create_dataset(n, data=np.bytes_(row))), "images/", "contiguous"),
        "in records of groups": (group(rows, vector, "{}/jpeg"), "*/jpeg", "one dataset each, contiguous"),
        "variable length each": (group(rows, of_variable_length), "images/", "one dataset each, in the heap"),
        "variable length, int8": (_int8(rows), "images", "contiguous"),
    }


def _int8(rows):
    def write(file):
        images = file.create_dataset("images", (len(rows),), h5py.vlen_dtype("int8"))
        for k, row in enumerate(rows):
            images[k] = np.frombuffer(row, np.int8)

    return write


def write_layout(path, write, n, first=0):
    """Write a file of a layout, and the number of each image as its label."""
    with h5py.File(path, "w") as file:
        write(file)
        file["labels"] = np.arange(first, first + n)
    return path
