"""Trained networks from their files, checked against what is asked of them."""

from collections.abc import Callable

import keras

from ptxtf import files, forward, preprocess, rundir
from ptxtf.config import InferenceConfig, Precision
from ptxtf.errors import InputError, first_line
from ptxtf.inference import members
from ptxtf.inference.network import Network
from ptxtf.models.weights import load_model

_MAX_SHOWN_PX = 2**30
"""Of all pictures of an image: as float32 they take 4 GiB, and their logits as much again."""

Adapt = Callable[[keras.Model, Precision], keras.Model]
"""Makes of a model, and the precision that it was trained in, the one that computes."""


def load(found: members.Members, adapt: Adapt) -> tuple[list[Network], Network | None]:
    """Load networks that answer together, and their gate if it is another one.

    Raises:
        InputError: a run is not finished, or its files are damaged; settings that do not go with it; a gate that does
            not say whether there is a pneumothorax.
    """
    asked = found.asked
    networks = [_network(member, asked, adapt) for member in found.networks]
    if asked.tile_overlap and not any(network.tiles for network in networks):
        raise InputError(
            "expected --tile_size with --tile_overlap, as the networks were trained on whole images. "
            f"Received: tile_overlap={asked.tile_overlap}"
        )
    if not found.gate:
        return networks, None
    gate = _network(found.gate, InferenceConfig(tta_flip=asked.tta_flip), adapt)
    if not gate.says_presence:
        raise InputError(
            f"{asked.gate_dir}: expected a run with a presence logit (--presence_weight) as --gate_dir. "
            "Received: one of masks alone"
        )
    return networks, gate


def _network(member: members.Member, asked: InferenceConfig, adapt: Adapt) -> Network:
    """Load a network.

    Raises:
        InputError: the run is not finished, its files are damaged, or it does not go with what is asked.
    """
    settings = rundir.read_flags(member.run_dir)
    path = member.run_dir / rundir.MODEL
    if not path.is_file():
        raise InputError(f"{path}: expected the model of a finished run. Received: no such file")
    image_size = asked.at_size or settings.inputs.image_size
    trained = load_model(path)
    tiles = preprocess.tiles_of(settings.preprocessing, asked)
    if member.epoch is not None:
        _load_epoch(trained, member)
    shown_size = tiles.size if tiles else image_size
    _check_input(trained, path, shown_size)
    preprocess.check_tile_grid(settings.preprocessing, image_size=(image_size, image_size))
    if tiles and tiles.size > image_size:
        raise InputError(
            f"{member.run_dir}: expected tiles (--tile_size, or patches as trained) no larger than its images "
            f"(--at_size). Received: tiles of {tiles.size} pixels, images of {image_size}"
        )
    network = Network(
        model=adapt(trained, settings.network.precision),
        config=settings.preprocessing,
        image_size=image_size,
        weight=member.weight,
        tiles=tiles,
        views=preprocess.views_of(asked),
        xla=forward.use_xla(settings.training.xla),
    )
    if network.per_image * shown_size**2 > _MAX_SHOWN_PX:
        raise InputError(
            f"expected tiles and views (--tile_overlap, --tta_…) of at most {_MAX_SHOWN_PX} pixels for an image, as "
            f"memory holds them all. Received: {network.per_image} pictures of {shown_size} x {shown_size} pixels"
        )
    return network


def _load_epoch(model: keras.Model, member: members.Member) -> None:
    """Give a model the weights that it had after an epoch."""
    try:
        with files.local(member.file) as file:
            model.load_weights(file)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{member.file}: expected the weights of an epoch. Received: {first_line(error)}") from None


def _check_input(model: keras.Model, path: files.Path, size: int) -> None:
    """Raise InputError unless a model takes grey pictures of this size."""
    shape = tuple(model.input_shape)
    if len(shape) != 4 or shape[3] != 1:
        raise InputError(f"{path}: expected a model for grey images, [B, H, W, 1]. Received: one for {shape}")
    if not {shape[1], shape[2]} <= {None, size}:
        raise InputError(f"{path}: expected a model for images of {size} x {size} pixels. Received: one for {shape}")
