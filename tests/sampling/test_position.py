"""The position of a loader in its epochs, where several threads move it."""

import pickle
import threading

from meddling_number import MeddlingNumber

from fastprep.sampling import Position, Sampler


def position():
    return Position(Sampler(20, 5, False, 7, (0, 1), False, 0, None), {})


def test_two_iterations_that_begin_at_one_moment_have_epochs_of_their_own():
    of_loader, began = position(), []
    number = MeddlingNumber(0, lambda: began.append(of_loader.begin_epoch()))
    of_loader._next = number, 0
    began.append(of_loader.begin_epoch())
    number.thread.join()
    assert sorted(began) == [(0, 0), (1, 0)]
    assert of_loader.next_epoch == 2


def test_an_end_of_an_epoch_does_not_undo_a_state_that_is_loaded_meanwhile():
    of_loader = position()
    of_loader.advance(0, 3)
    loading = threading.Thread(target=of_loader.move_to, args=(7, 2))

    class Reached(tuple):
        def __getitem__(self, k):
            loading.start()
            loading.join(0.05)
            return super().__getitem__(k)

    of_loader._reached = Reached(of_loader._reached)
    of_loader.end_epoch(0)
    loading.join()
    assert (of_loader.save()["epoch"], of_loader.save()["seen"]) == (7, 10)


def test_a_copy_in_another_process_has_a_lock_of_its_own():
    of_loader = position()
    of_loader.advance(1, 2)
    with of_loader._lock:
        assert pickle.loads(pickle.dumps(of_loader)).save() == of_loader.save()
