"""Saved models of anybody: a .keras file is checked for what it claims and for code before Keras reads it."""

from __future__ import annotations

import io
import json
import os
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastprep.errors import InputError
from fastprep.h5.weights import claimed_bytes
from fastprep.training.foreign_code import foreign_code, is_own

if TYPE_CHECKING:
    import keras

_ALWAYS = 64 * 2**20  # bytes that any file may unpack to
_GROWTH = 16  # how much larger the contents may be than the file: Keras compresses nothing, and weights hardly can be
_CONFIG, _WEIGHTS, _ARRAYS = "config.json", "model.weights.h5", "fastprep/arrays.npz"
_JSON = 16 * 2**20  # bytes of a description; that of a network of a thousand layers has one million


class ForeignCodeError(InputError):
    """A saved model that needs code which the user has not agreed to run."""


def load(path: Path | str, *, trust: bool = False) -> keras.Model:
    """Return the model of a .keras file, not compiled; its author's code runs only if the user trusts the file.

    Parameters
    ----------
    path : Path or str
    trust : bool
        Whether code in the file, and modules that it names, may run.

    Raises
    ------
    InputError
        If the file can't be loaded, names code, or would take far more memory than it has bytes.
    """
    import keras

    path, trust = Path(path), trust and is_own(Path(path))
    if path.suffix != ".keras":
        raise InputError(f"{str(path)!r} must be a .keras file; older formats may hold code: load it, and save it as .keras")
    check_claims(path)
    try:
        with zipfile.ZipFile(path) as archive:
            names = foreign_code(read_json(archive, _CONFIG))
        if names and not trust:
            problem = f"{str(path)!r} needs code beside Keras' own layers, which would run: {', '.join(names[:4])}"
            way_out = "--trust lets it run" if is_own(path) else "it belongs to another user, so --trust does not let it run"
            raise ForeignCodeError(f"{problem}; {way_out}")
        return keras.models.load_model(path, compile=False, safe_mode=not trust)
    except InputError:
        raise
    except Exception as error:  # Keras raises many types, depending on the file
        raise InputError(f"{str(path)!r} can't be loaded: {' '.join(str(error).split())[:400]}") from error


def check_claims(path: Path | str) -> None:
    """Check what a .keras file claims to unpack to, before any memory is taken for it.

    Raises
    ------
    InputError
        If that is far more than the file has bytes, the file can't be read, or its weights are in other files.
    """
    try:
        size = os.path.getsize(path)
        bound = max(_ALWAYS, _GROWTH * size)
        with zipfile.ZipFile(path) as archive:
            claims = sum(member.file_size for member in archive.infolist())
            if claims <= bound and _ARRAYS in archive.namelist():
                with zipfile.ZipFile(io.BytesIO(archive.read(_ARRAYS))) as arrays:
                    claims = max(claims, sum(member.file_size for member in arrays.infolist()))
            if claims <= bound and _WEIGHTS in archive.namelist():
                with archive.open(_WEIGHTS) as file:
                    claims = max(claims, claimed_bytes(file))
    except (OSError, ValueError, RuntimeError, NotImplementedError, zipfile.BadZipFile) as error:
        why = getattr(error, "strerror", None) or " ".join(str(error).split())[:400]
        raise InputError(f"{str(path)!r} can't be loaded: {why}") from error
    if claims > bound:
        problem = f"{str(path)!r} has {size:,} bytes and claims to hold {claims:,}; at most {bound:,} are read"
        raise InputError(f"{problem}. If you trust it, load it with Keras, and save it again: Keras does not compress")


def read_json(archive: zipfile.ZipFile, name: str) -> dict[str, Any]:
    """Return the object in a JSON file of an archive.

    Raises
    ------
    KeyError
        If there is no such file.
    ValueError
        If it holds something else, is nested too deeply, or has more than 16 MiB.
    """
    if (size := archive.getinfo(name).file_size) > _JSON:
        raise ValueError(f"{name} has {size:,} bytes, at most {_JSON:,} are read")
    return parse_json(archive.read(name), name)


def parse_json(text: bytes, name: str) -> dict[str, Any]:
    """Return the object that a text holds.

    Raises
    ------
    ValueError
        If it is not JSON, holds something else, or is nested too deeply.
    """
    try:
        values = json.loads(text)
    except RecursionError:
        raise ValueError(f"{name} is nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"{name} is not JSON: {error}") from None
    if not isinstance(values, dict):
        raise ValueError(f"{name} must hold an object, found {type(values).__name__}")
    return values
