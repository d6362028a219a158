import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from ptxtf.errors import InputError
from ptxtf.models import BACKBONES, deeplab_v3plus, freeze, unet
from ptxtf.models.plain import plain_encoder

# Keras 3.15 converts variables in a way that NumPy 2 deprecates, whenever it saves.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

FEW = (24, 16, 12, 8, 8)  # decoder filters, to be quick


def random_images(*shape, seed=0):
    return np.random.default_rng(seed).random(shape, np.float32)


def tiny_unet(**options):
    keras.utils.set_random_seed(0)
    return unet("tiny", **{"weights": None, "decoder_filters": FEW, **options})


def weights_of(model):
    """Weights by layer name; the encoder's too."""
    layers = [*model.layers, *model.get_layer("encoder").layers]
    return {layer.name: {weight.name: weight.value for weight in layer.weights} for layer in layers}


def leaves(model):
    """Every layer that computes something."""
    layers = [*model.layers, *model.get_layer("encoder").layers]
    return [layer for layer in layers if not isinstance(layer, (keras.Model, keras.layers.InputLayer))]


def reference_logits(weights, images):
    """The tiny U-Net in inference, written down a second time in tf.nn operations. Sizes: multiples of 32."""

    def block(x, conv, norm, stride=1):
        x = tf.nn.conv2d(x, weights[conv]["kernel"], stride, "SAME")
        norm = weights[norm]
        x = tf.nn.batch_normalization(
            x, norm["moving_mean"], norm["moving_variance"], norm["beta"], norm["gamma"], 1e-3
        )
        return tf.nn.relu(x)

    x, features = 255 * images, []  # of one channel, the stem's kernel being folded
    for level in range(1, 6):
        x = tf.nn.max_pool2d(x, 2, 2, "VALID") if level > 1 else x
        x = block(x, f"level{level}_conv1", f"level{level}_bn1", stride=2 if level == 1 else 1)
        x = block(x, f"level{level}_conv2", f"level{level}_bn2")
        features.append(x)
    skips = [*features[3::-1], None]
    for stage, skip in enumerate(skips, start=1):
        x = np.repeat(np.repeat(x, 2, axis=1), 2, axis=2)
        x = x if skip is None else np.concatenate([x, skip], axis=-1)
        x = block(x, f"decoder{stage}_conv1", f"decoder{stage}_bn1")
        x = block(x, f"decoder{stage}_conv2", f"decoder{stage}_bn2")
    return tf.nn.conv2d(x, weights["logits"]["kernel"], 1, "SAME") + weights["logits"]["bias"]


# One backbone of each family: the others have the same layers, only more of them.
SMALLEST = (
    "vgg16",
    "resnet34",
    "resnet50",
    "densenet121",
    "inceptionv3",
    "efficientnetb0",
    "efficientnetv2b0",
    pytest.param("inceptionresnetv2", marks=pytest.mark.exhaustive),
    "seresnext50",
    "xception",
    "mobilenetv2",
    "mobilenetv3small",
    "convnexttiny",
    "tiny",
)


def test_the_network_is_the_u_net_written_down():
    model, images = tiny_unet(), random_images(2, 64, 96, 1)
    model(images, training=True)  # statistics other than 0 and 1
    np.testing.assert_allclose(model(images), reference_logits(weights_of(model), images), atol=1e-5)


def test_any_size_is_the_padded_image_s_result_cropped():
    model, images = tiny_unet(), random_images(2, 45, 71, 1)
    padded = np.pad(images, [(0, 0), (0, 19), (0, 25), (0, 0)])
    np.testing.assert_allclose(model(images), model(padded)[:, :45, :71], atol=1e-5)


def test_each_image_alone_gives_what_the_batch_gives():
    model, images = tiny_unet(), random_images(3, 32, 64, 1)
    alone = np.concatenate([model(images[i : i + 1]) for i in range(3)])
    np.testing.assert_allclose(model(images), alone, atol=1e-5)


def test_grey_and_three_equal_channels_agree():
    grey, rgb = tiny_unet(), tiny_unet(input_shape=(None, None, 3))
    images = random_images(1, 32, 32, 1)
    np.testing.assert_allclose(grey(images), rgb(np.repeat(images, 3, axis=-1)), atol=1e-5)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_compiled_function_gives_what_the_eager_model_gives(jit_compile):
    model = tiny_unet()
    compiled = tf.function(model, jit_compile=jit_compile)
    for images in random_images(3, 2, 45, 71, 1):
        np.testing.assert_allclose(compiled(images), model(images), atol=1e-4)
    assert compiled.experimental_get_tracing_count() == 1  # other batches of one size are no reason to compile again


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALLEST)
def test_every_family_of_backbones_segments_images_of_odd_sizes(name):
    model = unet(name, weights=None)
    assert model.input_shape == model.output_shape == (None, None, None, 1)
    logits = model(random_images(1, 70, 100, 1))
    assert logits.shape == (1, 70, 100, 1)
    assert logits.dtype == "float32"
    assert np.isfinite(logits).all()
    assert np.std(logits) > 0
    names = [layer.name for layer in model.layers]
    assert len(set(names)) == len(names)


def test_static_sizes_are_kept():
    assert tiny_unet(input_shape=(64, 50, 1)).output_shape == (None, 64, 50, 1)


def test_networks_that_end_in_pooling_get_a_centre_block():
    centred = {name for name in BACKBONES if BACKBONES[name].centre}
    assert centred == {"vgg16", "vgg19"}
    model = unet("vgg16", weights=None, decoder_filters=FEW)
    assert model.get_layer("centre_conv1").kernel.shape == (3, 3, 512, 512)
    assert model.get_layer("decoder1_conv1").kernel.shape == (3, 3, 512 + 512, FEW[0])


@pytest.mark.parametrize("jit_compile", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_the_gradient_reaches_every_trainable_weight(jit_compile):
    model, images = tiny_unet(), random_images(2, 40, 64, 1)

    @tf.function(jit_compile=jit_compile)
    def gradients():
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(model(images, training=True) - 1.0))
        return tape.gradient(loss, model.trainable_variables)

    assert all(np.abs(gradient).max() > 0 for gradient in gradients())


def test_a_frozen_encoder_keeps_its_weights_and_statistics():
    model, images = tiny_unet(), random_images(2, 32, 32, 1)
    freeze(model)
    encoder = model.get_layer("encoder")
    before = encoder.get_weights()
    model(images, training=True)
    assert not encoder.trainable_variables
    for one, other in zip(encoder.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)
    trained, still = (encoder(images, training=training) for training in (True, False))
    assert trained.keys() == {"P1", "P2", "P3", "P4", "P5"}
    for name, features in trained.items():
        np.testing.assert_array_equal(features, still[name])
    assert np.abs(model.get_layer("decoder1_bn1").moving_mean).max() > 0


def test_images_are_scaled_as_the_backbone_expects_or_as_asked():
    images = random_images(1, 32, 32, 3)
    for name, scaling, expected in [
        ("resnet34", None, 255 * images),
        ("tiny", None, images),
        ("tiny", "raw", 255 * images),
        ("vgg16", "paper", images),
    ]:
        model = unet(name, weights=None, decoder_filters=FEW, input_shape=(None, None, 3), input_scaling=scaling)
        np.testing.assert_allclose(model.get_layer("scale")(images), expected, rtol=1e-6)


@pytest.mark.parametrize("precision", ["float32", "mixed_float16", "mixed_bfloat16"])
def test_precision_is_that_of_the_layers_and_logits_stay_float32(precision):
    before = keras.config.dtype_policy().name
    model = tiny_unet(precision=precision)
    assert keras.config.dtype_policy().name == before
    logits = model(random_images(2, 40, 40, 1), training=True)
    assert logits.dtype == model.output.dtype == "float32"
    compute = {"float32": "float32", "mixed_float16": "float16", "mixed_bfloat16": "bfloat16"}[precision]
    convolutions = [model.get_layer("encoder").get_layer("level1_conv1"), model.get_layer("decoder5_conv2")]
    assert all(layer.compute_dtype == compute for layer in convolutions)
    assert all(weight.dtype == "float32" for weight in model.weights)
    exact = tiny_unet(precision="float32")(random_images(2, 40, 40, 1), training=True)
    tolerance = {"float32": 1e-6, "float16": 0.01, "bfloat16": 0.08}[compute]
    assert np.abs(logits - exact).mean() < tolerance


@pytest.mark.parametrize("policy", ["float16", "bfloat16"])
def test_policies_without_float32_work_as_keras_layers_do(policy):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        model = unet("tiny", weights=None, decoder_filters=FEW)
    finally:
        keras.config.set_dtype_policy(before)
    logits = model(random_images(1, 32, 32, 1), training=True)
    assert logits.dtype == tf.float32
    assert np.isfinite(logits).all()


def test_the_global_policy_holds_by_default_and_survives_an_error():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        assert tiny_unet().get_layer("decoder1_conv1").compute_dtype == "bfloat16"
        with pytest.raises(ValueError, match="expected backbone of"):
            unet("nothing", weights=None, precision="float32")
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
    finally:
        keras.config.set_dtype_policy("float32")


def test_a_saved_model_gives_the_same_logits_in_another_process(tmp_path):
    model, images = tiny_unet(), random_images(1, 45, 71, 1)
    model(images, training=True)
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "images.npy", images)
    program = (
        "import sys, keras, numpy; folder = sys.argv[1]; "
        "model = keras.saving.load_model(folder + '/model.keras', safe_mode=True); "
        "assert not any(name.startswith('ptxtf') for name in sys.modules); "
        "numpy.save(folder + '/logits.npy', model(numpy.load(folder + '/images.npy')))"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True, timeout=120)
    np.testing.assert_allclose(np.load(tmp_path / "logits.npy"), model(images), atol=1e-5)


@pytest.mark.parametrize(
    ("backbone", "options"),
    [
        ("tiny", {"heads": ("mask", "presence", "sides"), "upsampling": "transposed", "attention": "scse"}),
        ("tiny", {"precision": "mixed_bfloat16", "input_scaling": "torch"}),
        pytest.param("inceptionv3", {}, marks=pytest.mark.slow),
    ],
)
def test_every_option_survives_saving(tmp_path, backbone, options):
    model = unet(backbone, weights=None, decoder_filters=FEW, **options)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    images = random_images(1, 40, 64, 1)
    for one, other in zip(keras.tree.flatten(again(images)), keras.tree.flatten(model(images)), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    assert [weight.path for weight in again.trainable_weights] == [weight.path for weight in model.trainable_weights]
    for old, new in zip(leaves(model), leaves(again), strict=True):
        assert (old.name, old.dtype_policy.name) == (new.name, new.dtype_policy.name)


# heads


def test_presence_is_a_linear_function_of_the_mean_of_the_coarsest_features():
    model, images = tiny_unet(heads=("mask", "presence")), random_images(2, 64, 96, 1)
    outputs = model(images)
    np.testing.assert_array_equal(outputs["mask"], tiny_unet()(images))
    features = model.get_layer("encoder")(model.get_layer("scale")(images))["P5"]
    kernel, bias = model.get_layer("presence").get_weights()
    np.testing.assert_allclose(outputs["presence"], np.mean(features, axis=(1, 2)) @ kernel + bias, atol=1e-5)


def test_sides_are_masks_of_coarser_maps():
    model, images = tiny_unet(heads=("mask", "sides")), random_images(1, 64, 64, 1)
    outputs = model(images)
    assert list(outputs) == ["mask", "side1", "side2", "side3", "side4"]
    assert {value.dtype for value in outputs.values()} == {tf.float32}
    relu = keras.Model(model.input, model.get_layer("decoder3_relu2").output)(images)  # at stride 4: the second side
    kernel, bias = model.get_layer("side2_logits").get_weights()
    small = tf.image.resize(np.asarray(relu) @ kernel[0, 0] + bias, (64, 64), method="bilinear")
    np.testing.assert_allclose(outputs["side2"], small, atol=1e-5)


def test_a_model_with_more_heads_trains_them_all():
    model, images = tiny_unet(heads=("mask", "presence", "sides")), random_images(2, 33, 40, 1)
    with tf.GradientTape() as tape:
        loss = tf.add_n([tf.reduce_mean(tf.square(value - 1.0)) for value in model(images, training=True).values()])
    assert all(np.abs(gradient).max() > 0 for gradient in tape.gradient(loss, model.trainable_variables))


# freezing


def test_stages_thaw_from_the_coarsest():
    model, images = tiny_unet(), random_images(2, 32, 64, 1)
    encoder = model.get_layer("encoder")
    freeze(model, up_to_stride=8)
    assert {weight.path.split("/")[-2][:6] for weight in encoder.trainable_weights} == {"level4", "level5"}
    before = {layer.name: layer.get_weights() for layer in encoder.layers}
    model(images, training=True)
    moved = {
        name
        for name, weights in before.items()
        for one, other in zip(weights, encoder.get_layer(name).get_weights(), strict=True)
        if (one != other).any()
    }
    assert moved == {f"level{level}_bn{number}" for level in (4, 5) for number in (1, 2)}
    freeze(model, up_to_stride=0)
    assert all(layer.trainable for layer in encoder.layers if layer.weights)
    with pytest.raises(ValueError, match=r"expected up_to_stride of 0, 2, 4, 8, 16, 32\. Received: up_to_stride=3"):
        freeze(model, up_to_stride=3)
    with pytest.raises(ValueError, match=r"expected a network of ptxtf\.models\. Received: other, which has no layer"):
        freeze(keras.Model(name="other"))


# weights


def test_the_encoder_of_another_run_is_taken(tmp_path):
    source = tiny_unet()
    source(random_images(2, 32, 32, 1), training=True)
    source.save(tmp_path / "model.keras")
    for weights in (tmp_path, tmp_path / "model.keras"):
        keras.utils.set_random_seed(1)
        model = unet("tiny", weights=weights, decoder_filters=FEW)
        for one, other in zip(
            model.get_layer("encoder").get_weights(), source.get_layer("encoder").get_weights(), strict=True
        ):
            np.testing.assert_array_equal(one, other)
    with pytest.raises(InputError, match=r"model\.keras: expected an encoder .*Received: level1_conv1 differ$"):
        unet("tiny", weights=tmp_path, input_scaling="torch")
    with pytest.raises(InputError, match=r"model\.keras: .* block1_conv1, .* and 28 more differ$"):
        unet("vgg16", weights=tmp_path)
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]).save(tmp_path / "other.keras")
    with pytest.raises(InputError, match=r"other\.keras: expected a model of ptxtf\.models\. Received: "):
        unet("tiny", weights=tmp_path / "other.keras")
    with pytest.raises(InputError, match=r"none\.keras: expected a saved model\. Received: no such file"):
        unet("tiny", weights=tmp_path / "none.keras")


def test_a_keras_3_file_of_a_named_backbone(tmp_path):
    source = plain_encoder()
    source.save_weights(tmp_path / "tiny.weights.h5")
    model = tiny_unet(weights=tmp_path / "tiny.weights.h5")
    images = random_images(1, 32, 32, 1)
    features = model.get_layer("encoder")(model.get_layer("scale")(images))["P5"]
    np.testing.assert_allclose(features, source(np.repeat(images, 3, axis=-1)), atol=1e-5)


def test_imagenet_weights_that_do_not_exist():
    with pytest.raises(
        InputError, match=r"tiny: expected weights=None \(--weights=none\) .*Received: weights='imagenet'"
    ):
        unet("tiny")


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (
            {"backbone": "ResNet-34"},
            r"^did you mean resnet34.*expected backbone of vgg16, .*Received: backbone='ResNet-34'",
        ),
        ({"backbone": "lenet"}, r"expected backbone of vgg16, .*Received: backbone='lenet'"),
        ({"heads": ("presence",)}, r"expected heads of mask, presence, sides, mask among them\. Received: heads="),
        ({"heads": ("mask", "box")}, r"expected heads of mask, presence, sides, mask among them\. Received: heads="),
        ({"upsampling": "bilinear"}, r"expected upsampling of nearest, transposed\. Received: upsampling='bilinear'"),
        (
            {"upsampling": "neerest"},
            r"^did you mean nearest\? expected upsampling of nearest, transposed\. Received: upsampling='neerest'",
        ),
        ({"weights": ""}, r"expected weights: imagenet, None \(--weights=none\), a file or a folder\. Received: ''"),
        ({"attention": "se"}, r"expected attention of none, scse\. Received: attention='se'"),
        (
            {"input_shape": (64, 64)},
            r"expected input_shape \(height, width, 1 or 3\)\. Received: input_shape=\(64, 64\)",
        ),
        ({"input_shape": (64, 64, 2)}, r"Received: input_shape=\(64, 64, 2\)"),
        ({"input_shape": 64}, r"expected input_shape \(height, width, 1 or 3\)\. Received: input_shape=64"),
        ({"input_shape": (0, 64, 1)}, r"expected input_shape .*Received: input_shape=\(0, 64, 1\)"),
        ({"input_shape": (64.5, 64, 1)}, r"expected input_shape .*Received: input_shape=\(64\.5, 64, 1\)"),
        ({"heads": None}, r"expected heads of mask, .*Received: heads=None"),
        ({"heads": (["mask"], "mask")}, r"expected heads of mask, .*Received: heads=\(\['mask'\], 'mask'\)"),
        ({"decoder_filters": 64}, r"expected 5 decoder_filters .*Received: decoder_filters=64"),
        ({"decoder_filters": (8.5,) * 5}, r"expected 5 decoder_filters .*Received: decoder_filters=\(8\.5, "),
        ({"weights": 3}, r"expected weights: imagenet, None, a file or a folder\. Received: 3"),
        ({"decoder_filters": (8, 8)}, r"expected 5 decoder_filters of at least 1\. Received: decoder_filters=\(8, 8\)"),
        ({"precision": "float16"}, r"expected precision of float32, .*Received: precision='float16'"),
        ({"precision": "half"}, r"^expected precision of float32, .*Received: precision='half'"),
        ({"input_scaling": "imagenet"}, r"expected input_scaling of .*Received: input_scaling='imagenet'"),
        (
            {"input_scaling": "torhc"},
            r"^did you mean torch\? expected input_scaling of .*Received: input_scaling='torhc'",
        ),
    ],
)
def test_wrong_arguments_are_named(options, match):
    options = {"backbone": "tiny", "weights": None, **options}
    with pytest.raises(ValueError, match=match):
        unet(options.pop("backbone"), **options)


def test_deeplab_refuses_strides_that_no_encoder_has():
    with pytest.raises(ValueError, match=r"expected output_stride of 16 or 32\. Received: output_stride=8"):
        deeplab_v3plus("tiny", weights=None, output_stride=8)


def test_a_run_s_encoder_wants_images_scaled_alike(tmp_path):
    path = tmp_path / "model.keras"
    unet("tiny", weights=None, input_scaling="tf").save(path)
    unet("tiny", weights=path, input_scaling="tf", decoder_filters=(8,) * 5)
    with pytest.raises(InputError, match=r"model\.keras: expected .* \(input_scaling\)\. Received: another scaling"):
        unet("tiny", weights=path, input_scaling="raw")
