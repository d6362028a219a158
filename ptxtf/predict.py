"""Find and outline a pneumothorax in DICOM, PNG or JPEG radiographs.

For example,

    python -m ptxtf.predict --run_dir=runs/demo --output_dir=found a.dcm folder/ 'more/**/*.png'

OUTPUT_DIR gets <id>_mask.png and <id>_overlay.png, of a DICOM <id>_seg.dcm and <id>_overlay.dcm for its study,
findings.csv (side, area, width, apex distance of each region), submission.csv (SIIM's run-length form), and
rejected.csv with the files that could not be read. What was stopped goes on with the same command. Several runs, tiles
and views (--tta_flip …) are asked together. Research software, no medical device.
"""

from ptxtf import flags
from ptxtf.config import InferenceConfig, MaskConfig, PredictConfig


def main(config: PredictConfig, mask_config: MaskConfig, asked: InferenceConfig, names: list[str]) -> None:
    """Predict and say what was found."""
    from ptxtf import devices
    from ptxtf.inference.results import predict

    done = predict(config, mask_config, names, asked, in_pairs=devices.one_core_per_operation())
    for path, reason in (*done.rejected, *done.without_dicom):
        print(reason if path in reason else f"{path}: {reason}")
    for path, frames in done.several_frames:
        print(f"{path}: of {frames} frames the first was looked at")
    found = sum(found[0].pneumothorax for found in done.findings)
    print(f"{len(done.findings)} radiographs, {found} with pneumothorax, {len(done.rejected)} not readable")
    if done.without_dicom:
        print(f"no DICOM objects of {len(done.without_dicom)}")
    print(f"masks by {done.rule}")
    print(done.directory)


if __name__ == "__main__":
    flags.run(main, PredictConfig, MaskConfig, InferenceConfig, arguments="FILE_OR_FOLDER …")
