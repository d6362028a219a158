"""Convert a folder of chest DICOMs and a csv of run-length masks to sharded TFRecords.

For example,

    python -m tools.make_tfrecords --dicom_dir=siim/dicom --annotations=siim/train-rle.csv \
        --patient_map=siim/nih_id.csv --output_dir=tfrecords

OUTPUT_DIR gets <split>-NNNNN-of-MMMMM.tfrecord, dataset.json and rejected.csv. The same files, flags and seed give the
same bytes. A conversion that was stopped goes on where it was.
"""

from ptxtf import flags
from ptxtf.config import ConvertConfig


def main(config: ConvertConfig) -> None:
    """Convert, then say what came of it: counts, patients in two splits, what was left out."""
    from ptxtf.data.convert import convert

    done = convert(config)
    for split in done.manifest.splits:
        print(f"{split}: {done.manifest.images(split)} images, {done.manifest.positives(split)} with pneumothorax")
    if done.left_out:
        print(f"{done.left_out} healthy images left out by --balance={config.balance:g}")
    if not done.overlaps:
        print("patients in two splits: unknown, as each image's PatientID is its own; give a --patient_map to know")
    for split, overlap in done.overlaps.items():
        print(
            f"{split}: {overlap.shared_images} of {overlap.images} images and {overlap.shared_positives} of "
            f"{overlap.positives} positives share a patient with {next(iter(done.manifest.splits))}"
        )
    if done.rejected:
        listed = done.directory / "rejected.csv"
        print(f"{len(done.rejected)} left out as unusable, see {listed}; the first: {done.rejected[0]}")
    print(done.directory)


if __name__ == "__main__":
    flags.run(main, ConvertConfig)
