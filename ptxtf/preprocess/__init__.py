"""Host batches -> model inputs, and what comes out back again: all calls of `ptxtf.ops` are made here.

Flows in: uint8 images 0..255 and uint8 masks of {0, 1}, [B, H, W, 1]. Flows out: float32 images in 0..1 and float32
masks of {0, 1}: whole images [B, H, W, 1], or patches; in training the batches of several steps, [S, B, h, w, 1].

    training:   equalise ─► one affine warp of image and mask ─► 0..1 ─► gamma, blur, contrast, noise, brightness
                ─► clip ─► cutout ─► cut
    inference:  equalise ─► views: mirrored, turned, scaled ─► 0..1 ─► gamma ─► cut ─► (the network) ─► join
                ─► views undone

| module     | what                                                               |
|------------|--------------------------------------------------------------------|
| fitting    | settings that an image is too small for                            |
| training   | what augments a batch                                              |
| inference  | what prepares a batch without augmentation                         |
| tiles      | whole images into patches or tiles, and back                       |
| views      | an image turned, scaled, mirrored; and the mean of what was found  |

The functions that come out are pure and XLA-compilable, and give the same bits eagerly, compiled, on the processor or
inside tf.data (contrast, gamma and blur but for a pixel in 10**9, and from TensorFlow 2.21 on). Grey values
that were changed out of 0..1 are clipped. What an epoch does not change, `equalise`, may be done once for all and kept.
"""

from ptxtf.preprocess.fitting import check_fits, check_tile_grid
from ptxtf.preprocess.inference import equalise, for_inference
from ptxtf.preprocess.tiles import Tiles, cut, join, tiles_of, tiles_per_image
from ptxtf.preprocess.training import Augment, for_training
from ptxtf.preprocess.views import View, show, undo, views_of

__all__ = [
    "Augment",
    "Tiles",
    "View",
    "check_fits",
    "check_tile_grid",
    "cut",
    "equalise",
    "for_inference",
    "for_training",
    "join",
    "show",
    "tiles_of",
    "tiles_per_image",
    "undo",
    "views_of",
]
