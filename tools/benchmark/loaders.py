"""The peers' ways from stored files to augmented batches: endless streams of (images, masks), float32 [B, H, W, 1].

Each does what `ptxtf.batches` does: CLAHE (limit 2, 8 x 8 tiles), rotation up to 20°, zoom up to 10 %, horizontal flip,
brightness up to 15 %, pixels to 0..1. They use config.workers processes or threads.
"""

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tools.benchmark.settings import BenchmarkConfig

if TYPE_CHECKING:  # PyTorch's worker processes import this module, and need no TensorFlow
    from tools.benchmark.stored import Stored

_LIMIT, _TILES, _DEGREES, _ZOOM, _BRIGHTNESS = 2.0, 8, 20.0, 0.1, 0.15

_NPY_HEADER = 128
"""Bytes before the pixels in a .npy file (numpy's format, version 1, of short headers)."""

Stream = Generator[tuple[Any, Any], None, None]
"""Batches of images and masks without end, until it is closed."""


class _Cases:
    """What PyTorch's worker processes read: OpenCV and albumentations."""

    def __init__(self, images: Sequence[str], masks: Sequence[str], size: int) -> None:
        self._images = images
        self._masks = masks
        self._size = size
        self._augment: Any = None

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        if self._augment is None:  # made by each worker
            self._augment = _albumentations()
        case = self._augment(image=self._image(self._images[index]), mask=np.load(self._masks[index]))
        return case["image"], case["mask"].astype(np.float32)

    def _image(self, path: str) -> np.ndarray:
        import cv2

        if path.endswith(".npy"):
            return np.load(path)
        pixels = np.asarray(cv2.imread(path, cv2.IMREAD_GRAYSCALE))
        return cv2.resize(pixels, (self._size, self._size), interpolation=cv2.INTER_AREA)[..., np.newaxis]


def _albumentations() -> Any:
    import albumentations as a

    return a.Compose(
        [
            a.CLAHE((_LIMIT, _LIMIT), (_TILES, _TILES), p=1.0),
            a.Affine(scale=(1 - _ZOOM, 1 + _ZOOM), rotate=(-_DEGREES, _DEGREES), p=1.0),
            a.HorizontalFlip(p=0.5),
            a.RandomBrightnessContrast(_BRIGHTNESS, 0.0, p=1.0),
            a.ToFloat(255.0),
        ]
    )


def _one_thread(_: int) -> None:
    import cv2

    cv2.setNumThreads(0)


def pytorch(stored: "Stored", config: BenchmarkConfig) -> Stream:
    """Yield batches of a DataLoader whose worker processes live on."""
    from torch.utils import data

    cases = _Cases(stored.images, stored.masks, config.image_size)
    loader = data.DataLoader(
        cases,  # type: ignore[arg-type, unused-ignore]
        batch_size=config.batch_size,
        sampler=data.RandomSampler(cases, replacement=True, num_samples=2**40),
        num_workers=config.workers,
        persistent_workers=True,
        multiprocessing_context="spawn",  # a fork of a process with TensorFlow's threads may hang
        worker_init_fn=_one_thread,
    )
    yield from iter(loader)


def dali(stored: "Stored", config: BenchmarkConfig) -> Stream:
    """Yield batches of DALI's CPU pipeline."""
    from nvidia.dali import fn, math, pipeline_def, types

    middle = [config.image_size / 2] * 2

    @pipeline_def(batch_size=config.batch_size, num_threads=config.workers, device_id=None)
    def pipeline() -> Any:
        if stored.encoding == "raw":
            images = fn.readers.numpy(files=stored.images)
        else:
            streams, _ = fn.readers.file(files=stored.images)
            images = fn.decoders.image(streams, output_type=types.GRAY, device="cpu")
            images = fn.resize(images, size=[config.image_size] * 2)
        masks = fn.readers.numpy(files=stored.masks)
        images = fn.clahe(images, tiles_x=_TILES, tiles_y=_TILES, clip_limit=_LIMIT)
        zoom = fn.random.uniform(range=[1 - _ZOOM, 1 + _ZOOM])
        matrix = fn.transforms.rotation(angle=fn.random.uniform(range=[-_DEGREES, _DEGREES]), center=middle)
        matrix = fn.transforms.scale(matrix, scale=fn.stack(zoom, zoom), center=middle)
        moved = {"matrix": matrix, "fill_value": 0, "inverse_map": False}
        mirrored = fn.random.coin_flip()
        images = fn.flip(fn.warp_affine(images, **moved), horizontal=mirrored)
        masks = fn.flip(fn.warp_affine(masks, interp_type=types.INTERP_NN, **moved), horizontal=mirrored)
        factor = fn.random.uniform(range=[1 - _BRIGHTNESS, 1 + _BRIGHTNESS])
        images = math.clamp(fn.brightness(images, brightness=factor / 255, dtype=types.FLOAT), 0.0, 1.0)
        return images, fn.cast(masks, dtype=types.FLOAT)

    pipe = pipeline()
    pipe.build()
    while True:
        images, masks = pipe.run()
        yield images.as_array(), masks.as_array()


def keras_layers(stored: "Stored", config: BenchmarkConfig, *, clahe: bool) -> Stream:
    """Yield batches of tf.data, decoded images cached, with Keras' layers."""
    import keras
    import tensorflow as tf

    layers = keras.layers
    moves = [
        layers.RandomRotation(_DEGREES / 360, fill_mode="constant"),
        layers.RandomZoom((-_ZOOM, _ZOOM), fill_mode="constant"),
        layers.RandomFlip("horizontal"),
    ]
    brighten = layers.RandomBrightness(_BRIGHTNESS, value_range=(0, 1))
    equalise = (
        layers.ContrastLimitedAdaptiveHistogramEqualization(clip_limit=_LIMIT, tile_grid_size=(_TILES, _TILES))
        if clahe
        else tf.identity
    )

    def prepare(image: tf.Tensor, mask: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"images": equalise(tf.cast(image, tf.float32)) / 255, "segmentation_masks": mask}

    def augment(batch: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        for layer in moves:
            batch = layer(batch, training=True)
        return brighten(batch["images"], training=True), tf.cast(batch["segmentation_masks"], tf.float32)

    read = tf.data.Dataset.from_tensor_slices((stored.images, stored.masks)).map(
        lambda image, mask: (_read(image, config.image_size), _read(mask, config.image_size)),
        num_parallel_calls=config.workers,
    )
    shuffled = read.cache().shuffle(len(stored.images)).repeat()
    # CLAHE one by one: of a batch it makes gigabytes
    batches = shuffled.map(prepare, num_parallel_calls=config.workers).batch(config.batch_size)
    yield from batches.map(augment, num_parallel_calls=config.workers).prefetch(1)


def _read(path: Any, size: int) -> Any:
    """Read a .npy or .jpg inside a graph: uint8 [size, size, 1]."""
    import tensorflow as tf

    content = tf.io.read_file(path)

    def from_jpeg() -> tf.Tensor:
        pixels = tf.image.resize(tf.io.decode_jpeg(content, channels=1), [size, size], method="area")
        return tf.cast(tf.round(pixels), tf.uint8)

    def from_npy() -> tf.Tensor:
        pixels = tf.io.decode_raw(tf.strings.substr(content, _NPY_HEADER, -1), tf.uint8)
        return tf.reshape(pixels, [size, size, 1])

    return tf.ensure_shape(tf.cond(tf.strings.regex_full_match(path, r".*\.jpg"), from_jpeg, from_npy), [size, size, 1])
