"""Batches as they are handed out: to threads that share an iterator, by workers that know nothing of whoever asks."""

import contextvars
import threading

import numpy as np

from fastprep import CenterCrop
from fastprep.loader import Loader

ASKED = contextvars.ContextVar("asked", default="nobody")


def test_a_thread_that_asks_while_another_one_does_gets_the_batch_that_follows(make_file):
    path, images, _ = make_file()
    with Loader(path, 5, None, mean=None, labels=None, workers=1) as loader:
        iterator, got, seen = iter(loader), [], []
        other = threading.Thread(target=lambda: got.append(np.array(next(iterator))))
        count = loader._source.count

        def slow_count(*arguments):
            count(*arguments)
            if not seen:
                seen.append(None)
                other.start()
                other.join(0.05)
                seen.append(len(got))

        loader._source.count = slow_count
        first = np.array(next(iterator))
        other.join(60)
    assert seen == [None, 0]
    np.testing.assert_array_equal(first, images[:5])
    np.testing.assert_array_equal(got[0], images[5:10])


def test_an_iterator_that_is_closed_has_no_further_batch(make_file):
    path, _, _ = make_file()
    with Loader(path, 5, None, mean=None) as loader:
        iterator = iter(loader)
        next(iterator)
        iterator.close()
        assert next(iterator, None) is None


def test_workers_do_not_take_over_the_context_of_whoever_asks(make_file):
    """A thread does so where Python has no global lock, and with `-X thread_inherit_context=1`."""
    path, _, _ = make_file()
    found, others = set(), np.geterr()

    def look(x, rng):
        found.add((ASKED.get(), np.geterr() == others))

    token = ASKED.set("me")
    try:
        with np.errstate(all="raise"), Loader(path, 5, CenterCrop(5), mean=None, workers=2, transform=look) as loader:
            assert len(list(loader)) == len(loader)
    finally:
        ASKED.reset(token)
    assert found == {("nobody", True)}
