"""Settings against the size of the images that they are for."""

from ptxtf.config import PreprocessConfig
from ptxtf.errors import InputError
from ptxtf.ops.blur import REACH, kernel_radius


def check_fits(config: PreprocessConfig, *, image_size: tuple[int, int]) -> None:
    """Check the settings that not every image is large enough for.

    Raises:
        InputError: patch, tile_grid (of CLAHE) or blur need more than image_size, (height, width) in pixels.
    """
    shorter = min(image_size)
    if config.mode == "patch" and config.patch_size > shorter:
        raise InputError(
            f"expected --patch_size up to the image size, {shorter}. Received: patch_size={config.patch_size}"
        )
    check_tile_grid(config, image_size=image_size)
    if kernel_radius(config.blur_px) >= shorter:
        raise InputError(
            f"expected --blur_px that reaches, {REACH:g} times as far, less than the image size, {shorter}. "
            f"Received: blur_px={config.blur_px}"
        )


def check_tile_grid(config: PreprocessConfig, *, image_size: tuple[int, int]) -> None:
    """Check that CLAHE's tiles have a pixel each.

    Raises:
        InputError: they need more than image_size, (height, width) in pixels.
    """
    if config.clahe and any(tiles > length for tiles, length in zip(config.tile_grid, image_size, strict=True)):
        raise InputError(
            f"expected --tile_grid of no more tiles than an image of {image_size} has pixels. "
            f"Received: tile_grid={config.tile_grid}"
        )
