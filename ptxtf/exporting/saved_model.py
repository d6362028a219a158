"""A network and a rule -> a SavedModel with everything inside: TensorFlow runs it, and needs nothing else.

| signature         | takes                                                  | gives                             |
|-------------------|--------------------------------------------------------|-----------------------------------|
| `serving_default` | `pictures`: PNG or JPEG files, 8 or 16 bits            | score, rle, size, mask_png_bytes  |
| `raw`             | `raw`: a byte per pixel, row by row; `height`, `width` | the same                          |
| `pixels`          | `images`: arrays of one size                           | score, rle, mask, probabilities   |
| `picture`         | `picture`: one PNG or JPEG file                        | the same                          |
| `rule`            | nothing                                                | what makes masks of probabilities |

    pictures, raw   string [B], of any sizes; grey levels are bright = dense
    height, width   int32 [B], in pixels
    images          uint8 [B, H, W, 1]
    picture         string [1]

    score           float32 [B]: how sure it is that there is a pneumothorax, 0..1
    rle             string [B]: the mask as SIIM's run-length text, pairs (gap, length) down the columns; "-1": no mask
    size            int32 [B, 2]: height and width
    mask_png_bytes  string [B]: the mask, a PNG of 0 and 255
    mask            uint8 [B, H, W, 1] of {0, 1}
    probabilities   float32 [B, H, W, 1], 0..1

All that comes out is at each picture's own size. So arrays are given where there is one size; of several sizes, files
and text. What is no picture is an InvalidArgumentError, for the whole batch.
"""

import dataclasses
from collections.abc import Callable

import tensorflow as tf

from ptxtf import files
from ptxtf.data import example
from ptxtf.exporting.decide import decide, run_lengths
from ptxtf.exporting.decode import decode_picture, decode_raw
from ptxtf.exporting.portable import Infer, Portable
from ptxtf.inference.masks import Rule

Answer = dict[str, tf.Tensor]
"""What a signature gives, by name."""


def save(network: Portable, rule: Rule, directory: files.Path) -> None:
    """Write the SavedModel.

    Args:
        network: of `portable.of`.
        rule: that masks are made by.
        directory: to be made.
    """
    module = tf.Module(name="ptxtf")
    module.network_variables = network.variables  # what a module holds is saved with it
    tf.saved_model.save(module, str(directory), signatures=signatures(network, rule))


def signatures(network: Portable, rule: Rule) -> dict[str, tf.types.experimental.GenericFunction]:
    """Return the functions that the module describes, by their signatures' names."""
    side = network.image_size
    infer = tf.function(
        network.infer, input_signature=[tf.TensorSpec([None, side, side, 1], tf.uint8)], autograph=False
    )

    def pixels(images: tf.Tensor) -> Answer:
        probabilities, presence = infer(example.resize(images, (side, side), xla=False))
        probabilities = tf.image.resize(probabilities, tf.shape(images)[1:3], method="bilinear")
        scores, masks = decide(probabilities, presence, rule)
        return {"score": scores, "rle": run_lengths(masks), "mask": masks, "probabilities": probabilities}

    def picture(picture: tf.Tensor) -> Answer:
        return pixels(decode_picture(picture[0])[tf.newaxis])

    def pictures(pictures: tf.Tensor) -> Answer:
        return _each(pictures, decode_picture, infer, rule, side=side)

    def raw(raw: tf.Tensor, height: tf.Tensor, width: tf.Tensor) -> Answer:
        sizes = tf.stack([height, width], axis=1)
        return _each((raw, sizes), lambda parts: decode_raw(*parts), infer, rule, side=side)

    def the_rule() -> Answer:
        return {name: tf.constant(value) for name, value in numbers(network, rule).items()}

    strings, lengths = tf.TensorSpec([None], tf.string), tf.TensorSpec([None], tf.int32)
    specs = {
        "serving_default": (pictures, [strings]),
        "raw": (raw, [strings, lengths, lengths]),
        "pixels": (pixels, [tf.TensorSpec([None, None, None, 1], tf.uint8)]),
        "picture": (picture, [tf.TensorSpec([1], tf.string)]),
        "rule": (the_rule, []),
    }
    return {name: tf.function(call, input_signature=spec, autograph=False) for name, (call, spec) in specs.items()}


def numbers(network: Portable, rule: Rule) -> dict[str, float | int | str]:
    """Return what makes masks of probabilities, and the side S that the network sees, by name."""
    return dataclasses.asdict(rule) | {"image_size": network.image_size}


def _each(
    encoded: tf.Tensor | tuple[tf.Tensor, ...], decode: Callable[..., tf.Tensor], infer: Infer, rule: Rule, *, side: int
) -> Answer:
    """Answer for pictures of any sizes: the network sees them together, all else is done one after another."""

    def shrink(one: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        pixels = decode(one)
        return example.resize(pixels[tf.newaxis], (side, side), xla=False)[0], tf.shape(pixels)[:2]

    def judge(one: tuple[tf.Tensor, ...]) -> tuple[tf.Tensor, ...]:
        probabilities, size, *presence = (tensor[tf.newaxis] for tensor in one)
        probabilities = tf.image.resize(probabilities, size[0], method="bilinear")
        scores, masks = decide(probabilities, presence[0] if presence else None, rule)
        return scores[0], run_lengths(masks)[0], tf.io.encode_png(masks[0] * 255)

    images, sizes = tf.map_fn(
        shrink, encoded, fn_output_signature=(tf.TensorSpec([side, side, 1], tf.uint8), tf.TensorSpec([2], tf.int32))
    )
    probabilities, presence = infer(images)
    known = (probabilities, sizes) if presence is None else (probabilities, sizes, presence)
    scores, texts, masks = tf.map_fn(judge, known, fn_output_signature=(tf.float32, tf.string, tf.string))
    return {"score": scores, "rle": texts, "size": sizes, "mask_png_bytes": masks}
