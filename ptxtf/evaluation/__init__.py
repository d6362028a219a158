"""A trained run and a split -> scores that can be believed, and a page to look at.

| module   | from                          | to                                                              |
|----------|-------------------------------|-----------------------------------------------------------------|
| scores   | masks of single images        | a row per image; means with intervals beside the empty baseline |
| report   | rows, means, overlay pictures | report.html: one page, nothing loaded from elsewhere            |
| evaluate | a run and a split             | scores.json, images.csv, report.html: all of it in order        |

Scores are taken at the radiographs' original size, whatever size the network saw.
"""
