"""Segmentation models: images, float32 [B, H, W, 1 or 3] in 0..1 -> logits, float32 [B, H, W, 1].

`unet` builds one over any row of `BACKBONES`, or over a keras.Model. From the parts up: `layers` (scaling, padding,
fused batch normalization), `resnet` and `plain` (encoders that keras.applications lacks), `backbones` (the table),
`weights` (reading files), `rebuild` and `encoders` (cutting a backbone at its taps), `decoders`, `segmenter`.

Importing this package registers its layers with Keras, so that `keras.models.load_model` finds them.
"""

from ptxtf.models.backbones import BACKBONES, Backbone
from ptxtf.models.layers import SCALINGS
from ptxtf.models.segmenter import PRECISIONS, unet

__all__ = ["BACKBONES", "PRECISIONS", "SCALINGS", "Backbone", "unet"]
