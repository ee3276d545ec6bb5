"""Position of a loader in its epochs, and the state from which it is resumed."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from fastprep.sampling.checks import check_integer
from fastprep.sampling.sampler import WHOLE_EPOCH, Sampler, Since
from fastprep.system import begin_in_children

# In a state only where the loader has such an argument
_ONLY_IF_GIVEN = ("indices", "sampling", "policy", "color", "erase", "blend", "standardize")
_NOT_IN_OLDER = ("chunks",)  # states that were saved before it was there do not have it


class Position:
    """Epoch and step at which the next iteration begins, and those after the last batch that was handed out.

    Any number of threads may use it at once: no two iterations begin in the same place.

    Parameters
    ----------
    sampler : Sampler
    transforms : mapping of str to str
        What is done to the images, by the name of the argument. A state can be loaded only where these are the same.
    part : str or None
        What tells the samples of a part of the files from those of another; None for all samples.
    """

    def __init__(self, sampler: Sampler, transforms: Mapping[str, str], part: str | None = None) -> None:
        self._sampler, self._transforms, self._part = sampler, dict(transforms), part
        self._next = (0, 0)  # epoch and step at which the next iteration begins
        self._reached = (0, 0)  # epoch and step after the last batch that was handed out
        self._resumed = (-1, WHOLE_EPOCH)  # an epoch that began with other shards or batches, and since when it has these
        begin_in_children(self)

    def begin(self) -> None:
        """Make the lock anew, which does not survive a fork."""
        self._lock = threading.RLock()  # reentrant: a handler of signals may save the state wherever it comes in

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        begin_in_children(self)

    @property
    def next_epoch(self) -> int:
        """Epoch of the next iteration."""
        return self._next[0]

    @property
    def next_step(self) -> int:
        """Step at which the next iteration begins."""
        return self._next[1]

    def seen(self, epoch: int, step: int) -> int:
        """Return how many samples of an epoch come before a step, over all shards."""
        return self._sampler.seen(step, self.since(epoch))

    def snapshot(self) -> tuple[Any, ...]:
        """Return the whole position, for `restore`."""
        with self._lock:
            return self._next, self._reached, self._resumed

    def restore(self, snapshot: tuple[Any, ...]) -> None:
        """Return to the position at which `snapshot` was taken."""
        with self._lock:
            self._next, self._reached, self._resumed = snapshot

    def begin_epoch(self) -> tuple[int, int]:
        """Return the epoch and the first step of an iteration that begins now; the one after it has the next epoch."""
        with self._lock:
            epoch, step = self._next
            self._next = (epoch + 1, 0)
            return epoch, step

    def advance(self, epoch: int, step: int) -> None:
        """Record that the batch of a step was handed out."""
        with self._lock:
            self._reached = (epoch, step + 1)

    def end_epoch(self, epoch: int) -> None:
        """Record that an iteration found no further step in an epoch, which other shards may still have."""
        with self._lock:
            if self._reached[0] == epoch:
                self._reached = (epoch + 1, 0)

    def move_to(self, epoch: int, step: int = 0) -> None:
        """Let the next iteration begin at a step of `epoch`."""
        with self._lock:
            self._next = self._reached = (epoch, step)
            self._resumed = (-1, WHOLE_EPOCH)

    def set(self, epoch: int, step: int) -> None:
        """Move to a step that a user has named; see `fastprep.loader.Loader.set_epoch`."""
        check_integer("epoch", epoch, 0)
        check_integer("step", step, 0)
        if step > len(self._sampler):
            raise ValueError(f"step must lie in 0..{len(self._sampler)}, got {step}")
        self.move_to(int(epoch), int(step))

    def since(self, epoch: int) -> Since:
        """Return the point in an epoch from which on it has these shards and batches."""
        resumed, since = self._resumed  # both at once: another thread may load a state meanwhile
        return since if epoch == resumed else WHOLE_EPOCH

    def save(self) -> dict[str, Any]:
        """Return the state after the last batch that was handed out; see `fastprep.loader.Loader.state_dict`."""
        with self._lock:
            epoch, step = self._reached
            seen = self.seen(epoch, step)
        if self._sampler.is_over(seen):  # for all shards: after the same steps their states agree
            epoch, seen = epoch + 1, 0
        return {"version": 2, "epoch": epoch, "seen": seen, "of": self._fingerprint()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Move to a saved state; see `fastprep.loader.Loader.load_state_dict`."""
        if not isinstance(state, Mapping):
            raise ValueError(f"state must be from state_dict(), got {state!r:.80}")
        if state.get("version") != 2:
            raise ValueError(f"state must be from state_dict() of version 2, got version {state.get('version')!r}")
        if missing := [name for name in ("epoch", "seen", "of") if name not in state]:
            raise ValueError(f"state must be from state_dict(), but it lacks {', '.join(missing)}")
        theirs = dict(state["of"])
        mine = {name: value for name, value in self._fingerprint().items() if name in theirs or name not in _NOT_IN_OLDER}
        named = {**mine, **{name: theirs.get(name) for name in _ONLY_IF_GIVEN if name in theirs}}
        if different := [f"{k} {theirs.get(k)!r} (here {mine.get(k)!r})" for k in named if theirs.get(k) != mine.get(k)]:
            raise ValueError("state is from a loader with other batches: " + ", ".join(different) + self._way_out(mine, theirs))
        epoch, seen, n_samples = int(state["epoch"]), int(state["seen"]), self._sampler.n_samples
        if epoch < 0 or not 0 <= seen < n_samples:
            raise ValueError(f"state must have epoch >= 0 and seen in 0..{n_samples - 1}, got {epoch} and {seen}")
        since = self._sampler.resume(seen)
        if self._sampler.is_over(seen):  # what is left does not fill a batch of every shard
            epoch, since = epoch + 1, WHOLE_EPOCH
        with self._lock:
            self._next = self._reached = (epoch, since.step)
            # steps that count as in any other epoch can all be asked for, including those before this one
            self._resumed = (epoch, since) if since.seen != self._sampler.seen(since.step) else (-1, WHOLE_EPOCH)

    def _way_out(self, mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> str:
        """Name the argument that gives the windows of a state, or what its chunks are; empty if other things differ."""
        blocks = theirs.get("chunks_per_window")
        if isinstance(blocks, int) and mine["chunks_per_window"] and theirs == {**mine, "chunks_per_window": blocks}:
            window = self._sampler.window_of(blocks)
            return f"; shuffle_window={window} (--shuffle-window {window}) gives those windows"
        if theirs.get("chunks") != mine.get("chunks"):
            return "; the shuffled order follows the chunks of the file, or of masks and inputs that are read with it"
        return ""

    def _fingerprint(self) -> dict[str, Any]:
        return {**self._sampler.fingerprint(), **self._transforms, **({} if self._part is None else {"indices": self._part})}
