"""Keras' side: a loader that `fit`, `evaluate` and `predict` take as it is, and the hand-over to TensorFlow by DLPack.

The only module, besides the commands, that imports keras; tensorflow is imported at the first batch for it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import keras
from numpy.typing import NDArray

from fastprep import loader as plain
from fastprep.backends import Backend, choose
from fastprep.buffers import ALIGNMENT, dlpack_capsule

try:
    # Keras hands an instance of this class on untouched; it is the one private name used here
    from keras.src.trainers.data_adapters.data_adapter import DataAdapter
except ImportError:  # a later Keras may have moved it
    DataAdapter = None

if TYPE_CHECKING:
    import tensorflow as tf

_log = logging.getLogger(__name__)


class _KerasLoader(plain.Loader):
    """What both ways into Keras have in common: passes that Keras starts, drops and forgets."""

    _pass: plain.Pass | None = None

    @property
    def num_batches(self) -> int:
        """Steps of an epoch, under the name that Keras asks for."""
        return len(self)

    def keras_pass(self) -> plain.Pass:
        """Return the pass for Keras' next epoch.

        Keras asks for an iterator twice an epoch and uses one of the two, so one that has not started is given again;
        and when it stops early it never says so, so one that was abandoned is closed here.
        """
        if self._pass is None or self._pass.started:
            if self._pass is not None:
                self._pass.close()
            self._pass = self.start_pass()
        return self._pass

    def on_host(self) -> None:
        """Check that batches are made in memory of the host.

        Raises
        ------
        NotImplementedError
            If not: Keras' other backends, and its other ways to take data, have no use for a CUDA device's memory.
        """
        if self.backend.device != "cpu":
            raise NotImplementedError(
                f"fastprep hands batches on {self.backend.device} to Keras' TensorFlow backend only (this is "
                f'{keras.backend.backend()}): use device="cpu"'
            )

    def _choose_backend(self, device: str, n_rows: int) -> Backend:
        backend = choose(device, self.spec, self.batch_size, n_rows, _objection)
        if backend.device != "cpu" and keras.backend.backend() == "tensorflow":
            leave_memory()
        return backend

    def close(self) -> None:
        """See `fastprep.loader.Loader.close`."""
        if self._pass is not None:
            self._pass.close()
        super().close()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_pass": None}


if DataAdapter is not None:

    class Loader(_KerasLoader, DataAdapter):  # noqa: D101 - the docstring is the plain loader's
        __doc__ = plain.Loader.__doc__

        @property
        def has_partial_batch(self) -> bool:
            """Whether the last batch of an epoch is smaller than the others."""
            return self.partial_batch_size is not None

        @property
        def partial_batch_size(self) -> int | None:
            """Samples of the last batch of an epoch if it is smaller than the others."""
            last = len(self.samples(0, len(self) - 1))
            return last if last < self.batch_size else None

        def get_tf_dataset(self) -> Any:
            """Return what Keras' TensorFlow trainer iterates: eager tensors that lie in the batch buffers."""
            return _TensorSource(self)

        def get_numpy_iterator(self) -> Iterator[Any]:
            """Return an iterator of numpy batches, for Keras' other backends."""
            self.on_host()
            return (batch.item for batch in self.keras_pass())

        def get_jax_iterator(self) -> Iterator[Any]:
            """Return an iterator of numpy batches, which Keras puts on JAX' device."""
            return self.get_numpy_iterator()

else:

    class Loader(_KerasLoader, keras.utils.PyDataset):  # type: ignore[no-redef]  # noqa: D101
        # Keras copies every batch, shuffles the steps if `fit` is not told shuffle=False, and begins every epoch at step 0
        __doc__ = plain.Loader.__doc__

        def __init__(self, *arguments: Any, **options: Any) -> None:
            keras.utils.PyDataset.__init__(self)
            plain.Loader.__init__(self, *arguments, **options)
            self._begun = False

        def __getitem__(self, step: int) -> Any:
            """Return batch `step` of the epoch under way."""
            self.on_host()
            return self.batch(self.next_epoch, step)

        def on_epoch_begin(self) -> None:
            """Note that an epoch is under way."""
            self._begun = True

        def on_epoch_end(self) -> None:
            """Go on to the next epoch; Keras also calls this where no epoch was begun."""
            if self._begun:
                self.set_epoch(self.next_epoch + 1)
            self._begun = False


class EpochSync(keras.callbacks.Callback):
    """Tells a loader the number of the epoch that `fit` begins with, for `fit(initial_epoch=...)` and resumed runs.

    Without it a loader counts its own passes, which is the same thing for a `fit` that begins at epoch 0. From the first epoch
    on passes are counted: with `steps_per_epoch` an epoch of Keras' is not one of the loader's.

    Parameters
    ----------
    loader : Loader
    """

    def __init__(self, loader: plain.Loader) -> None:
        super().__init__()
        self.loader = loader
        self._told = False

    def on_train_begin(self, logs: Any = None) -> None:
        """Forget an earlier `fit`."""
        self._told = False

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Set the loader's next epoch, unless it already stands inside that epoch."""
        if not self._told and self.loader.next_epoch != epoch:
            self.loader.set_epoch(epoch)
        self._told = True


def predict(model: keras.Model, loader: plain.Loader, *, verbose: Any = 0) -> NDArray:
    """Predict every sample of a loader, in file order; the ten crops of `TenCrop` are averaged.

    Parameters
    ----------
    model : keras.Model
        With one output.
    loader : Loader
        Not shuffled, not sharded, nothing dropped.
    verbose : int or "auto"
        As for `keras.Model.predict`.

    Returns
    -------
    ndarray, shape (N, ...)
        Row i is for sample i.

    Raises
    ------
    ValueError
        If the loader would not give every sample, or not in file order, or these are no model and no loader.
    """
    if not isinstance(loader, plain.Loader) or not hasattr(model, "predict"):
        raise ValueError(f"predict takes a model and a loader, got {type(model).__name__} and {type(loader).__name__}")
    of = loader.sampling
    if of.shuffle or of.shard != (0, 1) or of.drop_remainder:
        raise ValueError(
            "loader must give every sample in file order: shuffle=False, shard=(0, 1), drop_remainder=False; "
            f"got shuffle={of.shuffle}, shard={of.shard}, drop_remainder={of.drop_remainder}"
        )
    loader.set_epoch(loader.next_epoch)  # from the start, wherever an earlier pass was left
    rows = model.predict(loader, verbose=verbose)
    return rows.reshape(loader.n_samples, loader.crop.n_crops, *rows.shape[1:]).mean(axis=1, dtype=rows.dtype)


def to_tensor(batch: plain.Batch, dtype: str) -> tf.Tensor:
    """Give x of a batch to TensorFlow where it lies.

    Parameters
    ----------
    batch : Batch
    dtype : {"float32", "float16", "bfloat16"}
        Of its x.

    Returns
    -------
    tf.Tensor
        At the address that the kernel wrote to, on the CPU or the GPU. The buffer is in use until TensorFlow lets go of it.

    Raises
    ------
    RuntimeError
        If the buffer is not aligned as TensorFlow needs, or on a GPU that TensorFlow does not use.
    """
    import tensorflow as tf

    # TensorFlow checks neither: its first operation on a misaligned tensor aborts the process, and a capsule for a device that it
    # does not have is freed twice
    if batch.lease.address % ALIGNMENT:
        raise RuntimeError(f"batch buffer at {batch.lease.address:#x} is not aligned to {ALIGNMENT} bytes")
    index = tensorflow_index(batch.x.device.id) if batch.lease.is_on_device else 0
    return tf.experimental.dlpack.from_dlpack(dlpack_capsule(batch.lease, batch.x.shape, dtype, index))


def tensorflow_index(number: int) -> int:
    """Return the number that TensorFlow gives to a CUDA device: its logical devices are counted anew, among those it may see.

    Raises
    ------
    RuntimeError
        If TensorFlow does not use that device, or splits its devices.
    """
    import tensorflow as tf

    visible = [device.name.rpartition(":")[2] for device in tf.config.get_visible_devices("GPU")]
    # in a run of several processes TensorFlow lists the devices of all of them
    here = tf.constant(0).device.rpartition("/device:")[0]
    logical = [device for device in tf.config.list_logical_devices("GPU") if device.name.startswith((here, "/device:"))]
    if str(number) in visible and len(logical) == len(visible):
        return visible.index(str(number))
    raise RuntimeError(
        f"batches are made on cuda:{number}, which TensorFlow does not use, or not as one device: it sees {len(visible)} GPUs. "
        'Use device="cpu", or a TensorFlow for GPUs (tensorflow[and-cuda]); CUDA_VISIBLE_DEVICES chooses among several'
    )


def leave_memory() -> None:
    """Have TensorFlow take a GPU's memory as it needs it, and not all at its first use; warn if it is too late for that."""
    import tensorflow as tf

    if os.environ.get("TF_FORCE_GPU_ALLOW_GROWTH", "").lower() in ("true", "1"):
        return
    for gpu in tf.config.list_physical_devices("GPU"):
        if tf.config.experimental.get_memory_growth(gpu):
            continue
        try:
            tf.config.experimental.set_memory_growth(gpu, True)
        except ValueError:  # its memory was divided by hand, and so limited
            return
        except RuntimeError:
            _log.warning(
                "TensorFlow was in use before this loader was made and may hold all of the GPU's memory, but batches need some: "
                "make the loader first, or set TF_FORCE_GPU_ALLOW_GROWTH=true"
            )
            return


def describe_gpus() -> str:
    """Say which GPUs TensorFlow sees, and how it takes their memory, without having it take any."""
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return f"{tf.__version__}, sees no GPU (is it tensorflow[and-cuda]?)"
    grows = os.environ.get("TF_FORCE_GPU_ALLOW_GROWTH", "").lower() in ("true", "1")
    grows = grows or all(tf.config.experimental.get_memory_growth(gpu) for gpu in gpus)
    how = "takes memory as it needs it" if grows else "takes all memory at its first use, unless a CUDA loader is made before"
    return f"{tf.__version__}, sees {len(gpus)} GPU{'s' * (len(gpus) > 1)}, {how}"


def _objection(number: int) -> str | None:
    """Say why Keras would have no use for batches on a CUDA device; None if it has."""
    if DataAdapter is None:
        return f"this Keras ({keras.__version__}) takes batches from the host only"
    if keras.backend.backend() != "tensorflow":
        return f"Keras runs on {keras.backend.backend()}, and batches on a GPU are for its TensorFlow backend"
    import tensorflow as tf

    if number >= len(tf.config.list_physical_devices("GPU")):
        return "TensorFlow sees no GPU (is it tensorflow[and-cuda]?)"
    return None


class _TensorSource:
    """What Keras' TensorFlow trainer iterates. TensorFlow's default strategy takes any iterable for a dataset, as it is.

    Every other strategy looks for the graph node of a `tf.data.Dataset`, inside its scope or not, and is refused here: it would
    have to know which part of a batch belongs to which replica, and takes a batch away to build the model.
    """

    def __init__(self, loader: _KerasLoader) -> None:
        self._loader = loader

    def __iter__(self) -> Iterator[tuple[tf.Tensor, ...]]:
        return _Tensors(self._loader)

    def __getattr__(self, name: str) -> Any:
        raise NotImplementedError(
            "fastprep.Loader feeds one device, without a tf.distribute strategy: build and train the model outside of any "
            f"strategy ({name} was asked for)"
        )


class _Tensors:
    """Iterator of tuples of tensors over one pass; takes the pass at the first `next`."""

    def __init__(self, loader: _KerasLoader) -> None:
        self._loader = loader
        self._pass: plain.Pass | None = None
        self._count = 0

    def __iter__(self) -> _Tensors:
        return self

    def __next__(self) -> tuple[tf.Tensor, ...]:
        import tensorflow as tf

        if self._pass is None:
            self._pass = self._loader.keras_pass()
        batch = next(self._pass, None)
        if batch is None:
            if self._count < len(self._loader):
                # Keras expects a whole epoch, and takes this, but not StopIteration, for the end of one that was resumed
                raise tf.errors.OutOfRangeError(None, None, "the rest of a resumed epoch has been read")
            raise StopIteration
        self._count += 1
        tensors = [to_tensor(batch, self._loader.spec.dtype)]
        with tf.device("CPU:0"):
            tensors += [tf.constant(values) for values in (batch.y, batch.weights) if values is not None]
        return tuple(tensors)
