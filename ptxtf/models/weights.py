"""Reading an encoder's weights from a file, strictly: every weight finds its place or nothing is taken for loaded.

Flows in: a Keras-3 `.weights.h5` file, or a legacy `.h5` file as keras.applications publishes. Flows out: the model,
changed in place, or one InputError that names the file and the first layer that does not fit.
"""

import pathlib

import h5py
import keras
import numpy as np

from ptxtf import files
from ptxtf.errors import InputError
from ptxtf.models.rebuild import finalize


def load_weights(model: keras.Model, path: files.Name, *, by_name: bool = False) -> None:
    """Load a file's weights into a model of the same layers.

    Args:
        model: as its constructor built it. It is changed in place.
        path: a Keras-3 `.weights.h5` file or a legacy HDF5 file.
        by_name: find a legacy file's layers by name; else by their order, since the names that Keras hands out
            ("conv2d_17") differ between its versions.

    Raises:
        InputError: no such file, no weight file, or one in which a layer of the model lacks its weights or has other
            shapes.
    """
    path = files.path(path)
    if not path.is_file():
        raise InputError(f"weights file {path}: expected a file of encoder weights. Received: no such file")
    with files.local(path) as local:
        try:
            with h5py.File(local, "r") as file:
                root = file.get("model_weights", file)  # a whole legacy model keeps its weights one level down
                if legacy := any(name.startswith("layer_names") for name in root.attrs):
                    _load_legacy(model, path, _read_legacy(root), by_name=by_name)
        except OSError as error:
            raise InputError(f"weights file {path}: expected an HDF5 file of weights. Received: {error}") from error
        if not legacy:
            _load_keras3(model, local, named=path)


def fetch(url: str, *, checksum: str | None) -> pathlib.Path:
    """Download a published weight file once, into Keras' own cache folder, and give its path.

    Args:
        url: of the file.
        checksum: MD5 or SHA-256, hexadecimal, that the file must have; None: any file will do.

    Raises:
        InputError: it cannot be fetched.
    """
    try:
        name = url.rsplit("/", 1)[1]
        return pathlib.Path(keras.utils.get_file(name, url, cache_subdir="models", file_hash=checksum))
    except Exception as error:  # keras raises bare Exception for what goes wrong on the network
        raise InputError(
            f"{url}: expected to download it; get it elsewhere and pass weights=FILE (--weights=FILE), or start from "
            f"random weights by weights=None (--weights=none). Received: {_one_line(error)}"
        ) from error


def _read_legacy(root: h5py.Group) -> dict[str, list[np.ndarray]]:
    """Give each layer's weights, in the file's order, leaving out layers without any."""
    arrays = {
        layer: [np.asarray(root[layer][weight]) for weight in _names(root[layer], "weight_names")]
        for layer in _names(root, "layer_names")
    }
    return {layer: weights for layer, weights in arrays.items() if weights}


def _names(group: h5py.Group, attribute: str) -> list[str]:
    """Read a list of names, which Keras splits into `name0`, `name1`, ... where it outgrows an HDF5 header."""
    if attribute in group.attrs:
        chunks = [group.attrs[attribute]]
    else:
        count = sum(name.startswith(attribute) for name in group.attrs)
        chunks = [group.attrs[f"{attribute}{number}"] for number in range(count)]
    return [name.decode() if isinstance(name, bytes) else str(name) for chunk in chunks for name in chunk]


def _load_legacy(model: keras.Model, path: files.Path, saved: dict[str, list[np.ndarray]], *, by_name: bool) -> None:
    layers = [layer for layer in model.layers if layer.weights]
    if by_name:
        if missing := [layer.name for layer in layers if layer.name not in saved]:
            raise InputError(
                f"weights file {path}: expected the weights of {model.name}'s layer {missing[0]!r}. Received: none"
            )
        matches = [(layer, layer.name) for layer in layers]
    else:
        matches = list(zip(layers, saved, strict=False))
    for layer, name in matches:
        # Legacy files hold what is trainable first.
        variables = layer.trainable_weights + layer.non_trainable_weights
        expected, received = [tuple(v.shape) for v in variables], [array.shape for array in saved[name]]
        if expected != received:
            raise InputError(
                f"weights file {path}: expected weights of shapes {expected} for {model.name}'s layer {layer.name!r}. "
                f"Received: shapes={received} of the file's layer {name!r}"
            )
    if not by_name and len(saved) != len(layers):
        raise InputError(
            f"weights file {path}: expected the weights of {model.name}'s {len(layers)} layers. "
            f"Received: layers={len(saved)}"
        )
    for layer, name in matches:
        for variable, array in zip(layer.trainable_weights + layer.non_trainable_weights, saved[name], strict=True):
            variable.assign(array)
        finalize(layer)


def _load_keras3(model: keras.Model, local: pathlib.Path, *, named: files.Path) -> None:
    try:
        model.load_weights(local)
    except (ValueError, KeyError) as error:
        # Keras names the first layer that does not fit and then lists all of them.
        reason = _one_line(error).split(" List of objects")[0]
        raise InputError(f"weights file {named}: expected the weights of {model.name}. Received: {reason}") from error


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
