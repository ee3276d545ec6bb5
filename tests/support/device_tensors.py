"""What TensorFlow knows of GPUs, for tests without one."""

from types import SimpleNamespace

import tensorflow as tf


class Gpus:
    """What TensorFlow says of its GPUs: `physical` of them, of which it may see some."""

    def __init__(self, monkeypatch, physical=1, visible=None, logical=None, elsewhere=()):
        named = [SimpleNamespace(name=f"/physical_device:GPU:{number}") for number in range(physical)]
        seen = named if visible is None else [named[number] for number in visible]
        self.growth = dict.fromkeys(range(physical))
        self.failure = None
        really = tf.config.list_physical_devices
        monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: named if kind == "GPU" else really(kind))
        monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind=None: seen)
        names = [f"/device:GPU:{number}" for number in range(len(seen) if logical is None else logical)] + list(elsewhere)
        listed = [SimpleNamespace(name=name) for name in names]
        monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind=None: listed)
        monkeypatch.setattr(tf.config.experimental, "get_memory_growth", lambda gpu: self.growth[named.index(gpu)])
        monkeypatch.setattr(tf.config.experimental, "set_memory_growth", lambda gpu, to: self._set(named.index(gpu), to))
        monkeypatch.delenv("TF_FORCE_GPU_ALLOW_GROWTH", raising=False)

    def _set(self, number, to):
        if self.failure is not None:
            raise self.failure
        self.growth[number] = to
