"""Where the reading of a loader stands: the next pass, the last batch that was handed out, and what a saved state says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastprep.sampling.sampler import WHOLE_EPOCH, Sampler, Since


class Position:
    """Epoch and step of the next pass, and of the last batch.

    Parameters
    ----------
    sampling : Sampler
    crop : object
        Part of what a batch is; its `repr` is compared.
    """

    def __init__(self, sampling: Sampler, crop: object) -> None:
        self._sampling, self._crop = sampling, repr(crop)
        self._start = (0, 0)  # epoch and step of the next pass
        self._position = (0, 0)  # epoch and step after the last batch that was handed out
        self._resumed = (-1, WHOLE_EPOCH)  # an epoch that began with other shards or batches, and since when it has these

    @property
    def next_epoch(self) -> int:
        """Epoch of the next pass."""
        return self._start[0]

    @property
    def next_step(self) -> int:
        """Step that the next pass begins with."""
        return self._start[1]

    def seen(self, epoch: int, step: int) -> int:
        """Return how many samples of an epoch come before a step, over all shards."""
        return self._sampling.seen(step, self.since(epoch))

    @property
    def mark(self) -> tuple[Any, ...]:
        """All of it, to `go_back_to`."""
        return self._start, self._position, self._resumed

    def go_back_to(self, mark: tuple[Any, ...]) -> None:
        """Undo what came after `mark` was taken."""
        self._start, self._position, self._resumed = mark

    def begin_pass(self) -> tuple[int, int]:
        """Return the epoch and the first step of a pass that begins now; the next one is that of the next epoch."""
        epoch, step = self._start
        self._start = (epoch + 1, 0)
        return epoch, step

    def handed_out(self, epoch: int, step: int) -> None:
        """Take note of a batch that goes to the user."""
        self._position = (epoch, step + 1) if step + 1 < len(self._sampling) else (epoch + 1, 0)

    def go_to(self, epoch: int, step: int = 0) -> None:
        """Let the next pass be that of `epoch`, from a step on."""
        self._start = (epoch, step)
        self._position = (epoch, step) if step < len(self._sampling) else (epoch + 1, 0)
        self._resumed = (-1, WHOLE_EPOCH)

    def since(self, epoch: int) -> Since:
        """Return the point in an epoch from which on it has these shards and batches."""
        return self._resumed[1] if epoch == self._resumed[0] else WHOLE_EPOCH

    def save(self) -> dict[str, Any]:
        """See `fastprep.loader.Loader.state_dict`."""
        epoch, step = self._position
        return {"version": 2, "epoch": epoch, "seen": self.seen(epoch, step), "of": self._fingerprint()}

    def load(self, state: Mapping[str, Any]) -> None:
        """See `fastprep.loader.Loader.load_state_dict`."""
        if state.get("version") != 2:
            raise ValueError(f"state must be from state_dict() of version 2, got version {state.get('version')!r}")
        if missing := [name for name in ("epoch", "seen", "of") if name not in state]:
            raise ValueError(f"state must be from state_dict(), found none of its {', '.join(missing)}")
        mine, theirs = self._fingerprint(), dict(state["of"])
        if different := [f"{k} {theirs.get(k)!r} (here {mine[k]!r})" for k in mine if theirs.get(k) != mine[k]]:
            raise ValueError("state is of a loader with other batches: " + ", ".join(different))
        epoch, seen, n_samples = int(state["epoch"]), int(state["seen"]), self._sampling.n_samples
        if epoch < 0 or not 0 <= seen < n_samples:
            raise ValueError(f"state must have epoch >= 0 and seen in 0..{n_samples - 1}, got {epoch} and {seen}")
        since = self._sampling.resume(seen)
        if since.step >= len(self._sampling):  # what is left does not fill a batch of every shard
            epoch, since = epoch + 1, WHOLE_EPOCH
        self._start = self._position = (epoch, since.step)
        # steps that count as in any other epoch can all be asked for, those before this one, too
        self._resumed = (epoch, since) if since.seen != self._sampling.seen(since.step) else (-1, WHOLE_EPOCH)

    def _fingerprint(self) -> dict[str, Any]:
        return {**self._sampling.fingerprint(), "crop": self._crop}
