"""Batches and a model -> a trained run: losses, metrics, schedules, compiled steps, the loop, checkpoints.

| module      | what                                                                                        |
|-------------|---------------------------------------------------------------------------------------------|
| losses      | masks {0, 1} and logits -> one float32 loss per image                                       |
| metrics     | masks and predicted masks {0, 1} -> Dice and IoU per image; totals that merge               |
| schedules   | settings -> learning rate by step                                                           |
| steps       | model, loss, optimizer, strategy -> the compiled functions that the loop calls              |
| checkpoints | state of a run <-> files; the best weights; the final model                                 |
| history     | one row per epoch <-> history.csv                                                           |
| watch       | what a person sees while it runs: TensorBoard events with overlays, curves.png               |
| loop        | all of it in order: `train`                                                                 |
"""
