"""Train a U-Net on a record directory, or go on with a run that was stopped.

For example,

    python -m ptxtf.train --flagfile=demo.flags --records_dir=tfrecords --run_dir=runs/demo

The recipes densenet121_whole.flags, resnet34_patch.flags, … are the study's own; a flag behind --flagfile changes one
setting. RUN_DIR gets run.flags, checkpoints, history.csv, curves.png, TensorBoard events and model.keras.
"""

from ptxtf import config, flags


def main(
    inputs: config.InputConfig,
    preprocessing: config.PreprocessConfig,
    network: config.ModelConfig,
    training: config.TrainConfig,
) -> None:
    """Train and say where the run is."""
    from ptxtf.training import loop

    print(loop.train(inputs, preprocessing, network, training))


if __name__ == "__main__":
    flags.run(main, *config.RUN)
