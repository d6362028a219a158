"""Score a trained run on a split at the radiographs' original size.

For example,

    python -m ptxtf.evaluate --run_dir=runs/demo --records_dir=tfrecords --output_dir=runs/demo/test

OUTPUT_DIR gets scores.json, images.csv (one row per image) and report.html (scores with intervals, pictures). What
predicting nothing would score is printed beside the result, and what made the masks. Research software, no medical
device.
"""

from ptxtf import flags
from ptxtf.config import EvaluateConfig, MaskConfig


def main(config: EvaluateConfig, mask_config: MaskConfig) -> None:
    """Evaluate and print the scores beside the baseline."""
    from ptxtf import devices
    from ptxtf.evaluation.evaluate import evaluate

    done = evaluate(config, mask_config, parts=devices.one_core_per_operation(config.batch_size))
    summary = done.summary
    print(f"{config.split}: {summary['images']} images, {summary['positives']} with pneumothorax")
    print(f"masks by {done.rule}")
    print(
        f"Dice {summary['dice'].value:.4f} (empty-empty = 1; predicting nothing scores {summary['all_empty_dice']:.4f})"
    )
    for name in ("positive_dice", "positive_iou", "sensitivity", "specificity"):
        print(f"{name.replace('_', ' ')} {summary[name]}")
    print(done.directory / "report.html")


if __name__ == "__main__":
    flags.run(main, EvaluateConfig, MaskConfig)
