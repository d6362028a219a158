"""What TensorBoard gets."""

import numpy as np
import tensorflow as tf

from ptxtf.training import watch


def test_the_curve_of_precision_and_recall():
    pixels = np.zeros((2, 4), np.int64)
    pixels[0] = [70, 20, 9, 1]  # background by rising probability
    pixels[1] = [2, 0, 3, 5]
    (value,) = watch._precision_recall(pixels).value
    true, false, negative, missed, precision, recall = tf.make_ndarray(value.tensor)
    np.testing.assert_array_equal(true, [10, 8, 8, 5, 0])
    np.testing.assert_array_equal(false, [100, 30, 10, 1, 0])
    np.testing.assert_array_equal(negative, [0, 70, 90, 99, 100])
    np.testing.assert_array_equal(missed, [0, 2, 2, 5, 10])
    np.testing.assert_allclose(precision, [10 / 110, 8 / 38, 8 / 18, 5 / 6, 0], rtol=1e-6)
    np.testing.assert_allclose(recall, [1, 0.8, 0.8, 0.5, 0], rtol=1e-6)
