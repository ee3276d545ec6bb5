"""Reading and decoding of chunks: the images of a row of chunks, or one image that has to be converted."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fastprep._sink import Sink, Status, hand_over
from fastprep.errors import ChangedError, DataError, NotFiniteError
from fastprep.h5 import _decode, _read, native
from fastprep.h5._decode import ChunkPlan
from fastprep.h5.block_order import grouped
from fastprep.h5.cache import Scratch
from fastprep.h5.file_bytes import FileBytes
from fastprep.h5.files import CHANGED
from fastprep.h5.filters import SLACK_BYTES, DecodeError
from fastprep.h5.index import ImageIndex
from fastprep.h5.retries import machine_fault
from fastprep.h5.types import OutOfRange, widened

NOT_FINITE = (
    "its crop has values that are not finite: NaN or infinity in the file, or numbers that the type of the batch holds as "
    "infinity; mend the file, leave such images out by indices=, choose another scale or dtype, or have them let through: "
    "check_finite=False, after which a function in transform= can fill them"
)


class ChunkReader:
    """Reads and decodes the chunks of one dataset from an open file.

    Parameters
    ----------
    index : ImageIndex
        A complete one.
    file : FileBytes
        Those of the file at `index.holder`, with all that is read from it at hand. It is neither opened nor closed here.
    scratch : Scratch
    plan : ChunkPlan or None
        From `plan_of(index)`.
    """

    def __init__(self, index: ImageIndex, file: FileBytes, scratch: Scratch, plan: ChunkPlan | None) -> None:
        self.index, self.file, self._scratch, self._plan = index, file, scratch, plan

    def block(self, number: int, keeps: bool) -> NDArray | None:
        """Read a block of images that are decoded together.

        Parameters
        ----------
        number : int
            Block b has the samples from b * images_decoded_at_once on.
        keeps : bool
            Whether the block gets memory of its own. Otherwise it is valid until the next block is read by this thread.

        Returns
        -------
        ndarray of `index.dtype`, shape (images_decoded_at_once, *index.axes.sides[1:]), less for the last block
            None if HDF5 has to read it: a chunk is refused, and HDF5 alone knows what is wrong with it.

        Raises
        ------
        DataError
            If the bytes can't be read or decoded.
        """
        index, first = self.index, number * self.index.images_decoded_at_once
        if index.pipeline.filters or index.is_split:
            images = self._row_without_python(number, keeps) if self._plan is not None else None
            return self._chunk_row(number, keeps) if images is None and index.pipeline.can_decode else images
        row, within = divmod(first, index.images_per_chunk)
        offset = int(index.chunks.offsets[row]) + within * index.stored_image_bytes
        raw = self._read_bytes(offset, index.stored_image_bytes, first)
        return self._widened(raw.view(index.stored_dtype).reshape(1, *index.axes.sides[1:]), first)

    def hand_over(self, samples: NDArray[np.int64], slots: NDArray[np.int64], sink: Sink) -> NDArray[np.int64]:
        """Read images and hand them to a sink, each block once; without Python if there is a plan and no type to convert.

        Returns
        -------
        ndarray of int64
            Positions in `samples` of those that HDF5 has to read; see `block`.

        Raises
        ------
        OSError, DataError
            As `Reader.read` does.
        """
        blocks, begins, order = grouped(samples, self.index.images_decoded_at_once)
        is_converted = self.index.native_dtype != self.index.dtype
        in_order = samples[order], slots[order]
        first, left = 0, [np.empty(0, np.int64)]
        while first < len(blocks):
            if self._plan is not None and not is_converted:
                first += self._hand_over_rows(self._plan, blocks[first:], begins[first:], *in_order, sink)
            if first < len(blocks):  # it was refused, or can't be handed over so
                members = order[begins[first] : begins[first + 1]]
                if not self._hand_over_block(int(blocks[first]), samples[members], slots[members], sink):
                    left.append(members)
                first += 1
        return np.concatenate(left)

    def check_unchanged(self) -> None:
        """Raise a ChangedError if the file was written to since it was indexed: the images may be partly old and partly new."""
        if self.has_changed():
            raise ChangedError(CHANGED, self.index.file, self.index.dataset)

    def has_changed(self) -> bool:
        """Tell whether the file was written to since it was indexed."""
        return self.file.identity() != self.index.identity

    def error(self, status: int | str, sample: int) -> DataError | OSError:
        """Return the error of one sample, for a status of `_read` or a problem in words.

        It is an OSError where the system failed: that says nothing about the bytes of the file.
        """
        if not isinstance(status, str) and status > 0:
            return machine_fault(status, self.index.file, self.index.dataset, sample // self.index.images_per_chunk, sample)
        return reading_error(self.index, status, sample, self.has_changed())

    def _hand_over_rows(
        self,
        plan: ChunkPlan,
        rows: NDArray[np.int64],
        begins: NDArray[np.int64],
        samples: NDArray[np.int64],
        slots: NDArray[np.int64],
        sink: Sink,
    ) -> int:
        """Hand over the images of rows of chunks until one is refused; return how many rows that were."""
        index = self.index
        images = self._scratch.memory("images", plan.row_bytes if index.is_split else 1)
        memory = (*self._memory(plan.raw_bytes(rows)), images)
        decoder, file, within = self._scratch.decoder(), self.file, samples % index.images_per_chunk
        status, done, failed = _decode.read_rows(
            plan, decoder, file.number, file.mapping, rows, begins, within, slots, *memory, sink
        )
        if failed >= 0:
            raise reading_error(index, status, int(samples[failed]))
        if status not in (Status.OK, _decode.STATUS_REFUSED):
            raise self.error(status, int(rows[done]) * index.images_per_chunk)
        return done

    def _hand_over_block(self, number: int, samples: NDArray[np.int64], slots: NDArray[np.int64], sink: Sink) -> bool:
        """Hand over the images of one block; return whether that was possible without HDF5."""
        images = self.block(number, keeps=False)
        if images is None:
            return False
        offsets = samples % self.index.images_decoded_at_once * self.index.image_bytes
        status, position = hand_over(images.reshape(-1).view(np.uint8), offsets, slots, sink)
        if status:
            raise reading_error(self.index, status, int(samples[position]))
        return True

    def _memory(self, raw_bytes: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
        n_out = self.index.chunk_bytes + SLACK_BYTES
        memory = self._scratch.memory
        return memory("raw", raw_bytes), memory("spare", n_out), memory("out", n_out)

    def _row_without_python(self, row: int, keeps: bool) -> NDArray | None:
        """Return what `_chunk_row` does; None if a chunk is refused, which `_chunk_row` then has the last word about."""
        assert self._plan is not None
        index, plan, is_converted = self.index, self._plan, self.index.native_dtype != self.index.dtype
        raw, spare, out = self._memory(plan.raw_bytes(np.array([row])))
        if index.is_split:
            images = (
                np.empty(plan.row_bytes, np.uint8)
                if keeps and not is_converted
                else self._scratch.memory("images", plan.row_bytes)
            )
        else:
            out = images = np.empty(len(out), np.uint8) if keeps and not is_converted else out
        decoder, file = self._scratch.decoder(), self.file
        status = _decode.read_row(plan, decoder, file.number, file.mapping, row, raw, spare, out, images)
        if status == _decode.STATUS_REFUSED:
            return None
        first = row * index.images_per_chunk
        if status:
            raise self.error(status, first)
        n_images = min(index.images_per_chunk, index.shape[0] - first)
        pixels = images[: plan.row_bytes].view(index.native_dtype).reshape(index.images_per_chunk, *index.axes.sides[1:])
        return self._widened(pixels[:n_images], first)

    def _chunk_row(self, row: int, keeps: bool) -> NDArray:
        """Return the images of a row of chunks, `images_per_chunk` of them, as `index.dtype`; fewer for the last row."""
        index, sides = self.index, self.index.axes.sides[1:]
        tiles = [-(-s // c) for s, c in zip(sides, index.chunk_shape[1:], strict=True)]
        n_tiles = int(np.prod(tiles))
        n_out = index.chunk_bytes + SLACK_BYTES
        spare = self._scratch.memory("spare", n_out)
        first = row * index.images_per_chunk
        n_images = min(index.images_per_chunk, index.shape[0] - first)
        if n_tiles == 1 and not index.is_split:
            out = np.empty(n_out, np.uint8) if keeps else self._scratch.memory("out", n_out)
            chunk = self._chunk(row, row, out, spare)
            if keeps and not np.may_share_memory(chunk, out):
                chunk = chunk.copy()  # the next chunk will be read or decoded into its memory, or it is part of the mapped file
            return chunk if index.stored_dtype == index.dtype else self._widened(chunk[:n_images], first)
        out = self._scratch.memory("out", n_out)
        images = np.empty((n_images, *sides), index.dtype)
        for tile, coordinates in enumerate(np.ndindex(*tiles)):
            starts = [k * c for k, c in zip(coordinates, index.chunk_shape[1:], strict=True)]
            inside = [min(c, s - a) for c, s, a in zip(index.chunk_shape[1:], sides, starts, strict=True)]
            target = (slice(None), *(slice(a, a + n) for a, n in zip(starts, inside, strict=True)))
            source = (slice(n_images), *(slice(n) for n in inside))
            images[target] = self._widened(self._chunk(row * n_tiles + tile, row, out, spare)[source], first)
        return images

    def _widened(self, pixels: NDArray, first: int) -> NDArray:
        """Return images from sample `first` on as `index.dtype`."""
        try:
            return widened(pixels, self.index.dtype)
        except OutOfRange as error:
            raise self.error(str(error), first + error.row) from None

    def _chunk(self, number: int, row: int, out: NDArray[np.uint8], spare: NDArray[np.uint8]) -> NDArray:
        """Read and decode one chunk, shape `chunk_shape`, of the stored type; the result may be part of `out` or `spare`."""
        index, chunks, sample = self.index, self.index.chunks, row * self.index.images_per_chunk
        raw = self._read_bytes(int(chunks.offsets[number]), int(chunks.sizes[number]), sample)
        try:
            pixels = index.pipeline.decode(raw, int(chunks.masks[number]), index.chunk_bytes, out, spare)
        except DecodeError as error:
            raise self.error(str(error), sample) from error
        return pixels.view(index.stored_dtype).reshape(index.chunk_shape)

    def _read_bytes(self, offset: int, n_bytes: int, sample: int) -> NDArray[np.uint8]:
        if self.file.mapping is not None:
            return self.file.mapping[offset : offset + n_bytes]
        buffer = self._scratch.memory("raw", n_bytes)
        status = _read.read_bytes(self.file.number, offset, buffer) if n_bytes else Status.TRUNCATED
        if status:
            raise self.error(status, sample)
        return buffer


def plan_of(index: ImageIndex) -> ChunkPlan | None:
    """Return how the chunks of a dataset are decoded without Python; None if they can't be, or need not be decoded.

    Parameters
    ----------
    index : ImageIndex
        With the list of its chunks.
    """
    if index.reason or index.rows is not None or index.is_addressable or native.foreign_filters(index.pipeline):
        return None
    chunks = index.chunks
    return ChunkPlan(
        [(stage.code, stage.values) for stage in index.pipeline.filters],
        index.axes.sides,
        index.chunk_shape,
        index.stored_dtype.itemsize,
        not index.stored_dtype.isnative,
        SLACK_BYTES,
        np.ascontiguousarray(chunks.offsets, np.int64),
        np.ascontiguousarray(chunks.sizes, np.int64),
        np.ascontiguousarray(chunks.masks, np.uint32),
    )


def reading_error(index: ImageIndex, status: int | str, sample: int, changed: bool = False) -> DataError:
    """Return the error of a sample that can't be read, for a status of `_read` or of a sink, or a problem in words.

    It is a ChangedError if the file has changed, and a NotFiniteError if the sink found values that are not finite.
    """
    problem = status if isinstance(status, str) else problem_of(status)
    kind = ChangedError if changed else NotFiniteError if status == Status.NOT_FINITE else DataError
    problem = f"{problem}; the file was {CHANGED}" if changed else problem
    return kind(problem, index.file, index.name_of(sample), sample // index.images_per_chunk, sample)


def problem_of(status: int) -> str:
    """Describe a status of `_read`, or of a sink, that is neither OK nor a number of the system's errors."""
    if status == Status.TRUNCATED:
        return "the file ends before the data do; it may have been truncated"
    return NOT_FINITE if status == Status.NOT_FINITE else "the crop kernel refused the image"
