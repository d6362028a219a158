"""Settings of the network: what it sees, what it is made of, and what it is to learn."""

import dataclasses
import itertools
from typing import Literal

from ptxtf.config.fields import check, check_default, check_fields, check_not_negative, check_positive, setting

Mode = Literal["whole", "patch"]
Precision = Literal["auto", "float32", "mixed_float16", "mixed_bfloat16"]
Upsampling = Literal["nearest", "transposed"]
Attention = Literal["none", "scse"]


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
        check_positive(patch_size=self.patch_size)
        check_not_negative(
            clip_limit=self.clip_limit, shift=self.shift, gamma=self.gamma, blur_px=self.blur_px, noise=self.noise
        )
        for name in ("foreground_share", "flip_probability", "cutout"):
            check(0 <= getattr(self, name) <= 1, f"{name} in 0..1", **{name: getattr(self, name)})
        check(
            len(self.tile_grid) == 2 and min(self.tile_grid) >= 1,
            "tile_grid of two numbers (rows, columns), each at least 1",
            tile_grid=self.tile_grid,
        )
        check(
            len(self.rotation_degrees) == 2 and 0 <= self.rotation_degrees[0] <= self.rotation_degrees[1] <= 180,
            "rotation_degrees lowest,highest within 0..180",
            rotation_degrees=self.rotation_degrees,
        )
        for name in ("patch_size", "patches", "foreground_share"):
            check_default(self, name, when=self.mode == "whole", of="mode")
        check_default(self, "foreground_share", when=self.patches == "grid", of="patches")
        for name in ("clip_limit", "tile_grid"):
            check_default(self, name, when=not self.clahe, of="clahe")
        for name in ("zoom", "brightness", "contrast"):
            check(0 <= getattr(self, name) < 1, f"{name} from 0 to below 1", **{name: getattr(self, name)})
        check(0 <= self.shear_degrees < 90, "shear_degrees from 0 to below 90", shear_degrees=self.shear_degrees)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The network."""

    backbone: str = setting("encoder: a name of ptxtf.models.BACKBONES", "resnet34")
    weights: str = setting(
        "encoder weights: imagenet, none, a file, or the folder of another run, whose encoder is taken", "imagenet"
    )
    decoder: Literal["unet", "unet_plus_plus", "fpn", "deeplab_v3plus", "classifier"] = setting(
        "what makes a mask of the encoder's features; classifier: nothing, it only says whether there is a "
        "pneumothorax (--presence_weight=1, the other losses 0)",
        "unet",
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
        check(
            len(self.decoder_filters) == 5 and min(self.decoder_filters) >= 1,
            "five decoder_filters, each at least 1",
            decoder_filters=self.decoder_filters,
        )
        ends = (0, *self.freeze_epochs)
        check(
            len(ends) <= 6 and all(one < other for one, other in itertools.pairwise(ends)),
            "freeze_epochs, up to five rising numbers above 0",
            freeze_epochs=self.freeze_epochs,
        )
        check(
            not (self.freeze_encoder and self.freeze_epochs),
            "no freeze_epochs with freeze_encoder, which is for ever",
            freeze_epochs=self.freeze_epochs,
        )
        check_default(self, "decoder_filters", when=self.decoder not in ("unet", "unet_plus_plus"), of="decoder")
        check_default(self, "upsampling", when=self.decoder != "unet", of="decoder")
        check_default(self, "attention", when=self.decoder != "unet", of="decoder")


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

    @property
    def is_of_images(self) -> bool:
        """Whether only the presence of a pneumothorax counts, and no pixel."""
        return not (
            self.focal_weight or self.dice_weight or self.bce_weight or self.tversky_weight or self.lovasz_weight
        )

    def __post_init__(self) -> None:
        check_fields(self)
        weights = ("focal_weight", "dice_weight", "bce_weight", "tversky_weight", "lovasz_weight")
        check_not_negative(**{name: getattr(self, name) for name in (*weights, "presence_weight", "sides_weight")})
        check_not_negative(focal_gamma=self.focal_gamma)
        check(
            any(getattr(self, name) for name in (*weights, "presence_weight")),
            f"{', '.join(weights)} or presence_weight above 0",
            **{name: getattr(self, name) for name in weights},
        )
        check(
            not self.sides_weight or not self.is_of_images,
            "a loss of masks with sides_weight",
            sides_weight=self.sides_weight,
        )
        for name in ("focal_alpha", "tversky_alpha"):
            check(0 <= getattr(self, name) <= 1, f"{name} in 0..1", **{name: getattr(self, name)})
        for name in ("focal_alpha", "focal_gamma"):
            check_default(self, name, when=not self.focal_weight, of="focal_weight")
        check_default(self, "tversky_alpha", when=not self.tversky_weight, of="tversky_weight")
