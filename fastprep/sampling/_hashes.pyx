"""The hashes of `hashing.py`: all steps of a number at once, since a batch draws little of each, and calls are what it costs."""

from libc.stdint cimport int32_t, int64_t, uint64_t

import numpy as np

cdef enum:
    MANY = 4096  # numbers: from there on it is worth to let other threads run
    ABREAST = 8  # positions that are permuted together

cdef uint64_t GOLDEN_GAMMA = 0x9E3779B97F4A7C15  # 2**64 / golden ratio, odd
cdef double UNIT = 2.0**-53


cdef inline uint64_t mixed(uint64_t z) noexcept nogil:
    z = (z ^ (z >> 30)) * <uint64_t> 0xBF58476D1CE4E5B9
    z = (z ^ (z >> 27)) * <uint64_t> 0x94D049BB133111EB
    return z ^ (z >> 31)


cdef inline uint64_t bits(uint64_t stream, uint64_t counter) noexcept nogil:
    return mixed(mixed(counter * GOLDEN_GAMMA + stream))


cdef inline int64_t scaled(uint64_t hashed, int64_t n_values) noexcept nogil:
    return <int64_t> ((hashed >> 32) * <uint64_t> n_values >> 32)


def key(parts):
    """Fold integers into one of 64 bits; see `hashing.key`."""
    cdef uint64_t state = 0
    for part in parts:
        state = mixed(state + GOLDEN_GAMMA + <uint64_t> (part & 0xFFFFFFFFFFFFFFFF))
    return state


cdef void draw_each(
    uint64_t stream, const int64_t[::1] counters, const int64_t[::1] n_values, int64_t step, int64_t[::1] drawn
) noexcept nogil:
    cdef int64_t k
    for k in range(counters.shape[0]):
        drawn[k] = scaled(bits(stream, <uint64_t> counters[k]), n_values[k * step])


def draw(uint64_t stream, const int64_t[::1] counters not None, const int64_t[::1] n_values not None):
    """Draw an integer for each counter; `n_values` has one number for all, or one for each. See `hashing.draw`."""
    cdef int64_t n = counters.shape[0], step = n_values.shape[0] != 1
    cdef int64_t[::1] drawn
    if step and n_values.shape[0] != n:
        raise ValueError(f"n_values must be one number, or one for each of {n} counters, got {n_values.shape[0]}")
    result = np.empty(n, np.int64)
    drawn = result
    if n < MANY:
        draw_each(stream, counters, n_values, step, drawn)
    else:
        with nogil:
            draw_each(stream, counters, n_values, step, drawn)
    return result


cdef void draw_column(
    uint64_t stream, const int64_t[::1] counters, const int64_t[::1] n_values, int32_t times, int32_t[:] column
) noexcept nogil:
    cdef int64_t k, step = n_values.shape[0] != 1
    for k in range(counters.shape[0]):
        column[k] += times * <int32_t> scaled(bits(stream, <uint64_t> counters[k]), n_values[k * step])


def draw_rows(const int64_t[::1] counters not None, draws):
    """Return rows of four numbers, the first of which is the row's own, and add draws to the others: int32, shape (n, 4).

    `draws` has a tuple for each: the number of the column, the key of the stream, how many values there are (an array of one
    number for all counters, or of one for each), and what a draw is multiplied by. See `hashing.draw`.
    """
    cdef int64_t k, n = counters.shape[0]
    cdef const int64_t[::1] n_values
    cdef int column
    cdef uint64_t stream
    cdef int32_t times
    result = np.zeros((n, 4), np.int32)
    cdef int32_t[:, ::1] rows = result
    for k in range(n):
        rows[k, 0] = <int32_t> k
    for column, stream, n_values, times in draws:
        if not 0 <= column < 4 or n_values.shape[0] not in (1, n):
            raise ValueError(f"draws must be for columns 0..3, with one number or {n}, got column {column}, {n_values.shape[0]}")
        if n < MANY:
            draw_column(stream, counters, n_values, times, rows[:, column])
        else:
            with nogil:
                draw_column(stream, counters, n_values, times, rows[:, column])
    return result


cdef void fill_uniform(uint64_t stream, const int64_t[::1] counters, double[::1] drawn) noexcept nogil:
    cdef int64_t k
    for k in range(counters.shape[0]):
        drawn[k] = <double> (bits(stream, <uint64_t> counters[k]) >> 11) * UNIT


def uniform(streams, const int64_t[::1] counters not None):
    """Draw numbers in 0..1 for each counter, on each of some streams: float64, shape (streams, n). See `hashing.uniform`."""
    cdef int64_t k, n = counters.shape[0]
    cdef uint64_t stream
    result = np.empty((len(streams), n))
    cdef double[:, ::1] drawn = result
    for k in range(drawn.shape[0]):
        stream = streams[k]
        if n < MANY:
            fill_uniform(stream, counters, drawn[k])
        else:
            with nogil:
                fill_uniform(stream, counters, drawn[k])
    return result


cdef inline int64_t wrapped(int64_t total, int64_t n_values) noexcept nogil:
    """Return the remainder of the sum of two numbers in 0..n_values-1, without a division, which took most of the time."""
    return total - n_values if total >= n_values else total


cdef inline void move(int64_t *positions, int64_t n, int64_t rows, int64_t columns, const uint64_t[::1] keys) noexcept nogil:
    """Move up to `ABREAST` positions of the rectangle: rows move by hashes of columns, and columns by hashes of rows.

    Each step of a position waits for the one before, so that a processor is at work on several positions at a time.
    """
    cdef int64_t row[ABREAST]
    cdef int64_t column[ABREAST]
    cdef int64_t j, k
    for j in range(n):
        row[j] = positions[j] // columns
        column[j] = positions[j] - row[j] * columns
    for k in range(0, keys.shape[0], 2):
        for j in range(n):
            row[j] = wrapped(row[j] + scaled(bits(keys[k], <uint64_t> column[j]), rows), rows)
        for j in range(n):
            column[j] = wrapped(column[j] + scaled(bits(keys[k + 1], <uint64_t> row[j]), columns), columns)
    for j in range(n):
        positions[j] = row[j] * columns + column[j]


cdef void permute_each(
    int64_t[::1] positions, int64_t n_samples, int64_t rows, int64_t columns, const uint64_t[::1] keys
) noexcept nogil:
    cdef int64_t k, first = 0, n = positions.shape[0]
    while first + ABREAST <= n:
        move(&positions[first], ABREAST, rows, columns, keys)
        first += ABREAST
    if first < n:
        move(&positions[first], n - first, rows, columns, keys)
    for k in range(n):
        while positions[k] >= n_samples:
            move(&positions[k], 1, rows, columns, keys)


def permute(int64_t[::1] positions not None, int64_t n_samples, int64_t columns, const uint64_t[::1] keys not None):
    """Look positions up in a permutation of 0..n_samples-1, in place; see `order.permute`."""
    cdef int64_t rows = (n_samples - 1) // columns + 1
    if positions.shape[0] < MANY:
        permute_each(positions, n_samples, rows, columns, keys)
    else:
        with nogil:
            permute_each(positions, n_samples, rows, columns, keys)
