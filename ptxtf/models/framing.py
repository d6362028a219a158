"""From images to what an encoder expects, and from its maps back to the images' size.

Flows in: images, float [B, H, W, 1 or 3] in 0..1, of any size. Flows out: scaled images, padded to a size that can be
halved five times; and on the way back maps cropped to the images' size.

Each is a small model of Keras' own layers and operations, so that a saved network loads without ptxtf, and compiles
under XLA. Sizes need not be known: where they are not, positions are counted on the images themselves.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import keras
from keras import layers, ops

from ptxtf.errors import did_you_mean


class Scaling(NamedTuple):
    """What a family of ImageNet weights expects: `factor * image + offset` per RGB channel, then perhaps BGR order."""

    factor: tuple[float, ...]
    offset: tuple[float, ...]
    reverse_channels: bool = False


IMAGENET_MEAN = (0.485, 0.456, 0.406)  # RGB, of images in 0..1
IMAGENET_STD = (0.229, 0.224, 0.225)

SCALINGS: Mapping[str, Scaling] = MappingProxyType(
    {
        # As it comes, 0..1: how the study fed all of its encoders.
        "paper": Scaling((1.0,) * 3, (0.0,) * 3),
        "raw": Scaling((255.0,) * 3, (0.0,) * 3),
        "tf": Scaling((2.0,) * 3, (-1.0,) * 3),
        "torch": Scaling(
            tuple(1 / std for std in IMAGENET_STD),
            tuple(-mean / std for mean, std in zip(IMAGENET_MEAN, IMAGENET_STD, strict=True)),
        ),
        # Caffe's models were trained on BGR images in 0..255 less the mean; these are the means in RGB order.
        "caffe": Scaling((255.0,) * 3, (-123.68, -116.779, -103.939), reverse_channels=True),
    }
)
"""Images in 0..1 as they come ("paper"), in 0..255 ("raw"), in -1..1 ("tf"), of mean 0 and deviation 1 over ImageNet
("torch"), or BGR in 0..255 less ImageNet's mean ("caffe")."""


def scaling_named(name: str, *, channels: int) -> Scaling:
    """Return the row of `SCALINGS`.

    Raises:
        ValueError: it is unknown, or differs between RGB channels while there are to be `channels` others.
    """
    if name not in SCALINGS:
        raise ValueError(
            f"{did_you_mean(name, SCALINGS)}expected input_scaling of {', '.join(SCALINGS)}. "
            f"Received: input_scaling={name!r}"
        )
    scaling = SCALINGS[name]
    if channels != 3 and (len(set(scaling.factor)) > 1 or len(set(scaling.offset)) > 1):
        raise ValueError(f"expected three channels for input_scaling {name!r}. Received: channels={channels}")
    return scaling


def scale(images: keras.KerasTensor, scaling: str, *, channels: int = 3) -> keras.KerasTensor:
    """Scale images to what an encoder was trained on; one grey channel becomes three equal ones first.

    Args:
        images: float32 [B, H, W, 1 or channels] in 0..1.
        scaling: a key of `SCALINGS`.
        channels: how many come out; 3 where the scaling differs between RGB channels.

    Returns:
        float32 [B, H, W, channels], from a nested model named "scale".

    Raises:
        ValueError: scaling is unknown or needs three channels and is to give others.

    Example:
        >>> scale(keras.Input((32, 32, 1)), "tf").shape
        (None, 32, 32, 3)
    """
    factor, offset, reverse_channels = scaling_named(scaling, channels=channels)
    x = inputs = _like(images)
    if images.shape[-1] == 1 and channels == 3:
        x = layers.Concatenate(dtype="float32", name="grey_to_rgb")([x] * 3)
    elif reverse_channels:
        x = ops.flip(x, axis=-1)
    factors, offsets = (list(values[:: -1 if reverse_channels else 1][:channels]) for values in (factor, offset))
    x = layers.Rescaling(factors, offsets, dtype="float32", name="rescale")(x)
    return keras.Model(inputs, x, name="scale")(images)


def scale_grey(images: keras.KerasTensor, *, shift: float, with_ones: bool) -> keras.KerasTensor:
    """Scale grey images for a stem that had its kernel folded (`ptxtf.models.stem`).

    In bfloat16, which the convolution may round to, 255 times a stored grey level is exact, the level itself is not.

    Args:
        images: float32 [B, H, W, 1] in 0..1.
        shift: added to 255 times an image.
        with_ones: give a second channel of ones.

    Returns:
        float32 [B, H, W, 1 or 2], from a nested model named "scale".

    Example:
        >>> scale_grey(keras.Input((32, 32, 1)), shift=-127.5, with_ones=False).shape
        (None, 32, 32, 1)
    """
    inputs = _like(images)
    x = layers.Rescaling(255.0, shift, dtype="float32", name="rescale")(inputs)
    if with_ones:
        x = layers.Concatenate(dtype="float32", name="with_ones")([x, ops.ones_like(x)])
    return keras.Model(inputs, x, name="scale")(images)


def pad(images: keras.KerasTensor, multiple: int) -> keras.KerasTensor:
    """Pad images with zeros at the bottom and right until both sides are multiples of `multiple`, in pixels.

    Args:
        images: float32 [B, H, W, C]; H and W may be unknown.
        multiple: in pixels.

    Returns:
        float32 [B, H', W', C], from a nested model named "pad"; the images themselves where both sides are known to
        be multiples.

    Example:
        >>> pad(keras.Input((70, 64, 1)), 32).shape
        (None, 96, 64, 1)
    """
    height, width = images.shape[1:3]
    if None not in (height, width):
        if height % multiple == width % multiple == 0:
            return images
        return layers.ZeroPadding2D(((0, -height % multiple), (0, -width % multiple)), dtype="float32", name="pad")(
            images
        )
    x = inputs = _like(images)
    x = layers.ZeroPadding2D(((0, multiple - 1), (0, multiple - 1)), dtype="float32")(x)
    for axis in (1, 2):
        cell = (multiple, 1) if axis == 1 else (1, multiple)
        # Pooling counts the multiples, the last begun one included, and upsampling makes pixels of them again.
        cells = layers.MaxPooling2D(cell, padding="same", dtype="float32")(_line(inputs, axis))
        x = ops.take(x, _positions(layers.UpSampling2D(cell, dtype="float32")(cells), axis), axis=axis)
    return keras.Model(inputs, x, name="pad")(images)


def crop(maps: keras.KerasTensor, images: keras.KerasTensor, *, name: str = "crop") -> keras.KerasTensor:
    """Cut maps at the bottom and right to the height and width of images: the way back from `pad`.

    Args:
        maps: float32 [B, H', W', C], H <= H' and W <= W'.
        images: float32 [B, H, W, any].
        name: of the nested model that does it.

    Returns:
        float32 [B, H, W, C]; the maps themselves where both are known to be as large.

    Example:
        >>> crop(keras.Input((96, 64, 1)), keras.Input((70, 64, 1))).shape
        (None, 70, 64, 1)
    """
    if None not in (*maps.shape[1:3], *images.shape[1:3]):
        bottom, right = (more - less for more, less in zip(maps.shape[1:3], images.shape[1:3], strict=True))
        if bottom == right == 0:
            return maps
        return layers.Cropping2D(((0, bottom), (0, right)), dtype="float32", name=name)(maps)
    inputs = [_like(maps), _like(images)]
    x = inputs[0]
    for axis in (1, 2):
        x = ops.take(x, _positions(_line(inputs[1], axis), axis), axis=axis)
    return keras.Model(inputs, x, name=name)([maps, images])


def _like(images: keras.KerasTensor) -> keras.KerasTensor:
    return keras.Input(images.shape[1:], dtype="float32")


def _line(images: keras.KerasTensor, axis: int) -> keras.KerasTensor:
    """Return the first image's first column (axis 1) or row (axis 2) in its first channel, with the rank of images."""
    return images[:1, :, :1, :1] if axis == 1 else images[:1, :1, :, :1]


def _positions(line: keras.KerasTensor, axis: int) -> keras.KerasTensor:
    """Count along a line: int32 0, 1, 2 and so on."""
    values = line[0, :, 0, 0] if axis == 1 else line[0, 0, :, 0]
    return ops.cumsum(ops.ones_like(values, dtype="int32")) - 1
