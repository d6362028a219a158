"""Image -> probability -> mask -> findings.

| module      | from                                  | to                                                     |
|-------------|---------------------------------------|--------------------------------------------------------|
| predictor   | uint8 images [B, H, W, 1] of any size | float32 probabilities [B, H, W, 1]                     |
| masks       | probabilities of one image            | uint8 mask of {0, 1} at the original size              |
| findings    | masks                                 | what a report says of them: presence, area, where      |
| radiographs | files named on a command line         | pixels, one file after another; bad ones with a reason |
| results     | a run and such files                  | masks, overlays and tables: all of it in order         |
"""

from ptxtf.inference.predictor import Predictor

__all__ = ["Predictor"]
