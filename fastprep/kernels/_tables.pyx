"""One pass over the rows of a table, before the kernels execute it without looking."""

from libc.float cimport DBL_MAX
from libc.math cimport fabs
from libc.stdint cimport int32_t, int64_t

import numpy as np

from fastprep.transforms import TRANSPOSED

cdef int32_t TURNED = TRANSPOSED


cdef class Limits:
    """What the rows of an operation's tables may be, the same for all batches.

    `most_flags` is the sum of all flags. `most_source` is the largest number, either sign, of the source, and `most_mapped` what
    colours may make of numbers; None if anything that is finite may be.
    """

    cdef int64_t height, width, channels, out_height, out_width
    cdef int32_t most_flags
    cdef double farthest, most_source, most_mapped
    cdef bint is_crop, is_box, is_matrix, has_colors, has_erasures

    def __cinit__(
        self, *, geometry, tuple image_shape, tuple size, int32_t most_flags, bint has_colors=False, bint has_erasures=False,
        double farthest=0, double most_source=0, most_mapped=None,
    ):
        self.is_crop, self.is_box, self.is_matrix = geometry == "crop", geometry == "box", geometry == "matrix"
        self.height, self.width, self.channels = image_shape
        self.out_height, self.out_width = size
        self.most_flags, self.has_colors, self.has_erasures = most_flags, has_colors, has_erasures
        self.farthest, self.most_source = farthest, most_source
        self.most_mapped = DBL_MAX if most_mapped is None else most_mapped

    def hold(self, crops, boxes, matrices, colors, erasures, int64_t n_slots):
        """Tell whether a table is surely sound, and its arrays are what the kernels read.

        If not, it may still be: its arrays may have another type or order, and sums are compared with a little less than what
        is allowed, because they may be rounded in several ways.
        """
        cdef const int32_t[:, ::1] own_crops
        cdef const double[:, ::1] own_boxes
        cdef const double[:, :, ::1] own_matrices
        cdef const float[:, :, ::1] own_colors
        cdef const int32_t[:, ::1] own_erasures
        cdef int64_t n
        if (boxes is not None, matrices is not None, colors is not None, erasures is not None) != (
            self.is_box, self.is_matrix, self.has_colors, self.has_erasures
        ):
            return False
        try:
            own_crops, own_boxes, own_matrices, own_colors, own_erasures = crops, boxes, matrices, colors, erasures
        except (TypeError, ValueError):  # of another type, number of axes, or order
            return False
        n = own_crops.shape[0]
        return (
            n > 0
            and own_crops.shape[1] == 4
            and self.hold_crops(own_crops, n_slots)
            and (boxes is None or (boxes.shape == (n, 4) and self.hold_boxes(own_boxes)))
            and (matrices is None or (matrices.shape == (n, 2, 3) and self.hold_matrices(own_matrices)))
            and (colors is None or (colors.shape == (n, self.channels, self.channels + 1) and self.hold_colors(own_colors)))
            and (erasures is None or (erasures.shape == (n, 4) and self.hold_erasures(own_erasures)))
        )

    cdef bint hold_crops(self, const int32_t[:, ::1] crops, int64_t n_slots) noexcept nogil:
        cdef int64_t k, h, w
        cdef bint is_turned
        for k in range(crops.shape[0]):
            if not (0 <= crops[k, 0] < n_slots and 0 <= crops[k, 3] <= self.most_flags):
                return False
            if self.is_crop:
                is_turned = (crops[k, 3] & TURNED) != 0
                h, w = (self.out_width if is_turned else self.out_height), (self.out_height if is_turned else self.out_width)
                if not (0 <= crops[k, 1] <= self.height - h and 0 <= crops[k, 2] <= self.width - w):
                    return False
        return True

    cdef bint hold_boxes(self, const double[:, ::1] boxes) noexcept nogil:
        cdef int64_t k
        for k in range(boxes.shape[0]):
            if not (boxes[k, 0] >= 0 and boxes[k, 1] >= 0 and boxes[k, 2] > 0 and boxes[k, 3] > 0):
                return False
            if not (boxes[k, 0] + boxes[k, 2] <= self.height and boxes[k, 1] + boxes[k, 3] <= self.width):
                return False
        return True

    cdef bint hold_matrices(self, const double[:, :, ::1] matrices) noexcept nogil:
        cdef int64_t k, row
        cdef double reach
        for k in range(matrices.shape[0]):
            for row in range(2):
                reach = fabs(matrices[k, row, 0]) * self.out_width + fabs(matrices[k, row, 1]) * self.out_height
                if not reach + fabs(matrices[k, row, 2]) <= 0.999 * self.farthest:
                    return False
        return True

    cdef bint hold_colors(self, const float[:, :, ::1] colors) noexcept nogil:
        cdef int64_t k, row, column, n = self.channels
        cdef double sum_of_row
        for k in range(colors.shape[0]):
            for row in range(n):
                sum_of_row = 0
                for column in range(n):
                    sum_of_row += fabs(colors[k, row, column])
                if not sum_of_row * self.most_source + fabs(colors[k, row, n]) <= self.most_mapped:
                    return False
        return True

    cdef bint hold_erasures(self, const int32_t[:, ::1] erasures) noexcept nogil:
        cdef int64_t k
        for k in range(erasures.shape[0]):
            if not (0 <= erasures[k, 0] <= self.out_height and 0 <= erasures[k, 1] <= self.out_width):
                return False
            if not (0 <= erasures[k, 2] <= self.out_height - erasures[k, 0]):
                return False
            if not (0 <= erasures[k, 3] <= self.out_width - erasures[k, 1]):
                return False
        return True


def by_slot(const int32_t[:] slots not None, int64_t n_slots):
    """Return the order of rows by their slot, where those of each slot begin in it, and whether it is the given one.

    See `tables.by_slot`.
    """
    cdef int64_t k, slot, n = slots.shape[0]
    cdef bint is_sorted = True
    order, firsts = np.empty(n, np.int64), np.zeros(n_slots + 1, np.int64)
    cdef int64_t[::1] rows = order, begins = firsts, next_of
    for k in range(n):
        if not 0 <= slots[k] < n_slots:
            raise ValueError(f"slots must lie in 0..{n_slots - 1}, found {slots[k]}")
        is_sorted &= k == 0 or slots[k - 1] <= slots[k]
        begins[slots[k] + 1] += 1
        rows[k] = k
    for slot in range(n_slots):
        begins[slot + 1] += begins[slot]
    if not is_sorted:
        next_of = firsts[:n_slots].copy()
        for k in range(n):
            rows[next_of[slots[k]]] = k
            next_of[slots[k]] += 1
    return order, firsts, is_sorted
