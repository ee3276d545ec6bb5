"""Where a loader stands: the epoch and step with which its next iteration begins, saved and restored."""

from __future__ import annotations

from collections.abc import Mapping, Sized
from typing import Any

from fastprep.sampling import Position, check_integer


class Resuming(Sized):
    """Methods of a `Loader` that tell and change where it stands."""

    _position: Position

    @property
    def next_epoch(self) -> int:
        """Number of the epoch that the next iteration reads; epochs count from 0."""
        return self._position.next_epoch

    @property
    def next_step(self) -> int:
        """Number of the step at which the next iteration begins; other than 0 only after `load_state_dict` or `set_epoch`."""
        return self._position.next_step

    def seen(self, epoch: int, step: int) -> int:
        """Return how many samples of an epoch come before a step, over all shards."""
        return self._position.seen(epoch, step)

    def set_epoch(self, epoch: int, step: int = 0) -> None:
        """Let the next iteration read a given epoch, from a given step on.

        Parameters
        ----------
        epoch : int
        step : int, default 0
            In 0..len(self); at len(self) nothing of the epoch is left.

        Raises
        ------
        ValueError
            If there is no such epoch or step.
        """
        check_integer("epoch", epoch, 0)
        check_integer("step", step, 0)
        if step > len(self):
            raise ValueError(f"step must lie in 0..{len(self)}, got {step}")
        self._position.move_to(int(epoch), int(step))

    def state_dict(self) -> dict[str, Any]:
        """Return the position after the last batch that was handed out, for `load_state_dict`.

        Returns
        -------
        dict
            Plain numbers and strings; JSON can hold it.
        """
        return self._position.save()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Let the next iteration go on at the exact next batch of a saved state.

        The batch size and the shards may be different ones: the samples that no shard has read yet are then shared out anew. The
        state of any shard serves all shards, provided that all of them had read equally far.

        Parameters
        ----------
        state : mapping
            From `state_dict` of a loader of the same samples in the same order.

        Raises
        ------
        ValueError
            If the state is from a loader of other samples, or of another order; the text says what differs.
        """
        self._position.load(state)
