"""What a user can set: one frozen dataclass per stage, checked when made; field names are the flag names.

Flows in: plain values. Flows out: objects that every later stage can trust. Nothing here parses flags or knows files
or TensorFlow; messages speak of flags, as that is where most values come from. A field without a default must be given.
`dataclasses.replace` makes a changed, checked copy.
"""

import dataclasses
import itertools
import math
import numbers
import os
import re
import typing
from typing import Any, Literal, NamedTuple

Mode = Literal["whole", "patch"]
Precision = Literal["auto", "float32", "mixed_float16", "mixed_bfloat16"]
Upsampling = Literal["nearest", "transposed"]
Attention = Literal["none", "scse"]
Cache = Literal["auto", "equalised", "decoded", "none"]


_MOST_EPOCHS = 1_000_000


def setting(help: str, default: Any = dataclasses.MISSING) -> Any:  # noqa: A002 (argparse's and absl's word for it)
    """Return a dataclass field that carries its own help text."""
    return dataclasses.field(default=default, metadata={"help": help})


def _check(condition: bool, expected: str, **received: object) -> None:
    """Raise ValueError `expected …. Received: name=value` unless `condition` holds."""
    if not condition:
        came = ", ".join(f"{name}={value!r}" for name, value in received.items())
        raise ValueError(f"expected {expected}. Received: {came}")


_KINDS: dict[Any, tuple[str, Any]] = {
    int: ("an integer", numbers.Integral),
    float: ("a number", numbers.Real),
    str: ("a text", (str, os.PathLike)),
    bool: ("True or False", bool),
}
"""What a field's type is called, and what its values are instances of."""


def check_fields(config: Any) -> None:
    """Raise ValueError unless every field's value is of its kind, and one of its choices where it has such.

    Of the kind are NumPy's numbers too; they become Python's, as small ones of NumPy overflow.
    """
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if typing.get_origin(field.type) is Literal:
            choices = typing.get_args(field.type)
            _check(value in choices, f"{field.name} of {', '.join(choices)}", **{field.name: value})
            continue
        is_tuple = typing.get_origin(field.type) is tuple
        kind = typing.get_args(field.type)[0] if is_tuple else field.type
        name, instances = _KINDS[kind]
        values = value if is_tuple and not isinstance(value, str) else (value,)
        is_fit = all(isinstance(one, instances) for one in values)
        _check(is_fit, f"{field.name}, {'each ' * is_tuple}{name}", **{field.name: value})
        if kind in (int, float):
            plain = tuple(kind(one) for one in values)
            object.__setattr__(config, field.name, plain if is_tuple else plain[0])


def _check_positive(**numbers: float) -> None:
    for name, value in numbers.items():
        _check(math.isfinite(value) and value > 0, f"{name} above 0", **{name: value})


def _check_default(config: Any, name: str, *, when: bool, of: str) -> None:
    """Refuse a setting that another one, `of`, makes meaningless."""
    default = next(field.default for field in dataclasses.fields(config) if field.name == name)
    value = getattr(config, name)
    _check(not when or value == default, f"no {name} with {of}={getattr(config, of)}, which has none", **{name: value})


def check_seed(seed: int) -> None:
    """Raise ValueError unless the seed is in 0..2**32 - 1."""
    is_fit = isinstance(seed, numbers.Integral) and 0 <= seed < 2**32
    _check(is_fit, "seed, an integer in 0..4294967295", seed=seed)


def _check_not_negative(**numbers: float) -> None:
    for name, value in numbers.items():
        _check(math.isfinite(value) and value >= 0, f"{name} of 0 or more", **{name: value})


@dataclasses.dataclass(frozen=True, kw_only=True)
class PhantomConfig:
    """Synthetic radiographs."""

    output_dir: str = setting("folder to write; gets dicom/, train-rle.csv and patient-map.csv")
    count: int = setting("number of radiographs", 240)
    positive_share: float = setting("share of them with a pneumothorax", 0.5)
    phantom_size: int = setting("height and width in pixels", 1024)
    seed: int = setting("the same seed gives the same files", 0)
    workers: int = setting("processes; 0: one per core", 0)

    def __post_init__(self) -> None:
        check_fields(self)
        _check_positive(count=self.count)
        _check(self.phantom_size >= 64, "phantom_size of at least 64", phantom_size=self.phantom_size)
        _check(0 <= self.positive_share <= 1, "positive_share in 0..1", positive_share=self.positive_share)
        _check_not_negative(workers=self.workers)
        check_seed(self.seed)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConvertConfig:
    """Radiographs and masks to sharded TFRecords."""

    dicom_dir: str = setting("folder with DICOM files, at any depth", "")
    image_dir: str = setting("or: folder with PNG or JPEG files, at any depth, bright = dense", "")
    annotations: str = setting("csv with one image id and one run-length mask a row; -1 means healthy", "")
    mask_dir: str = setting(
        "or, with --image_dir: folder with a PNG for each image, of its name or NAME_mask.png; all black means healthy",
        "",
    )
    output_dir: str = setting("folder for the shards and dataset.json", "tfrecords")
    image_size: int = setting("stored height and width in pixels; 0 keeps each image's own, as source does", 512)
    encoding: Literal["raw", "png", "source"] = setting(
        "raw: plain bytes, fastest to read; png: a third of the size; source: the file's own JPEG stream, not encoded "
        "again, without comments and camera data (what has none is stored as PNG)",
        "raw",
    )
    window: int = setting("which VOI LUT or window of a DICOM: 1 is the first; 0: none, but percentiles", 1)
    decoder: Literal["pydicom", "tfio"] = setting(
        "what decodes a DICOM's pixels; tfio: tensorflow-io's operation (pip install 'ptxtf[tfio]')", "pydicom"
    )
    num_shards: int = setting("shards per split, at most", 8)
    workers: int = setting("processes; 0: one per core; 1: none but this, so a file that crashes a decoder ends it", 0)
    split: Literal["patient", "paper", "kfold"] = setting(
        "patient: no patient in two splits, classes in balance; kfold: the same in --folds parts; "
        "paper: the study's random 80/20 by image, which leaks patients",
        "patient",
    )
    fractions: tuple[float, ...] = setting("train, val and test shares of --split patient", (0.7, 0.1, 0.2))
    folds: int = setting("parts of --split kfold", 5)
    patient_map: str = setting("csv image id -> patient, to keep a patient's images together", "")
    patient_key: str = setting(
        "secret behind the stored patient hashes; without one they are pseudonyms that whoever has the annotation file "
        "can look up",
        "",
    )
    balance: float = setting("healthy images kept per positive one; 0 keeps all", 1.0)
    seed: int = setting("seed of splits and balance; the same seed gives the same bytes", 0)
    strict: bool = setting("stop at the first file, label or row that would be listed in rejected.csv", False)
    dry_run: bool = setting(
        "say what would be converted, and write nothing; without a folder of images: as if all labelled were there",
        False,
    )

    def __post_init__(self) -> None:
        check_fields(self)
        _check(
            bool(self.dicom_dir) + bool(self.image_dir) <= 1 and bool(self.dicom_dir or self.image_dir or self.dry_run),
            "--dicom_dir or --image_dir",
            dicom_dir=self.dicom_dir,
            image_dir=self.image_dir,
        )
        _check(
            bool(self.annotations) + bool(self.mask_dir) == 1 and not (self.mask_dir and not self.image_dir),
            "--annotations, or --image_dir with --mask_dir",
            annotations=self.annotations,
            mask_dir=self.mask_dir,
        )
        _check(
            self.image_size == 0 or self.image_size >= 32, "image_size of 0 or at least 32", image_size=self.image_size
        )
        _check_positive(num_shards=self.num_shards)
        _check_not_negative(workers=self.workers, balance=self.balance, window=self.window)
        check_seed(self.seed)
        _check(
            len(self.fractions) == 3
            and min(self.fractions) >= 0
            and math.isclose(sum(self.fractions), 1, abs_tol=1e-6),
            "three fractions (train, val, test) that add up to 1",
            fractions=self.fractions,
        )
        _check(self.folds >= 2, "at least 2 folds", folds=self.folds)


@dataclasses.dataclass(frozen=True, kw_only=True)
class InputConfig:
    """Records to host batches."""

    records_dir: str = setting("folder that tools.make_tfrecords wrote")
    train_split: str = setting("split to train on; several: fold1+fold2", "train")
    val_split: str = setting("split that epochs are kept by, and the rule for masks is chosen on; empty: none", "val")
    image_size: int = setting("height and width the network sees, in pixels; 0: as stored", 0)
    batch_size: int = setting("images (or patches) per training step, over all devices", 8)
    positive_share: tuple[float, ...] = setting(
        "share of images with a pneumothorax in the training batches, going from one number to the next (0.8,0.4); "
        "empty: what the records hold",
        (),
    )
    positive_schedule: Literal["linear", "stepped"] = setting(
        "linear: from epoch to epoch evenly; stepped: each number for as many epochs", "linear"
    )
    cache: Cache = setting(
        "what stays in memory after the first epoch: training images decoded, or equalised too; auto: equalised, but "
        "decoded where an accelerator equalises. The numbers are the same, but none shuffles within 1024 images only",
        "auto",
    )
    data_service: tuple[str, ...] = setting(
        "machines that make the training batches, each running ptxtf.data.service: grpc://host:port, several with "
        "commas. They share what is done to batches (--preprocess_on=host); each reads all records. Empty: none",
        (),
    )

    def __post_init__(self) -> None:
        check_fields(self)
        _check(
            self.image_size == 0 or self.image_size >= 32, "image_size of 0 or at least 32", image_size=self.image_size
        )
        _check_positive(batch_size=self.batch_size)
        _check(
            all(re.fullmatch(r"grpc://.+:\d{1,5}", address) for address in self.data_service),
            "data_service of grpc://host:port, one or more",
            data_service=self.data_service,
        )
        _check(
            all(0 <= share <= 1 for share in self.positive_share),
            "positive_share in 0..1, one or more",
            positive_share=self.positive_share,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class PreprocessConfig:
    """Host batches to model inputs (study: CLAHE, rotation, brightness, zoom, flip)."""

    mode: Mode = setting("whole radiographs, or patches that are stitched back", "whole")
    patch_size: int = setting("height and width of a patch in pixels", 128)
    patches: Literal["grid", "random"] = setting(
        "training patches of an image: each of the grid once an epoch, or as many at random", "grid"
    )
    foreground_share: float = setting(
        "share of the random patches of a positive image that are laid over its pneumothorax", 0.5
    )
    clahe: bool = setting("equalise contrast as OpenCV's CLAHE does", True)
    clip_limit: float = setting("CLAHE's clip limit; 0: no clipping", 2.0)
    tile_grid: tuple[int, ...] = setting("CLAHE's tiles: rows, columns", (8, 8))
    rotation_degrees: tuple[float, ...] = setting("lowest and highest angle, either way round", (0.0, 20.0))
    zoom: float = setting("largest change of scale: 0.1 is ±10 %", 0.10)
    flip_probability: float = setting("share of images mirrored left to right", 0.5)
    shear_degrees: float = setting("largest angle of a shear, either way", 0.0)
    shift: float = setting("largest shift along either axis, as a share of the side", 0.0)
    fill_mode: Literal["constant", "reflect"] = setting(
        "what a moved image shows beyond its border: black, or itself mirrored", "constant"
    )
    brightness: float = setting("largest change of brightness: 0.15 is ±15 %", 0.15)
    contrast: float = setting("largest change of contrast about the mean: 0.2 is ±20 %", 0.0)
    gamma: float = setting("largest change of a gamma exponent: 0.5 is 1/1.5 to 1.5", 0.0)
    blur_px: float = setting("largest Gaussian blur, sigma in pixels", 0.0)
    noise: float = setting("largest standard deviation of added noise, of a range of 0..1", 0.0)
    cutout: float = setting("largest side of a rectangle that is blackened, as a share of the image's", 0.0)
    preprocess_on: Literal["device", "host"] = setting(
        "where training images are augmented; the numbers are the same", "device"
    )

    def __post_init__(self) -> None:
        check_fields(self)
        _check_positive(patch_size=self.patch_size)
        _check_not_negative(
            clip_limit=self.clip_limit, shift=self.shift, gamma=self.gamma, blur_px=self.blur_px, noise=self.noise
        )
        for name in ("foreground_share", "flip_probability", "cutout"):
            _check(0 <= getattr(self, name) <= 1, f"{name} in 0..1", **{name: getattr(self, name)})
        _check(
            len(self.tile_grid) == 2 and min(self.tile_grid) >= 1,
            "tile_grid of two numbers (rows, columns), each at least 1",
            tile_grid=self.tile_grid,
        )
        _check(
            len(self.rotation_degrees) == 2 and 0 <= self.rotation_degrees[0] <= self.rotation_degrees[1] <= 180,
            "rotation_degrees lowest,highest within 0..180",
            rotation_degrees=self.rotation_degrees,
        )
        for name in ("zoom", "brightness", "contrast"):
            _check(0 <= getattr(self, name) < 1, f"{name} from 0 to below 1", **{name: getattr(self, name)})
        _check(0 <= self.shear_degrees < 90, "shear_degrees from 0 to below 90", shear_degrees=self.shear_degrees)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The network."""

    backbone: str = setting("encoder: a name of ptxtf.models.BACKBONES", "resnet34")
    weights: str = setting(
        "encoder weights: imagenet, none, a file, or the folder of another run, whose encoder is taken", "imagenet"
    )
    decoder: Literal["unet", "unet_plus_plus", "fpn", "deeplab_v3plus"] = setting(
        "what makes a mask of the encoder's features", "unet"
    )
    decoder_filters: tuple[int, ...] = setting(
        "filters of the five blocks of unet and unet_plus_plus; the others have those of their papers",
        (256, 128, 64, 32, 16),
    )
    upsampling: Upsampling = setting("how unet enlarges: nearest pixel or learnt", "nearest")
    attention: Attention = setting("scse: squeeze and excitation in the blocks of unet", "none")
    input_scaling: Literal["family", "paper"] = setting(
        "family: what the backbone was trained on; paper: the study's plain 0..1", "family"
    )
    freeze_encoder: bool = setting("train the decoder only; batch statistics stay too", False)
    freeze_epochs: tuple[int, ...] = setting(
        "epochs after which a frozen encoder begins to learn: one number, all of it; more (2,4,6), its coarsest stage "
        "after the first, the next finer one after the second, and what remains after the last; empty: at once",
        (),
    )
    precision: Precision = setting(
        "auto: mixed_bfloat16 where the device computes in it, mixed_float16 on older GPUs, else float32", "auto"
    )

    def __post_init__(self) -> None:
        check_fields(self)
        _check(
            len(self.decoder_filters) == 5 and min(self.decoder_filters) >= 1,
            "five decoder_filters, each at least 1",
            decoder_filters=self.decoder_filters,
        )
        ends = (0, *self.freeze_epochs)
        _check(
            len(ends) <= 6 and all(one < other for one, other in itertools.pairwise(ends)),
            "freeze_epochs, up to five rising numbers above 0",
            freeze_epochs=self.freeze_epochs,
        )
        _check(
            not (self.freeze_encoder and self.freeze_epochs),
            "no freeze_epochs with freeze_encoder, which is for ever",
            freeze_epochs=self.freeze_epochs,
        )
        _check_default(self, "decoder_filters", when=self.decoder not in ("unet", "unet_plus_plus"), of="decoder")
        _check_default(self, "upsampling", when=self.decoder != "unet", of="decoder")
        _check_default(self, "attention", when=self.decoder != "unet", of="decoder")


@dataclasses.dataclass(frozen=True, kw_only=True)
class LossConfig:
    """The loss: a weighted sum over an image, averaged over the batch."""

    focal_weight: float = setting("weight of the focal loss", 1.0)
    dice_weight: float = setting("weight of the Dice loss", 1.0)
    bce_weight: float = setting("weight of the cross-entropy", 0.0)
    tversky_weight: float = setting("weight of the Tversky loss", 0.0)
    lovasz_weight: float = setting("weight of the Lovász hinge, which follows IoU", 0.0)
    focal_alpha: float = setting("focal loss: weight of foreground pixels; background gets 1 - alpha", 0.25)
    focal_gamma: float = setting("focal loss: how strongly easy pixels are played down", 2.0)
    tversky_alpha: float = setting("Tversky loss: weight of false positive pixels; false negative ones get 1 - it", 0.3)
    presence_weight: float = setting(
        "weight of the cross-entropy of a logit for the whole image, which the network then has: is there any", 0.0
    )
    sides_weight: float = setting(
        "weight of the same loss of each mask from coarser features, which the network then has (deep supervision)", 0.0
    )

    def __post_init__(self) -> None:
        check_fields(self)
        weights = ("focal_weight", "dice_weight", "bce_weight", "tversky_weight", "lovasz_weight")
        _check_not_negative(**{name: getattr(self, name) for name in (*weights, "presence_weight", "sides_weight")})
        _check_not_negative(focal_gamma=self.focal_gamma)
        _check(
            any(getattr(self, name) for name in weights),
            f"{', '.join(weights[:-1])} or {weights[-1]} above 0",
            **{name: getattr(self, name) for name in weights},
        )
        for name in ("focal_alpha", "tversky_alpha"):
            _check(0 <= getattr(self, name) <= 1, f"{name} in 0..1", **{name: getattr(self, name)})


_OF_SCHEDULES = {
    "final_rate": ("cosine", "restarts"),
    "restart_epochs": ("restarts",),
    "restart_factor": ("restarts",),
    "plateau_factor": ("plateau",),
    "plateau_epochs": ("plateau",),
}
"""Settings that only some schedules have."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """How weights follow their gradients."""

    learning_rate: float = setting("step size (the highest, where a schedule changes it)", 1e-3)
    encoder_rate: float = setting("the encoder's step size as a multiple of it: less spares what was pretrained", 1.0)
    weight_decay: float = setting(
        "AdamW: share of a kernel that each step takes away, times the step size (0.01); 0: Adam", 0.0
    )
    schedule: Literal["constant", "cosine", "restarts", "plateau"] = setting(
        "cosine: falls to --final_rate along half a cosine; restarts: again and again, see --restart_epochs; plateau: "
        "times --plateau_factor where the validation loss does not fall",
        "constant",
    )
    warmup_epochs: float = setting("epochs in which the step size first rises from 0", 0.0)
    final_rate: float = setting("cosine, restarts: where it ends, as a multiple of --learning_rate", 0.0)
    restart_epochs: float = setting("restarts: epochs of the first cosine", 10.0)
    restart_factor: float = setting("restarts: each cosine is so many times as long as the one before", 2.0)
    plateau_factor: float = setting("plateau: what the step size is multiplied by", 0.3)
    plateau_epochs: int = setting("plateau: after so many epochs without a lower validation loss", 5)
    clip_norm: float = setting("most that the gradient of all weights may measure; 0: anything", 0.0)
    accumulate: int = setting(
        "parts that a batch is computed in, one after the other, to save memory; batch statistics are each part's", 1
    )
    ema: float = setting(
        "moving averages of the weights, with so much of the old one at each step (0.999), are what is validated and "
        "kept; 0: the weights themselves",
        0.0,
    )

    def __post_init__(self) -> None:
        check_fields(self)
        _check_positive(
            learning_rate=self.learning_rate, encoder_rate=self.encoder_rate, restart_epochs=self.restart_epochs
        )
        _check_positive(plateau_epochs=self.plateau_epochs, accumulate=self.accumulate)
        _check_not_negative(weight_decay=self.weight_decay, warmup_epochs=self.warmup_epochs, clip_norm=self.clip_norm)
        for name in ("warmup_epochs", "restart_epochs"):
            most = getattr(self, name)
            _check(most <= _MOST_EPOCHS, f"{name} up to {_MOST_EPOCHS}", **{name: most})
        _check(
            math.isfinite(self.restart_factor) and self.restart_factor >= 1,
            "restart_factor of at least 1",
            restart_factor=self.restart_factor,
        )
        _check(0 <= self.final_rate < 1, "final_rate from 0 to below 1", final_rate=self.final_rate)
        _check(0 < self.plateau_factor < 1, "plateau_factor between 0 and 1", plateau_factor=self.plateau_factor)
        for name, schedules in _OF_SCHEDULES.items():
            _check_default(self, name, when=self.schedule not in schedules, of="schedule")
        _check(0 <= self.ema < 1, "ema from 0 to below 1", ema=self.ema)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """The training loop."""

    run_dir: str = setting("folder for checkpoints, history.csv, TensorBoard events and the final model")
    epochs: int = setting("passes over the training split", 75)
    first_sizes: tuple[int, ...] = setting(
        "heights and widths of the training images in the first epochs, in pixels, before --image_size (256,384); "
        "validation has that throughout",
        (),
    )
    size_epochs: int = setting("epochs for each of --first_sizes", 10)
    keep: Literal["best", "dice", "last"] = setting(
        "epochs that the final model is made of: those of the lowest validation loss; of the highest Dice over the "
        "validation images with a pneumothorax; or the last ones",
        "best",
    )
    average: int = setting(
        "number of them; the mean of their weights, with batch statistics of its own, is the final model", 1
    )
    patience: int = setting("stop after so many epochs without a lower validation loss; 0: never", 0)
    xla: Literal["auto", "on", "off"] = setting("compile the model by XLA; auto: where an accelerator is", "auto")
    steps_per_call: int = setting(
        "training steps that one call starts, in whole batches: more take less of the processor's time each, but "
        "nothing is seen of them until all are done. The patches that a device cuts of a batch are one call anyway",
        1,
    )
    seed: int = setting("seed of weights, order and augmentation", 0)
    overlays: int = setting("validation cases drawn for TensorBoard after each epoch", 4)
    cross_validate: bool = setting(
        "train a run for each fold of the records (tools.make_tfrecords --split=kfold), in RUN_DIR/fold0 …: the fold "
        "validates, the others train; evaluate one by --run_dir=RUN_DIR/fold0 --split=fold0",
        False,
    )
    dry_run: bool = setting(
        "build everything, train on two batches, say what an epoch will take, and write nothing", False
    )

    def __post_init__(self) -> None:
        check_fields(self)
        # TensorFlow takes a checkpoint's path for a pattern
        _check(not set("[]*?") & set(self.run_dir), "run_dir without any of [ ] * ?", run_dir=self.run_dir)
        _check(self.run_dir != "", "run_dir, a folder", run_dir=self.run_dir)
        _check(self.epochs <= _MOST_EPOCHS, f"epochs up to {_MOST_EPOCHS}", epochs=self.epochs)
        _check_positive(epochs=self.epochs, size_epochs=self.size_epochs, average=self.average)
        _check_positive(steps_per_call=self.steps_per_call)
        _check(all(size >= 32 for size in self.first_sizes), "first_sizes of at least 32", first_sizes=self.first_sizes)
        _check_not_negative(overlays=self.overlays, patience=self.patience)
        check_seed(self.seed)


@dataclasses.dataclass(frozen=True, kw_only=True)
class MaskConfig:
    """Probabilities to a mask; what is not given is as the run chose it on its validation split."""

    threshold: float = setting(
        "a pixel at or above this probability is pneumothorax; given alone, nothing else counts; 0: as the run chose, "
        "else 0.5",
        0.0,
    )
    top_threshold: float = setting(
        "the pixels that --min_area_px counts are at or above this probability; 0: as the run chose, or --threshold "
        "where that is given",
        0.0,
    )
    min_area_px: int = setting(
        "an image with fewer such pixels (all regions together, original pixels) counts as healthy; -1: as the run "
        "chose, or 0 where --threshold is given",
        -1,
    )

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("threshold", "top_threshold"):
            _check(0 <= getattr(self, name) < 1, f"{name} from 0 to below 1", **{name: getattr(self, name)})
        _check(
            not self.top_threshold or self.top_threshold >= self.threshold,
            "top_threshold of at least threshold",
            top_threshold=self.top_threshold,
            threshold=self.threshold,
        )
        _check(self.min_area_px >= -1, "min_area_px of -1 or more", min_area_px=self.min_area_px)
        has_no_area = self.min_area_px == 0 or (self.threshold and self.min_area_px < 0)
        _check(
            not (self.top_threshold and has_no_area),
            "min_area_px above 0 with top_threshold, which is for nothing else",
            top_threshold=self.top_threshold,
            min_area_px=self.min_area_px,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """A trained run scored on one split."""

    run_dir: str = setting("folder that ptxtf.train wrote")
    records_dir: str = setting("folder that tools.make_tfrecords wrote")
    output_dir: str = setting("folder for scores.json, images.csv and report.html")
    split: str = setting("split to score; several: val+test", "test")
    batch_size: int = setting("images per step", 8)
    bootstrap: int = setting("resamples (by patient) behind each 95 % interval", 1000)
    gallery: int = setting("cases drawn in the report", 12)
    seed: int = setting("seed of the bootstrap", 0)

    def __post_init__(self) -> None:
        check_fields(self)
        _check_positive(batch_size=self.batch_size, bootstrap=self.bootstrap)
        _check_not_negative(gallery=self.gallery)
        check_seed(self.seed)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PredictConfig:
    """A trained run applied to files."""

    run_dir: str = setting("folder that ptxtf.train wrote")
    output_dir: str = setting("folder for masks, overlays, findings.csv and submission.csv")
    batch_size: int = setting("images per step", 8)

    def __post_init__(self) -> None:
        check_fields(self)
        _check_positive(batch_size=self.batch_size)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServiceConfig:
    """A service of batches."""

    port: int = setting("port to serve at; the next one is taken, too; 0: any that are free", 5050)
    host: str = setting("name or address by which the training reaches this machine; empty: its own name", "")

    def __post_init__(self) -> None:
        check_fields(self)
        _check(0 <= self.port < 65535, "port in 0..65534", port=self.port)


class RunConfig(NamedTuple):
    """Everything that a training run is started with."""

    inputs: InputConfig
    training: TrainConfig
    preprocessing: PreprocessConfig = PreprocessConfig()
    network: ModelConfig = ModelConfig()
    loss: LossConfig = LossConfig()
    optimizer: OptimizerConfig = OptimizerConfig()


RUN = tuple(RunConfig.__annotations__.values())
"""The stages of a run, in their order."""
