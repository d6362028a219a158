"""Preprocessing and network as one function: uint8 images [B, H, W, 1] -> float32 logits [B, H, W, 1].

What training validates with; `ptxtf.inference.network` makes of the same parts what prediction runs. Preprocessing is
compiled by XLA in any case, the network where that pays.
"""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from ptxtf import devices, models, preprocess
from ptxtf.config import Precision, PreprocessConfig
from ptxtf.models.rebuild import rebuild

Logits = Callable[[tf.Tensor], tf.Tensor]


def logits_function(model: keras.Model, config: PreprocessConfig, *, xla: bool) -> Logits:
    """Return the function from uint8 images [B, H, W, 1] to float32 logits [B, H, W, 1].

    In patch mode images are equalised whole, cut, and the logits stitched back. H and W must be static; each batch
    shape is compiled once.

    Args:
        model: gives logits [B, h, w, 1] for float32 images in 0..1, or a dictionary with such as "mask".
        config: the preprocessing that goes with it.
        xla: compile the model too, see `use_xla`.
    """
    prepare = tf.function(preprocess.for_inference(config), jit_compile=True, autograph=False)
    infer = network_function(with_heads(model, "mask"), xla=xla)
    tiles = preprocess.tiles_of(config)

    def logits(images: tf.Tensor) -> tf.Tensor:
        return preprocess.join(infer(prepare(images)), tiles, image_size=(images.shape[1], images.shape[2]))

    return tf.function(logits, autograph=False)


def heads_of(model: keras.Model) -> tuple[str, ...]:
    """Return the heads that a model has; one that gives a tensor gives masks."""
    return tuple(model.output) if isinstance(model.output, dict) else ("mask",)


def with_heads(model: keras.Model, *heads: str) -> keras.Model:
    """Return a model without its other heads; of one head it gives the logits themselves."""
    if heads_of(model) == heads:
        return model
    outputs = {head: model.output[head] for head in heads}
    return keras.Model(model.input, outputs if len(outputs) > 1 else outputs[heads[0]])


def network_function(model: keras.Model, *, xla: bool, fixed: bool = False) -> Logits:
    """Return the function from float32 images or patches in 0..1 to the model's logits.

    Args:
        model: as in `logits_function`; one with several heads gives a dictionary.
        xla: compile it.
        fixed: it will learn no more.
    """
    fastest = fastest_form(model, training=False, xla=xla, fixed=fixed)
    return tf.function(lambda images: fastest(images, training=False), jit_compile=xla, autograph=False)


def in_parts(function: Logits, *, size: int, at_once: int) -> Logits:
    """Return a function that hands a batch, [B, …], to another one in parts of one size.

    By oneDNN on one core, an image's logits are then the same, to the last bit, whatever the batch's size: convolutions
    are summed otherwise for other sizes. Pairs take as long as larger parts do, single images nearly twice as long
    (ResNet-34 and DenseNet121 at 256², two cores). And memory is that of few parts, however large the batch is.

    Args:
        function: of a tensor; may give several.
        size: images of a part; the last part is filled up with black ones.
        at_once: how many parts may be computed at the same time.
    """

    def by_part(images: tf.Tensor) -> Any:
        count = tf.shape(images)[0] if images.shape[0] is None else images.shape[0]
        filled = tf.pad(images, [[0, -count % size], *[[0, 0]] * (images.shape.rank - 1)])
        parts = tf.reshape(filled, [-1, size, *images.shape[1:]])
        if parts.shape[0] is not None and parts.shape[0] <= at_once:
            found = [function(part) for part in tf.unstack(parts)]
            return tf.nest.map_structure(lambda *outputs: tf.concat(outputs, axis=0)[:count], *found)
        made = tf.function(function).get_concrete_function(tf.TensorSpec(parts.shape[1:], parts.dtype))
        kinds = tf.nest.map_structure(lambda one: tf.TensorSpec(one.shape, one.dtype), made.structured_outputs)
        found = tf.map_fn(function, parts, fn_output_signature=kinds, parallel_iterations=at_once)
        return tf.nest.map_structure(lambda one: tf.reshape(one, [-1, *one.shape[2:]])[:count], found)

    return by_part


def fastest_form(model: keras.Model, *, training: bool, xla: bool, fixed: bool = False) -> keras.Model:
    """Return what computes a model soonest: its twin on a CPU, itself under XLA and where there is an accelerator."""
    return model if xla or devices.has_accelerator() else models.twin(model, training=training, fixed=fixed)


def use_xla(setting: str) -> bool:
    """Return whether XLA compiles the model: "on", "off", or "auto": on accelerators it pays, on a CPU it costs."""
    if setting == "auto":
        return devices.has_accelerator()
    return setting == "on"


def choose_precision(setting: Precision) -> Precision:
    """Return a Keras dtype policy: the setting, or for "auto" the one that trains soonest here without loss of range.

    That is mixed_bfloat16 where the device computes in bfloat16: TPUs, NVIDIA GPUs from compute capability 8.0 (Ampere)
    on, and processors with such instructions. Older GPUs with tensor cores (7.0, Volta) get mixed_float16, all others
    float32.
    """
    if setting != "auto":
        return setting
    if tf.config.get_visible_devices("TPU"):
        return "mixed_bfloat16"
    gpus = tf.config.get_visible_devices("GPU")
    if not gpus:
        return "mixed_bfloat16" if devices.has_bfloat16() else "float32"
    capability = min(tf.config.experimental.get_device_details(gpu).get("compute_capability", (0, 0)) for gpu in gpus)
    return "mixed_bfloat16" if capability >= (8, 0) else "mixed_float16" if capability >= (7, 0) else "float32"


def for_this_device(model: keras.Model, precision: Precision) -> keras.Model:
    """Return a model that was trained in half precision as a processor can compute it that lacks the instructions.

    Args:
        model: with its weights. On an accelerator, and where the precision is the processor's, it is given back.
        precision: that it was trained in.
    """
    here = choose_precision("auto")
    if precision in ("float32", here) or devices.has_accelerator():
        return model

    def change(layer: keras.Layer, config: dict[str, Any]) -> keras.Layer:
        is_half = layer.dtype_policy.name == precision
        return type(layer).from_config({**config, "dtype": here} if is_half else config)

    return rebuild(model, change)
