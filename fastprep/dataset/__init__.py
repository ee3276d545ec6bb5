"""Datasets: one or several files as one long dataset of images, with labels, weights and the mean."""

from fastprep.dataset.any_size import check_one_size, takes_any_size
from fastprep.dataset.augmenting import augmentation_of
from fastprep.dataset.blending import blended, check_blend
from fastprep.dataset.box_values import BoxValues, PointValues
from fastprep.dataset.carried import other_labels
from fastprep.dataset.classes import Output, class_numbers, describe_not_classes, label_rows
from fastprep.dataset.covariances import image_covariance, mean_and_covariance
from fastprep.dataset.dataset import Dataset
from fastprep.dataset.drawing import draws_of
from fastprep.dataset.inputs import by_input, open_dataset
from fastprep.dataset.label_files import is_of_other_file
from fastprep.dataset.label_sources import names_of_columns, read_output
from fastprep.dataset.labels import balanced_weights, check_labels_finite, check_masks, one_hot, sample_weights
from fastprep.dataset.masks import MaskValues
from fastprep.dataset.means import image_mean, means_of, resolve_mean
from fastprep.dataset.nested import map_outputs, outputs_of
from fastprep.dataset.part import Part, part_of
from fastprep.dataset.paths import Paths, expand_paths
from fastprep.dataset.targets import described

__all__ = [
    "BoxValues",
    "Dataset",
    "MaskValues",
    "Output",
    "Part",
    "Paths",
    "PointValues",
    "augmentation_of",
    "balanced_weights",
    "blended",
    "by_input",
    "check_blend",
    "check_labels_finite",
    "check_masks",
    "check_one_size",
    "class_numbers",
    "describe_not_classes",
    "described",
    "draws_of",
    "expand_paths",
    "image_covariance",
    "image_mean",
    "is_of_other_file",
    "label_rows",
    "map_outputs",
    "mean_and_covariance",
    "means_of",
    "names_of_columns",
    "one_hot",
    "open_dataset",
    "other_labels",
    "outputs_of",
    "part_of",
    "read_output",
    "resolve_mean",
    "sample_weights",
    "takes_any_size",
]
