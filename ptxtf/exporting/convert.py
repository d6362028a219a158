"""A network -> ONNX and TFLite: images of the network's size to probabilities, CLAHE and patches inside.

Flows in: uint8 "images" [B, S, S, 1] (TFLite: [1, S, S, 1]). Flows out: float32 "probabilities" of that shape, and
"presence" [B] where the network tells it. Files and sizes, masks and text are left to the caller: there are no
operations for them that every runtime has.
"""

import importlib.util
import json
import logging
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from ptxtf import files
from ptxtf.errors import InputError
from ptxtf.exporting.portable import Portable

_OPSET = 18
"""Of ONNX: of December 2022."""


def check_converters(formats: Sequence[str]) -> None:
    """Raise InputError where a format's converter is not installed. TensorFlow brings TFLite's."""
    if "onnx" in formats and not importlib.util.find_spec("tf2onnx"):
        raise InputError(
            "expected the package tf2onnx with --formats=onnx: pip install 'ptxtf[onnx]'. Received: no such package"
        )


def save_onnx(network: Portable, path: files.Path, *, metadata: dict[str, Any]) -> None:
    """Write an ONNX file.

    Args:
        network: of `portable.of`.
        path: to be written.
        metadata: what the file says of itself, by name.
    """
    import onnx
    import tf2onnx

    logging.getLogger("tf2onnx").setLevel(logging.ERROR)  # it warns of rewriting rules that do not apply
    function = _function(network, batch=None)
    proto, _ = tf2onnx.convert.from_function(function, input_signature=function.input_signature, opset=_OPSET)
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    onnx.helper.set_model_props(proto, {name: json.dumps(value) for name, value in metadata.items()})
    path.write_bytes(proto.SerializeToString())


def save_tflite(network: Portable, path: files.Path) -> None:
    """Write a TFLite file, of built-in operations only, with the signature `serving_default`."""
    module = tf.Module()
    module.network_variables = network.variables
    concrete = _function(network, batch=1).get_concrete_function()
    path.write_bytes(tf.lite.TFLiteConverter.from_concrete_functions([concrete], module).convert())


def _function(network: Portable, *, batch: int | None) -> tf.types.experimental.GenericFunction:
    def answer(images: tf.Tensor) -> dict[str, tf.Tensor]:
        probabilities, presence = network.infer_plainly(images)
        found = {"probabilities": probabilities, "presence": presence}
        return {name: tensor for name, tensor in found.items() if tensor is not None}

    shape = [batch, network.image_size, network.image_size, 1]
    return tf.function(answer, input_signature=[tf.TensorSpec(shape, tf.uint8, name="images")], autograph=False)
