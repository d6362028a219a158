"""Settings of how trained networks are asked."""

import dataclasses
from typing import Literal

from ptxtf.config.fields import check, check_default, check_fields, check_not_negative, check_seed, setting

_RANGES = {
    "member_weights": (1e-6, 1e6),
    "tta_rotations": (-180, 180),
    "tta_scales": (0.1, 10),
    "tta_gammas": (0.05, 20),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class InferenceConfig:
    """How networks are asked.

    What is not given, or given as the default, is as the folder of an ensemble has it.
    """

    member_weights: tuple[float, ...] = setting(
        "share of each run (or cross-validation) in the mean of several; empty: all count the same", ()
    )
    members: Literal["final", "epochs"] = setting(
        "final: a run's final model; epochs: the networks of the epochs that it is the mean of (--average), each by "
        "itself",
        "final",
    )
    gate_dir: str = setting(
        "run whose presence logit says whether there is a pneumothorax at all, as a classifier's does; it is asked "
        "as it was trained, mirrored too with --tta_flip; empty: the networks' own, where all have one",
        "",
    )
    tile_size: int = setting(
        "height and width of tiles that images are cut into, in pixels; 0: as a run was trained, its patches or whole "
        "images",
        0,
    )
    tile_overlap: float = setting(
        "share of a tile's side that the next one covers again, 0 to below 1; tiles are blended by a Gaussian", 0.0
    )
    at_size: int = setting("height and width that images are brought to for networks, in pixels; 0: as trained", 0)
    tta_flip: bool = setting("ask of each view's mirror image too, and take the mean", False)
    tta_rotations: tuple[float, ...] = setting("angles of more views, in degrees: -5,5", ())
    tta_scales: tuple[float, ...] = setting("scales of more views: 0.9,1.1", ())
    tta_gammas: tuple[float, ...] = setting("gamma exponents of more views: 0.8,1.25", ())

    def __post_init__(self) -> None:
        check_fields(self)
        check_not_negative(tile_size=self.tile_size)
        check(0 <= self.at_size <= 2**14, "at_size from 0 to 16384", at_size=self.at_size)
        check(0 <= self.tile_overlap < 1, "tile_overlap from 0 to below 1", tile_overlap=self.tile_overlap)
        for name, (low, high) in _RANGES.items():
            values = getattr(self, name)
            is_fit = all(low <= value <= high for value in values)
            check(is_fit, f"{name}, each within {low:g}..{high:g}", **{name: values})


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunsConfig:
    """The networks of an ensemble."""

    run_dir: str = setting(
        "folder that ptxtf.train wrote (with --cross_validate: all of its folds), or ptxtf.ensemble; several with "
        "commas between are an ensemble"
    )

    def __post_init__(self) -> None:
        check_fields(self)
        check(bool(self.run_dir), "run_dir, a folder", run_dir=self.run_dir)


@dataclasses.dataclass(frozen=True, kw_only=True)
class EnsembleConfig:
    """Networks that are joined, and trained where they are not yet."""

    records_dir: str = setting("folder that tools.make_tfrecords wrote")
    output_dir: str = setting("folder for a folder of each network, ensemble.flags and rule.json")
    run_dir: str = setting("runs that take part as they are, with commas between; empty: none", "")
    networks: tuple[str, ...] = setting(
        "networks to train, each a decoder and a backbone: unet/seresnext50,deeplab_v3plus/resnet50", ()
    )
    classifier: str = setting(
        "backbone of a classifier to train, which says whether there is a pneumothorax at all; empty: none", ""
    )
    recipe: str = setting("flag file that all of them are trained by: one of the recipes, or your own", "study.flags")
    weights: str = setting("encoder weights, as of ptxtf.train: imagenet, none, …; empty: as the recipe has it", "")
    epochs: int = setting("passes over the training split; 0: as the recipe has it", 0)
    image_size: int = setting("height and width the networks see, in pixels; 0: as the recipe has it", 0)
    batch_size: int = setting("images per training step; 0: as the recipe has it", 0)
    split: str = setting("split that the rule is chosen on, which no network was trained on", "val")
    seed: int = setting("seed of weights, order and augmentation", 0)

    def __post_init__(self) -> None:
        check_fields(self)
        check(bool(self.networks or self.run_dir), "networks or run_dir", networks=self.networks, run_dir=self.run_dir)
        for name in ("recipe", "weights", "epochs", "image_size", "batch_size", "seed"):
            is_for_nothing = not (self.networks or self.classifier)
            check_default(self, name, when=is_for_nothing, of="networks")
        check(len(set(self.networks)) == len(self.networks), "networks, each once", networks=self.networks)
        check_not_negative(epochs=self.epochs, image_size=self.image_size, batch_size=self.batch_size)
        check_seed(self.seed)
