"""Records against TensorFlow's own message."""

import math

import pytest
import tensorflow as tf

from ptxtf.data import record

RECORD = record.Record(
    image=bytes(range(256)) * 1100,  # its length takes three bytes to write
    image_size=(512, 550),
    mask=b"\x78\x01\x03\x00",
    original_size=(1024, 127),
    positive=True,
    image_id="1.2.840.é",
    patient="00ff",
    spacing_mm=(0.168, math.nan),
    view_position="PA",
    sex="F",
    age_years=0.5,
)


def check(written: bytes, **values) -> None:
    """Compare with what TensorFlow writes of such features; it has its own order of names that begin alike."""
    kinds = {
        bytes: lambda value: tf.train.Feature(bytes_list=tf.train.BytesList(value=value)),
        int: lambda value: tf.train.Feature(int64_list=tf.train.Int64List(value=value)),
        float: lambda value: tf.train.Feature(float_list=tf.train.FloatList(value=value)),
    }
    feature = {name: kinds[type(value[0])](value) for name, value in values.items()}
    expected = tf.train.Example(features=tf.train.Features(feature=feature))
    found = tf.train.Example.FromString(written)
    assert found.SerializeToString(deterministic=True) == expected.SerializeToString(deterministic=True)
    assert len(written) == expected.ByteSize()
    names = list(map(written.index, sorted(name.encode() for name in values)))
    assert names == sorted(names)


@pytest.mark.parametrize(("encoding", "image"), [("raw", "image/value"), ("png", "image"), ("source", "image")])
def test_a_record_is_a_tf_example(encoding, image):
    values = {
        image: [RECORD.image],
        "image/shape": [512, 550, 1],
        "mask/value": [RECORD.mask],
        "mask/shape": [1024, 127, 1],
        "positive": [1],
        "image_id": ["1.2.840.é".encode()],
        "patient": [b"00ff"],
        "spacing_mm": [0.168, math.nan],
        "view_position": [b"PA"],
        "sex": [b"F"],
        "age_years": [0.5],
    }
    check(record.serialize(RECORD, encoding=encoding), **values)


def test_the_table_names_every_feature():
    written = [tf.train.Example.FromString(record.serialize(RECORD, encoding=name)) for name in ("raw", "png")]
    lines = (record.__doc__ or "").splitlines()
    documented = {line.split("|")[1].strip() for line in lines if line.startswith("| ")} - {"feature"}
    assert documented == {name for example in written for name in example.features.feature}


def test_empty_and_zero_values_are_written_as_tensorflow_writes_them():
    content = record.Record(b"", (0, 1), b"", (127, 128), False, "", "", (0.0, -1.0), "", "", math.nan)
    check(
        record.serialize(content, encoding="raw"),
        **{
            "image/value": [b""],
            "image/shape": [0, 1, 1],
            "mask/value": [b""],
            "mask/shape": [127, 128, 1],
            "positive": [0],
            "image_id": [b""],
            "patient": [b""],
            "spacing_mm": [0.0, -1.0],
            "view_position": [b""],
            "sex": [b""],
            "age_years": [math.nan],
        },
    )
