"""Batches: their buffers, the backends that fill them, the threads that prepare them, and the order in which they come."""

from fastprep.pipeline.backends import Backend, choose, choose_parts, pool_of
from fastprep.pipeline.batch import Batch, SharedBatch
from fastprep.pipeline.buffers import BufferPool, Lease, dlpack_capsule
from fastprep.pipeline.companions import Companions
from fastprep.pipeline.epoch_iterator import EpochIterator, HandedOut, ImageIterator
from fastprep.pipeline.profiling import profiled
from fastprep.pipeline.source import BatchSource
from fastprep.pipeline.worker_pool import WorkerPool, check_workers

__all__ = [
    "Backend",
    "Batch",
    "BatchSource",
    "BufferPool",
    "Companions",
    "EpochIterator",
    "HandedOut",
    "ImageIterator",
    "Lease",
    "SharedBatch",
    "WorkerPool",
    "check_workers",
    "choose",
    "choose_parts",
    "dlpack_capsule",
    "pool_of",
    "profiled",
]
