"""What the headers of encoded images tell."""

import threading

import numpy as np

from fastprep.h5.known_headers import KnownHeaders


def test_nobody_sees_half_of_a_size_that_another_thread_enters():
    known, begun, go_on = KnownHeaders(3), threading.Event(), threading.Event()

    class SlowSizes:
        """An array into which height and width come one after the other."""

        def __setitem__(self, sample, size):
            sizes[sample, 0] = size[0]
            begun.set()
            go_on.wait(0.1)
            sizes[sample, 1] = size[1]

        def __getitem__(self, sample):
            return sizes[sample]

    sizes, known._sizes = known._sizes, SlowSizes()
    writer = threading.Thread(target=known.enter, args=(1, (30, 40), True, False))
    writer.start()
    assert begun.wait(60)
    assert known.size(1) == (30, 40)
    writer.join()
    found, is_plain, is_common = known.of(np.array([0, 1]))
    assert (found.tolist(), is_plain.tolist(), is_common.tolist()) == ([[0, 0], [30, 40]], [False, True], [False, False])
