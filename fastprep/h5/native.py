"""Decoding of chunks without Python: the C functions of the libraries that imagecodecs has loaded, and what they can undo.

Where a function is not there, as in a build of imagecodecs that hides it, `Pipeline.decode` does what it always can.
"""

from __future__ import annotations

import ctypes
import functools
import importlib

from fastprep.h5._decode import Codecs
from fastprep.h5.filters import BLOSC2, Pipeline

# Module of imagecodecs that is linked to the library, and the name of the function there. All of them belong to the libraries'
# stable interfaces; a library is asked for by the module, so that it is the one that imagecodecs itself works with.
_FUNCTIONS = {
    "lz4_decompress": ("_lz4", "LZ4_decompress_safe"),
    "zstd_new": ("_zstd", "ZSTD_createDCtx"),
    "zstd_free": ("_zstd", "ZSTD_freeDCtx"),
    "zstd_decompress": ("_zstd", "ZSTD_decompressDCtx"),
    "zstd_is_error": ("_zstd", "ZSTD_isError"),
    "deflate_new": ("_deflate", "libdeflate_alloc_decompressor"),
    "deflate_free": ("_deflate", "libdeflate_free_decompressor"),
    "deflate_decompress": ("_deflate", "libdeflate_zlib_decompress"),
    "blosc_validate": ("_blosc", "blosc_cbuffer_validate"),
    "blosc_decompress": ("_blosc", "blosc_decompress_ctx"),
    "blosc2_new": ("_blosc2", "blosc2_create_dctx"),
    "blosc2_free": ("_blosc2", "blosc2_free_ctx"),
    "blosc2_decompress": ("_blosc2", "blosc2_decompress_ctx"),
}


def find_functions() -> dict[str, int]:
    """Return the addresses of the functions that are there."""
    found = {}
    for name, (module, symbol) in _FUNCTIONS.items():
        try:
            library = ctypes.CDLL(str(importlib.import_module(f"imagecodecs.{module}").__file__))
            address = ctypes.cast(getattr(library, symbol), ctypes.c_void_p).value
        except (ImportError, OSError, AttributeError):
            continue
        if address:
            found[name] = address
    return found


@functools.cache
def codecs() -> Codecs:
    """Return the functions that this process decodes with."""
    return Codecs(find_functions())


def foreign_filters(pipeline: Pipeline) -> list[str]:
    """Name the filters of a pipeline that can't be undone without Python here."""
    return [stage.name for stage in pipeline.filters if not codecs().can_undo(stage.code, stage.values)]


def further_filters() -> tuple[int, ...]:
    """Return the numbers of filters that are undone here and by nothing else but HDF5, which has the last word about them."""
    return (BLOSC2,) if codecs().can_undo(BLOSC2, ()) else ()
