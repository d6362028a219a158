"""Segmentation models: images, float32 [B, H, W, 1 or 3] in 0..1 -> logits, float32 [B, H, W, 1].

`unet`, `unet_plus_plus`, `fpn` and `deeplab_v3plus` build one over any row of `BACKBONES`, or over a keras.Model;
`segmenter` does so with a decoder of your own. `freeze` keeps an encoder, or its finer stages, as they are.

From the parts up: `layers` (fused batch normalization), `resnet` and `plain` (encoders that keras.applications lacks),
`backbones` (the table), `weights` (reading files), `rebuild` (a model anew with other layers), `stem` (one channel
instead of three), `atrous` (holes instead of strides), `encoders` (cutting a backbone at its taps), `framing` (scaling
and padding of images, cropping of logits), `decoders`, `segmenter`.

What is saved holds Keras' own layers alone, and loads wherever Keras is.
"""

from ptxtf.models.backbones import BACKBONES, Backbone
from ptxtf.models.framing import SCALINGS
from ptxtf.models.segmenter import PRECISIONS, deeplab_v3plus, fpn, freeze, segmenter, unet, unet_plus_plus

__all__ = [
    "BACKBONES",
    "PRECISIONS",
    "SCALINGS",
    "Backbone",
    "deeplab_v3plus",
    "fpn",
    "freeze",
    "segmenter",
    "unet",
    "unet_plus_plus",
]
