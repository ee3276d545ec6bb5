"""Forms in which a build stores images: pixels, the files as they are, or JPEGs made anew."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from fastprep.building.config import DEFAULT_SIDE, Config
from fastprep.building.decode import ChannelOrder, OutOfReachError, UnreadableError, read_image
from fastprep.building.decode_cache import Cache, Decoded
from fastprep.building.encode import EncodedMemory, encode_again, read_bytes, read_encoded
from fastprep.building.encoded_cache import EncodedImages
from fastprep.building.memory import MIB, Memory
from fastprep.building.scan import SourceFile
from fastprep.encoded.forms import QUALITY
from fastprep.errors import InputError
from fastprep.system import with_retries
from fastprep.system.machine_faults import WAITS

_Result = TypeVar("_Result")


def open_cache(config: Config, candidates: Sequence[SourceFile], work: Path, key: str, order: ChannelOrder) -> Cache:
    """Open the images that an earlier build decoded, if there are any."""
    if config.side is None:
        return EncodedImages(work, key, len(candidates), [file.path for file in candidates], _bytes_of)
    if config.encoded:
        return EncodedImages(work, key, len(candidates))
    return Decoded(work, key, len(candidates), (config.side, config.side, len(order)))


def reader(config: Config, order: ChannelOrder) -> Callable[[str], Any]:
    """Return the function that makes of an image file what is stored of it."""
    if config.side is None:
        bounds = EncodedMemory.of(config.memory * MIB)
        return lambda path: read_encoded(path, order, bounds)
    side, memory = config.side, Memory(config.memory * MIB)
    if config.encoded:
        return lambda path: encode_again(read_image(path, side, order, memory, config.resize), config.quality or QUALITY)
    return lambda path: read_image(path, side, order, memory, config.resize)


def retried(path: str, read: Callable[[], _Result], ended: threading.Event) -> _Result:
    """Read an image; a fault of the machine is given time to pass, because it says nothing about the image."""
    try:
        return with_retries(
            read,
            lambda error: isinstance(error, OutOfReachError),
            lambda seconds, error: ended.wait(seconds),
        )
    except OutOfReachError as error:
        tries = f"after {len(WAITS) + 1} tries"
        raise OutOfReachError(f"{path!r} can't be read, {tries}: {error}. The machine is at fault, not the image") from error


def _bytes_of(path: str) -> bytes:
    try:
        return retried(path, lambda: read_bytes(path), threading.Event())
    except UnreadableError as error:
        raise InputError(f"{error}" if isinstance(error, OutOfReachError) else f"{path!r}: {error}") from error


def encoding(config: Config) -> str:
    """Return the words for how images are encoded, which are a part of the settings in the files."""
    return "files as they are" if config.side is None else f"JPEG of quality {config.quality or QUALITY}"


def form(config: Config) -> str:
    """Return the words for what is stored of each image."""
    if config.side is None:
        return "as their files are"
    return f"of {config.side}x{config.side}{f' as {encoding(config)}' if config.encoded else ''}"


def pixel_bytes(config: Config) -> int:
    """Return the bytes of an image that is stored as pixels."""
    return (config.side or DEFAULT_SIDE) ** 2 * (3 if config.channels == "rgb" else 1)
