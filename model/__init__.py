"""The network of the tutorial whose images fastprep feeds."""

from .alexnet import alexnet

__all__ = ["alexnet"]
