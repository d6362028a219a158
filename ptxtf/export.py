"""Write a trained run as files that need no ptxtf: a SavedModel, ONNX, TFLite, and a model card.

For example,

    python -m ptxtf.export --run_dir=runs/demo --output_dir=exported --formats=savedmodel,onnx,tflite

OUTPUT_DIR gets saved_model (PNG or JPEG bytes to score, mask and run-length text; TensorFlow and TensorFlow Serving run
it), model.onnx and model.tflite (an image of the network's size to probabilities), rule.json and README.md, the model
card, which says how each is called. An earlier export there is replaced. Research software, no medical device.
"""

from ptxtf import flags
from ptxtf.config import ExportConfig, InferenceConfig, MaskConfig


def main(config: ExportConfig, mask_config: MaskConfig, asked: InferenceConfig) -> None:
    """Export and say what was written."""
    from ptxtf.exporting.results import export

    done = export(config, mask_config, asked)
    for name, size in done.sizes.items():
        print(f"{name}: {size / 2**20:.1f} MiB")
    print(f"masks by {done.rule}")
    print(done.directory)


if __name__ == "__main__":
    flags.run(main, ExportConfig, MaskConfig, InferenceConfig)
