"""Pictures of every kind against Pillow's reading of them; broken ones; which mask belongs to which image."""

import io
import os
import pathlib
import signal
import struct
import zlib

import cv2
import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ptxtf.data import images
from ptxtf.errors import InputError

DEPTH = cv2.GaussianBlur(np.random.default_rng(5).integers(0, 256, (97, 131), dtype=np.uint8), (0, 0), 3)
GREY = cv2.normalize(DEPTH, None, 0, 255, cv2.NORM_MINMAX)
COLOUR = np.stack([GREY, 255 - GREY, np.roll(GREY, 20, axis=1)], axis=2)
MASK = (GREY > 180).astype(np.uint8)


def encoded(picture, kind, **options) -> bytes:
    """Return Pillow's encoding of an array or a Pillow image."""
    stream = io.BytesIO()
    made = PIL.Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture
    made.save(stream, kind, **options)
    return stream.getvalue()


def luma(stream) -> np.ndarray:
    """Return Pillow's grey levels: of a JPEG in YCbCr the stored Y, of other colours their luma; alpha left out."""
    picture = PIL.Image.open(io.BytesIO(stream))
    picture.draft("L", picture.size)
    return np.array(
        picture.convert("RGB").convert("L") if picture.mode in ("P", "RGBA", "LA") else picture.convert("L")
    )


def chunk(kind, content) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def hand_made_png(pixels, *, before=b"", compressed=None, size=None, bits=8, colour_type=0) -> bytes:
    """Return a PNG put together by hand; `before` are chunks between header and pixels."""
    height, width = size or pixels.shape[:2]
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    body = compressed if compressed is not None else zlib.compress(rows)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + before + chunk(b"IDAT", body) + chunk(b"IEND", b"")


CAMERA = PIL.Image.Exif()
CAMERA[0x927C] = encoded(GREY[:20, :30], "JPEG")  # a picture within, as cameras keep a thumbnail


@pytest.fixture
def written(tmp_path):
    """Return a function that writes bytes to a file below tmp_path and returns its path."""

    def write(content, name="a.png") -> pathlib.Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    return write


PALETTE = PIL.Image.fromarray(COLOUR).quantize(16)
KINDS = {
    "grey": encoded(GREY, "PNG"),
    "one bit": encoded(PIL.Image.fromarray(MASK.astype(bool)), "PNG"),
    "palette": encoded(PALETTE, "PNG"),
    "transparent palette": encoded(PALETTE, "PNG", transparency=0),
    "colour": encoded(COLOUR, "PNG"),
    "colour with alpha": encoded(np.dstack([COLOUR, GREY]), "PNG"),
    "grey with alpha": encoded(PIL.Image.fromarray(np.dstack([GREY, 255 - GREY]), "LA"), "PNG"),
    "transparent colour": encoded(COLOUR, "PNG", transparency=(0, 0, 0)),
    "gamma": hand_made_png(COLOUR, colour_type=2, before=chunk(b"gAMA", struct.pack(">I", 45455))),
    "significant bits": hand_made_png(GREY, before=chunk(b"sBIT", b"\5")),
    "jpeg": encoded(GREY, "JPEG", quality=90),
    "jpeg 4:4:4": encoded(COLOUR, "JPEG", quality=90, subsampling=0),
    "jpeg 4:2:0": encoded(COLOUR, "JPEG", quality=90, subsampling=2),
    "jpeg of equal channels": encoded(np.dstack([GREY] * 3), "JPEG", quality=90),
    "jpeg in RGB": encoded(COLOUR, "JPEG", quality=90, keep_rgb=True),
    "jpeg with restarts": encoded(COLOUR, "JPEG", quality=90, restart_marker_rows=1),
    "progressive": encoded(GREY, "JPEG", quality=90, progressive=True),
    "progressive with a thumbnail": encoded(GREY, "JPEG", progressive=True, exif=CAMERA.tobytes()),
    "progressive colour": encoded(COLOUR, "JPEG", quality=90, progressive=True),
}


@pytest.mark.parametrize("kind", KINDS)
def test_pixels_are_pillows(kind, written):
    pixels = images.read(written(KINDS[kind])).pixels
    assert pixels.dtype == np.uint8
    assert pixels.shape == GREY.shape
    is_rounded_twice = "colour" in kind or kind in ("palette", "transparent palette", "gamma")
    assert np.abs(pixels.astype(int) - luma(KINDS[kind])).max() <= (1 if is_rounded_twice else 0)


def test_interlaced_pixels_are_the_same(written):
    # Adam7 by hand: Pillow reads it but does not write it
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    rows = b"".join(b"\0" + row.tobytes() for y, x, dy, dx in passes for row in GREY[y::dy, x::dx])
    plain = hand_made_png(GREY, compressed=zlib.compress(rows))
    header = plain[16:28] + b"\1"
    stream = plain[:8] + chunk(b"IHDR", header) + plain[33:]
    np.testing.assert_array_equal(luma(stream), GREY)
    np.testing.assert_array_equal(images.read(written(stream)).pixels, GREY)


def test_a_damaged_text_does_no_harm(written):
    stream = hand_made_png(GREY, before=chunk(b"tEXt", b"a\0b")[:-1] + b"?")
    np.testing.assert_array_equal(images.read(written(stream)).pixels, GREY)


def test_sixteen_bits_use_the_full_range(written):
    ramp = np.linspace(100, 4000, 10_000).reshape(100, 100).astype(np.uint16)
    pixels = images.read(written(encoded(ramp, "PNG"))).pixels
    black, white = np.percentile(ramp, [0.5, 99.5])
    expected = np.clip((ramp - black) / (white - black), 0, 1) * 255
    assert np.abs(pixels - expected).max() <= 0.5 + 1e-6


def test_sixteen_bits_in_colour_become_their_luma(written):
    colours = np.stack([np.full((50, 60), 9000), np.full((50, 60), 500), np.zeros((50, 60))], 2).astype(np.uint16)
    colours[:, 30:] = (500, 9000, 0)  # 500 of red and 9000 of green outshine the reverse
    _, stream = cv2.imencode(".png", colours[..., ::-1])
    pixels = images.read(written(stream.tobytes())).pixels
    assert (pixels[:, :30] == 0).all()
    assert (pixels[:, 30:] == 255).all()


@pytest.mark.parametrize("orientation", [3, 6])
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_the_orientation_that_a_camera_noted_is_ignored(kind, orientation, written):
    camera = PIL.Image.Exif()
    camera[0x0112] = orientation
    stream = encoded(GREY, kind, exif=camera.tobytes())
    np.testing.assert_array_equal(images.read(written(stream)).pixels, luma(stream))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.startswith("jpeg")])
def test_a_stored_jpeg_gives_the_pixels_in_tensorflow_and_tells_nothing_of_the_camera(kind, written):
    import tensorflow as tf

    camera = PIL.Image.Exif()
    camera[0x010F] = "Acme X-Ray, Ward 7"
    colours = COLOUR if "4:" in kind or "RGB" in kind else GREY
    stream = encoded(colours, "JPEG", quality=85, exif=camera.tobytes(), comment=b"John Doe", keep_rgb="RGB" in kind)
    picture = images.read(written(stream, "a.jpg"))
    assert b"Acme" not in picture.encoded
    assert b"John" not in picture.encoded
    decoded = tf.io.decode_jpeg(picture.encoded, channels=1, dct_method="INTEGER_ACCURATE").numpy()[..., 0]
    np.testing.assert_array_equal(decoded, picture.pixels)
    np.testing.assert_array_equal(picture.pixels, luma(stream))


@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_is_what_a_whole_reading_gives(kind, written):
    path = written(KINDS[kind])
    stream = images.read_stream(path)
    assert (stream and stream.encoded) == images.read(path).encoded
    assert (stream is not None) == kind.startswith("jpeg")
    assert stream is None or stream.shape == GREY.shape


def test_the_first_bytes_decide_not_the_name(written):
    np.testing.assert_array_equal(images.read(written(KINDS["grey"], "a.jpg")).pixels, GREY)


def test_bytes_behind_the_end_do_no_harm(written):
    for kind in ("grey", "jpeg", "progressive"):
        pixels = images.read(written(KINDS[kind] + b"\0" * 30)).pixels
        np.testing.assert_array_equal(pixels, luma(KINDS[kind]))


def frames(**options) -> bytes:
    return encoded(GREY, "PNG", save_all=True, append_images=[PIL.Image.fromarray(255 - GREY)], **options)


HUGE = hand_made_png(GREY, size=(60_000, 60_000))
AT_FRAME = KINDS["jpeg"].index(b"\xff\xc0")
BROKEN = {
    "empty": (b"", "expected a PNG or JPEG picture. Received: no bytes"),
    "text": (b"no picture", "expected a PNG or JPEG picture. Received: 8 bytes of something else"),
    "only a start": (b"\xff\xd8", "expected a JPEG stream. Received: 2 bytes"),
    "only a signature": (b"\x89PNG\r\n\x1a\n", "expected a PNG header. Received: none"),
    "half a header": (KINDS["grey"][:20], "expected a PNG header. Received: none"),
    "half a PNG": (KINDS["grey"][: len(KINDS["grey"]) // 2], "expected a whole PNG. Received: "),
    "PNG without its last byte": (KINDS["grey"][:-1], "bytes without its end"),
    "PNG with a damaged byte": (KINDS["grey"][:200] + b"??" + KINDS["grey"][202:], "a damaged IDAT chunk"),
    "too few rows": (hand_made_png(GREY[:40], size=GREY.shape), "expected a PNG that can be decoded"),
    "no size": (hand_made_png(GREY, size=(0, 9)), "expected a picture of at least 1 x 1 pixels. Received: 0 x 9"),
    "huge": (HUGE, "expected at most 268435456 pixels. Received: 60000 x 60000"),
    "huge, cut off": (HUGE[:40], "expected at most 268435456 pixels. Received: 60000 x 60000"),
    "huge JPEG": (
        KINDS["jpeg"][: AT_FRAME + 5] + struct.pack(">HH", 60_000, 60_000) + KINDS["jpeg"][AT_FRAME + 9 :],
        "expected at most 268435456 pixels. Received: 60000 x 60000",
    ),
    "animated": (frames(), "expected a still picture. Received: an animated PNG"),
    "animated behind another picture": (frames(default_image=True), "expected a still picture"),
    "half a JPEG": (KINDS["jpeg"][: len(KINDS["jpeg"]) // 2], "expected a whole JPEG. Received: "),
    "JPEG without its end": (KINDS["jpeg"][:-2], "expected a whole JPEG. Received: "),
    "half a progressive JPEG with a thumbnail": (
        KINDS["progressive with a thumbnail"][:-500],
        "expected a whole JPEG. Received: ",
    ),
    "CMYK": (encoded(PIL.Image.fromarray(COLOUR).convert("CMYK"), "JPEG"), "Received: 8 bits, 4 components"),
    "twelve bits": (
        KINDS["jpeg"][: AT_FRAME + 4] + b"\x0c" + KINDS["jpeg"][AT_FRAME + 5 :],
        "Received: 12 bits, 1 components",
    ),
    "no such kind of JPEG": (
        KINDS["jpeg"][: AT_FRAME + 1] + b"\xc5" + KINDS["jpeg"][AT_FRAME + 2 :],
        "expected a sound JPEG stream",
    ),
    "another kind": (encoded(GREY, "TIFF"), "bytes of something else"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_file_is_named_with_the_reason(kind, written):
    content, message = BROKEN[kind]
    path = written(content)
    with pytest.raises(InputError) as caught:
        images.read(path)
    assert str(caught.value).startswith(f"{path}: expected ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_file_is_named_and_not_waited_for(tmp_path):
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "broken.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    signal.alarm(20)  # rather than wait for ever
    try:
        for name in ("folder.png", "pipe.png", "broken.png", "loop.png", "missing.png"):
            with pytest.raises(InputError, match=f"{name}: expected a PNG or JPEG picture"):
                images.read(tmp_path / name)
    finally:
        signal.alarm(0)


@settings(deadline=None, max_examples=150, derandomize=True)
@given(
    st.sampled_from(sorted(KINDS)),
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=4),
    st.integers(0, 10**6),
)
def test_damage_is_told_or_does_no_harm(tmp_path_factory, kind, damage, end):
    stream = bytearray(KINDS[kind])
    for place, value in damage:
        stream[place % len(stream)] = value
    path = tmp_path_factory.getbasetemp() / "damaged.png"
    path.write_bytes(stream[: max(1, end % (2 * len(stream)))])
    readers = (images.read, images.read_stream, lambda path: images.read_mask(path, shape=GREY.shape))
    for error in filter(None, (what_is_raised(reader, path) for reader in readers)):
        assert str(error).startswith(f"{path}: expected")


def what_is_raised(function, argument) -> InputError | None:
    try:
        function(argument)
    except InputError as error:
        return error
    return None


def mask_forms() -> dict[str, bytes]:
    """Return the same mask in every form that people store it in."""
    red = np.zeros((*MASK.shape, 3), np.uint8)
    blue = red.copy()
    red[MASK == 1] = (200, 0, 0)
    blue[MASK == 1] = (0, 0, 1)  # of luma 0.1
    palette = PIL.Image.fromarray(MASK, "P")
    palette.putpalette([0, 0, 0, 128, 0, 0])
    opaque = np.full_like(MASK, 255)
    return {
        "0 and 1": encoded(MASK, "PNG"),
        "0 and 255": encoded(MASK * 255, "PNG"),
        "0 and 7": encoded(MASK * 7, "PNG"),
        "one bit": encoded(PIL.Image.fromarray(MASK.astype(bool)), "PNG"),
        "16 bits": encoded(MASK.astype(np.uint16) * 3, "PNG"),
        "palette": encoded(palette, "PNG"),
        "red": encoded(red, "PNG"),
        "faint blue": encoded(blue, "PNG"),
        "grey, opaque": encoded(PIL.Image.fromarray(np.dstack([MASK * 255, opaque]), "LA"), "PNG"),
        "red, opaque": encoded(np.dstack([red, opaque]), "PNG"),
        "red on nothing": encoded(np.dstack([red, MASK * 100]), "PNG"),
    }


@pytest.mark.parametrize("form", mask_forms())
def test_every_form_of_a_mask_is_the_same_mask(form, written):
    mask = images.read_mask(written(mask_forms()[form]), shape=MASK.shape)
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, MASK)


def test_an_empty_mask_is_empty_with_or_without_alpha(written):
    for empty in (np.zeros((9, 8), np.uint8), np.zeros((9, 8, 4), np.uint8)):
        assert not images.read_mask(written(encoded(empty, "PNG")), shape=(9, 8)).any()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            encoded(MASK * 255, "JPEG"),
            "expected a PNG mask, as JPEG blurs the edge into values between. Received: a JPEG",
        ),
        (encoded(MASK[:-1], "PNG"), "expected a mask of its image's size, 97 x 131 pixels. Received: 96 x 131"),
        (encoded(MASK.T.copy(), "PNG"), "97 x 131 pixels. Received: 131 x 97"),
        (encoded(np.dstack([np.zeros_like(COLOUR), MASK * 255]), "PNG"), "Received: another one in the alpha channel"),
        (encoded(np.dstack([np.full_like(COLOUR, 255), MASK * 255]), "PNG"), "another one in the alpha channel"),
        (b"", "expected a PNG or JPEG picture. Received: no bytes"),
    ],
    ids=["jpeg", "row short", "turned", "alpha on black", "alpha on white", "empty"],
)
def test_a_mask_that_cannot_be_used(content, message, written):
    path = written(content, "a_mask.png")
    with pytest.raises(InputError) as caught:
        images.read_mask(path, shape=MASK.shape)
    assert str(caught.value).startswith(f"{path}: expected ")
    assert message in str(caught.value)


def test_files_are_found_by_their_endings_at_any_depth(tmp_path):
    for name in ("b.PNG", "a/c.jpg", "a/b/d.JpEg", "notes.txt", ".hidden.png", "a/._c.jpg", "e.png.txt", "png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    assert images.find(tmp_path) == [tmp_path / "a/b/d.JpEg", tmp_path / "a/c.jpg", tmp_path / "b.PNG"]
    assert images.find(str(tmp_path)) == images.find(tmp_path)


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match=r"nowhere: expected a folder\. Received: directory="):
        images.find(tmp_path / "nowhere")


def paths(*names) -> list[pathlib.Path]:
    return [pathlib.Path(name) for name in names]


def named(masks) -> dict[str, str]:
    return {name: str(path) for name, path in masks.items()}


def test_a_mask_goes_by_its_images_name_wherever_it_lies():
    matches = images.match_masks(paths("i/a.jpg", "i/x/b.png", "i/c.png"), paths("m/y/b_mask.png", "m/a.png"))
    assert named(matches.masks) == {"a": "m/a.png", "b": "m/y/b_mask.png"}
    assert matches.images == tuple(paths("i/a.jpg", "i/x/b.png", "i/c.png"))
    assert matches.rejected == ()


def test_a_name_that_ends_in_mask_may_be_an_images_own():
    matches = images.match_masks(paths("i/a_mask.png"), paths("m/a_mask.png", "m/a_mask_mask.png"))
    assert "m/a_mask.png, m/a_mask_mask.png" in dict(matches.rejected)[pathlib.Path("i/a_mask.png")]
    assert named(images.match_masks(paths("i/a_mask.png"), paths("m/a_mask.png")).masks) == {"a_mask": "m/a_mask.png"}


def test_what_does_not_match_is_told():
    matches = images.match_masks(
        paths("i/a.png", "i/b.png", "i/c.png"), paths("m/a.png", "m/a_mask.png", "m/b.png", "m/z_mask.png", "m/y.png")
    )
    assert matches.images == tuple(paths("i/b.png", "i/c.png"))
    assert named(matches.masks) == {"b": "m/b.png"}
    assert {str(path): reason for path, reason in matches.rejected} == {
        "m/z_mask.png": "expected an image called z. Received: none",
        "m/y.png": "expected an image called y. Received: none",
        "i/a.png": "expected one mask. Received: m/a.png, m/a_mask.png",
    }


@pytest.mark.parametrize(
    ("image_files", "mask_files"),
    [
        (("d/a.png", "d/a_mask.png", "d/b.png"), ("d/a.png", "d/a_mask.png", "d/b.png")),  # one folder
        (("d/a.png", "d/b.png", "d/m/a_mask.png"), ("d/m/a_mask.png",)),  # masks below the images
        (("d/i/a.png", "d/i/b.png"), ("d/a_mask.png", "d/i/a.png", "d/i/b.png")),  # images below the masks
    ],
)
def test_folders_may_overlap(image_files, mask_files):
    matches = images.match_masks(paths(*image_files), paths(*mask_files))
    assert [path.name for path in matches.images] == ["a.png", "b.png"]
    assert {name: path.name for name, path in matches.masks.items()} == {"a": "a_mask.png"}
    assert matches.rejected == ()


def test_masks_below_the_images_may_bear_their_names():
    matches = images.match_masks(paths("d/i/a.png", "d/m/a.png"), paths("d/m/a.png"))
    assert named(matches.masks) == {"a": "d/m/a.png"}
    assert matches.images == tuple(paths("d/i/a.png"))


@pytest.mark.parametrize("masks", ["films", "./films", "films/../films", "{}/films"])
def test_one_folder_may_be_told_in_several_ways(tmp_path, monkeypatch, masks):
    (tmp_path / "films").mkdir()
    for name in ("a.png", "a_mask.png", "b.png"):
        cv2.imwrite(str(tmp_path / "films" / name), np.zeros((8, 8), np.uint8))
    monkeypatch.chdir(tmp_path)
    matches = images.match_masks(images.find("films"), images.find(masks.format(tmp_path)))
    assert sorted(path.name for path in matches.images) == ["a.png", "b.png"]
    assert {name: path.name for name, path in matches.masks.items()} == {"a": "a_mask.png"}


def test_a_jpeg_whose_data_end_too_early_is_refused(tmp_path, rng):
    pixels = cv2.GaussianBlur(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8), (0, 0), 2)
    stream = cv2.imencode(".jpg", pixels)[1].tobytes()
    (tmp_path / "whole.jpg").write_bytes(stream)
    (tmp_path / "cut.jpg").write_bytes(stream[: stream.index(b"\xff\xda") + 60] + stream[-2:])
    expected = cv2.imread(str(tmp_path / "whole.jpg"), cv2.IMREAD_GRAYSCALE)
    np.testing.assert_array_equal(images.read(tmp_path / "whole.jpg").pixels, expected)
    with pytest.raises(InputError, match=r"cut\.jpg: expected a sound JPEG stream\. Received: .*premature end"):
        images.read(tmp_path / "cut.jpg")
