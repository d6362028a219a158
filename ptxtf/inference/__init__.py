"""Image -> probability -> mask -> findings.

| module      | from                                  | to                                                     |
|-------------|---------------------------------------|--------------------------------------------------------|
| predictor   | uint8 images [B, H, W, 1] of any size | float32 probabilities [B, H, W, 1]                     |
| cases       | records                               | examples with their probabilities at the original size |
| masks       | probabilities of one image            | uint8 mask of {0, 1} at the original size              |
| rules       | probabilities and masks of a split    | the rule that `masks` goes by: the best of a grid      |
| choice      | a run and a split                     | rule.json, and what of it a user wants otherwise       |
| measure     | masks                                 | regions, how wide they are, how far the apex came down |
| findings    | masks                                 | what a report says of each region, and in one sentence |
| radiographs | files named on a command line         | pixels, one file after another; bad ones with a reason |
| results     | a run and such files                  | masks, overlays and tables: all of it in order         |
"""

from ptxtf.inference.choice import choose_rule
from ptxtf.inference.predictor import Predictor

__all__ = ["Predictor", "choose_rule"]
