"""A prediction -> DICOM objects in the radiograph's own study: a Segmentation, and a Secondary Capture to look at.

In: a mask uint8 [H, W] of {0, 1} or a picture uint8 RGB [H, W, 3], and the radiograph's file. Out: one file each, which
an archive puts beside the radiograph, in a new series, and a viewer lays over it (PS3.3 A.51, A.8.1).

    source ──► elements ─────────────────────────┐
      dicom.read_elements                        ▼
    mask, picture ──► an object of no study ──► filed ──► named ──► bytes
                  highdicom                            UIDs from all the rest

highdicom never sees the source: so no slip in a header stops it, and it copies nothing by itself. What it takes from
the clock or by chance is replaced: the same arguments give the same bytes.

A radiograph is a projection, whose pixels have no place in space. So there is no frame of reference, and the mask lies
on the source's pixels, whatever they measure (PS3.3 A.51.5). Nothing else in ptxtf knows highdicom.
"""

import fractions
import hashlib
import io
import re
import uuid
from collections.abc import Sequence
from typing import Any

import highdicom
import numpy as np
import pydicom
from pydicom import uid
from pydicom.pixels.utils import pack_bits
from pydicom.sr.codedict import codes

import ptxtf
from ptxtf import files, pictures
from ptxtf.data import dicom, dicom_header
from ptxtf.data.spacing import Spacing
from ptxtf.errors import InputError

_REFERENCES = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")
_IDENTITY = (
    *("PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "ReferringPhysicianName"),
    *("StudyID", "StudyDate", "StudyTime"),
)
_OCCASIONS = ("Content", "Acquisition", "Study")
"""What a source may give date and time of; the first that has a date counts."""

_COMPRESSION = ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod")
_WANTED = {
    *(*_REFERENCES, "PatientID", *_IDENTITY, *_COMPRESSION, "PatientOrientation", "BurnedInAnnotation"),
    *(f"{occasion}{part}" for occasion in _OCCASIONS for part in ("Date", "Time")),
    *(*dicom_header.GEOMETRY, *dicom_header.PIXELS),
}
_FORMS = {
    "UID": r"[0-9.]{1,64}",
    "Date": r"(19|20)\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])",
    "Time": r"([01]\d|2[0-3])([0-5]\d([0-5]\d(\.\d{1,6})?)?)?",
    "PatientSex": r"[FMO]",
    "PatientOrientation": r"[APRLHF]{1,3}\\[APRLHF]{1,3}",
    "BurnedInAnnotation": r"YES|NO",
    "LossyImageCompression": r"00|01",
    "LossyImageCompressionRatio": r"[\d.]{1,16}(\\[\d.]{1,16})*",
    "LossyImageCompressionMethod": r"[A-Z0-9_ ]{1,16}(\\[A-Z0-9_ ]{1,16})*",
}
"""By what a keyword ends in: of which form a value must be to be copied (PS3.5 6.2)."""

_LONG_STRING = 64
"""Characters that value representation LO holds (PS3.5 6.2)."""

_DISCLAIMER = "research software, no medical device"
_SERIES = f"Pneumothorax by ptxtf: {_DISCLAIMER}"
_NO_DATE, _NO_TIME = "19000101", "000000"
"""Of results that shall not tell when the radiograph was made: objects must have a date."""

_PLACEHOLDER = "2.25.1"
_CLOCK = ("InstanceCreationDate", "InstanceCreationTime", "DateOfSecondaryCapture", "TimeOfSecondaryCapture")

_COMMON: dict[str, Any] = {
    "manufacturer": "ptxtf",
    "manufacturer_model_name": "ptxtf",
    "software_versions": ptxtf.__version__,
    "series_description": _SERIES,
    "series_instance_uid": _PLACEHOLDER,
    "sop_instance_uid": _PLACEHOLDER,
    "instance_number": 1,
    "content_date": _NO_DATE,
    "content_time": _NO_TIME,
    "specific_character_set": "ISO_IR 192",
}


def write_segmentation(
    path: files.Name, mask: np.ndarray, source: files.Name, *, model: str = "unknown", with_identity: bool = False
) -> None:
    """Write a mask as a DICOM Segmentation: binary, one frame, one segment of type pneumothorax.

    All regions are one segment, as they are one finding. A mask without any is written too, as a frame of zeros: that
    says that the radiograph was looked at.

    Args:
        path: the file to write, whole or not at all; folders above it are made.
        mask: uint8 [H, W] of {0, 1}, of the source's height and width.
        source: DICOM file of the radiograph; of several frames, the first is meant.
        model: what tells the network from others, 1 to 64 characters; goes where a device has its serial number.
        with_identity: copy the patient's name, birth date and sex, accession number, referring physician, and the
            study's id, date and time, so that an archive has nothing to correct. Else these stay empty, the results'
            date is 1900-01-01, and only the patient id, which an archive files by, and UIDs are copied.

    Raises:
        InputError: the source cannot be read, is colour, or lacks a UID that results have to name; one line.
        ValueError: `mask` is no such array, or not of the source's size; `model` does not fit.

    Example:
        >>> write_segmentation("out/seg.dcm", mask, "1.2.276.0.7230010.3.1.4.1.dcm", model="runs/demo")
    """
    if mask.dtype != np.uint8 or mask.ndim != 2 or mask.max(initial=0) > 1:
        raise ValueError(
            f"mask: expected uint8 [H, W] of {{0, 1}}. Received: {_told(mask)}, up to {mask.max(initial=0)}"
        )
    elements = _elements(source, mask, model)
    with dicom.silent():
        dataset = _segmentation(mask, model)
        content = _finished(dataset, elements, with_identity=with_identity)
    files.write_bytes(path, content)


def write_overlay(
    path: files.Name,
    picture: np.ndarray,
    source: files.Name,
    *,
    spacing: Spacing | None = None,
    model: str = "unknown",
    with_identity: bool = False,
) -> None:
    """Write a picture of the radiograph with what was found drawn on it, as a DICOM Secondary Capture.

    Burned In Annotation, which says whether text in the picture tells who the patient is, is copied: an outline does
    not (PS3.3 C.7.6.1). The pixels are not compressed, so that every viewer reads them.

    Args:
        path: the file to write, whole or not at all; folders above it are made.
        picture: uint8 RGB [H, W, 3], of the source's height and width; `ptxtf.pictures.overlay` draws it.
        source: as of `write_segmentation`, and the other arguments too.
        spacing: that lengths in the picture are drawn by; the source's if None. What is assumed is not written: lengths
            that a viewer measures are then in pixels.
        model: what tells the network from others.
        with_identity: copy what tells who the patient is.

    Raises:
        InputError: as of `write_segmentation`.
        ValueError: `picture` is no such array, or not of the source's size; `model` does not fit.

    Example:
        >>> write_overlay("out/overlay.dcm", pictures.overlay(image, predicted_mask=mask), source)
    """
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
        raise ValueError(f"picture: expected uint8 RGB [H, W, 3]. Received: {_told(picture)}")
    elements = _elements(source, picture, model)
    with dicom.silent():
        dataset = _secondary_capture(picture, elements, _known_mm(spacing, elements), model)
        content = _finished(dataset, elements, with_identity=with_identity)
    files.write_bytes(path, content)


def _told(array: np.ndarray) -> str:
    return f"shape={array.shape}, dtype={array.dtype}"


def _elements(source: files.Name, array: np.ndarray, model: str) -> dicom_header.Elements:
    """Return the source's elements, once all that goes into an object is known to fit."""
    if not 0 < len(model) <= _LONG_STRING or not model.isprintable() or "\\" in model:
        what = f"1 to {_LONG_STRING} printable characters without a backslash"
        raise ValueError(f"model: expected {what}. Received: model={model!r}")
    elements = dicom.read_elements(source, _WANTED)
    lacking = [keyword for keyword in _REFERENCES if not _proper(elements, keyword)]
    if lacking:
        found = ", ".join(f"{keyword}={_text(elements, keyword)!r}" for keyword in lacking)
        raise InputError(f"{source}: expected UIDs for results to refer to. Received: {found}")
    try:
        shape = dicom_header.layout(elements).shape
    except InputError as error:
        raise InputError(f"{source}: {error}") from error
    if array.shape[:2] != shape:
        raise ValueError(f"{source}: expected an array of its height and width, {shape}. Received: {_told(array)}")
    return elements


def _text(elements: dicom_header.Elements, keyword: str) -> str:
    """Return all values of an element as the text that is in the file; "" where there is none.

    A patient id that breaks the rules is still what an archive compares.
    """
    value = elements.get(keyword)
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return "\\".join(map(str, value))
    return "" if value is None or isinstance(value, bytes) else str(value)


def _proper(elements: dicom_header.Elements, keyword: str) -> str:
    """Return an element as text; "" where it is not of the form that it has to be of."""
    text = _text(elements, keyword)
    forms = (form for ending, form in _FORMS.items() if keyword.endswith(ending))
    return text if all(re.fullmatch(form, text) for form in forms) else ""


def _segmentation(mask: np.ndarray, model: str) -> pydicom.Dataset:
    """Return a Segmentation that belongs to no study yet."""
    algorithm = highdicom.AlgorithmIdentificationSequence(
        name="ptxtf",
        family=codes.cid7162.ArtificialIntelligence,
        version=ptxtf.__version__,
        parameters={"model": model},
    )
    segment = highdicom.seg.SegmentDescription(
        segment_number=1,
        segment_label="Pneumothorax",
        segmented_property_category=codes.cid7150.MorphologicallyAbnormalStructure,
        segmented_property_type=codes.SCT.Pneumothorax,
        algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=algorithm,
        display_color=highdicom.color.CIELabColor.from_rgb(*pictures.PREDICTED),
    )
    dataset = highdicom.seg.Segmentation(
        source_images=[_stand_in(mask.shape)],
        pixel_array=mask,
        segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[segment],
        series_number=901,
        device_serial_number=model,
        content_label="PNEUMOTHORAX",
        content_description=_DISCLAIMER,
        omit_empty_frames=False,
        **_COMMON,
    )
    dataset.PixelData = pack_bits(mask)  # highdicom fills an odd number of bytes up with a "0", 30 hexadecimal
    dataset.ContentCreatorName = ""  # no person; type 2
    return dataset


def _stand_in(shape: tuple[int, ...]) -> pydicom.Dataset:
    """Return a source for highdicom: a Secondary Capture of nobody."""
    dataset = pydicom.Dataset()
    dataset.SOPClassUID, dataset.Modality = uid.SecondaryCaptureImageStorage, "OT"
    dataset.StudyInstanceUID = dataset.SeriesInstanceUID = dataset.SOPInstanceUID = _PLACEHOLDER
    dataset.Rows, dataset.Columns = shape
    for keyword in ("PatientID", *_IDENTITY):
        setattr(dataset, keyword, None)
    return dataset


def _known_mm(spacing: Spacing | None, elements: dicom_header.Elements) -> tuple[float, float] | None:
    """Return the distance of pixel centres that an overlay states, down and along a row."""
    if spacing is None:
        return dicom_header.spacing_mm(elements)
    return (spacing.down_mm, spacing.along_mm) if spacing.source in ("stated", "given factor") else None


def _secondary_capture(
    picture: np.ndarray, elements: dicom_header.Elements, spacing_mm: tuple[float, float] | None, model: str
) -> pydicom.Dataset:
    """Return a Secondary Capture that belongs to no study yet."""
    dataset = highdicom.sc.SCImage(
        pixel_array=picture,
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        patient_orientation=("L", "F"),  # highdicom wants one; it is replaced
        study_instance_uid=_PLACEHOLDER,
        series_number=902,
        device_serial_number=model,
        pixel_spacing=spacing_mm,
        **_COMMON,
    )
    dataset.DerivationDescription = f"Outline of a pneumothorax drawn by ptxtf {ptxtf.__version__}, model {model}"
    dataset.ImageComments = _SERIES
    if burned_in := _proper(elements, "BurnedInAnnotation"):
        dataset.BurnedInAnnotation = burned_in
    return dataset


def _finished(dataset: pydicom.Dataset, elements: dicom_header.Elements, *, with_identity: bool) -> bytes:
    """Return a file of it, in the source's study, with UIDs of its own."""
    _file(dataset, elements, with_identity=with_identity)
    _refer(dataset, elements)
    _describe_pixels(dataset, elements)
    _forget_clock(dataset)
    _name(dataset)
    return _encoded(dataset)


def _file(dataset: pydicom.Dataset, elements: dicom_header.Elements, *, with_identity: bool) -> None:
    """Put it into the study; what tells who the patient is stays empty (type 2) unless it is asked for."""
    for keyword in ("StudyInstanceUID", "PatientID"):
        setattr(dataset, keyword, _text(elements, keyword))
    for keyword in _IDENTITY:
        setattr(dataset, keyword, _proper(elements, keyword) if with_identity else "")
    occasion = next((name for name in _OCCASIONS if _proper(elements, f"{name}Date")), "")
    if occasion and with_identity:
        dataset.ContentDate = _proper(elements, f"{occasion}Date")
        dataset.ContentTime = _proper(elements, f"{occasion}Time") or _NO_TIME


def _refer(dataset: pydicom.Dataset, elements: dicom_header.Elements) -> None:
    """Name the source wherever an object names what it is made of (PS3.3 C.7.6.16.2.6, C.12.2)."""
    instance, image, series = pydicom.Dataset(), pydicom.Dataset(), pydicom.Dataset()
    instance.ReferencedSOPClassUID = _text(elements, "SOPClassUID")
    instance.ReferencedSOPInstanceUID = _text(elements, "SOPInstanceUID")
    image.update(instance)
    if dicom_header.frames(elements) > 1:
        image.ReferencedFrameNumber = 1
    series.SeriesInstanceUID = _text(elements, "SeriesInstanceUID")
    series.ReferencedInstanceSequence = [instance]
    dataset.SourceImageSequence, dataset.ReferencedSeriesSequence = [image], [series]
    for frame in dataset.get("PerFrameFunctionalGroupsSequence", ()):
        frame.DerivationImageSequence[0].SourceImageSequence[0].update(image)


def _describe_pixels(dataset: pydicom.Dataset, elements: dicom_header.Elements) -> None:
    """Say what holds for the source's pixels and for what is made of them."""
    dataset.BodyPartExamined = "CHEST"
    dataset.PatientOrientation = _proper(elements, "PatientOrientation")
    is_lossy = _proper(elements, "LossyImageCompression") == "01"
    for keyword in _COMPRESSION[: 3 if is_lossy else 1]:
        if value := _proper(elements, keyword):
            setattr(dataset, keyword, value)
    if "PixelSpacing" not in dataset and (aspect := dicom_header.pixel_aspect(elements)) != 1:
        ratio = fractions.Fraction(aspect).limit_denominator(10**4)
        dataset.PixelAspectRatio = [max(1, ratio.numerator), ratio.denominator]


def _forget_clock(dataset: pydicom.Dataset) -> None:
    """Remove times at which highdicom was at work; all of them are optional."""
    for keyword in _CLOCK:
        dataset.pop(keyword, None)
    for equipment in dataset.ContributingEquipmentSequence:
        del equipment.ContributionDateTime


def _name(dataset: pydicom.Dataset) -> None:
    """Give it UIDs that depend on all that it holds (PS3.5 B.2)."""
    dimensions = [*dataset.get("DimensionOrganizationSequence", ()), *dataset.get("DimensionIndexSequence", ())]
    for item in dimensions:
        item.DimensionOrganizationUID = _PLACEHOLDER
    digest = hashlib.sha256(_encoded(dataset)).digest()
    dataset.SOPInstanceUID, dataset.SeriesInstanceUID = _uid(digest, b"instance"), _uid(digest, b"series")
    for item in dimensions:
        item.DimensionOrganizationUID = _uid(digest, b"dimensions")


def _uid(digest: bytes, of: bytes) -> uid.UID:
    return uid.UID(f"2.25.{uuid.UUID(bytes=hashlib.sha256(digest + of).digest()[:16], version=4).int}")


def _encoded(dataset: pydicom.Dataset) -> bytes:
    content = io.BytesIO()
    dataset.save_as(content, enforce_file_format=True)
    return content.getvalue()
