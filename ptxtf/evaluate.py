"""Score a trained run on a split at the radiographs' original size.

For example,

    python -m ptxtf.evaluate --run_dir=runs/demo --records_dir=tfrecords --output_dir=runs/demo/test

OUTPUT_DIR gets scores.json, images.csv (a row per image), predictions.csv (the masks, run-length coded), report.html
(scores with intervals, curves, pictures) and report.md. What predicting nothing would score stands beside the result,
and what made the masks. Where the run has learnt from these images or their patients, it is said. Research software,
no medical device.
"""

from ptxtf import flags
from ptxtf.config import EvaluateConfig, InferenceConfig, MaskConfig


def main(config: EvaluateConfig, mask_config: MaskConfig, asked: InferenceConfig) -> None:
    """Evaluate and print the scores beside the baseline."""
    from ptxtf import devices
    from ptxtf.evaluation.conventions import CONVENTIONS
    from ptxtf.evaluation.evaluate import evaluate

    done = evaluate(config, mask_config, asked, in_pairs=devices.one_core_per_operation())
    if not done:
        print(f"{config.output_dir}: part {config.part} is done; others are still to come")
        return
    summary = done.summary
    print(
        f"{config.split}: {summary.images} images of {summary.patients} patients, {summary.positives} with pneumothorax"
    )
    print(f"masks by {done.rule}")
    for name, dice, iou in zip(summary.dice, summary.dice.values(), summary.iou.values(), strict=True):
        print(f"{CONVENTIONS[name]}: Dice {dice}, IoU {iou}; predicting nothing: Dice {dice.all_empty:.5f}")
    for name, score in summary.presence.items():
        print(f"{name} {score}")
    for name, difference in done.difference.items():
        print(f"Dice less that of {config.against}, {CONVENTIONS[name]}: {difference}")
    for note in done.notes:
        print(note)
    print(done.directory / "report.html")


if __name__ == "__main__":
    flags.run(main, EvaluateConfig, MaskConfig, InferenceConfig)
