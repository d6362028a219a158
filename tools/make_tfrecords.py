r"""Convert a folder of chest radiographs and their masks to sharded TFRecords.

For example,

    python -m tools.make_tfrecords --dicom_dir=siim/dicom --annotations=siim/train-rle.csv \
        --patient_map=siim/nih_id.csv --output_dir=tfrecords

    python -m tools.make_tfrecords --image_dir=films --mask_dir=masks --output_dir=tfrecords

    python -m tools.make_tfrecords --annotations=siim/train-rle.csv --patient_map=siim/nih_id.csv --split=paper \
        --dry_run

OUTPUT_DIR gets <split>-NNNNN-of-MMMMM.tfrecord, dataset.json, rejected.csv (what was left out, and why) and noticed.csv
(what was used and is worth a look). The same files, flags and seed give the same bytes. A conversion that was stopped
goes on where it was.
"""

import collections
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ptxtf import files, flags
from ptxtf.config import ConvertConfig

if TYPE_CHECKING:  # both load pydicom and OpenCV, for which --help need not wait
    from ptxtf.data.convert import Survey
    from ptxtf.data.inventory import Note


def main(config: ConvertConfig) -> None:
    """Convert, or with --dry_run only look, and say what came of it."""
    from ptxtf.data import convert

    if config.dry_run:
        survey = convert.survey(config)
        counts = {name: (len(part), sum(case.positive for case in part)) for name, part in survey.splits.items()}
        left_out, noticed = survey.inventory.rejected, survey.inventory.noticed
        lines = [*_tell(survey, counts, config), *_list("left out", left_out), *_list("noticed", noticed)]
        print(*lines, "dry run: nothing was written", sep="\n")
        return
    done = convert.convert(config)
    counts = {name: (done.manifest.images(name), done.manifest.positives(name)) for name in done.manifest.splits}
    print(*_tell(done.survey, counts, config), sep="\n")
    for line in (
        *_list("left out", done.rejected, done.directory / "rejected.csv"),
        *_list("noticed", done.survey.inventory.noticed, done.directory / "noticed.csv"),
        str(done.directory),
    ):
        print(line)


def _tell(survey: "Survey", counts: dict[str, tuple[int, int]], config: ConvertConfig) -> Iterator[str]:
    """Yield a line each for labels, files, splits, and what splits share."""
    if labels := survey.inventory.labels:
        yield (
            f"labels: {labels.rows:,} rows of {labels.images:,} images, {labels.positives:,} with pneumothorax, "
            f"{labels.healthy:,} healthy; {labels.several_rows:,} images have several rows, "
            f"which overlap in {labels.overlapping:,}"
        )
    if survey.inventory.found:
        yield f"files: {survey.inventory.found:,}, of which {len(survey.inventory.cases):,} can be used"
    if survey.left_out:
        yield f"{survey.left_out:,} healthy images left out by --balance={config.balance:g}"
    for split, (images, positives) in counts.items():
        yield f"{split}: {images:,} images, {positives:,} with pneumothorax"
    if not survey.overlaps and len(counts) > 1:
        why = "every image is a patient's only one"
        yield f"patients in two splits: none; {why}" + (
            "" if config.patient_map else ", as far as known without a --patient_map"
        )
    others = "the other folds" if config.split == "kfold" else next(iter(counts))
    for split, overlap in survey.overlaps.items():
        yield (
            f"{split}: {_share(overlap.shared_images, overlap.images)} images and "
            f"{_share(overlap.shared_positives, overlap.positives)} positives share a patient with {others}"
        )


def _share(part: int, whole: int) -> str:
    return f"{part:,} of {whole:,} ({part / (whole or 1):.1%})"


def _list(title: str, notes: "Sequence[Note]", path: files.Path | None = None) -> Iterator[str]:
    """Yield how many notes there are of each kind, with the first, and where all are listed."""
    if not notes:
        return
    kinds = collections.Counter(note.kind for note in notes)
    yield f"{title}: {len(notes):,}" + (f", see {path}" if path else "")
    firsts = {note.kind: note for note in reversed(notes)}
    for kind, count in kinds.items():
        yield f"  {kind} ({count:,}), such as {firsts[kind]}"


if __name__ == "__main__":
    flags.run(main, ConvertConfig, tensorflow=False)
