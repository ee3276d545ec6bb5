"""Exchange of numbers between the processes that TF_CONFIG names, by TensorFlow's collectives.

Only public names of TensorFlow are used: `tf.distribute.MultiWorkerMirroredStrategy` connects the processes and watches that they
are alive, and `tf.raw_ops.Collective*` move the numbers.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastprep.errors import InputError, RankError
from fastprep.training.distributed.cluster import Cluster
from fastprep.training.distributed.ranks import Ranks
from fastprep.training.distributed.watchdog import Watchdog, end_waiting

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

_HOST, _DEVICE = 1, 2  # keys of the groups of collectives: between CPUs, and between the devices that train


class Joined(Ranks):
    """One of several ranks. All of them have to call the same methods in the same order.

    Parameters
    ----------
    cluster : Cluster
    timeout_s : float
        Seconds to wait for the other ranks in one of these calls, and in a step of training.
    strategy : tf.distribute.Strategy
        Holds the connections, and so is kept alive.

    Raises
    ------
    RankError
        From every method that exchanges something, if another rank ends or can't be reached. If one does not answer in time, the
        process prints such a message and ends, since TensorFlow's call can't be interrupted.
    """

    jit_compile = False  # XLA knows no collectives of other processes
    steps_between_exchanges = 64

    def __init__(self, cluster: Cluster, timeout_s: float, strategy: Any) -> None:
        import tensorflow as tf

        self.rank, self.world = cluster.rank, cluster.world
        self._cluster, self._timeout_s, self._strategy = cluster, timeout_s, strategy
        self._calls = 0
        here = f"/job:worker/replica:0/task:{self.rank}/device:"
        self._host = f"{here}CPU:0"
        self.on_gpu = any(device.name.startswith(here) for device in tf.config.list_logical_devices("GPU"))
        self._device = f"{here}GPU:0" if self.on_gpu else self._host
        self._watchdog, self._folder = Watchdog(timeout_s, self._end), Path(os.devnull)
        with tf.device(self._host):
            # how often a step of training has begun to wait for the others, or is done with it: a variable, since a call of
            # Python in the step would have to wait for Python's lock
            self._waits = tf.Variable(0, dtype=tf.int64, trainable=False)

    @property
    def prefix(self) -> str:
        """See `Ranks.prefix`."""
        return f"fastprep.train: rank {self.rank}"

    def describe(self, batch_size: int) -> list[str]:
        """See `Ranks.describe`."""
        return [
            f"{self.world} ranks: {batch_size} images each a step, {batch_size * self.world} together; figures about "
            "speed are those of rank 0"
        ]

    def gather(self, value: Any) -> list[Any]:
        """See `Ranks.gather`."""
        words = _to_words(json.dumps(value).encode())
        length = int(self.reduce(np.array([len(words)], np.int32), "Max")[0])
        padded = np.zeros((1, length), np.int32)
        padded[0, : len(words)] = words
        rows = self._call("CollectiveGatherV2", input=padded, communication_hint="ring", ordering_token=[])
        return [json.loads(_from_words(row)) for row in rows]

    def from_first(self, value: Any) -> Any:
        """See `Ranks.from_first`."""
        words = _to_words(json.dumps(value).encode()) if self.first else np.empty(0, np.int32)
        length = int(self.spread(np.array([len(words)], np.int32))[0])
        return json.loads(_from_words(self.spread(words if self.first else np.zeros(length, np.int32))))

    def spread(self, values: Any) -> Any:
        """See `Ranks.spread`."""
        values = np.asarray(values)
        words = _to_words(np.ascontiguousarray(values).tobytes())  # as integers, so that no NaN is touched
        if self.first:
            self._call("CollectiveBcastSendV2", input=words)
            return values
        received = self._call("CollectiveBcastRecvV2", shape=words.shape, T=np.int32)
        return np.frombuffer(_from_words(received), values.dtype).reshape(values.shape)

    def reduce(self, values: NDArray, how: str = "Add") -> NDArray:
        """See `Ranks.reduce`."""
        flat = np.ascontiguousarray(values).reshape(-1)
        result = self._call(
            "CollectiveReduceV2", input=flat, merge_op=how, final_op="Id", communication_hint="ring", ordering_token=[]
        )
        return result.reshape(values.shape)

    def mean(self, tensors: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """See `Ranks.mean`.

        All tensors but those of float64 are added in one buffer of float32, because a sum in half precision loses bits or
        overflows.
        """
        import tensorflow as tf

        result: list[Any] = [None] * len(tensors)
        before: list[Any] = [self._waits.assign_add(1)]
        for key, kind in ((1, tf.float32), (2, tf.float64)):
            members = [k for k, tensor in enumerate(tensors) if (tensor.dtype == tf.float64) == (kind == tf.float64)]
            if not members:
                continue
            with tf.control_dependencies(before), tf.device(self._device):  # in the same order everywhere
                flat = tf.concat([tf.reshape(tf.cast(tensors[k], kind), [-1]) for k in members], 0)
                # the same key in every step, however often the step is traced: TensorFlow never frees the 0.9 kB that it keeps
                # for each key
                total = tf.raw_ops.CollectiveReduceV2(
                    input=flat,
                    group_size=self.world,
                    group_key=_DEVICE,
                    instance_key=key,
                    ordering_token=[],
                    merge_op="Add",
                    final_op="Id",
                    communication_hint="nccl" if self.on_gpu else "ring",
                )
                parts = tf.split(total / self.world, [tensors[k].shape.num_elements() for k in members])
                for k, part in zip(members, parts, strict=True):
                    result[k] = tf.cast(tf.reshape(part, tensors[k].shape), tensors[k].dtype)
            before = [total]
        with tf.control_dependencies(before):
            self._waits.assign_add(1)
        return result

    def share_gradients(self, model: keras.Model) -> None:
        """See `Ranks.share_gradients`."""
        from fastprep.training.distributed import sync

        sync.share_gradients(model, self)

    def start_alike(self, model: keras.Model, seed: int, epoch: int, step: int) -> None:
        """See `Ranks.start_alike`."""
        from fastprep.training.distributed import sync

        sync.start_alike(model, self, seed, epoch, step)

    def average_moving(self, model: keras.Model) -> None:
        """See `Ranks.average_moving`."""
        from fastprep.training.distributed import sync

        sync.average_moving(model, self)

    def settle(self, model: keras.Model, *, metrics: bool) -> None:
        """See `Ranks.settle`."""
        from fastprep.training.distributed import sync

        sync.settle(model, self, metrics=metrics)

    def callbacks(self) -> list[keras.callbacks.Callback]:
        """See `Ranks.callbacks`."""
        from fastprep.training.distributed import sync

        return [sync.Totals(self)]

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """See `Ranks.together`."""
        own_error: InputError | None = None
        try:
            yield
        except InputError as error:
            own_error = error
        errors = self.gather(None if own_error is None else str(own_error))
        if own_error is not None:
            raise own_error
        for rank, text in enumerate(errors):
            if text is not None:
                raise RankError(f"{self._cluster.name(rank)} can't go on: {text}")

    @contextlib.contextmanager
    def training(self, folder: Path) -> Iterator[None]:
        """See `Ranks.training`."""
        self._folder = folder
        try:
            with self._errors_explained(), self._watchdog.watching(lambda: int(self._waits.numpy())):
                yield
        finally:
            self._folder = Path(os.devnull)

    @contextlib.contextmanager
    def _errors_explained(self) -> Iterator[None]:
        """Turn TensorFlow's errors about lost ranks into a RankError."""
        import tensorflow as tf

        try:
            yield
        except (tf.errors.UnavailableError, tf.errors.DeadlineExceededError, tf.errors.AbortedError) as error:
            raise RankError(self._explain(str(error))) from error
        except tf.errors.OpError as error:
            if "ollective" not in str(error):
                raise
            raise RankError(self._explain(str(error))) from error

    def finish(self) -> None:
        """See `Ranks.finish`."""
        self._call(
            "CollectiveReduceV2",
            has_limit=False,  # a rank that ends is noticed all the same
            input=np.zeros(1, np.int32),
            merge_op="Add",
            final_op="Id",
            communication_hint="ring",
            ordering_token=[],
        )

    def _call(self, name: str, *, has_limit: bool = True, **arguments: Any) -> NDArray:
        import tensorflow as tf

        self._calls += 1
        limit = self._watchdog.watching() if has_limit else contextlib.nullcontext()
        with self._errors_explained(), limit, tf.device(self._host):
            operation = getattr(tf.raw_ops, name)
            return np.asarray(operation(group_size=self.world, group_key=_HOST, instance_key=self._calls, **arguments))

    def _end(self) -> None:
        problem = f"another rank did not come within {self._timeout_s:g} s (--rank-timeout): it hangs, or has far more to do"
        end_waiting(self._folder, f"{self.prefix}: {problem}")

    def _explain(self, text: str) -> str:
        named = [int(rank) for rank in re.findall(r"/task:(\d+)", text)]
        lost = [rank for rank in named if rank != self.rank and rank < self.world]
        if lost:
            who = self._cluster.name(lost[0])
            return f"{who} ended, or can't be reached any more; what it printed says why"
        return f"the connection to another rank broke: {' '.join(text.split())[:400]}"


def _to_words(content: bytes) -> NDArray[np.int32]:
    """Pack bytes and their number into the integers that collectives take."""
    packed = len(content).to_bytes(8, "little") + content + bytes(-len(content) % 4)
    return np.frombuffer(packed, np.int32)


def _from_words(words: NDArray[np.int32]) -> bytes:
    packed = np.ascontiguousarray(words).tobytes()
    return packed[8 : 8 + int.from_bytes(packed[:8], "little")]
