"""Axes of charts: where the ticks are, what they say, and where a number lies."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
_SAME = 1e-9  # relative difference of numbers between which ticks would be the same number
_TINY = 1e-100  # what is below it is 0 for a chart
_WIDE = 20.0  # the largest to the smallest number from which on an axis is logarithmic


@dataclass(frozen=True)
class Scale:
    """An axis.

    Attributes
    ----------
    low, high : float
        Numbers at its two ends.
    ticks : tuple of float
    is_log, is_percent : bool
    """

    low: float
    high: float
    ticks: tuple[float, ...]
    is_log: bool = False
    is_percent: bool = False

    def place(self, value: float) -> float:
        """Return where a number lies, from 0 at the lower end to 1."""
        low, high, value = (math.log(x) for x in (self.low, self.high, value)) if self.is_log else (self.low, self.high, value)
        return (value - low) / (high - low)

    def label(self, tick: float) -> str:
        """Return what a tick says."""
        if not self.is_percent:
            return f"{tick:,.6g}" if 1e-4 <= abs(tick) < 1e6 or tick == 0 else f"{tick:.3g}"
        step = min((b - a for a, b in zip(self.ticks, self.ticks[1:], strict=False)), default=1.0)
        return f"{tick:.{max(0, -math.floor(math.log10(step * 100 * 1.001)))}%}"


def scale_of(values: Sequence[float], *, may_be_log: bool = False, is_percent: bool = False, from_zero: bool = False) -> Scale:
    """Return the axis for finite numbers, at least one of them.

    Parameters
    ----------
    values : sequence of float
    may_be_log : bool
        Whether the axis is logarithmic where the numbers, all above 0, are far apart.
    is_percent : bool
        Whether the numbers are shares, 0..1.
    from_zero : bool
        Whether the axis begins at 0, so that small differences look small.
    """
    zero = [0.0] * from_zero
    low, high = min([*values, *zero]), max([*values, *zero])
    if may_be_log and low > _TINY and high / low > _WIDE:
        return _logarithmic(low, high)
    if high - low <= max(_SAME * max(abs(low), abs(high)), _TINY):
        reach = abs(low) / 2 if abs(low) > _TINY else 0.5
        low, high = low - reach, high + reach
        if low + reach >= 0:
            low = max(low, 0.0)
        high = min(high, 1.0) if is_percent and values[0] < 1 else high
    step = _step((high - low) / 4)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    last = max(last, first + 1)
    ticks = tuple(k * step for k in range(first, last + 1))
    return Scale(ticks[0], ticks[-1], ticks, is_percent=is_percent)


def whole_numbers(first: int, last: int) -> Scale:
    """Return the axis from one whole number to another, such as epochs."""
    if first == last:
        return Scale(first - 0.5, last + 0.5, (float(first),))
    step = max(1, round(_step((last - first) / 6)))
    ticks = {first, *(k for k in range(0, last + 1, step) if k >= first + step / 2)}
    return Scale(first, last, tuple(map(float, sorted(ticks))))


def _logarithmic(low: float, high: float) -> Scale:
    bottom, top = math.floor(math.log10(low)), math.ceil(math.log10(high))
    numbers = (1.0, 2.0, 5.0) if math.log10(high / low) < 2.5 else (1.0,)
    every = max(1, (top - bottom) // 6)
    ticks = [number * 10.0**power for power in range(bottom, top + 1, every) for number in numbers]
    inside = [tick for tick in ticks if low * 0.9 <= tick <= high * 1.1]
    low, high = min(low, *inside) if inside else low, max(high, *inside) if inside else high
    return Scale(low, high, tuple(inside), is_log=True)


def _step(least: float) -> float:
    """Return a round number that is not below another."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(step * power for step in _STEPS if step * power >= least * (1 - 1e-9))
