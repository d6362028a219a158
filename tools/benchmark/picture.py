"""One training batch before and after augmentation, masks outlined: do image and mask move together?"""

import pathlib

import numpy as np
import tensorflow as tf

from ptxtf import files, ops, pictures, preprocess
from ptxtf.config import PreprocessConfig
from ptxtf.data import dataset
from tools.benchmark.settings import BenchmarkConfig

_CHOICE = 16
_COLUMNS = 6
_SIZE = 300


def write(records: pathlib.Path, config: BenchmarkConfig) -> None:
    """Draw the batch of an epoch's first few that has most pneumothoraces."""
    batches = dataset.Split(records, "train", image_size=config.image_size).batches(config.batch_size, training=True)
    batch = max(batches.take(_CHOICE), key=lambda batch: np.count_nonzero(batch["mask"].numpy().any(axis=(1, 2, 3))))
    picture = draw(batch["image"].numpy(), batch["mask"].numpy(), batch["seed"].numpy())
    files.write_bytes(config.picture, pictures.png(picture))


def draw(images: np.ndarray, masks: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """Return uint8 RGB [H, W, 3]: a row of the images as they come, and below each what training sees of it.

    Args:
        images: uint8 [B, H, W, 1]; the positive ones come first, and those beyond six are left out.
        masks: uint8 [B, H, W, 1] of {0, 1}.
        seeds: int32 [B, 2].
    """
    order = np.argsort(-masks.any(axis=(1, 2, 3)).astype(int), kind="stable")[:_COLUMNS]
    images, masks, seeds = images[order], masks[order], seeds[order]
    config = PreprocessConfig()
    augment = tf.function(preprocess.for_training(config), jit_compile=True)
    moved, moved_masks = (part.numpy()[0] for part in augment(*map(tf.constant, (images, masks, seeds))))
    captions = _captions(seeds, config)
    before = [_tile(*case, _finding(case[1])) for case in zip(images, masks, strict=True)]
    levels = np.rint(255 * moved).astype(np.uint8)
    after = [_tile(*case) for case in zip(levels, moved_masks, captions, strict=True)]
    sections = [
        pictures.Section("Before", "blue: outline of the pneumothorax", before),
        pictures.Section("After", "CLAHE, then one rotation, zoom and flip for image and mask", after),
    ]
    title = "A batch before and after augmentation"
    return pictures.contact_sheet(title, "image and mask move together", sections, columns=len(images), size=_SIZE)


def _tile(image: np.ndarray, mask: np.ndarray, caption: tuple[str, str]) -> pictures.Tile:
    grey = pictures.fit(image[..., 0], image.shape, _SIZE)
    heading, note = caption
    return pictures.Tile(pictures.overlay(grey, mask=mask[..., 0]), heading, note)


def _finding(mask: np.ndarray) -> tuple[str, str]:
    return ("pneumothorax", f"{100 * mask.mean():.1f} % of the image") if mask.any() else ("healthy", "")


def _captions(seeds: np.ndarray, config: PreprocessConfig) -> list[tuple[str, str]]:
    """Say what the seeds drew, in two lines each."""
    low, high = config.rotation_degrees
    drawn = ops.draw_affine(
        tf.constant(seeds), rotation_degrees=(low, high), zoom=config.zoom, flip_probability=config.flip_probability
    )
    brightness = ops.draw_brightness(tf.constant(seeds), brightness=config.brightness)
    captions = []
    parameters = (drawn.rotations_radians, drawn.zooms, drawn.flips, brightness)
    for radians, zoom, flip, factor in zip(*(part.numpy() for part in parameters), strict=True):
        turn = f"{abs(np.degrees(radians)):.0f}° {'left' if radians > 0 else 'right'}"
        mirrored = "mirrored, " if flip else ""
        captions.append((f"{mirrored}{turn}", f"{100 * zoom:.0f} % of its size, {100 * factor:.0f} % as bright"))
    return captions
