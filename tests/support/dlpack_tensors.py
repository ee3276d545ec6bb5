"""DLPack capsules, as whoever consumes them sees them."""

import ctypes
import types

import ml_dtypes
import numpy as np

_NAMES = {0: "int", 1: "uint", 2: "float"}


class DLTensor(ctypes.Structure):
    """https://dmlc.github.io/dlpack/latest/c_api.html"""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


def look_into(capsule):
    """Return the DLTensor of a capsule that nobody has consumed."""
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    return DLTensor.from_address(pointer(capsule, b"dltensor"))


class DeviceTensor:
    """What a library makes of a capsule: it holds the memory until it is let go, and has what `Machine.read_later` asks for."""

    def __init__(self, capsule):
        tensor = look_into(capsule)
        self.capsule = capsule
        self.data = types.SimpleNamespace(ptr=(tensor.data or 0) + tensor.byte_offset)
        self.shape = tuple(tensor.shape[: tensor.ndim])
        self.dtype = dtype_of(tensor)
        self.device = types.SimpleNamespace(id=tensor.device_id)
        self.device_type = tensor.device_type


def dtype_of(tensor):
    """Return numpy's dtype for that of a DLTensor."""
    if tensor.code == 4:
        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(bool) if tensor.code == 6 else np.dtype(f"{_NAMES[tensor.code]}{tensor.bits}")
