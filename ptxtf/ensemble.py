r"""Join several networks in one folder that is used like a run's; train those that are not yet.

For example, three runs whose mean is taken, of each image and its mirror image; Wang's system of 2020, a classifier
before five networks; and a small one to try it:

    python -m ptxtf.ensemble --run_dir=runs/a,runs/b,runs/c --tta_flip --records_dir=tfrecords --output_dir=runs/all
    python -m ptxtf.ensemble --flagfile=ensemble_wang_2020.flags --records_dir=tfrecords --output_dir=runs/wang
    python -m ptxtf.ensemble --networks=unet/tiny,fpn/tiny --classifier=tiny --recipe=demo.flags --epochs=2 \
        --records_dir=tfrecords --output_dir=runs/small

OUTPUT_DIR gets a folder of each network that is trained, ensemble.flags, which says who takes part and how they are
asked, and rule.json: the gate, the thresholds and the smallest area that were best on --split, which no network may
have been trained on. (Of the folds of a cross-validation each has seen the others: records for that need a split of
their own.) A gate is only kept where it scores better there than none. `--run_dir=OUTPUT_DIR` of the other commands
takes it. What was stopped goes on with the same command.
"""

from ptxtf import flags
from ptxtf.config import EnsembleConfig, InferenceConfig


def main(config: EnsembleConfig, asked: InferenceConfig) -> None:
    """Train, join, and say which rule was chosen."""
    from ptxtf import devices
    from ptxtf.training import ensemble

    print(ensemble.join(config, asked, batch_size=devices.images_at_once(0)))
    print(config.output_dir)


if __name__ == "__main__":
    flags.run(main, EnsembleConfig, InferenceConfig)
