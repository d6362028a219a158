"""Find and outline a pneumothorax in DICOM, PNG or JPEG radiographs.

For example,

    python -m ptxtf.predict --run_dir=runs/demo --output_dir=found a.dcm folder/

OUTPUT_DIR gets <id>_mask.png, <id>_overlay.png, findings.csv, submission.csv (SIIM's run-length form), and rejected.csv
with the files that could not be read. Research software, no medical device.
"""

from ptxtf import flags
from ptxtf.config import MaskConfig, PredictConfig


def main(config: PredictConfig, mask_config: MaskConfig, names: list[str]) -> None:
    """Predict and say what was found."""
    from ptxtf import devices
    from ptxtf.inference.results import predict

    done = predict(config, mask_config, names, in_pairs=devices.one_core_per_operation())
    for path, reason in done.rejected:
        print(reason if str(path) in reason else f"{path}: {reason}")
    found = sum(finding.pneumothorax for finding in done.findings)
    print(f"{len(done.findings)} radiographs, {found} with pneumothorax, {len(done.rejected)} not readable")
    print(f"masks by {done.rule}")
    print(done.directory)


if __name__ == "__main__":
    flags.run(main, PredictConfig, MaskConfig, arguments="FILE_OR_FOLDER …")
