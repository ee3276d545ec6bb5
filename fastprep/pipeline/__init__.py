"""Batches: buffers, the backends that fill them, the threads that prepare them, and their order."""

from fastprep.pipeline.backends import Backend, choose
from fastprep.pipeline.batch import Batch, SharedBatch
from fastprep.pipeline.buffers import BufferPool, Lease, dlpack_capsule
from fastprep.pipeline.epoch_iterator import EpochIterator
from fastprep.pipeline.worker_pool import WorkerPool

__all__ = ["Backend", "Batch", "BufferPool", "EpochIterator", "Lease", "SharedBatch", "WorkerPool", "choose", "dlpack_capsule"]
