"""The compiled preprocessing as StableHLO text, with example inputs and what comes out of them.

For each program NAME a folder gets NAME.stablehlo.mlir and NAME.npz: argument_0, argument_1 … in the order that the
program takes them (constants that the compiler made arguments last), and result_0, result_1 … train_whole has the axis
of steps inside, for which it makes a copy that training does not make.
"""

import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from ptxtf import files, ops, preprocess
from ptxtf.config import PreprocessConfig
from tools.benchmark import films
from tools.benchmark.settings import BenchmarkConfig

Program = tuple[Callable[..., Any], Sequence[Any]]

_README = """\
NAME.stablehlo.mlir is ptxtf's preprocessing as XLA gets it, for any PJRT client; NAME.npz holds example inputs
(argument_0, ...) and the results on the CPU (result_0, ...). By JAX {jax}, with or without an accelerator:

    import jax, numpy as np
    from jax.extend import backend

    device = jax.devices()[0]
    options = backend.get_compile_options(num_replicas=1, num_partitions=1)
    text = open("NAME.stablehlo.mlir").read()
    program = device.client.compile_and_load(text, [device], options)
    saved = np.load("NAME.npz")
    count = sum(name.startswith("argument_") for name in saved.files)
    results = program.execute([jax.device_put(saved[f"argument_{{i}}"], device) for i in range(count)])
    for i, result in enumerate(results):
        print(np.abs(np.asarray(result).astype(float) - saved[f"result_{{i}}"]).max())

Programs: {programs}.
"""

_JAX = "0.10"
"""The version that the lines above were tried with."""


def export(config: BenchmarkConfig) -> None:
    """Write every program, and a README.txt that says how to run one."""
    folder = files.path(config.export_stablehlo)
    programs = _programs(config)
    for name, (function, arguments) in programs.items():
        text, arrays = _compile(function, [tf.constant(argument) for argument in arguments])
        files.write_text(folder / f"{name}.stablehlo.mlir", text)
        files.write_bytes(folder / f"{name}.npz", arrays)
        print(folder / f"{name}.stablehlo.mlir")
    files.write_text(folder / "README.txt", _README.format(jax=_JAX, programs=", ".join(programs)))


def _programs(config: BenchmarkConfig) -> dict[str, Program]:
    """Return name -> function and example arguments; patches are a quarter of the image wide, 128 of 512."""
    images = films.radiographs(config)[..., np.newaxis]
    masks = (images > 128).astype(np.uint8)
    seeds = np.stack([np.zeros(len(images)), np.arange(len(images))], axis=1).astype(np.int32)
    size = config.image_size // 4
    stride = size // 2
    whole, patch = PreprocessConfig(), PreprocessConfig(mode="patch", patch_size=size)

    def equalise(images: tf.Tensor) -> tf.Tensor:
        return ops.clahe(images)  # of a function with options, TensorFlow gives no text unless all are named

    def stitch(patches: tf.Tensor) -> tf.Tensor:
        return ops.stitch_patches(patches, image_size=config.image_size, stride=stride, window="gaussian")

    patches = ops.extract_patches(tf.constant(images / 255, tf.float32), size=size, stride=stride)
    return {
        "train_whole": (preprocess.for_training(whole), (images, masks, seeds)),
        "train_patch": (preprocess.for_training(patch), (images, masks, seeds)),
        "inference": (preprocess.for_inference(whole), (images,)),
        "clahe": (equalise, (images,)),
        "stitch": (stitch, (patches.numpy(),)),
    }


def _compile(function: Callable[..., Any], arguments: Sequence[tf.Tensor]) -> tuple[str, bytes]:
    """Return a program's text, and its inputs and outputs as .npz."""
    compiled = tf.function(function, jit_compile=True)
    constants = compiled.get_concrete_function(*arguments).captured_inputs
    results = tf.nest.flatten(compiled(*arguments))
    text = compiled.experimental_get_compiler_ir(*arguments)(stage="stablehlo")
    content = io.BytesIO()
    np.savez_compressed(
        content,
        **{f"argument_{number}": value.numpy() for number, value in enumerate([*arguments, *constants])},
        **{f"result_{number}": value.numpy() for number, value in enumerate(results)},
    )
    return text if isinstance(text, str) else text.decode(), content.getvalue()
