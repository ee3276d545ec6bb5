"""Agreement of all ranks on the run that they train, and the saved state that they receive when it is resumed."""

from __future__ import annotations

import importlib.metadata
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastprep.errors import InputError
from fastprep.loader import Loader
from fastprep.training.distributed.ranks import Ranks

if TYPE_CHECKING:
    import keras


def from_first(
    ranks: Ranks, saved: dict[str, Any] | None, arrays: dict[str, NDArray]
) -> tuple[dict[str, Any] | None, dict[str, NDArray]]:
    """Return the state of a saved run that rank 0 has read; of its arrays, other ranks receive the mean alone.

    Parameters
    ----------
    ranks : Ranks
    saved : dict or None
        State that rank 0 has read; None if the run begins. Ignored on other ranks.
    arrays : dict of str to ndarray
        Arrays that rank 0 has read. Ignored on other ranks.
    """
    part = None if saved is None else {name: saved.get(name) for name in ("course", "loader")}
    mean = arrays.get("mean")
    part, mean_values = ranks.from_first([part, None if mean is None else mean.tolist()])
    if ranks.first:
        return saved, arrays
    return part, {} if mean_values is None else {"mean": np.asarray(mean_values, np.float32)}


def fingerprint(
    options: dict[str, str],
    train: Loader,
    val: Loader,
    model: keras.Model,
    class_names: Sequence[str],
    mean: NDArray[np.float32] | None,
) -> dict[str, str]:
    """Return the facts that have to be the same on all ranks, by their names in error messages.

    Parameters
    ----------
    options : dict of str to str
        Options of the command that all ranks share.
    train, val : Loader
    model : keras.Model
        Compiled, its optimizer built.
    class_names : sequence of str
    mean : ndarray of float32, or None
        Values that are subtracted from the images.

    Returns
    -------
    dict of str to str
    """
    facts = {f"package {name}": _version(name) for name in ("keras", "tensorflow")}
    facts |= options
    for word, loader in (("--train", train), ("--val", val)):
        facts[f"{word}: number of images"] = str(loader.n_samples)
        facts[f"{word}: images"] = f"{loader._dataset.image_shape} {loader._dataset.dtype}"
        facts[f"{word}: checksum of the labels"] = _crc(loader._dataset.first_labels)
        order = {name: value for name, value in loader.state_dict()["of"].items() if name != "n_samples"}
        facts |= {f"{word}: {name}": str(value) for name, value in order.items()}
    facts["--train: checksum of the weights"] = _crc(train._dataset.weights)
    facts["--train: class_names"] = ", ".join(class_names)
    facts["mean (its checksum)"] = _crc(mean)
    weights = [
        f"{variable.path} {tuple(variable.shape)} {variable.dtype}" for variable in (*model.weights, *model.optimizer.variables)
    ]
    facts["--model: number of weights"] = f"{model.count_params():,}"
    facts["--model: checksum of their names and shapes"] = f"{zlib.crc32(chr(10).join(weights).encode()):08x}"
    facts["made on"] = train.stats()["device"].partition(":")[0]
    return facts


def check_alike(ranks: Ranks, facts: dict[str, str]) -> None:
    """Check that all ranks have the same fingerprint.

    Parameters
    ----------
    ranks : Ranks
    facts : dict of str to str
        Fingerprint of this rank.

    Raises
    ------
    InputError
        If they differ; the message names the differences.
    """
    first, *others = ranks.gather(facts)
    for rank, other in enumerate(others, 1):
        names = [name for name in {**first, **other} if other.get(name) != first.get(name)]
        if names:
            differences = "; ".join(f"{name} is {other.get(name)!r}, of rank 0 {first.get(name)!r}" for name in names[:5])
            more = "; ..." if len(names) > 5 else ""
            raise InputError(f"rank {rank} was started for another run than rank 0: {differences}{more}")


def _crc(values: NDArray | None) -> str:
    return "none" if values is None else f"{zlib.crc32(np.ascontiguousarray(values).tobytes()):08x}"


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:  # tensorflow has builds of other names
        return "unknown"
