"""Sizes against Pillow's files; which streams are whole, chunk by chunk."""

import io
import struct
import zlib

import numpy as np
import PIL.Image
import pytest

from ptxtf.data import png
from ptxtf.errors import InputError


def stream(height=3, width=5) -> bytes:
    file = io.BytesIO()
    PIL.Image.fromarray(np.arange(height * width, dtype=np.uint8).reshape(height, width)).save(file, "PNG")
    return file.getvalue()


def chunk(kind, content) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


@pytest.mark.parametrize("shape", [(3, 5), (1, 1), (300, 2)])
def test_size_is_height_and_width(shape):
    assert png.size(stream(*shape)) == shape
    assert png.size(stream(*shape)[:24]) == shape


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n", stream()[:23], b"\xff\xd8" + stream()[2:]])
def test_no_header(content):
    with pytest.raises(InputError, match=r"expected a PNG header\. Received: none"):
        png.size(content)


def test_a_whole_stream_passes_with_chunks_that_nobody_knows():
    whole = stream()
    png.check(whole)
    png.check(whole[:33] + chunk(b"prVt", b"anything") + whole[33:] + b"what follows the end")


@pytest.mark.parametrize("length", range(33, len(stream())))
def test_a_stream_cut_off_anywhere_is_told(length):
    with pytest.raises(InputError, match=f"expected a whole PNG. Received: {length} bytes without its end"):
        png.check(stream()[:length])


def test_damage_counts_where_it_matters():
    whole = stream()
    bad = chunk(b"IDAT", b"abc")[:-1] + b"?"
    with pytest.raises(InputError, match=r"expected a whole PNG\. Received: a damaged IDAT chunk"):
        png.check(whole[:33] + bad + whole[33:])
    png.check(whole[:33] + bad.replace(b"IDAT", b"tEXt") + whole[33:])  # a text, which decoders skip


def test_an_animation_is_told():
    whole = stream()
    with pytest.raises(InputError, match=r"expected a still picture\. Received: an animated PNG"):
        png.check(whole[:33] + chunk(b"acTL", struct.pack(">II", 2, 0)) + whole[33:])
