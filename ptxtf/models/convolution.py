"""Convolutions as a decoder has them, in fewer products and with quicker gradients than TensorFlow's on a CPU.

Flows in: features, float [B, H, W, C], and a kernel, float [h, w, C, filters]. Flows out: float, what TensorFlow's own
operations would give, to rounding.
"""

import tensorflow as tf

from ptxtf import devices

_BORDER = [[0, 0], [1, 1], [1, 1], [0, 0]]

_MIN_CHANNELS = 32
"""From which the kernel's gradient is quicker by products of matrices; measured on a CPU with AVX2, in float32."""

_MAX_SPLIT = 4
"""Up to which channels are added one to another sooner than by a reduction; measured likewise."""


def has_quicker_gradients(channels: int, dtype: str) -> bool:
    """Return whether `convolve` finds the gradient of a 3 x 3 kernel sooner than TensorFlow's own operation.

    With AVX-512 oneDNN takes no longer backwards than forwards, and products of matrices take twice as long.
    """
    return channels >= _MIN_CHANNELS and dtype == "float32" and not devices.has_avx512()


def sums_by_channel(filters: int, dtype: str) -> bool:
    """Return whether `convolve` by a 3 x 3 kernel convolves each channel by itself and sums them, which is the same.

    To one channel, as for a mask's logits, that takes half the time of oneDNN's convolution, and backwards, too.
    """
    return filters == 1 and dtype == "float32"


def convolve(images: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """Convolve images by a kernel with one pixel of zeros around them.

    Args:
        images: float [B, H, W, C].
        kernel: float [k, k, C, filters], k = 2 or 3; it is cast to the images' dtype.

    Returns:
        float [B, H - k + 3, W - k + 3, filters].

    Example:
        >>> convolve(tf.ones([1, 4, 4, 2]), tf.ones([3, 3, 2, 5])).shape
        TensorShape([1, 4, 4, 5])
    """
    kernel = tf.cast(kernel, images.dtype)
    if kernel.shape[0] == 3 and sums_by_channel(kernel.shape[3], images.dtype.name):
        return _sum_channels(tf.nn.depthwise_conv2d(images, kernel, [1, 1, 1, 1], "SAME"))
    if kernel.shape[0] == 3 and not has_quicker_gradients(kernel.shape[2], images.dtype.name):
        return tf.nn.conv2d(images, kernel, 1, "SAME")
    if images.dtype != tf.float32:
        return tf.nn.conv2d(tf.pad(images, _BORDER), kernel, 1, "VALID")
    return _with_quick_gradients(images, kernel)


def convolve_pixels(images: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """Convolve images by a kernel of one pixel, as one product of matrices, whose gradients are products, too.

    In bfloat16 the kernel's gradient takes half the time of that of TensorFlow's convolution.

    Args:
        images: float [B, H, W, C].
        kernel: float [1, 1, C, filters]; it is cast to the images' dtype.

    Returns:
        float [B, H, W, filters].

    Example:
        >>> convolve_pixels(tf.ones([1, 4, 4, 2]), tf.ones([1, 1, 2, 5])).shape
        TensorShape([1, 4, 4, 5])
    """
    channels, filters = kernel.shape[2:]
    pixels = tf.reshape(images, [-1, channels])
    outputs = tf.reshape(
        tf.matmul(pixels, tf.reshape(tf.cast(kernel, images.dtype), [channels, filters])),
        tf.concat([tf.shape(images)[:3], [filters]], axis=0),
    )
    return tf.ensure_shape(outputs, [*images.shape[:3], filters])


def sum_by_case(kernel: tf.Tensor) -> tf.Tensor:
    """Sum the weights of a 3 x 3 kernel that fall on one pixel of a map enlarged twofold to the nearest.

    Of the nine fine pixels under the kernel some are copies of one coarse pixel, and there are but four of those. Which
    weights fall on one depends on whether the fine row and column are even or odd: four cases.

    Args:
        kernel: float [3, 3, C, filters].

    Returns:
        float [2, 2, C, 4 * filters]: for each case a kernel over coarse pixels.
    """
    channels, filters = kernel.shape[2:]
    return tf.reshape(_sum_halves(_sum_halves(kernel, 0), 1), [2, 2, channels, 4 * filters])


def convolve_by_case(images: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """Enlarge images twofold to the nearest and convolve them by 3 x 3 kernels with zeros around, in one.

    One convolution of 2 x 2 gives all four cases, which then take turns: 16 products for four fine pixels, not 36.

    Args:
        images: float [B, H, W, C].
        kernel: float [2, 2, C, 4 * filters], the kernel's sums from `sum_by_case`; cast to the images' dtype.

    Returns:
        float [B, 2H, 2W, filters].

    Example:
        >>> convolve_by_case(tf.ones([1, 4, 4, 2]), sum_by_case(tf.ones([3, 3, 2, 5]))).shape
        TensorShape([1, 8, 8, 5])
    """
    cases = convolve(images, kernel)  # [B, H + 1, W + 1, 4 * filters]
    fine = tf.nn.depth_to_space(cases, 2)  # begins half a coarse pixel early, as the odd case comes first
    height, width = tf.shape(images)[1], tf.shape(images)[2]
    return tf.ensure_shape(
        tf.slice(fine, [0, 1, 1, 0], [-1, 2 * height, 2 * width, -1]),
        [images.shape[0], *(size and 2 * size for size in images.shape[1:3]), kernel.shape[3] // 4],
    )


def _sum_channels(maps: tf.Tensor) -> tf.Tensor:
    """Sum float [B, H, W, C] over its channels to [B, H, W, 1]."""
    channels = maps.shape[3]
    if channels <= _MAX_SPLIT:
        return tf.add_n(tf.split(maps, channels, axis=-1))
    return tf.reduce_sum(maps, axis=-1, keepdims=True)


def _sum_halves(kernel: tf.Tensor, axis: int) -> tf.Tensor:
    """Sum a kernel's weights that fall on one coarse pixel along axis 0 or 1.

    An odd fine row sees the coarse pixel that it lies in twice, then the next one; an even row the one before, then its
    own twice.

    Returns:
        The kernel with 2 instead of 3 along the axis, and a new axis of the cases odd and even before the last one.
    """
    first, middle, last = tf.split(kernel, 3, axis)
    odd, even = [first + middle, last], [first, middle + last]
    return tf.stack([tf.concat(case, axis) for case in (odd, even)], axis=-2)


@tf.custom_gradient
def _with_quick_gradients(images: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """Convolve, with gradients by operations that are quick on a CPU: oneDNN has none for explicit padding."""
    channels, filters = kernel.shape[2:]

    def gradients(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        padded = tf.pad(images, _BORDER)
        by_images = tf.raw_ops.Conv2DBackpropInput(
            input_sizes=tf.shape(padded), filter=kernel, out_backprop=upstream, strides=[1, 1, 1, 1], padding="VALID"
        )
        height, width = tf.shape(images)[1], tf.shape(images)[2]
        by_images = tf.slice(by_images, [0, 1, 1, 0], [-1, height, width, -1])
        if channels >= 2 * filters:
            return by_images, _by_one_product(images, upstream, kernel.shape)
        return by_images, _by_products(padded, upstream, kernel.shape)

    return tf.nn.conv2d(images, kernel, 1, _BORDER), gradients


def _by_one_product(images: tf.Tensor, upstream: tf.Tensor, shape: tf.TensorShape) -> tf.Tensor:
    """Find a kernel's gradient as one product of matrices: the images times the upstream gradient's patches.

    A place in the kernel saw each pixel where it gave to one output pixel or another; these are, turned around, a patch
    of the upstream gradient. To copy patches pays where the gradient has fewer channels than the images.

    Returns:
        float, of the kernel's shape [size, size, C, filters].
    """
    size, _, channels, filters = shape
    ones = [1, 1, 1, 1]
    patches = tf.image.extract_patches(upstream, [1, size, size, 1], ones, ones, "SAME" if size == 3 else "VALID")
    products = tf.matmul(
        tf.reshape(images, [-1, channels]), tf.reshape(patches, [-1, size * size * filters]), transpose_a=True
    )
    turned = tf.reverse(tf.reshape(products, [channels, size, size, filters]), [1, 2])
    return tf.transpose(turned, [1, 2, 0, 3])


def _by_products(images: tf.Tensor, upstream: tf.Tensor, shape: tf.TensorShape) -> tf.Tensor:
    """Find a kernel's gradient place by place, as the product of the pixels that fell on it and the upstream gradient.

    With images (padded already) and gradient laid out as one list of pixels each, rows of equal length behind one
    another, a place in the kernel is a shift of one list against the other, and nothing is copied. Pixels that a shift
    takes into another row or image meet a gradient of 0.

    Returns:
        float, of the kernel's shape [size, size, C, filters].
    """
    size, _, channels, filters = shape
    margin = [0, size - 1]
    gradient = tf.reshape(tf.pad(upstream, [[0, 0], margin, margin, [0, 0]]), [-1, filters])
    pixels = tf.reshape(images, [-1, channels])
    columns = tf.shape(images)[2]
    shifts = [row * columns + column for row in range(size) for column in range(size)]
    count = tf.shape(pixels)[0] - shifts[-1]
    gradient = gradient[:count]
    products = [
        tf.matmul(tf.slice(pixels, [shift, 0], [count, channels]), gradient, transpose_a=True) for shift in shifts
    ]
    return tf.reshape(tf.stack(products), shape)
