from libc.stdint cimport int32_t

from fastprep.kernels._cpu cimport fastprep_crop

# Fill a rectangle of an image, which has the type, the layout and the size of the crops, see _warp_out.h.
cdef void erase(const fastprep_crop *crop, const float *value, const int32_t *rectangle, void *target) noexcept nogil
