"""Resuming with other shards and batches: nothing is read twice, nothing is left out, and the order stays that of the epoch."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fastprep.sampling import WHOLE_EPOCH, Position, Sampler

PHASES = st.lists(st.tuples(st.integers(1, 4), st.integers(1, 9), st.integers(0, 6)), min_size=1, max_size=4)


def sampling(n, batch_size, shard, shuffle, drop=False):
    return Sampler(n, batch_size, shuffle, 7, shard, drop, 0, None)


@given(n=st.integers(1, 200), phases=PHASES, shuffle=st.booleans(), epoch=st.integers(0, 3))
def test_every_sample_comes_once_however_often_shards_and_batches_change(n, phases, shuffle, epoch):
    """Each phase is a number of shards, a batch size, and how many steps all of them take before the next phase."""
    order = sampling(n, n, (0, 1), shuffle).samples(epoch, 0)
    came, seen = [], 0
    for number, (world, batch_size, n_steps) in enumerate(phases):
        shards = [sampling(n, batch_size, (rank, world), shuffle) for rank in range(world)]
        sinces = [shard.resume(seen) for shard in shards]
        for shard, since in zip(shards, sinces, strict=True):
            assert since.seen == seen
            assert since.step <= len(shard)
        last = number == len(phases) - 1
        for k in range(len(shards[0]) if last else n_steps):
            rows = [
                shard.samples(epoch, since.step + k, since) if since.step + k < len(shard) else np.empty(0, np.int64)
                for shard, since in zip(shards, sinces, strict=True)
            ]
            together = np.full(batch_size * world, -1)
            for rank, samples in enumerate(rows):
                together[rank::world][: len(samples)] = samples
            step = together[together >= 0]
            np.testing.assert_array_equal(step, order[seen : seen + batch_size * world])
            came.extend(step.tolist())
            seen += len(step)
        if seen == n:
            break
    assert sorted(came) == list(range(n))


@given(n=st.integers(1, 200), world=st.integers(1, 5), batch_size=st.integers(1, 9), seen=st.integers(0, 199))
def test_dropping_leaves_all_shards_the_same_number_of_full_batches(n, world, batch_size, seen):
    seen = min(seen, n)
    shards = [sampling(n, batch_size, (rank, world), True, drop=True) for rank in range(world)]
    for since in (WHOLE_EPOCH, shards[0].resume(seen)):
        left = {len(shard) - since.step for shard in shards}
        assert len(left) == 1
        for shard in shards:
            for step in range(since.step, len(shard)):
                assert len(shard.samples(0, step, since)) == batch_size


@given(
    n=st.integers(1, 60),
    batch_size=st.integers(1, 5),
    before=st.integers(1, 4),
    after=st.integers(1, 4),
    steps=st.integers(0, 6),
    drop=st.booleans(),
)
def test_ranks_stay_in_the_same_epoch_however_little_of_it_is_left(n, batch_size, before, after, steps, drop):
    """After equal steps the states agree, and who loads them stands in the same epoch, with an empty rest if it has none."""

    def positions(world):
        return [Position(sampling(n, batch_size, (rank, world), True, drop), {"crop": "crop"}) for rank in range(world)]

    first = positions(before)
    steps = min(steps, *(len(position._sampler) for position in first))
    for position in first:
        epoch, _ = position.begin_epoch()
        for step in range(steps):
            position.advance(epoch, step)
    states = [position.save() for position in first]
    assert all(state == states[0] for state in states)

    came = []
    resumed = positions(after)
    for position in resumed:
        position.load(states[0])
        assert position.save() == states[0] or drop  # another number of ranks may have nothing left to fill a batch with
        epoch, start = position.begin_epoch()
        came += [position._sampler.samples(epoch, step, position.since(epoch)) for step in range(start, len(position._sampler))]
        position.end_epoch(epoch)
    assert {position.next_epoch for position in resumed} == {resumed[0].next_epoch}
    assert all(position.save() == resumed[0].save() for position in resumed)
    if not drop:
        assert sorted(np.concatenate(came)) == sorted(sampling(n, n, (0, 1), True).samples(epoch, 0)[states[0]["seen"] :])


def test_a_state_that_is_loaded_meanwhile_does_not_change_when_an_epoch_began():
    position = Position(sampling(100, 10, (0, 1), True, False), {"crop": "crop"})
    position.load({**position.save(), "seen": 37})
    since = position.since(0)
    assert since != WHOLE_EPOCH

    class Epoch(int):
        def __eq__(self, other):
            position.move_to(5)  # as another thread may, between two looks at the position
            return int(self) == other

        __hash__ = int.__hash__

    assert position.since(Epoch(0)) == since
    assert position.since(0) == WHOLE_EPOCH
