"""A trained run and a split -> scores that can be believed, and a page to look at.

| module                 | from                                 | to                                               |
|------------------------|--------------------------------------|--------------------------------------------------|
| rows                   | masks and probabilities of one image | a row: all that is scored of it                  |
| surface                | two masks                            | distances of their outlines, widths              |
| calibration            | probabilities and truth              | how often what was said was so                   |
| conventions            | pixels of each image                 | Dice and IoU in every way they are averaged      |
| presence               | how sure a model is of each image    | AUC, average precision                           |
| ratios                 | sums over images                     | a score with its interval                        |
| resampling             | images by patient                    | intervals, p-values                              |
| strata                 | rows                                 | scores by size, view, sex and age                |
| scores                 | rows                                 | all of it together; the difference of two models |
| notes                  | rows and a run                       | what a reader must know besides: leakage         |
| gallery                | rows                                 | cases worth a look, drawn in layers              |
| results                |                                      | what an evaluation found, and another one left   |
| tables, charts, page   | numbers, texts, pictures             | the parts of a report                            |
| report                 | an evaluation                        | its report.html and report.md                    |
| evaluate               | a run and a split                    | all of that in order                             |
| grid                   | settings of a comparison             | networks, trained and scored each by itself      |
| table1                 | networks and their rows              | the study's Table 1, and what is no chance in it |
| compare_report         | a comparison                         | its report.html and report.md                    |
| compare                | settings of a comparison             | all of that in order                             |

Scores are taken at the radiographs' original size, whatever size the network saw.
"""
