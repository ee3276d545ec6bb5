"""JPEGs decoded by libjpeg-turbo without the GIL, of each the part that its receiver reads. `parts.py` checks arguments.

This module is compiled where libjpeg-turbo and its headers are; without it simplejpeg decodes whole images, to the same pixels.
"""

from libc.stdint cimport int64_t, uint8_t
from libc.stdlib cimport free, malloc

from fastprep._sink cimport OK, Sink, part_of_image

cdef extern from "_jpeg_part.h" nogil:
    ctypedef struct fastprep_jpeg:
        pass
    ctypedef struct fastprep_jpeg_part:
        int64_t height, width, top, bottom, left, right
        int channels
    fastprep_jpeg *fastprep_jpeg_new()
    void fastprep_jpeg_free(fastprep_jpeg *jpeg)
    int fastprep_jpeg_decode(
        fastprep_jpeg *jpeg, const uint8_t *data, size_t n_bytes, const fastprep_jpeg_part *wanted, uint8_t *out
    )


cdef struct Row:
    const uint8_t *data
    int64_t n_bytes


def hand_over_jpegs(
    list rows not None,
    const int64_t[:, ::1] sizes not None,
    const int64_t[::1] slots not None,
    int n_channels,
    uint8_t[::1] pixels not None,
    Sink sink not None,
):
    """Decode JPEGs of `sizes` into `pixels`, one after the other, and hand each to the sink, for its slot.

    Returns (status, position): OK or what the sink returned, and the position of the JPEG that was not handed over, or their
    number. With OK it is one that is not decoded here.
    """
    cdef int64_t k = 0, status = OK, n = len(rows)
    cdef const uint8_t[::1] view
    cdef fastprep_jpeg *jpeg
    cdef Row *found = <Row *> malloc(max(n, 1) * sizeof(Row))
    cdef bint is_decoded
    if found == NULL:
        raise MemoryError
    try:
        if sink.take == NULL:
            raise TypeError(f"{type(sink).__name__} takes no pixels")
        for k in range(n):
            view = rows[k]
            found[k].n_bytes = view.shape[0]
            found[k].data = &view[0] if view.shape[0] else NULL
        k = 0
        with nogil:
            jpeg = fastprep_jpeg_new()
            while jpeg != NULL and k < n:
                is_decoded = decode_for(sink, slots[k], jpeg, &found[k], sizes[k, 0], sizes[k, 1], n_channels, &pixels[0])
                if not is_decoded:
                    break
                status = sink.take(sink.context, slots[k], &pixels[0])
                if status != OK:
                    break
                k += 1
            fastprep_jpeg_free(jpeg)
    finally:
        free(found)
    return status, k


cdef bint decode_for(
    Sink sink, int64_t slot, fastprep_jpeg *jpeg, const Row *row, int64_t height, int64_t width, int n_channels, uint8_t *pixels
) noexcept nogil:
    """Decode what the sink needs of a JPEG; of one that it needs nothing of, everything."""
    cdef part_of_image part
    cdef fastprep_jpeg_part wanted = fastprep_jpeg_part(height, width, 0, height, 0, width, n_channels)
    if sink.part != NULL:
        part = sink.part(sink.context, slot)
        if part.bottom:
            wanted.top, wanted.bottom, wanted.left, wanted.right = part.top, part.bottom, part.left, part.right
    return row.data != NULL and fastprep_jpeg_decode(jpeg, row.data, row.n_bytes, &wanted, pixels)


def decode_part(const uint8_t[::1] data not None, tuple part not None, uint8_t[:, :, ::1] out not None):
    """Decode rows top to bottom - 1 and columns left to right - 1 of a JPEG to their places in `out`; tell whether it was done.

    `part` is (top, bottom, left, right), and must not be empty.
    """
    cdef fastprep_jpeg_part wanted
    cdef fastprep_jpeg *jpeg
    cdef bint is_decoded = False
    wanted.height, wanted.width, wanted.channels = out.shape[0], out.shape[1], <int> out.shape[2]
    wanted.top, wanted.bottom, wanted.left, wanted.right = part
    if not (0 <= wanted.top < wanted.bottom <= wanted.height and 0 <= wanted.left < wanted.right <= wanted.width):
        raise ValueError(f"part must lie in {wanted.height} rows and {wanted.width} columns, got {part}")
    if wanted.channels not in (1, 3):
        raise ValueError(f"out must have 1 or 3 channels, got {wanted.channels}")
    if data.shape[0] == 0:
        return False
    with nogil:
        jpeg = fastprep_jpeg_new()
        if jpeg != NULL:
            is_decoded = fastprep_jpeg_decode(jpeg, &data[0], data.shape[0], &wanted, &out[0, 0, 0])
        fastprep_jpeg_free(jpeg)
    return is_decoded
