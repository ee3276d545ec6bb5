"""Datasets: one or several files as one long dataset of images, with labels, weights and the mean."""

from fastprep.dataset.dataset import Dataset, Paths, expand_paths
from fastprep.dataset.labels import one_hot, sample_weights
from fastprep.dataset.means import image_mean, resolve_mean

__all__ = ["Dataset", "Paths", "expand_paths", "image_mean", "one_hot", "resolve_mean", "sample_weights"]
