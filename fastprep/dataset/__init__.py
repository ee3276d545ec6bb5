"""Datasets: one or several files as one long dataset of images, with labels, weights and the mean."""

from fastprep.dataset.dataset import Dataset, Paths, expand_paths
from fastprep.dataset.labels import check_labels_finite, check_no_masks, one_hot, sample_weights
from fastprep.dataset.means import image_mean, resolve_mean

__all__ = [
    "Dataset",
    "Paths",
    "check_labels_finite",
    "check_no_masks",
    "expand_paths",
    "image_mean",
    "one_hot",
    "resolve_mean",
    "sample_weights",
]
