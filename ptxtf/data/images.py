"""PNG and JPEG radiographs and PNG masks -> pixels. Runs in worker processes, so without TensorFlow.

Flows in: files as people export them. Flows out: uint8 [H, W] in 0..255 as stored, which is taken for bright = dense
(a picture does not say it), and masks uint8 [H, W] of {0, 1}. What becomes of a file:

- The first bytes decide what it is, not its name.
- 8 bits or fewer: grey levels stay as they are. 16 bits: as in a DICOM without a window, the percentiles 0.5 and 99.5
  become 0 and 255 (`ptxtf.data.grey`).
- Colour: its luma, 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601); of a JPEG in YCbCr that is the stored Y. Palettes are
  colours. Alpha is left out, and so are gamma, colour profiles and the orientation that a camera noted: a mask fits
  the pixels as they are stored.
- Refused: what is cut off or damaged, animated, CMYK, of 12 bits, or larger than 2^28 pixels, which is known before
  memory is taken for them.

A mask is a PNG whose every colour but black means pneumothorax: 0 and 1, 0 and 255, one bit, a palette, ...
"""

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from ptxtf import files
from ptxtf.data import grey, jpeg, png
from ptxtf.errors import InputError

ENDINGS = (".png", ".jpg", ".jpeg")

_MASK_SUFFIX = "_mask"
_JPEG_SCAN, _JPEG_END = b"\xff\xda", b"\xff\xd9"
_MAX_PIXELS = 2**28


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stream:
    """A JPEG that can be stored as it is, not decoded.

    Attributes:
        shape: height and width in pixels.
        encoded: a baseline JPEG stream without comments and camera data.
    """

    shape: tuple[int, int]
    encoded: bytes


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Picture:
    """A radiograph from a picture file.

    Attributes:
        pixels: uint8 [H, W] in 0..255.
        encoded: the file's baseline JPEG stream, of which decoding to grey gives `pixels`; None where it has none.
    """

    pixels: np.ndarray
    encoded: bytes | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Matches:
    """Which mask belongs to which image.

    Attributes:
        images: the images, in the order that they came in, but those whose mask is in doubt.
        masks: image id -> its mask; an image without one is not in it.
        rejected: (file, reason): masks without image, and images with several masks.
    """

    images: tuple[files.Path, ...]
    masks: dict[str, files.Path]
    rejected: tuple[tuple[files.Path, str], ...]


def find(directory: files.Name) -> list[files.Path]:
    """List the PNG and JPEG files below a folder, by their endings in any case; hidden files do not count.

    Args:
        directory: the folder.

    Returns:
        Paths, sorted.

    Raises:
        InputError: there is no such folder.

    Example:
        >>> find("radiographs")
        [PosixPath('radiographs/a.png'), PosixPath('radiographs/more/b.JPG')]
    """
    folder = files.path(directory)
    if not folder.is_dir():
        raise InputError(f"{folder}: expected a folder. Received: directory={str(folder)!r}")
    return [path for path in files.walk(folder) if path.suffix.lower() in ENDINGS and not path.name.startswith(".")]


def image_id(path: files.Path) -> str:
    """Return the name that a picture's results and masks go by: its file's, without folder and ending."""
    return path.stem


def read(path: files.Name) -> Picture:
    """Read a radiograph; the module says what becomes of the stored values.

    Args:
        path: a PNG or JPEG file.

    Returns:
        A `Picture`.

    Raises:
        InputError: the file is none of these, or refused; one line that names it.

    Example:
        >>> read("a.jpg").pixels.shape
        (1024, 1024)
    """
    with _named(path):
        stream = _load(files.path(path))
        if stream.startswith(jpeg.START):
            return Picture(pixels=jpeg.decode(stream), encoded=_storable(stream))
        # Not IMREAD_GRAYSCALE: of a PNG that notes its gamma, libpng takes the luma of other values than those stored.
        pixels = _decode_png(stream)
    if pixels.ndim == 3:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_BGRA2GRAY if pixels.shape[2] == 4 else cv2.COLOR_BGR2GRAY)
    if pixels.dtype != np.uint8:
        pixels = grey.render(pixels, grey.Rendering(bits=16))
    return Picture(pixels=pixels, encoded=None)


def read_stream(path: files.Name) -> Stream | None:
    """Read a JPEG that can be stored as it is, without decoding it.

    Args:
        path: a PNG or JPEG file.

    Returns:
        A `Stream`; None for a PNG, or a JPEG of another kind than baseline: `read` knows what to do with those.

    Raises:
        InputError: the file is neither, or refused for what shows without decoding; one line that names it.

    Example:
        >>> read_stream("a.jpg").shape
        (1024, 1024)
    """
    with _named(path):
        stream = _load(files.path(path))
        encoded = _storable(stream) if stream.startswith(jpeg.START) else None
        return Stream(shape=jpeg.size(encoded), encoded=encoded) if encoded else None


def read_mask(path: files.Name, *, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """Read a mask; the module says what counts as one.

    Args:
        path: a PNG file.
        shape: height and width in pixels that it must have, those of its image; None: any.

    Returns:
        uint8 [H, W] of {0, 1}.

    Raises:
        InputError: no PNG, refused, of another size, or with two masks, one in the colours and another in the alpha
            channel; one line that names the file.

    Example:
        >>> read_mask("a_mask.png", shape=(1024, 1024)).mean()
        0.0131...
    """
    with _named(path):
        stream = _load(files.path(path))
        if stream.startswith(jpeg.START):
            raise InputError("expected a PNG mask, as JPEG blurs the edge into values between. Received: a JPEG")
        if shape is not None and (size := png.size(stream)) != tuple(shape[:2]):
            raise InputError(f"expected a mask of its image's size, {_by(shape)} pixels. Received: {_by(size)}")
        is_set = np.atleast_3d(_decode_png(stream)) != 0
        mask, alpha = is_set[..., :3].any(axis=2), is_set[..., 3:]
        if not alpha.all() and (alpha[..., 0] != mask).any():
            raise InputError("expected a mask in grey levels or colours. Received: another one in the alpha channel")
    return mask.astype(np.uint8)


def match_masks(images: Sequence[files.Path], masks: Sequence[files.Path]) -> Matches:
    """Find the mask of each image.

    The mask of image `a` is called `a` or `a_mask`, whatever its ending and wherever it lies. Folders may overlap: a
    file in both lists is a mask where the image list has others besides, else where its name ends in `_mask`.

    Args:
        images: files below the folder of images, as `find` lists them.
        masks: files below the folder of masks.

    Returns:
        `Matches`. Two images of one id both stay; to refuse the second is the caller's part.

    Example:
        >>> match_masks(find("images"), find("masks")).masks
        {'a': PosixPath('masks/a_mask.png')}
    """
    images, masks = _told_apart(images, masks)
    ids = {image_id(path) for path in images}
    found: dict[str, list[files.Path]] = {}
    rejected = []
    for mask in masks:
        name = image_id(mask)
        name = name if name in ids else name.removesuffix(_MASK_SUFFIX)
        if name in ids:
            found.setdefault(name, []).append(mask)
        else:
            rejected.append((mask, f"expected an image called {name}. Received: none"))
    doubtful = {name: ", ".join(map(str, paths)) for name, paths in found.items() if len(paths) > 1}
    rejected += [
        (path, f"expected one mask. Received: {doubtful[image_id(path)]}")
        for path in images
        if image_id(path) in doubtful
    ]
    return Matches(
        images=tuple(path for path in images if image_id(path) not in doubtful),
        masks={name: paths[0] for name, paths in found.items() if name not in doubtful},
        rejected=tuple(rejected),
    )


def _told_apart(images: Sequence[files.Path], masks: Sequence[files.Path]) -> tuple[list[files.Path], list[files.Path]]:
    """Return images and masks with each file in one of the lists only."""
    places = {path: path.resolve() for path in (*images, *masks)}  # one file may be told by several paths
    all_masks, all_images = ({places[path] for path in paths} for paths in (masks, images))
    are_masks = all_masks & all_images
    if are_masks == all_images:  # one folder for both
        are_masks = {place for place in are_masks if image_id(place).endswith(_MASK_SUFFIX)}
    are_images = all_images - are_masks
    return (
        [path for path in images if places[path] in are_images],
        [path for path in masks if places[path] not in are_images],
    )


@contextlib.contextmanager
def _named(path: files.Name) -> Iterator[None]:
    """Let errors name the file; turn those of the system and of OpenCV into an InputError."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except (OSError, cv2.error) as error:
        raise InputError(f"{path}: expected a PNG or JPEG picture that can be read. Received: {error}") from error


def _load(path: files.Path) -> bytes:
    """Return the bytes of a PNG or JPEG file that is whole, of a kind that `read` knows, and not too large."""
    if not path.is_file():  # before it is opened: a pipe would be waited for
        raise InputError("expected a PNG or JPEG picture. Received: no such file, or something else")
    with path.open("rb") as file:
        stream = file.read(len(png.SIGNATURE))
        if not stream.startswith((png.SIGNATURE, jpeg.START)):
            raise InputError(f"expected a PNG or JPEG picture. Received: {len(stream) or 'no'} bytes of something else")
        stream += file.read()
    if stream.startswith(jpeg.START):
        frame = jpeg.frame(stream)
        _check_size(frame.height, frame.width)
        if frame.bits != 8 or frame.components not in (1, 3):
            raise InputError(
                "expected a JPEG of 8 bits, grey or in colour. "
                f"Received: {frame.bits} bits, {frame.components} components"
            )
        # the last of both, as a thumbnail among the camera's data has an end, too
        if stream.rfind(_JPEG_END) < stream.rfind(_JPEG_SCAN):
            raise InputError(f"expected a whole JPEG. Received: {len(stream)} bytes without its end")
    else:
        _check_size(*png.size(stream))
        png.check(stream)
    return stream


def _check_size(height: int, width: int) -> None:
    if height * width > _MAX_PIXELS:
        raise InputError(f"expected at most {_MAX_PIXELS} pixels. Received: {_by((height, width))}")


def _by(shape: tuple[int, ...]) -> str:
    return f"{shape[0]} x {shape[1]}"


def _decode_png(stream: bytes) -> np.ndarray:
    pixels = cv2.imdecode(np.frombuffer(stream, np.uint8), cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
    if pixels is None:
        raise InputError("expected a PNG that can be decoded. Received: damaged pixels, or an unknown kind")
    return pixels


def _storable(stream: bytes) -> bytes | None:
    """Return a JPEG stream without what no decoder needs, if TensorFlow decodes it to the same grey levels as OpenCV.

    Both leave it to libjpeg, which takes the luma of colours. Progressive streams would do, too, but decode slowly.
    """
    if not jpeg.frame(stream).is_sequential:
        return None
    try:
        stripped = jpeg.strip(stream)
        jpeg.check_tables(stripped)
    except InputError:
        return None  # more than one scan, or damaged: `read` will tell
    return stripped
