"""Whether all ranks of a run were started for the same run, and what they have to be told of one that is resumed."""

from __future__ import annotations

import importlib.metadata
import zlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastprep.errors import InputError
from fastprep.loader import Loader
from fastprep.training.distributed.collectives import Ranks

if TYPE_CHECKING:
    import keras


def from_first(
    ranks: Ranks, saved: dict[str, Any] | None, arrays: dict[str, NDArray]
) -> tuple[dict[str, Any] | None, dict[str, NDArray]]:
    """Return what rank 0 has read of a saved run; of its arrays, other ranks get the mean alone.

    Parameters
    ----------
    ranks : Ranks
    saved : dict or None
        Of rank 0.
    arrays : dict of str to ndarray
        Of rank 0.
    """
    if ranks.world == 1:
        return saved, arrays
    part = None if saved is None else {name: saved[name] for name in ("course", "loader")}
    mean = arrays.get("mean")
    told = ranks.from_first([part, None if mean is None else mean.tolist()])
    if ranks.first:
        return saved, arrays
    return told[0], {} if told[1] is None else {"mean": np.asarray(told[1], np.float32)}


def fingerprint(
    options: dict[str, str],
    train: Loader,
    val: Loader,
    model: keras.Model,
    class_names: Sequence[str],
    mean: NDArray[np.float32] | None,
) -> dict[str, str]:
    """Return what has to be the same on all ranks, by what it is called in an error."""
    known = {f"package {name}": _version(name) for name in ("keras", "tensorflow")}
    known |= options
    for word, loader in (("--train", train), ("--val", val)):
        known[f"{word}: number of images"] = str(loader.n_samples)
        known[f"{word}: images"] = f"{loader._dataset.image_shape} {loader._dataset.dtype}"
        known[f"{word}: checksum of the labels"] = _crc(loader._dataset.labels)
        of = {name: value for name, value in loader.state_dict()["of"].items() if name != "n_samples"}
        known |= {f"{word}: {name}": str(value) for name, value in of.items()}
    known["--train: checksum of the weights"] = _crc(train._dataset.weights)
    known["--train: class_names"] = ", ".join(class_names)
    known["mean (its checksum)"] = _crc(mean)
    weights = [
        f"{variable.path} {tuple(variable.shape)} {variable.dtype}" for variable in (*model.weights, *model.optimizer.variables)
    ]
    known["--model: number of weights"] = f"{model.count_params():,}"
    known["--model: checksum of their names and shapes"] = f"{zlib.crc32(chr(10).join(weights).encode()):08x}"
    known["made on"] = train.stats()["device"].partition(":")[0]
    return known


def check_alike(ranks: Ranks, fingerprint: Callable[[], dict[str, str]]) -> None:
    """Check that all ranks have the same fingerprint.

    Raises
    ------
    InputError
        If not; it names the differences.
    """
    if ranks.world == 1:
        return
    found = ranks.gather(fingerprint())
    for rank, other in enumerate(found):
        names = [name for name in {**found[0], **other} if other.get(name) != found[0].get(name)]
        if names:
            said = "; ".join(f"{name} is {other.get(name)!r}, of rank 0 {found[0].get(name)!r}" for name in names[:5])
            raise InputError(f"rank {rank} was started for another run than rank 0: {said}{'; ...' if len(names) > 5 else ''}")


def shares(ranks: Ranks, train: Loader) -> list[str]:
    """Say what the ranks share."""
    if ranks.world == 1:
        return []
    return [
        f"{ranks.world} ranks: {train.batch_size} images each a step, {train.batch_size * ranks.world} together; figures about "
        "speed are those of rank 0"
    ]


def _crc(values: NDArray | None) -> str:
    return "none" if values is None else f"{zlib.crc32(np.ascontiguousarray(values).tobytes()):08x}"


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:  # tensorflow has builds of other names
        return "unknown"
