"""What a network consists of, block by block, as a Markdown table."""

import keras


def block_table(model: keras.Model) -> str:
    """Return a Markdown table of a network's blocks: what comes out of each, and how many parameters it has.

    A block is what layers with the same beginning of their names make up: "decoder1_conv1" belongs to "decoder1".
    Layers without parameters are left out.

    Args:
        model: of `ptxtf.models`, best built for images of a known size.

    Returns:
        A line for each block, in the order of the network, and one for the sum.

    Example:
        >>> print(block_table(unet("resnet34", weights=None, input_shape=(512, 512, 1))))
    """
    blocks: dict[str, tuple[str, int]] = {}
    for layer in model.layers:
        if not layer.count_params():
            continue
        name = layer.name.split("_")[0] if layer.name != "encoder" else layer.name
        _, before = blocks.get(name, ("", 0))
        blocks[name] = (_shapes(layer), before + layer.count_params())
    lines = [f"| {name} | {shape} | {count:,} |" for name, (shape, count) in blocks.items()]
    head = ["| block | comes out | parameters |", "|---|---|---:|"]
    return "\n".join([*head, *lines, f"| all | | {model.count_params():,} |"])


def _shapes(layer: keras.Layer) -> str:
    outputs = layer.output
    if isinstance(outputs, dict):
        return ", ".join(f"{name} {output.shape[-1]}" for name, output in outputs.items()) + " channels"
    return _shape(outputs)


def _shape(output: keras.KerasTensor) -> str:
    return " × ".join("?" if length is None else str(length) for length in output.shape[1:])
