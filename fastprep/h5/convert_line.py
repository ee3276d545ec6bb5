"""The command line of `fastprep.convert` that writes a file anew, so that loaders take it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fastprep.command_lines import command_line, option_words, path_word
from fastprep.h5.groups import is_group

if TYPE_CHECKING:
    from fastprep.h5.index import ImageIndex

_NEW = "NEW.h5"
_MOST_FILES = 8  # that are named one by one
_HOLDS = "if its values are whole numbers from 0 to 255"
PASSING_REASONS = frozenset(
    {
        "also open for writing in this process",
        "single-writer/multiple-reader mode",
        "renamed or replaced while it was opened",
        "never written: all fill value",
    }
)
"""Reasons to read by HDF5 that a new file would not take away."""
_ELSEWHERE = ("virtual dataset", "external storage", "images in several files, by links")


def convert_line(
    files: str | Sequence[str],
    images: str = "images",
    *,
    axes: str | None = None,
    shape: Sequence[int] | str | None = None,
    labels: str | None = None,
    flags: Sequence[str] = (),
) -> str:
    """Return the command that writes the images of files to a new one, as a shell takes it.

    Parameters
    ----------
    files : str or sequence of str
        A path, a pattern, or several paths.
    images : str
        Name of the images as the user gave it.
    axes : str, optional
    shape : sequence of int, or str, optional
        Height, width and channels of an image in a flat row.
    labels : str, optional
        Name of the labels, if it has to be said.
    flags : sequence of str
        Further options.
    """
    paths = [files] if isinstance(files, str) else list(files)
    sides = shape if shape is None or isinstance(shape, str) else tuple(shape)
    options = {"images": images, "labels": labels, "axes": axes, "shape": sides}
    return command_line("convert", [*map(path_word, paths), _NEW], option_words(options), flags)


def has_one_name(images: str, is_several: bool) -> bool:
    """Tell whether images have a name that a command takes: those that have a dataset each may be a list of names."""
    return not is_several or is_group(images)


def convert_line_of(index: ImageIndex, files: str | Sequence[str] | None = None, labels: str | None = None) -> str:
    """Return the command for indexed images; empty if no command line names them.

    Parameters
    ----------
    index : ImageIndex
    files : str or sequence of str, optional
        All files, of which the index is the first. Default: its own.
    labels : str, optional
        Name of the labels, which matters for those of several files.
    """
    files = index.file if files is None else files
    if not has_one_name(index.dataset, bool(index.members)) or (not isinstance(files, str) and len(files) > _MOST_FILES):
        return ""
    axes = index.axes
    is_elsewhere = index.reason in _ELSEWHERE or index.holder != index.path
    return convert_line(
        files,
        index.dataset,
        axes=axes.name if axes.must_be_said else None,
        shape=axes.shape[1:] if axes.is_flat else None,
        labels=labels,
        flags=["--from-other-files"] if is_elsewhere else [],
    )


def way_to_read_directly(index: ImageIndex) -> str:
    """Return the sentence that names the command, for images that HDF5 has to read; empty if it would not help."""
    line = convert_line_of(index)
    if not line or not index.reason or index.reason in PASSING_REASONS:
        return ""
    return f"`{line}` writes a file that is read directly{only_if_whole(index)}"


def only_if_whole(index: ImageIndex) -> str:
    """Return the condition on which images can be converted; empty if their type is enough."""
    return "" if index.stored_dtype.itemsize == 1 and index.stored_dtype.kind == "u" else f", {_HOLDS}"
