"""The tables of docs/models.md are those of the networks."""

import pathlib

import keras
import pytest

from ptxtf import models
from ptxtf.models.summary import block_table

DOCS = pathlib.Path(__file__).parents[2] / "docs" / "models.md"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["unet", "unet_plus_plus", "fpn", "deeplab_v3plus"])
def test_the_documents_show_the_network(name):
    model = getattr(models, name)("resnet34", weights=None, input_shape=(512, 512, 1))
    section = DOCS.read_text().split(f"`{name}`:")[1].split("## ")[0]
    assert block_table(model) in section


def test_a_table_by_hand():
    images = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(2, 3, padding="same", name="one_conv")(images)  # 9 * 2 + 2
    x = keras.layers.BatchNormalization(name="one_bn")(x)  # 4 * 2
    x = keras.layers.MaxPooling2D(name="pool")(x)
    model = keras.Model(images, keras.layers.Conv2D(1, 1, name="logits")(x))  # 2 + 1
    assert block_table(model).splitlines()[2:] == [
        "| one | 8 × 8 × 2 | 28 |",
        "| logits | 4 × 4 × 1 | 3 |",
        "| all | | 31 |",
    ]
