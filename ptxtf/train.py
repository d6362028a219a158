"""Train a U-Net on a record directory, or go on with a run that was stopped.

For example,

    python -m ptxtf.train --flagfile=demo.flags --records_dir=tfrecords --run_dir=runs/demo

The recipes densenet121_whole.flags, resnet34_patch.flags, … are the study's own, kaggle_unet_resnet34.flags and
kaggle_two_stage.flags put the ingredients of SIIM-ACR's winners together; a flag behind --flagfile changes one setting.
RUN_DIR gets run.flags, checkpoints, history.csv, curves.png, TensorBoard events, model.keras, and rule.json: the
threshold that was best on the validation split.

On several machines, start the same command on each with TensorFlow's TF_CONFIG and a RUN_DIR that all of them see. A
TPU is used where TPU_NAME names one. Other machines can make the batches: `python -m ptxtf.data.service`.
"""

from typing import Any

from ptxtf import config, flags


def main(*stages: Any) -> None:
    """Train and say where the run is."""
    from ptxtf.training import folds, loop

    run = config.RunConfig(*stages)
    run_dir = folds.train(run) if run.training.cross_validate else loop.train(run)
    if not run.training.dry_run:
        print(run_dir)


if __name__ == "__main__":
    flags.run(main, *config.RUN)
