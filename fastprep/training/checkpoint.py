"""Checkpoint of a training run: a .keras file that Keras can load, with everything that resuming needs in the same zip archive.

A single file is whole or absent, so model, optimizer, random state, position in the data and history always agree.
"""

from __future__ import annotations

import io
import json
import os
import random
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastprep.errors import InputError
from fastprep.system import whole_file
from fastprep.training.saved_model import check_claims, read_json

if TYPE_CHECKING:
    import keras

VERSION = 1
_STATE, _ARRAYS = "fastprep/state.json", "fastprep/arrays.npz"
_PARTS = {"course": dict, "loader": dict, "about": dict, "random": dict, "variables": list}
_METRIC, _VARIABLE, _NUMPY, _TORCH = "metric/", "variable/", "numpy", "torch/"


def save(path: Path, model: keras.Model, state: dict[str, Any], arrays: dict[str, NDArray], *, metrics: bool) -> None:
    """Write a checkpoint as a whole or not at all; an existing file of that name stays until the new one replaces it.

    Parameters
    ----------
    path : Path
        Name that ends in .keras.
    model : keras.Model
        Compiled, its optimizer built.
    state : dict
        Values that JSON can hold.
    arrays : dict of str to ndarray
    metrics : bool
        Whether to store the sums of the metrics so far, for the middle of an epoch.

    Raises
    ------
    OSError
        If the file can't be written, for example because the disk is full.
    InputError
        If Keras can't save the network.

    Notes
    -----
    For a network without a description of its own (a subclass with arguments and without `get_config`) the file holds the
    weights only: `load_weights` reads it, `load_model` does not.
    """
    variables = _variables(model)
    kept = {id(v) for v in (*model.weights, *model.optimizer.variables)}
    arrays = dict(arrays)
    # states of random generators (dropout's) are variables of the model, but Keras does not write them
    arrays |= {f"{_VARIABLE}{k}": np.asarray(v) for k, v in enumerate(variables) if id(v) not in kept}
    if metrics:
        arrays |= {f"{_METRIC}{k}": np.asarray(v) for k, v in enumerate(model.metrics_variables)}
    kind, keys, *rest = np.random.get_state()  # noqa: NPY002 - Keras' own seeding sets it, so layers may draw from it
    arrays[_NUMPY] = np.asarray(keys)
    arrays |= {f"{_TORCH}{k}": values for k, values in enumerate(_torch_states())}
    random_state = {"python": random.getstate(), "numpy": [kind, *rest]}
    checks = [[v.path, _crc(v)] for v in variables]
    state = {"version": VERSION, **state, "random": random_state, "variables": checks}
    with whole_file(path) as temporary:
        _save_model(model, temporary)
        with zipfile.ZipFile(temporary, "a") as archive, io.BytesIO() as packed:
            np.savez(packed, **arrays)  # type: ignore[arg-type]
            archive.writestr(_ARRAYS, packed.getvalue())
            archive.writestr(_STATE, json.dumps(state))
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())  # otherwise a crash of the machine may leave the new name with an unwritten file


def _save_model(model: keras.Model, path: str) -> None:
    try:
        model.save(path)
        return
    except NotImplementedError:
        weights = f"{path}.weights.h5"
    except (TypeError, ValueError) as error:
        raise InputError(f"the network can't be saved: {' '.join(str(error).split())[:400]}") from error
    try:
        model.save_weights(weights)
        with zipfile.ZipFile(path, "w") as archive:
            archive.write(weights, "model.weights.h5")
    finally:
        Path(weights).unlink(missing_ok=True)


def read(path: Path) -> tuple[dict[str, Any], dict[str, NDArray]]:
    """Return state and arrays of a saved run.

    Raises
    ------
    InputError
        If the file is not a saved run, or claims to hold far more than it has bytes.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if _STATE not in archive.namelist():
                raise KeyError(_STATE)
        check_claims(path)
        with zipfile.ZipFile(path) as archive:
            state = read_json(archive, _STATE)
            with np.load(io.BytesIO(archive.read(_ARRAYS))) as arrays:
                stored = dict(arrays)
    except (OSError, KeyError, ValueError, MemoryError, zipfile.BadZipFile) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else "it was not written by fastprep.train"
        raise InputError(f"{str(path)!r} is not a saved run: {why}") from error
    if state.get("version") != VERSION:
        raise InputError(f"{str(path)!r} is a saved run of version {state.get('version')}, this fastprep reads {VERSION}")
    for name, kind in _PARTS.items():
        if not isinstance(state.get(name, kind()), kind):
            found = type(state[name]).__name__
            raise InputError(f"{str(path)!r} is not a saved run: {name!r} of its state must be a {kind.__name__}, found {found}")
    return state, stored


def restore(path: Path, model: keras.Model) -> None:
    """Put a saved run into a model of the same architecture, compiled alike, and into the global random generators.

    Raises
    ------
    InputError
        If the model has another architecture, or any of its variables differs by a bit from the saved one.
    """
    state, arrays = read(path)
    variables = _variables(model)
    try:
        model.load_weights(path)
        for k, variable in enumerate(variables):
            if (name := f"{_VARIABLE}{k}") in arrays:
                variable.assign(arrays[name])
        saved = [crc for _, crc in state["variables"]]
        if len(saved) != len(variables) or not all(
            crc in (_crc(v), _crc_as_stored(v)) for v, crc in zip(variables, saved, strict=True)
        ):
            raise InputError(f"{str(path)!r} does not fit the network: some of its variables are not those that were saved")
        version, keys, gauss = state["random"]["python"]
        random.setstate((version, tuple(keys), gauss))
        kind, *rest = state["random"]["numpy"]
        np.random.set_state((kind, arrays[_NUMPY], *rest))  # noqa: NPY002
        _set_torch_states(arrays)
    except (ValueError, KeyError, TypeError, OSError, zipfile.BadZipFile) as error:
        why = " ".join(str(error).split())[:400]
        raise InputError(f"{str(path)!r} is damaged, or does not fit the network: {why}") from error


def restore_metrics(model: keras.Model, arrays: dict[str, NDArray]) -> None:
    """Restore the sums of the metrics, which have to be built."""
    for k, variable in enumerate(model.metrics_variables):
        variable.assign(arrays[f"{_METRIC}{k}"])


def not_finite(model: keras.Model) -> list[str]:
    """Return the names of the variables of a model and of its optimizer that hold a number which is not finite."""
    values = ((variable.path, np.asarray(variable)) for variable in _variables(model))
    return [path for path, value in values if value.dtype.kind in "fV" and not np.isfinite(value).all()]  # V is bfloat16


def _variables(model: keras.Model) -> list[Any]:
    """Return the variables that a step of training changes, without metrics, in an order that is the same in every process."""
    return [*model.variables, *model.optimizer.variables]


def _crc(variable: Any) -> int:
    """Return the checksum of a variable, the same on every backend: each has integers of another width for counts and seeds."""
    values = np.asarray(variable)
    return zlib.crc32((values.astype(np.int64) if values.dtype.kind in "iu" else values).tobytes())


def _crc_as_stored(variable: Any) -> int:
    """Return the checksum that earlier code wrote, over integers of the backend's own width."""
    return zlib.crc32(np.asarray(variable).tobytes())


def _torch_states() -> list[NDArray]:
    import keras

    if keras.backend.backend() != "torch":
        return []
    from fastprep.adapters.torch import random_states

    return random_states()


def _set_torch_states(arrays: dict[str, NDArray]) -> None:
    """Restore torch's random generators, if the run was saved on torch and goes on there."""
    import keras

    states = [arrays[name] for k in range(len(arrays)) if (name := f"{_TORCH}{k}") in arrays]
    if states and keras.backend.backend() == "torch":
        from fastprep.adapters.torch import set_random_states

        set_random_states(states)
