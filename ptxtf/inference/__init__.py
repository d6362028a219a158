"""Image -> probability -> mask -> findings.

| module      | from                                  | to                                                          |
|-------------|---------------------------------------|-------------------------------------------------------------|
| members     | folders that a user names             | the networks that answer together, and how they are asked   |
| loading     | these                                 | their models, checked against what is asked                 |
| network     | one of them                           | a function from images to probabilities: tiles, views       |
| predictor   | all of them                           | one compiled function; radiographs one after another; gates |
| system      | folders and what a user wants of them | members, predictor and rule: what all commands begin with   |
| cases       | records                               | examples with what is found in them at the original size    |
| masks       | probabilities of one image            | uint8 mask of {0, 1} at the original size                   |
| rules       | probabilities and masks of a split    | the rule that `masks` goes by: the best of a grid           |
| choice      | a run and a split                     | rule.json, and what of it a user wants otherwise            |
| measure     | masks                                 | regions, how wide they are, how far the apex came down      |
| findings    | masks                                 | what a report says of each region, and in one sentence      |
| radiographs | files named on a command line         | pixels, one file after another; bad ones with a reason      |
| reports     | a radiograph and what is found in it  | its mask, findings and pictures, and files of them          |
| results     | a run and files                       | all of these in order, and tables (kept: what is done yet)  |
"""

from ptxtf.inference.choice import choose_rule
from ptxtf.inference.predictor import Predictor

__all__ = ["Predictor", "choose_rule"]
