import h5py
import keras
import numpy as np
import pytest

from ptxtf.errors import InputError
from ptxtf.models.weights import is_saved_model, load_weights

# Keras 3.15 converts variables in a way that NumPy 2 deprecates, whenever it saves.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def small_model():
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(4, 3, name="first"),
            keras.layers.BatchNormalization(name="second"),
            keras.layers.ReLU(name="nothing_to_learn"),
            keras.layers.Conv2D(2, 1, use_bias=False, name="third"),
        ],
        name="small",
    )


def random_layers(*, seed=0):
    """Arrays as a legacy file of `small_model` holds them: layer -> weights."""
    rng = np.random.default_rng(seed)
    return {
        "first": {"kernel": rng.random((3, 3, 3, 4)), "bias": rng.random(4)},
        "second": {name: rng.random(4) for name in ("gamma", "beta", "moving_mean", "moving_variance")},
        "nothing_to_learn": {},
        "third": {"kernel": rng.random((1, 1, 4, 2))},
    }


def write_legacy(path, layers, *, root="/", chunk=None):
    """Write the layout of Keras 1 and 2; `chunk` splits the list of layers as Keras does with long ones."""
    with h5py.File(path, "w") as file:
        group = file.require_group(root)
        names = [name.encode() for name in layers]
        if chunk is None:
            group.attrs["layer_names"] = names
        else:
            for number, start in enumerate(range(0, len(names), chunk)):
                group.attrs[f"layer_names{number}"] = names[start : start + chunk]
        for layer, weights in layers.items():
            layer_group = group.create_group(layer)
            layer_group.attrs["weight_names"] = [f"{layer}/{name}:0".encode() for name in weights]
            for name, array in weights.items():
                layer_group[f"{layer}/{name}:0"] = array.astype(np.float32)
    return path


def assert_holds(model, layers):
    for layer in model.layers:
        for received, expected in zip(layer.get_weights(), layers[layer.name].values(), strict=True):
            np.testing.assert_array_equal(received, expected.astype(np.float32))


@pytest.mark.parametrize("by_name", [False, True])
@pytest.mark.parametrize("layout", [{}, {"root": "model_weights"}, {"chunk": 3}])
def test_every_weight_finds_its_place(tmp_path, by_name, layout):
    model, layers = small_model(), random_layers()
    load_weights(model, write_legacy(tmp_path / "w.h5", layers, **layout), by_name=by_name)
    assert_holds(model, layers)


def test_order_counts_where_names_do_not_and_keras_agrees(tmp_path):
    renamed = {f"conv2d_{number}": weights for number, weights in enumerate(random_layers().values())}
    path = write_legacy(tmp_path / "w.h5", renamed)
    ours, theirs = small_model(), small_model()
    load_weights(ours, path)
    theirs.load_weights(path)
    for one, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_names_count_where_order_does_not(tmp_path):
    model, layers = small_model(), random_layers()
    shuffled = {name: layers[name] for name in ("third", "first", "nothing_to_learn", "second")}
    load_weights(model, write_legacy(tmp_path / "w.h5", shuffled), by_name=True)
    assert_holds(model, layers)


def test_keras_3_file(tmp_path):
    source, model = small_model(), small_model()
    source.set_weights([np.random.default_rng(3).random(w.shape) for w in source.get_weights()])
    source.save_weights(tmp_path / "x.weights.h5")
    load_weights(model, tmp_path / "x.weights.h5")
    for one, other in zip(model.get_weights(), source.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("split", [False, True])
def test_a_grouped_convolution_may_have_been_saved_group_by_group(tmp_path, split):
    model = keras.Sequential(
        [keras.Input((8, 8, 6)), keras.layers.Conv2D(12, 1, groups=3, name="grouped"), keras.layers.Conv2D(4, 1)]
    )
    rng = np.random.default_rng(4)
    parts = [{"kernel": rng.random((1, 1, 2, 4)), "bias": rng.random(4)} for _ in range(3)]
    whole = {key: np.concatenate([part[key] for part in parts], axis=-1) for key in ("kernel", "bias")}
    last = {"kernel": rng.random((1, 1, 12, 4)), "bias": rng.random(4)}
    saved = {f"conv2d_{number}": part for number, part in enumerate([*(parts if split else [whole]), last])}
    load_weights(model, write_legacy(tmp_path / "w.h5", saved))
    assert_holds(model, {"grouped": whole, model.layers[1].name: last})


def test_a_derived_state_follows_its_weights(tmp_path):
    model = keras.Sequential([keras.Input((2, 2, 1)), keras.layers.Normalization(name="norm")])
    state = {"mean": np.array([3.0]), "variance": np.array([4.0]), "count": np.array(0)}
    load_weights(model, write_legacy(tmp_path / "w.h5", {"norm": state}))
    np.testing.assert_allclose(model(np.full((1, 2, 2, 1), 7.0)), 2.0)


def assert_refuses(path, match, *, by_name=False):
    model = small_model()
    before = model.get_weights()
    with pytest.raises(InputError, match=match) as refusal:
        load_weights(model, path, by_name=by_name)
    message = str(refusal.value)
    assert message.startswith(f"weights file {path}: expected ")
    assert "Received: " in message
    assert "\n" not in message
    return all(np.array_equal(old, new) for old, new in zip(before, model.get_weights(), strict=True))


@pytest.mark.parametrize("by_name", [False, True])
def test_other_shapes_are_refused_before_anything_is_loaded(tmp_path, by_name):
    layers = random_layers()
    layers["third"] = {"kernel": np.zeros((1, 1, 4, 3))}
    path = write_legacy(tmp_path / "w.h5", layers)
    assert assert_refuses(
        path, r"\(1, 1, 4, 2\)\] for small's layer 'third'\. Received: shapes=\[\(1, 1, 4, 3\)", by_name=by_name
    )


def test_a_missing_layer_is_refused(tmp_path):
    layers = random_layers()
    del layers["second"]
    path = write_legacy(tmp_path / "w.h5", layers)
    assert assert_refuses(path, r"small's layer 'second'\. Received: none", by_name=True)
    assert assert_refuses(
        path, r"small's layer 'second'\. Received: shapes=\[\(1, 1, 4, 2\)\] of the file's layer 'third'"
    )


def test_a_layer_too_many_is_refused_by_order(tmp_path):
    path = write_legacy(tmp_path / "w.h5", {**random_layers(), "top": {"kernel": np.zeros((2, 1000))}})
    assert assert_refuses(path, r"small's 3 layers\. Received: layers=4")


def test_another_model_s_keras_3_file_is_refused(tmp_path):
    other = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(5, 3)])
    other.save_weights(tmp_path / "x.weights.h5")
    assert assert_refuses(
        tmp_path / "x.weights.h5", r"small's layers\. Received: batch_normalization, .*conv2d.* differ"
    )


def test_a_longer_network_s_keras_3_file_is_refused(tmp_path):
    longer = keras.Sequential([*small_model().layers, keras.layers.Conv2D(5, 3)])
    longer.build((None, 8, 8, 3))
    longer.save_weights(tmp_path / "x.weights.h5")
    assert assert_refuses(tmp_path / "x.weights.h5", r"small's layers\. Received: conv2d_2 differ")


def test_a_model_is_a_file_or_a_folder_but_imagenet_is_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("run", "imagenet"):
        (tmp_path / name).mkdir()
    assert is_saved_model("run")
    assert is_saved_model("some/model.keras")
    assert not is_saved_model("imagenet")
    assert not is_saved_model("weights.h5")


def test_what_is_no_weight_file_is_refused(tmp_path):
    assert_refuses(
        tmp_path / "none.h5", r"expected a file of encoder weights; .*--weights=none.*Received: no such file"
    )
    (tmp_path / "text.h5").write_text("hello")
    assert_refuses(tmp_path / "text.h5", "expected an HDF5 file of weights")
    with h5py.File(tmp_path / "empty.h5", "w"):
        pass
    assert_refuses(tmp_path / "empty.h5", "expected the weights of small")


def test_a_file_of_another_network_says_how_many_layers_differ(tmp_path):
    layers = {
        name: {key: array[..., :1] for key, array in weights.items()} for name, weights in random_layers().items()
    }
    path = write_legacy(tmp_path / "w.h5", layers)
    assert assert_refuses(path, r"small's layer 'first' and 2 others\. Received: shapes=")
    path = write_legacy(tmp_path / "v.h5", {"conv": layers["first"]})
    assert assert_refuses(path, r"small's layer 'first' and 2 others\. Received: none", by_name=True)
