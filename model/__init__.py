"""AlexNet, the network of the tutorial that fastprep was made for."""

from .alexnet import alexnet

__all__ = ["alexnet"]
