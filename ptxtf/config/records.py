"""Settings of what stands between files and batches: phantoms, conversion, input."""

import dataclasses
import math
import re
from typing import Literal

from ptxtf.config.fields import (
    check,
    check_default,
    check_fields,
    check_not_negative,
    check_positive,
    check_seed,
    setting,
)

Cache = Literal["auto", "equalised", "decoded", "none"]


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
        check_positive(count=self.count)
        check(self.phantom_size >= 64, "phantom_size of at least 64", phantom_size=self.phantom_size)
        check(0 <= self.positive_share <= 1, "positive_share in 0..1", positive_share=self.positive_share)
        check_not_negative(workers=self.workers)
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
        check(
            bool(self.dicom_dir) + bool(self.image_dir) <= 1 and bool(self.dicom_dir or self.image_dir or self.dry_run),
            "--dicom_dir or --image_dir",
            dicom_dir=self.dicom_dir,
            image_dir=self.image_dir,
        )
        check(
            bool(self.annotations) + bool(self.mask_dir) == 1 and not (self.mask_dir and not self.image_dir),
            "--annotations, or --image_dir with --mask_dir",
            annotations=self.annotations,
            mask_dir=self.mask_dir,
        )
        check(
            self.image_size == 0 or self.image_size >= 32, "image_size of 0 or at least 32", image_size=self.image_size
        )
        check_positive(num_shards=self.num_shards)
        check_not_negative(workers=self.workers, balance=self.balance, window=self.window)
        check_seed(self.seed)
        check(
            len(self.fractions) == 3
            and min(self.fractions) >= 0
            and math.isclose(sum(self.fractions), 1, abs_tol=1e-6),
            "three fractions (train, val, test) that add up to 1",
            fractions=self.fractions,
        )
        check(self.folds >= 2, "at least 2 folds", folds=self.folds)


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
        check(
            self.image_size == 0 or self.image_size >= 32, "image_size of 0 or at least 32", image_size=self.image_size
        )
        check_positive(batch_size=self.batch_size)
        check(
            all(_is_service(address) for address in self.data_service),
            "data_service of grpc://host:port, one or more, ports in 1..65534",
            data_service=self.data_service,
        )
        check(
            all(0 <= share <= 1 for share in self.positive_share),
            "positive_share in 0..1, one or more",
            positive_share=self.positive_share,
        )
        check_default(self, "positive_schedule", when=len(self.positive_share) < 2, of="positive_share")


def _is_service(address: str) -> bool:
    found = re.fullmatch(r"grpc://.+:(\d{1,5})", address)
    return found is not None and 0 < int(found[1]) < 65535


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServiceConfig:
    """A service of batches."""

    port: int = setting("port to serve at; the next one is taken, too; 0: any that are free", 5050)
    host: str = setting("name or address by which the training reaches this machine; empty: its own name", "")

    def __post_init__(self) -> None:
        check_fields(self)
        check(0 <= self.port < 65535, "port in 0..65534", port=self.port)
