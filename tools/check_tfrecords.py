"""Check a record directory: checksums, schema, counts; draw a contact sheet.

For example,

    python -m tools.check_tfrecords tfrecords
"""

from ptxtf import flags
from ptxtf.errors import InputError


def main(names: list[str]) -> None:
    """Check, print the counts, and say where the contact sheet is."""
    from ptxtf.data.check import check, contact_sheet

    if len(names) != 1:
        raise InputError(f"expected one record directory. Received: {' '.join(names) or 'none'}")
    checked = check(names[0])
    for split, count in checked.counts.items():
        print(
            f"{split}: {count.images} images, {count.positives} with pneumothorax, {count.patients} patients, "
            f"{count.shared_patients} of them in a split above"
        )
    print(contact_sheet(checked))


if __name__ == "__main__":
    flags.run(main, arguments="RECORD_DIRECTORY")
