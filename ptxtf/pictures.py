"""Arrays -> pictures that a person looks at: overlays, contact sheets, curves.

Flows in: uint8 images 0..255 and masks of {0, 1}, [H, W]. Flows out: uint8 RGB [H, W, 3], or PNG bytes. Truth is drawn
in blue, the model's mask in orange: a pair that colour-blind readers tell apart, on grey.
"""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

TRUTH = (86, 180, 233)
PREDICTED = (230, 159, 0)


def overlay(
    image: np.ndarray,
    *,
    mask: np.ndarray | None = None,
    predicted_mask: np.ndarray | None = None,
    title: str = "",
) -> np.ndarray:
    """Return the image in grey with the outlines of truth (blue) and prediction (orange, lightly filled).

    Args:
        image: uint8 [H, W].
        mask: truth, [H, W] of {0, 1}, or None.
        predicted_mask: the model's, [H, W] of {0, 1}, or None.
        title: written into the upper left corner.

    Returns:
        uint8 RGB [H, W, 3].
    """
    canvas = cv2.cvtColor(image, cv2.COLOR_GRAY2RGB)
    thickness = max(1, round(image.shape[0] / 400))
    if predicted_mask is not None:
        filled = predicted_mask.astype(bool)
        canvas[filled] = (0.75 * canvas[filled] + 0.25 * np.array(PREDICTED)).astype(np.uint8)
        _outline(canvas, predicted_mask, PREDICTED, thickness)
    if mask is not None:
        _outline(canvas, mask, TRUTH, thickness)
    if title:
        _write_title(canvas, title)
    return canvas


def sheet(pictures: Sequence[np.ndarray], *, columns: int, gap: int = 6) -> np.ndarray:
    """Return RGB pictures [H, W, 3] of one size side by side, row by row, on black."""
    height, width = pictures[0].shape[:2]
    rows = -(-len(pictures) // columns)
    canvas = np.zeros((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), np.uint8)
    for index, picture in enumerate(pictures):
        top, left = index // columns * (height + gap), index % columns * (width + gap)
        canvas[top : top + height, left : left + width] = picture
    return canvas


def shrink(image: np.ndarray, size: int) -> np.ndarray:
    """Return a picture whose longer side is at most `size` pixels."""
    scale = size / max(image.shape[:2])
    return cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else image


def enlarge(image: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return a uint8 [H, W] image at another height and width."""
    return cv2.resize(image, shape[1::-1], interpolation=cv2.INTER_LINEAR)


def png(picture: np.ndarray) -> bytes:
    """Return uint8 [H, W] or RGB [H, W, 3] as PNG."""
    ordered = picture if picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".png", ordered)[1].tobytes()


def curves(rows: Sequence[Mapping[str, float]]) -> bytes:
    """Return a PNG of loss and Dice by epoch, from the rows of history.csv."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    epochs = [row["epoch"] for row in rows]
    for name, label in (("loss", "training"), ("val_loss", "validation")):
        if name in rows[0]:
            left.plot(epochs, [row[name] for row in rows], label=label)
    for name, label in (("val_dice", "all images (empty-empty = 1)"), ("val_positive_dice", "positives")):
        if name in rows[0]:
            right.plot(epochs, [row[name] for row in rows], label=label)
    left.set(xlabel="epoch", title="Loss")
    right.set(xlabel="epoch", title="Validation Dice", ylim=(0, 1))
    for axes in (left, right):
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend()
    figure.set_dpi(110)
    canvas.draw()
    return png(np.asarray(canvas.buffer_rgba())[..., :3])


def _outline(canvas: np.ndarray, mask: np.ndarray, colour: tuple[int, int, int], thickness: int) -> None:
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(canvas, contours, -1, colour, thickness, cv2.LINE_AA)


def _write_title(canvas: np.ndarray, title: str) -> None:
    """Write white on black into the upper left corner."""
    scale, font = canvas.shape[1] / 900, cv2.FONT_HERSHEY_SIMPLEX
    (width, height), _ = cv2.getTextSize(title, font, scale, 1)
    margin = round(8 * scale) + 1
    canvas[: height + 2 * margin, : width + 2 * margin] = 0
    cv2.putText(canvas, title, (margin, height + margin), font, scale, (255, 255, 255), 1, cv2.LINE_AA)
