"""The grid of patches that covers an image from its upper left corner, as `ptxtf.ops.patches` cuts and stitches it."""

import operator


def checked_size(image_size: tuple[int, int], size: int, stride: int | None) -> tuple[int, int]:
    """Return a patch's size and stride, in pixels, as Python's integers; a stride of None is the size.

    Raises:
        ValueError: the patch is larger than the image, (height, width) in pixels, or the stride leaves gaps.
    """
    size = operator.index(size)
    if not 1 <= size <= min(image_size):
        raise ValueError(f"expected size in 1..{min(image_size)}, the image's shorter side. Received: size={size}")
    stride = size if stride is None else operator.index(stride)
    if not 1 <= stride <= size:
        raise ValueError(f"expected stride in 1..{size}, the size, to leave no gaps. Received: stride={stride}")
    return size, stride


def patch_count(length: int, *, size: int, stride: int) -> int:
    """Return how many patches cover an axis of this length; the last may reach beyond it."""
    return -(-(length - size) // stride) + 1


def covered_length(count: int, *, size: int, stride: int) -> int:
    """Return the pixels along an axis that so many patches cover."""
    return (count - 1) * stride + size
