"""What a user should know of the files of a dataset, in the log: once for all files of which it is true."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

from fastprep.h5 import FileSurvey, ImageIndex, Metadata, warn_of_hdf5, warn_of_unwritten

_log = logging.getLogger(__name__)


def warn_of_unwritten_rows(surveyed: FileSurvey) -> None:
    """Warn of images, labels and weights that nobody has written; of images in many files when their chunks are listed."""
    index = surveyed.index
    warn_of_unwritten(index.file, index.dataset, index.n_unwritten, index.shape[0], "images", index.rows is not None)
    for what, columns in (("labels", surveyed.n_unwritten_labels), ("weights", surveyed.n_unwritten_weights)):
        for name, n_unwritten in columns.items():
            warn_of_unwritten(index.file, name, n_unwritten, index.shape[0], what)


def warn_of_slow_reading(indices: Iterable[ImageIndex]) -> None:
    """Warn once for each reason to read by HDF5, and not once for each file."""
    by_reason: dict[str, list[ImageIndex]] = {}
    for index in indices:
        if index.reason:
            by_reason.setdefault(index.reason, []).append(index)
    for alike in by_reason.values():
        warn_of_hdf5(alike[0], len(alike) - 1)


def log_notes(metadata: Sequence[Metadata], paths: Sequence[str], images: str) -> None:
    """Log the notes on attributes of the images."""
    by_note: dict[str, list[str]] = {}
    for path, facts in zip(paths, metadata, strict=True):
        for note in facts.notes:
            by_note.setdefault(note, []).append(path)
    for note, noted in by_note.items():
        more = f" and {len(noted) - 1} more" if len(noted) > 1 else ""
        _log.warning("%s%s, dataset %r: %s", noted[0], more, images, note)
