"""Where the JPEGs of a loader are decoded: the argument `decode`, and how many images were decoded where."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from fastprep.dataset.dataset import Dataset
from fastprep.dataset.nested import outputs_of
from fastprep.errors import DeviceUnavailableError


class DeviceDecoding:
    """Decoding on a device: of which inputs, and how many images were decoded where.

    Parameters
    ----------
    inputs : tuple of bool
        Whether images of an input are encoded.
    """

    def __init__(self, inputs: tuple[bool, ...]) -> None:
        self.inputs = inputs
        self._n_on_device = self._n_on_cpu = 0
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple:
        return DeviceDecoding, (self.inputs,)

    def count(self, n_on_device: int, n_on_cpu: int) -> None:
        """Count the images of a batch."""
        with self._lock:
            self._n_on_device += n_on_device
            self._n_on_cpu += n_on_cpu

    def describe(self) -> dict[str, int]:
        """Return how many images of the batches that were made were decoded on a device, and on the CPU."""
        with self._lock:
            return {"device": self._n_on_device, "cpu": self._n_on_cpu}


def decoding_of(decode: str, dataset: Dataset, device: str) -> DeviceDecoding | None:
    """Return what the argument `decode` of a loader asks for; None for the CPU.

    Parameters
    ----------
    decode : {"cpu", "device"}
    dataset : Dataset
    device : str
        Argument of the loader.

    Raises
    ------
    ValueError
        If `decode` is neither, or is "device" without images that could be decoded there, or with batches on the CPU.
    """
    if decode == "cpu":
        return None
    if decode != "device":
        raise ValueError(f'decode must be "cpu" or "device", got {decode!r}')
    if device == "cpu":
        raise ValueError('decode="device" is for batches on a CUDA device, and they are made on the CPU: pass decode="cpu"')
    inputs = outputs_of(dataset.each_input)
    is_encoded = tuple(own.is_encoded and own.dtype == np.uint8 for own in inputs)
    if not any(is_encoded):
        kind = f"images of {inputs[0].dtype}" if inputs[0].is_encoded else "pixels"
        raise ValueError(
            f'decode="device" is for JPEGs, which have 8 bits, and dataset {dataset.images!r} of {dataset.paths[0]!r} has '
            f'{kind}: pass decode="cpu"'
        )
    return DeviceDecoding(is_encoded)


def decode_there(backends: list[Any], decoding: DeviceDecoding | None, device: str) -> list[Any]:
    """Have backends decode; return them.

    Parameters
    ----------
    backends : list of Backend
    decoding : DeviceDecoding or None
    device : str
        Argument of the loader.

    Raises
    ------
    DeviceUnavailableError
        If one of them is on the CPU, or nvImageCodec can't be used.
    """
    if decoding is not None:
        if any(backend.device == "cpu" for backend in backends):
            raise DeviceUnavailableError(
                f'decode="device" needs a CUDA device, and device={device!r} has taken the CPU: device="cuda" says what is '
                'missing; or pass decode="cpu"'
            )
        for backend in backends:
            backend.decode_there(decoding)
    return backends
