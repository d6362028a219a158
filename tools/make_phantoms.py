"""Write synthetic chest radiographs with a known pneumothorax, as SIIM-like DICOM files and csv.

For example,

    python -m tools.make_phantoms --output_dir=phantoms --count=240

OUTPUT_DIR gets dicom/ (JPEG Baseline, one folder a study), train-rle.csv (several rows per positive, -1 for healthy)
and patient-map.csv.
"""

from ptxtf import flags
from ptxtf.config import PhantomConfig


def main(config: PhantomConfig) -> None:
    """Write the phantoms and say where."""
    from ptxtf.data import phantom

    path = phantom.write_dataset(
        config.output_dir,
        config.count,
        seed=config.seed,
        positive_share=config.positive_share,
        size=config.phantom_size,
        workers=config.workers,
    )
    print(path.parent)


if __name__ == "__main__":
    flags.run(main, PhantomConfig, tensorflow=False)
