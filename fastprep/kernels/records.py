"""Records of the CUDA warp kernel: what it reads for each output image."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import ceil

import numpy as np
from numpy.typing import NDArray

from fastprep.kernels._cpu_warp import most_taps, put_taps
from fastprep.kernels.warp_spec import WarpSpec
from fastprep.transforms import TRANSPOSED, TransformTable

_ALIGNMENT = 64  # of an image among images of different sizes, in numbers


@dataclass(frozen=True)
class Record:
    """Where the parts of a record of the table are, in words of 32 bits. A record is for one output image.

    Parameters
    ----------
    spec : WarpSpec
    """

    spec: WarpSpec

    @cached_property
    def most_across(self) -> int:
        """Largest number of taps of an output column."""
        return max(most_taps(side, self.spec.size[1]) for side in self.spec.image_shape[:2])

    @cached_property
    def most_down(self) -> int:
        """Largest number of taps of an output row."""
        return max(most_taps(side, self.spec.size[0]) for side in self.spec.image_shape[:2])

    @cached_property
    def places(self) -> dict[str, int]:
        """First word of each part that there is, by its macro in `warp.cu`, and the number of words as RECORD."""
        lengths = {"CROPS": 4, **self._source_lengths()}
        spec, channels = self.spec, self.spec.image_shape[2]
        if spec.geometry == "matrix":
            lengths["POSITIONS"] = 12
        if spec.has_colors:
            lengths["COLORS"] = channels * (channels + 1)
        if spec.erase_value is not None:
            lengths["ERASED"] = 4
        ends = np.cumsum(list(lengths.values())).tolist()
        return {**dict(zip(lengths, [0, *ends], strict=False)), "RECORD": -(-ends[-1] // 4) * 4}

    def _source_lengths(self) -> dict[str, int]:
        """Return the words of the parts that say where pixels come from."""
        if self.spec.geometry != "box":
            return {}
        h, w = self.spec.size
        return {"ACROSS": w * (2 + self.most_across), "DOWN": h * (2 + self.most_down)}

    def n_rows(self, table: TransformTable) -> int:
        """Count the rows that `pack` makes of a table."""
        return len(table)

    def pack(self, table: TransformTable) -> NDArray[np.int32]:
        """Return the records of a table from ``spec.checked(table, n)``, of shape (n_rows, words)."""
        records = np.zeros((self.n_rows(table), self.places["RECORD"]), np.int32)
        parts = {
            "CROPS": table.crops,
            "POSITIONS": None if table.matrices is None else _positions(table.matrices),
            "COLORS": table.colors,
            "ERASED": table.erasures,
        }
        for name, values in parts.items():
            if values is not None:
                self._put(records, name, values.reshape(len(table), -1).view(np.int32))
        self._put_source(records, table)
        return records

    def _put(self, records: NDArray[np.int32], name: str, words: NDArray[np.int32]) -> None:
        records[: len(words), self.places[name] : self.places[name] + words.shape[1]] = words

    def _put_source(self, records: NDArray[np.int32], table: TransformTable) -> None:
        """Write the parts that say where pixels come from, beside crops and matrices."""
        if table.boxes is not None:
            first, end = self.places["ACROSS"], self.places["DOWN"]
            height, width, _ = self.spec.image_shape
            sizes = np.full((len(table), 2), (height, width), np.int64)
            self._put_taps(records[:, first:end], records[:, end:], table, sizes, self.most_across, self.most_down)

    def _put_taps(
        self,
        across: NDArray[np.int32],
        down: NDArray[np.int32],
        table: TransformTable,
        sizes: NDArray[np.int64],
        most_across: int,
        most_down: int,
    ) -> None:
        """Write taps along rows and along columns, those of a turned image along its own."""
        assert table.boxes is not None
        is_turned = (table.crops[:, 3:] & TRANSPOSED) != 0
        boxes = np.where(is_turned, table.boxes[:, [1, 0, 3, 2]], table.boxes)
        sides = np.where(is_turned, sizes[:, ::-1], sizes)
        h, w = self.spec.size
        for words, axis, n_out, most in ((across, 1, w, most_across), (down, 0, h, most_down)):
            starts, lengths, n_in = (np.ascontiguousarray(part) for part in (boxes[:, axis], boxes[:, axis + 2], sides[:, axis]))
            put_taps(words, starts, lengths, n_in, n_out, most)


class SizedRecord(Record):
    """Where the parts of a record are for images of different sizes, which lie one after the other.

    How many taps a pixel has depends on the boxes of the batch, so the taps of all output images follow on the records, and a
    record says how many words away its own are.
    """

    def images(self, table: TransformTable) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return where the image of each slot begins, and how many numbers it has.

        Parameters
        ----------
        table : TransformTable
            With `sizes`.

        Returns
        -------
        starts, lengths : ndarray of int64, shape (largest slot + 1,)
        """
        slots = table.crops[:, 0]
        lengths = np.zeros(slots.max(initial=-1) + 1, np.int64)
        assert table.sizes is not None
        lengths[slots] = table.sizes.prod(axis=1) * self.spec.n_source_channels
        ends = np.cumsum(-(-lengths // _ALIGNMENT) * _ALIGNMENT)
        return np.concatenate([[0], ends[:-1]])[: len(ends)], lengths

    def n_rows(self, table: TransformTable) -> int:
        """Count the rows that `pack` makes of a table: its records, and rows with the taps of all of them."""
        across, down = self._tap_words(table)
        return len(table) - (-len(table) * (across + down) // self.places["RECORD"])

    def _source_lengths(self) -> dict[str, int]:
        return {"IMAGE_AT": 4, "TAPS_AT": 4} if self.spec.geometry == "box" else {"IMAGE_AT": 4}

    def _most(self, table: TransformTable) -> tuple[int, int]:
        """Return the largest number of taps of an output column, and of an output row, of a table."""
        assert table.boxes is not None
        longest = float(table.boxes[:, 2:].max(initial=0.0))
        # as `most_taps` bounds them, but for these boxes and not for any box in an image
        across, down = (2 * ceil(max(longest / n_out, 1.0)) + 2 for n_out in self.spec.size[::-1])
        return across, down

    def _tap_words(self, table: TransformTable) -> tuple[int, int]:
        if table.boxes is None:
            return 0, 0
        (across, down), (h, w) = self._most(table), self.spec.size
        return w * (2 + across), h * (2 + down)

    def _put_source(self, records: NDArray[np.int32], table: TransformTable) -> None:
        n, slots, sizes = len(table), table.crops[:, 0], table.sizes
        assert sizes is not None
        starts = self.images(table)[0][slots]
        self._put(records, "IMAGE_AT", np.concatenate([starts.view(np.int32).reshape(n, 2), sizes.astype(np.int32)], axis=1))
        if table.boxes is None:
            return
        n_words, (across, down), (most_across, most_down) = self.places["RECORD"], self._tap_words(table), self._most(table)
        taps = records.reshape(-1)[n * n_words : n * (n_words + across + down)].reshape(n, across + down)
        self._put_taps(taps[:, :across], taps[:, across:], table, sizes, most_across, most_down)
        away = n * n_words + np.arange(n) * (across + down - n_words)
        at = np.stack([away, np.full(n, most_across), away + across, np.full(n, most_down)], axis=1)
        self._put(records, "TAPS_AT", at.astype(np.int32))


def record_of(spec: WarpSpec) -> Record:
    """Return what the records of an operation are like."""
    return SizedRecord(spec) if spec.has_sizes else Record(spec)


def _positions(matrices: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return start, step to the right and step down of x, then of y, in multiples of 2**-32 pixels, rounded half to even."""
    a, b, c = np.moveaxis(matrices, 2, 0)
    numbers = np.stack([a * 0.5 + b * 0.5 + c - 0.5, a, b], axis=-1)
    return np.rint(numbers * 2.0**32).astype(np.int64)
