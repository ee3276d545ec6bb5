"""Options of a training run: what a user may type, in groups that become one configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from tyro.conf import arg

from fastprep.cli.help import flowing


@flowing
@dataclass(frozen=True)
class DataOptions:
    """Files, labels, and the images for validation."""

    train: Annotated[str | None, arg(metavar="FILE")] = None
    """Training file, or a glob pattern of files, in quotes."""
    val: Annotated[str | None, arg(metavar="FILE")] = None
    """Validation file. Default, with --val-images: the training file."""
    val_split: Annotated[float | None, arg(metavar="SHARE")] = None
    """Validate with this share of the training file, such as 0.2, instead of --val: the same share of each class, drawn by
    --seed. The run remembers it, so that `fastprep.evaluate RUN --split val` tests with these images."""
    fold: Annotated[str | None, arg(metavar="K/N")] = None
    """Validate with the K-th of N folds of the training file, such as 2/5, instead of --val; otherwise as --val-split."""
    val_groups: Annotated[str | None, arg(metavar="NAME")] = None
    """Groups of the images, such as the patient of each, which --val-split and --fold never divide: a dataset of the training
    file, DATASET:FIELD, or FILE:DATASET, of integers or texts. The shares are then as close as whole groups come."""
    demo: bool = False
    """Train and test on 2,624 photographs of solar cells from the package elpv-dataset, in three minutes on two processors.
    --model alexnet trains the tutorial's network, which takes longer. --demo --help shows the defaults."""
    full: bool = False
    """With --demo: AlexNet, images of 256 pixels and crops of 227. Takes half an hour or more without a GPU."""
    images: Annotated[str, arg(metavar="NAME")] = "images"
    """Dataset of images in the files; X/ for a group X of datasets of one image. Several inputs of a network are for Python."""
    labels: Annotated[str, arg(metavar="NAME")] = "labels"
    """Labels of the training images, and of those for validation: a dataset of the files, DATASET:FIELD, or FILE:DATASET. One
    class for each image: integers from 0, whole floats, one-hot rows, or texts. Or several: rows of 0 and 1."""
    val_images: Annotated[str | None, arg(metavar="NAME")] = None
    """Dataset of images for validation. Default: the name given with --images."""
    val_labels: Annotated[str | None, arg(metavar="NAME")] = None
    """Labels of the images for validation. Default: the name given with --labels."""
    classes: Annotated[int | None, arg(metavar="INT")] = None
    """Number of classes. Default: as many as the training file names (attribute class_names), or has labels."""
    labels_per_image: Literal["auto", "one", "several"] = "auto"
    """Whether an image is of one class, or has any number of labels, which a sigmoid predicts one by one. `auto`: several if the
    labels of the training file are rows of 0 and 1, and a row has more than one 1. The run remembers it."""
    axes: Annotated[str | None, arg(metavar="AXES")] = None
    """Axes of the dataset of images, a letter for each in its order: N, H, W and C. NCHW is channels first, HWC one image a file.
    Default: what the file says, else NHWC or NHW, if the shape makes it plausible."""
    shape: Annotated[str | None, arg(metavar="HxWxC")] = None
    """Height, width and channels of an image, such as 28x28x1, in a dataset of flat rows."""
    channels: Annotated[str | None, arg(metavar="LIST")] = None
    """Channels of the images to use, in this order: numbers from 0, such as 0,1,2, or letters of the file's channel order, as in
    RGB. Default: all."""
    on_corrupt: Literal["raise", "skip"] = "raise"
    """How to treat images that can't be read: `skip` takes the next ones in the file, and reports their number at the end."""


@flowing
@dataclass(frozen=True)
class ImageOptions:
    """Images as the network gets them."""

    crop: Annotated[int | None, arg(metavar="PIXELS")] = None
    """Side of the crops in pixels: random crops for training, the centre crop for validation. Default: 227 of 256 pixels, about
    seven eighths of the shorter side of the training images, but no more than the validation images have; 227 for encoded
    images."""
    mean: Annotated[str, arg(metavar="file|compute|none|JSON")] = "file"
    """Mean to subtract: `file` (stored in the training file), `compute`, `none`, or the path of a JSON file with R, G and B."""
    standardize: bool = False
    """Bring each image to mean 0 and standard deviation 1 over all its pixels and channels, after the mean is subtracted."""


@flowing
@dataclass(frozen=True)
class AugmentationOptions:
    """What is done to training images."""

    augment: Literal["none", "crop", "imagenet", "strong"] = "crop"
    """What changes training images: `none`, not even crops; `crop`, random crops; `imagenet`, random-resized crops and colours;
    `strong`, that with erasing, MixUp and CutMix. The options from --scale to --cutmix add to it or replace its numbers; 0 turns
    one off."""
    mirror: bool = True
    """Mirror half of the training crops left-right."""
    flip: bool = False
    """Flip half of the training crops top-bottom."""
    turn: bool = False
    """Turn training crops by 0, 90, 180 or 270 degrees, each as often."""
    resize: Annotated[int | None, arg(metavar="PIXELS")] = None
    """Resize images to this length of their shorter side before they are cropped, those for validation as well. Random-resized
    crops (--scale) are cut out of the images as they are. Default: none, and 256/227 of --crop for encoded images, which may have
    any size."""
    policy: Annotated[str | None, arg(metavar="trivial|rand:N:M")] = None
    """Draw operations for each image, after its crop: rotation, shear, translation, brightness, contrast and colour. `trivial`:
    one, of random magnitude (TrivialAugment); `rand:N:M`: N, all of magnitude M in 0 to 30 (RandAugment); `rand`: as rand:2:9."""
    scale: Annotated[float | None, arg(metavar="AREA")] = None
    """Random-resized crops: parts of AREA to 1 of the image's area, of random shape, resized to --crop. Default: 0.08 with
    --augment imagenet and strong."""
    jitter: Annotated[float | None, arg(metavar="FLOAT")] = None
    """Change brightness, contrast and saturation by up to this share. Default: 0.4 with --augment imagenet and strong."""
    hue: Annotated[float | None, arg(metavar="TURNS")] = None
    """Change the hue by up to this share of a whole turn, at most 0.5."""
    lighting: Annotated[float | None, arg(metavar="FLOAT")] = None
    """Add the principal components of the training file's colours, times numbers of this standard deviation, as in the AlexNet
    paper (0.1). `python -m fastprep.build`, and `show --mean --store`, store the components."""
    erase: Annotated[float | None, arg(metavar="P")] = None
    """Erase a random rectangle of an image with this probability. Default: 0.25 with --augment strong."""
    mixup: Annotated[float | None, arg(metavar="ALPHA")] = None
    """Mix images and labels in pairs (MixUp) with weights from Beta(ALPHA, ALPHA). Default: 0.2 with --augment strong."""
    cutmix: Annotated[float | None, arg(metavar="ALPHA")] = None
    """Replace a rectangle of an image by that of another one, and mix the labels (CutMix). With --mixup half of the images get
    one, and half the other. Default: 1 with --augment strong."""


@flowing
@dataclass(frozen=True)
class NetworkOptions:
    """The network, and the weights that it starts from."""

    model: Annotated[str, arg(metavar="alexnet|MODULE:FUNCTION")] = "alexnet"
    """Network: alexnet, the small `fastprep.model:small_cnn`, one such as `keras.applications:MobileNetV2`, or your own function,
    which takes the shape of an image and the number of classes and returns a Keras model."""
    weights: Annotated[str | None, arg(metavar="FILE.keras")] = None
    """Start from the weights of a saved model. Layers whose shapes differ (the last one, for other classes) are initialised
    anew."""
    freeze: Annotated[str | None, arg(metavar="INT|PATTERN")] = None
    """Freeze the first INT layers that have weights, or the layers whose names match a pattern such as `conv2d*`."""
    l2: Annotated[float | None, arg(metavar="FLOAT")] = None
    """L2 penalty on AlexNet's kernels. Default: 2e-4, as in the tutorial. Other networks define their own."""
    pool_dropout: Annotated[float | None, arg(metavar="FLOAT")] = None
    """Rate of the dropout after AlexNet's pooling layers. Default: 0.25, as in the tutorial; the AlexNet paper has none (0)."""
    batchnorm_steps: Annotated[int | None, arg(metavar="STEPS")] = None
    """Before each validation, replace the moving averages of batch normalisation by means and variances measured on this many
    training batches, with dropout off. The moving averages lag behind the weights, and dropout distorts them. 0: keep them.
    Default: 16, or as many as have 1,024 images, where the network has batch normalisation that learns."""
    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"] = "float32"
    """Keras' dtype policy for the network. mixed_float16 suits GPUs, and scales the loss."""


@flowing
@dataclass(frozen=True)
class LearningOptions:
    """How the network is trained."""

    epochs: int = 75
    """Passes over the training file."""
    batch_size: int = 128
    """Images in a step. With several ranks (docs/guide/distributed.md) this is the number for each rank; --lr is not scaled."""
    lr: float = 1e-3
    """Highest learning rate. For sgd, 1e-2 is a common choice."""
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    """sgd uses Nesterov momentum."""
    momentum: float = 0.9
    """Momentum of sgd."""
    weight_decay: Annotated[float | None, arg(metavar="FLOAT")] = None
    """Weight decay, decoupled from the gradient and not applied to biases and normalisations. Default: 0.004 for adamw, 0 for the
    others."""
    schedule: Literal["constant", "cosine", "step", "plateau"] = "constant"
    """Learning rate after the warm-up: constant; decreasing to 0 along half a cosine; multiplied by --factor after every
    --step-every epochs (step), or after --patience epochs without a better validation loss (plateau)."""
    warmup: Annotated[float | None, arg(metavar="EPOCHS")] = None
    """Epochs during which the learning rate rises from a tenth of --lr. Default: 1 for cosine, 0 for the others."""
    factor: float = 0.1
    """Factor of the learning rate; see --schedule."""
    step_every: int = 25
    """Epochs between two steps; see --schedule."""
    patience: int = 5
    """Epochs without a better validation loss; see --schedule."""
    early_stop: Annotated[int | None, arg(metavar="EPOCHS")] = None
    """Stop after this many epochs without a better model."""
    monitor: Literal["accuracy", "loss", "auc"] = "accuracy"
    """How the best model, which is kept, is chosen: by validation accuracy, with the loss to break ties, or the other way
    round; with several labels an image also by the area under the ROC curve, the mean of the classes."""
    label_smoothing: float = 0.0
    """Share of each label that is spread over all classes, 0..1. It applies to the validation loss as well."""
    class_weight: Annotated[str, arg(metavar="none|balanced|CLASS:WEIGHT,...")] = "none"
    """Weights of the classes in the training loss: `balanced` (N divided by the number of classes times the images of the class),
    or by number or name, such as `cat:1,dog:2.5`; classes that are not named have weight 1."""
    sample_weight: Annotated[str | None, arg(metavar="NAME")] = None
    """Dataset in the training file with a weight for each image in the training loss, multiplied by that of --class-weight."""
    sampling: Annotated[str, arg(metavar="none|balanced|NAME")] = "none"
    """Draw the training images of an epoch with replacement: each class alike (`balanced`), or in proportion to a dataset of
    weights in the training file. `none`: each image once."""
    shuffle_window: Annotated[int | None, arg(metavar="IMAGES")] = None
    """Images that are shuffled together where chunks hold several images (0: all, whatever that costs). Default: enough to mix
    the classes, as far as 1 GiB of memory allows it."""
    seed: int = 42
    """Seed of weights, dropout, order and crops."""


@flowing
@dataclass(frozen=True)
class SavingOptions:
    """What a run writes, and what it begins from."""

    out: Annotated[str | None, arg(metavar="FOLDER")] = None
    """Run folder to create. Default: runs/DATE-TIME."""
    resume: Annotated[str | None, arg(metavar="RUN")] = None
    """Resume an interrupted run at the batch after its last save. Its configuration stays; only epochs, early-stop, workers,
    save-every, grace, on-corrupt, shuffle-window, tensorboard, quiet, rank-timeout, the paths of the files and the number of
    ranks may change, and profile; axes may be named if they were not."""
    config: Annotated[str | None, arg(metavar="FILE")] = None
    """The config.json of another run as a starting point. Other options of the command line take precedence."""
    trust: bool = False
    """Import the modules, and run the code, that the files of --resume, --config and --weights name, if these files are your own.
    Without it, a module is imported only if --model names it."""
    save_every: Annotated[int | None, arg(metavar="STEPS")] = None
    """Save the run for --resume every this many steps. Default: every ten minutes. It is also saved after every epoch."""
    tensorboard: bool = False
    """Write RUN/tensorboard as well."""
    profile: Annotated[int | None, arg(metavar="[STEPS]")] = None
    """Write RUN/profile.json, a timeline of the threads that prepare batches and of what waits for them during this many steps,
    by itself 300. Its format is one that Perfetto (https://ui.perfetto.dev) and Chrome read."""
    quiet: bool = False
    """Print a line for each epoch, and no progress within it. Where the output is not a terminal, this is always so."""


@flowing
@dataclass(frozen=True)
class MachineOptions:
    """What depends on the machine."""

    workers: Annotated[int | None, arg(metavar="INT")] = None
    """Threads that prepare batches. Default: one for each processor, but at most eight."""
    deterministic: bool = False
    """Restrict Keras' backend to operations that give the same bits every time, as resuming with equal bits requires on GPUs.
    Slower there."""
    grace: Annotated[float, arg(metavar="SECONDS")] = 25.0
    """How long the run may take to save after SIGTERM or SIGHUP before it ends all the same. Schedulers kill after about 30 s."""


@flowing
@dataclass(frozen=True)
class SeveralHostsOptions:
    """Runs with several ranks, which TF_CONFIG names."""

    rank_timeout: Annotated[float, arg(metavar="SECONDS")] = 300.0
    """With several ranks (TF_CONFIG): how long a rank waits for the others, at the start and in a step, before it ends.
    FASTPREP_RANK_SECRET in the environment of all ranks keeps strangers out of their meeting at the start."""
