"""AlexNet, the network of the tutorial that fastprep was made for, and a small network for first runs."""

from .alexnet import alexnet
from .small_cnn import small_cnn

__all__ = ["alexnet", "small_cnn"]
