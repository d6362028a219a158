"""Settings of what a trained run is used for."""

import dataclasses
import re

from ptxtf.config.fields import (
    check,
    check_default,
    check_fields,
    check_not_negative,
    check_positive,
    check_seed,
    check_spacing_factor,
    setting,
)


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
    gate: float = setting(
        "an image counts as healthy if a classifier's, or the networks' own, probability of a pneumothorax is below; "
        "0: as the run chose, or none where --threshold is given",
        0.0,
    )

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("threshold", "top_threshold", "gate"):
            check(0 <= getattr(self, name) < 1, f"{name} from 0 to below 1", **{name: getattr(self, name)})
        check(
            not self.top_threshold or self.top_threshold >= self.threshold,
            "top_threshold of at least threshold",
            top_threshold=self.top_threshold,
            threshold=self.threshold,
        )
        check(-1 <= self.min_area_px < 2**31, "min_area_px from -1 to below 2**31", min_area_px=self.min_area_px)
        has_no_area = self.min_area_px == 0 or (self.threshold and self.min_area_px < 0)
        check(
            not (self.top_threshold and has_no_area),
            "min_area_px above 0 with top_threshold, which is for nothing else",
            top_threshold=self.top_threshold,
            min_area_px=self.min_area_px,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """A trained run scored on one split."""

    run_dir: str = setting(
        "folder that ptxtf.train or ptxtf.ensemble wrote; several with commas between: their mean, by a threshold of "
        "0.5 unless one is given (ptxtf.ensemble chooses one)"
    )
    records_dir: str = setting("folder that tools.make_tfrecords wrote")
    output_dir: str = setting("folder for scores.json, images.csv, predictions.csv, report.html and report.md")
    split: str = setting("split to score; several: val+test", "test")
    batch_size: int = setting("images per step; 0: 8 on an accelerator, else two for each core", 0)
    bootstrap: int = setting("resamples (by patient) behind each 95 % interval", 1000)
    gallery: int = setting("cases drawn in the report", 12)
    spacing_factor: float = setting(
        "what the pixel spacing that files state is multiplied by: SIIM-ACR's is that of originals some 2.5 times as "
        "large (2500 of 1024 pixels); 0: by 1, but a spacing that makes a film narrower than 20 cm counts as unknown, "
        "so that lengths are in pixels (1 for children's films)",
        0.0,
    )
    against: str = setting(
        "folder that ptxtf.evaluate wrote of another run for the same images: the difference, with its p-value, and "
        "the other's masks beside; empty: none",
        "",
    )
    part: str = setting(
        "2/4: score the second of four parts of the images, for several processes or machines with one OUTPUT_DIR; the "
        "one that finishes last writes the report; empty: all of them",
        "",
    )
    seed: int = setting("seed of the bootstrap", 0)

    def __post_init__(self) -> None:
        check_fields(self)
        check(self.bootstrap >= 20, "bootstrap of at least 20", bootstrap=self.bootstrap)
        check_not_negative(batch_size=self.batch_size, gallery=self.gallery)
        check_spacing_factor(self.spacing_factor)
        check_seed(self.seed)
        found = re.fullmatch(r"(\d{1,4})/(\d{1,4})", self.part)
        is_part = found and 1 <= int(found[1]) <= int(found[2])
        check(not self.part or bool(is_part), "part as 2/4, the second of four", part=self.part)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CompareConfig:
    """Networks trained and scored alike."""

    records_dir: str = setting("folder that tools.make_tfrecords wrote")
    output_dir: str = setting("folder for a folder of each network, table1.csv, report.html and report.md")
    backbones: tuple[str, ...] = setting(
        "encoders: names of ptxtf.models.BACKBONES",
        ("vgg16", "vgg19", "resnet34", "resnet50", "densenet121", "inceptionv3"),
    )
    modes: tuple[str, ...] = setting("whole, patch, or both", ("whole", "patch"))
    recipe: str = setting("flag file that all of them are trained by: one of the recipes, or your own", "study.flags")
    weights: str = setting("encoder weights, as of ptxtf.train: imagenet, none, …; empty: as the recipe has it", "")
    epochs: int = setting("passes over the training split; 0: as the recipe has it", 0)
    image_size: int = setting("height and width the networks see, in pixels; 0: as the recipe has it", 0)
    patch_size: int = setting("height and width of a patch in pixels", 128)
    split: str = setting("split to score", "test")
    folds: int = setting(
        "cross-validation on records made with --split=kfold: so many of the folds are scored, each by a network that "
        "was trained on the others (and, where the recipe has a --val_split, chosen by the next one); 0: one network "
        "for --split",
        0,
    )
    bootstrap: int = setting("resamples (by patient) behind each 95 % interval", 1000)
    gallery: int = setting("cases drawn in the report", 8)
    spacing_factor: float = setting("as of ptxtf.evaluate", 0.0)
    seed: int = setting("seed of weights, order, augmentation and bootstrap", 0)

    def __post_init__(self) -> None:
        check_fields(self)
        check(len(set(self.backbones)) == len(self.backbones) > 0, "backbones, each once", backbones=self.backbones)
        is_known = 0 < len(set(self.modes)) == len(self.modes) and set(self.modes) <= {"whole", "patch"}
        check(is_known, "modes of whole, patch, each once", modes=self.modes)
        check_positive(patch_size=self.patch_size)
        check(self.bootstrap >= 20, "bootstrap of at least 20", bootstrap=self.bootstrap)
        check_not_negative(epochs=self.epochs, image_size=self.image_size, folds=self.folds, gallery=self.gallery)
        check_spacing_factor(self.spacing_factor)
        check_default(self, "split", when=self.folds > 0, of="folds")
        check_seed(self.seed)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PredictConfig:
    """A trained run applied to files."""

    run_dir: str = setting(
        "folder that ptxtf.train or ptxtf.ensemble wrote; several with commas between: their mean, by a threshold of "
        "0.5 unless one is given (ptxtf.ensemble chooses one)"
    )
    output_dir: str = setting("folder for masks, overlays, findings.csv and submission.csv")
    dicom: bool = setting("write a DICOM Segmentation and a Secondary Capture of each DICOM too", True)
    with_identity: bool = setting(
        "copy patient name, birth date, accession number and the like into these, for an archive that files by them",
        False,
    )
    spacing_factor: float = setting(
        "what the pixel spacing that files state is multiplied by; 0: by 1, but by 2.5 where a file looks like "
        "SIIM-ACR's, whose spacing is that of originals about so much larger: findings then say that it is assumed",
        0.0,
    )
    batch_size: int = setting("images per step; 0: 8 on an accelerator, else two for each core", 0)

    def __post_init__(self) -> None:
        check_fields(self)
        check_not_negative(batch_size=self.batch_size)
        check(bool(self.output_dir), "output_dir, a folder", output_dir=self.output_dir)
        check_spacing_factor(self.spacing_factor)
        check_default(self, "with_identity", when=not self.dicom, of="dicom")
