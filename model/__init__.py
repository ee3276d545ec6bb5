"""The network of the tutorial whose pictures fastprep feeds."""

from .alexnet import alexnet

__all__ = ["alexnet"]
