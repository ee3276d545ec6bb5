"""Order and randomness as pure functions of (seed, epoch, sample), and the position of a loader in them."""

from fastprep.sampling.checks import check_flag, check_integer, check_sampling
from fastprep.sampling.position import Position
from fastprep.sampling.sampler import WHOLE_EPOCH, Sampler, Since

__all__ = ["WHOLE_EPOCH", "Position", "Sampler", "Since", "check_flag", "check_integer", "check_sampling"]
