"""Segmentation models: images, float32 [B, H, W, 1 or 3] in 0..1 -> logits, float32 [B, H, W, 1].

`unet`, `unet_plus_plus`, `fpn`, `deeplab_v3plus` and `classifier` build one over any row of `BACKBONES`, or over a
keras.Model; `segmenter` does so with a decoder of your own. `freeze` keeps an encoder, or its finer stages, as it is;
`block_table` says what a network consists of; `twin` makes one that trains or predicts sooner on a CPU.

From the parts up: `backbone` (a row of the table), `applications`, `resnet`, `senet` and `plain` (networks),
`backbones` (the table), `download` and `weights` (getting and reading files), `rebuild` (a model anew with other
layers), `layers` (two of Keras' made faster), `stem` (one channel instead of three), `atrous` (holes instead of
strides), `encoders` (cutting a backbone at its taps), `framing` (scaling and padding of images, cropping of logits),
`decoders`, `segmenter`; `convolution` and `twins` (the same numbers in fewer operations).

What is saved holds Keras' own layers alone, and loads wherever Keras is.
"""

from ptxtf.models.backbone import Backbone
from ptxtf.models.backbones import BACKBONES
from ptxtf.models.classifier import classifier
from ptxtf.models.framing import SCALINGS
from ptxtf.models.segmenter import PRECISIONS, deeplab_v3plus, fpn, freeze, segmenter, unet, unet_plus_plus
from ptxtf.models.summary import block_table
from ptxtf.models.twins import twin

__all__ = [
    "BACKBONES",
    "PRECISIONS",
    "SCALINGS",
    "Backbone",
    "block_table",
    "classifier",
    "deeplab_v3plus",
    "fpn",
    "freeze",
    "segmenter",
    "twin",
    "unet",
    "unet_plus_plus",
]
