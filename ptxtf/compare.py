r"""Train and score several networks alike: the study's Table 1, with what it left out.

For example, the whole grid, six encoders by whole images and by patches, and a small one to try it:

    python -m ptxtf.compare --records_dir=tfrecords --output_dir=runs/table1
    python -m ptxtf.compare --records_dir=tfrecords --output_dir=runs/small --backbones=vgg16,resnet34 --weights=none \
        --epochs=1 --image_size=64 --patch_size=32

OUTPUT_DIR gets a folder of each network with its run and its evaluation, table1.csv, report.html and report.md: scores
with intervals, the study's own beside them, what predicting nothing would score, time and memory, and which differences
are more than chance. What was stopped goes on with the same command; a network that fails does not stop the others.
Research software, no medical device.
"""

from ptxtf import flags
from ptxtf.config import CompareConfig


def main(config: CompareConfig) -> None:
    """Compare and print the table."""
    from ptxtf.errors import InputError
    from ptxtf.evaluation import compare, page

    found = compare.compare(config)
    for table in found.tables:
        print(page.markdown_table(table))
    for note in found.notes:
        print(note)
    print(found.directory / "report.html")
    if found.failed:
        raise InputError(f"expected all networks to be trained and scored. Received: all but {', '.join(found.failed)}")


if __name__ == "__main__":
    flags.run(main, CompareConfig)
