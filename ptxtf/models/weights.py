"""Reading an encoder's weights from a file, strictly: every weight finds its place or nothing is taken for loaded.

Flows in: a Keras-3 `.weights.h5` file, or a legacy `.h5` file as keras.applications publishes. Flows out: the model,
changed in place, or one InputError that names the file and what does not fit; nothing has been changed then.
"""

import os
import pathlib
import tempfile
import zipfile
from collections.abc import Callable, Sequence

import h5py
import keras
import numpy as np

from ptxtf import files
from ptxtf.errors import InputError, first_line
from ptxtf.models.rebuild import finalize


def load_weights(model: keras.Model, path: files.Name, *, by_name: bool = False) -> None:
    """Load a file's weights into a model of the same layers.

    Args:
        model: as its constructor built it. It is changed in place.
        path: a Keras-3 `.weights.h5` file or a legacy HDF5 file.
        by_name: find a legacy file's layers by name; else by their order, since the names that Keras hands out
            ("conv2d_17") differ between its versions. By order, a grouped convolution may also have been saved as a
            convolution for each group.

    Raises:
        InputError: no such file, no weight file, or one in which a layer of the model lacks its weights or has other
            shapes.
    """
    path = files.path(path)
    if not path.is_file():
        raise InputError(
            f"weights file {path}: expected a file of encoder weights; weights=None (--weights=none) starts from "
            "random ones. Received: no such file"
        )
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


def is_saved_model(weights: files.Name | None) -> bool:
    """Return whether weights are to come from a whole model: a .keras file, or the folder of a training run."""
    if weights in (None, "imagenet"):  # whatever is called so
        return False
    if not isinstance(weights, str | os.PathLike | files.Remote):
        raise InputError(f"expected weights: imagenet, None, a file or a folder. Received: {weights!r}")
    if weights == "":  # which would be the current folder
        raise InputError("expected weights: imagenet, None (--weights=none), a file or a folder. Received: ''")
    path = files.path(weights)
    return path.suffix == ".keras" or path.is_dir()


def load_model(path: files.Name) -> keras.Model:
    """Load a saved model (.keras), without what it was compiled with.

    Raises:
        InputError: no such file, no saved model, or one with layers that this version does not know.
    """
    path = files.path(path)
    if not path.is_file():
        raise InputError(f"{path}: expected a saved model. Received: no such file")
    try:
        with files.local(path) as local:
            if not zipfile.is_zipfile(local):  # Keras would say that there is no such file
                raise zipfile.BadZipFile("a file that is no .keras archive, or half of one")
            return keras.saving.load_model(local, compile=False)
    except (ValueError, TypeError, OSError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: expected a saved model. Received: {first_line(error)}") from error


def load_encoder(
    encoder: keras.Model, path: files.Name, *, feed: Callable[[keras.KerasTensor], keras.KerasTensor]
) -> None:
    """Take the weights of a saved model's encoder.

    Args:
        encoder: of the same backbone, for images of as many channels. It is changed in place.
        path: a model saved by ptxtf (.keras), or a training run's folder, which holds model.keras.
        feed: grey images in 0..1 -> what the encoder takes.

    Raises:
        InputError: no such model, or one with another encoder, or with images scaled otherwise.
    """
    path = files.path(path)
    if path.is_dir():
        path = path / "model.keras"
    model = load_model(path)
    try:
        other, scale = model.get_layer("encoder"), model.get_layer("scale")
    except ValueError as error:
        raise InputError(f"weights {path}: expected a model of ptxtf.models. Received: {first_line(error)}") from error
    theirs = {layer.name: layer for layer in other.layers if layer.weights}
    ours = {layer.name: layer for layer in encoder.layers if layer.weights}
    differing = [
        name
        for name in [*ours, *(name for name in theirs if name not in ours)]
        if _layer_shapes(ours.get(name)) != _layer_shapes(theirs.get(name))
    ]
    if differing:
        raise InputError(
            f"weights {path}: expected an encoder with the layers of this one. Received: {_listed(differing)} differ"
        )
    greys = np.linspace(0, 1, 16, dtype=np.float32).reshape(1, 4, 4, 1)
    images = keras.Input(greys.shape[1:])
    scaled = keras.Model(images, feed(images))(greys)
    if not np.allclose(scale(np.repeat(greys, scale.input_shape[-1], axis=-1)), scaled, rtol=1e-5, atol=1e-5):
        raise InputError(
            f"weights {path}: expected an encoder for images scaled as here (input_scaling). Received: another scaling"
        )
    for name, layer in ours.items():
        layer.set_weights(theirs[name].get_weights())
        finalize(layer)


def _layer_shapes(layer: keras.Layer | None) -> list[tuple[int, ...]]:
    return [] if layer is None else [tuple(variable.shape) for variable in _in_saved_order(layer)]


def _and_others(items: Sequence[object]) -> str:
    return f" and {len(items) - 1} others" if len(items) > 1 else ""


def _listed(names: list[str]) -> str:
    """Name a few, and count the others."""
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


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
                f"weights file {path}: expected the weights of {model.name}'s layer {missing[0]!r}"
                f"{_and_others(missing)}. Received: none"
            )
        matches = [(layer, layer.name) for layer in layers]
    else:
        saved = _join_groups(saved, layers)
        matches = list(zip(layers, saved, strict=False))
    differing = [(layer, name) for layer, name in matches if _layer_shapes(layer) != _shapes(saved[name])]
    if differing:
        layer, name = differing[0]
        raise InputError(
            f"weights file {path}: expected weights of shapes {_layer_shapes(layer)} for {model.name}'s layer "
            f"{layer.name!r}{_and_others(differing)}. "
            f"Received: shapes={_shapes(saved[name])} of the file's layer {name!r}"
        )
    if not by_name and len(saved) != len(layers):
        raise InputError(
            f"weights file {path}: expected the weights of {model.name}'s {len(layers)} layers. "
            f"Received: layers={len(saved)}"
        )
    for layer, name in matches:
        for variable, array in zip(_in_saved_order(layer), saved[name], strict=True):
            variable.assign(array)
        finalize(layer)


def _join_groups(saved: dict[str, list[np.ndarray]], layers: list[keras.Layer]) -> dict[str, list[np.ndarray]]:
    """Join what was saved as a convolution for each group, as before Keras had groups, where a layer has all of them.

    What fits no layer stays as it is, for the check of shapes to find.
    """
    remaining, joined = list(saved), {}
    for layer in layers:
        groups = layer.groups if isinstance(layer, keras.layers.Conv2D) else 1
        parts = [saved[name] for name in remaining[:groups]]
        if groups > 1 and all(_shapes(part) == _shapes_of_one_group(layer) for part in parts):
            joined[remaining[0]] = [np.concatenate(arrays, axis=-1) for arrays in zip(*parts, strict=True)]
            remaining = remaining[groups:]
        elif remaining:
            joined[remaining[0]] = saved[remaining[0]]
            remaining = remaining[1:]
    return joined | {name: saved[name] for name in remaining}


def _shapes_of_one_group(layer: keras.layers.Conv2D) -> list[tuple[int, ...]]:
    return [(*variable.shape[:-1], variable.shape[-1] // layer.groups) for variable in _in_saved_order(layer)]


def _shapes(arrays: list[np.ndarray]) -> list[tuple[int, ...]]:
    return [array.shape for array in arrays]


def _in_saved_order(layer: keras.Layer) -> list[keras.Variable]:
    return layer.trainable_weights + layer.non_trainable_weights  # legacy files hold what is trainable first


def _load_keras3(model: keras.Model, local: pathlib.Path, *, named: files.Path) -> None:
    with tempfile.TemporaryDirectory() as directory:
        like = pathlib.Path(directory) / "own.weights.h5"  # only Keras knows under which names it will look
        model.save_weights(like)
        ours, theirs = _saved_shapes(like), _saved_shapes(local)
        differing = [name for name in ours | theirs if ours.get(name) != theirs.get(name)]
        if differing:
            raise InputError(
                f"weights file {named}: expected the weights of {model.name}'s layers. "
                f"Received: {_listed(differing)} differ"
            )
        known = pathlib.Path(directory) / "given.weights.h5"  # Keras tells files by their names
        known.symlink_to(local.resolve())
        model.load_weights(known)


def _saved_shapes(path: pathlib.Path) -> dict[str, dict[str, tuple[int, ...]]]:
    """Return the shapes in a Keras-3 file: layer, as the file calls it -> place in the layer -> shape."""
    shapes: dict[str, dict[str, tuple[int, ...]]] = {}

    def note(name: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Dataset) and not name.startswith("optimizer/"):
            layer, _, place = name.removeprefix("layers/").partition("/")
            shapes.setdefault(layer, {})[place] = item.shape

    with h5py.File(path, "r") as file:
        file.visititems(note)
    return shapes
