"""Predictions as DICOM, against dciodvfy (dicom3tools), pydicom and highdicom's reader."""

import pathlib
import shutil
import subprocess
import warnings

import highdicom
import numpy as np
import pydicom
import pytest
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset

import ptxtf
from ptxtf import pictures
from ptxtf.data import dicom, dicom_results
from ptxtf.errors import InputError

FOLDER = pathlib.Path(pydicom.__file__).parent / "data" / "test_files"
NEEDED_BY_DICOMDIR = "that would be needed to build DICOMDIR"
ROWS, COLUMNS = 40, 52
MASK = np.zeros((ROWS, COLUMNS), np.uint8)
MASK[3:20, 5:17] = MASK[10:12, 30:31] = 1
PICTURE = np.random.default_rng(0).integers(0, 256, (ROWS, COLUMNS, 3), dtype=np.uint8)

IDENTITY = {
    "PatientName": "Doe^Jane",
    "PatientBirthDate": "19700131",
    "PatientSex": "F",
    "AccessionNumber": "A4711",
    "ReferringPhysicianName": "Quill^Peter",
    "StudyID": "S0815",
    "StudyDate": "20240229",
    "StudyTime": "235959.5",
}
NEVER_COPIED = {
    "PatientAddress": "Elm Street 1",
    "OtherPatientIDs": "other-id",
    "InstitutionName": "Mercy Hospital",
    "InstitutionAddress": "Hill Road 2",
    "StationName": "Station-3",
    "Manufacturer": "Maker-4",
    "OperatorsName": "Operator^Five",
    "PatientComments": "comment-6",
}
WRITERS = [
    pytest.param(dicom_results.write_segmentation, MASK, id="segmentation"),
    pytest.param(dicom_results.write_overlay, PICTURE, id="overlay"),
]


def source(path: pathlib.Path, pixels: np.ndarray | None = None, *, syntax=uid.ExplicitVRLittleEndian, **elements):
    """Write a radiograph; elements replace those that it has, and go where they are None."""
    pixels = np.zeros((ROWS, COLUMNS), np.uint16) if pixels is None else pixels
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.SOPClassUID, dataset.Modality = uid.DigitalXRayImageStorageForPresentation, "DX"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID = "1.2.1", "1.2.2", "1.2.3"
    dataset.PatientID = "patient-7"
    dataset.Rows, dataset.Columns = pixels.shape[-2:]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    dataset.PixelData = pixels.tobytes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for keyword, value in elements.items():
            setattr(dataset, keyword, value)
            if value is None:
                delattr(dataset, keyword)
        dataset.file_meta.MediaStorageSOPClassUID = uid.DigitalXRayImageStorageForPresentation
        dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
        dataset.save_as(path, enforce_file_format=True)
    return path


def problems(path: pathlib.Path) -> list[str]:
    """Return what dciodvfy has to say against a file, in either of its ways to look at it."""
    if not shutil.which("dciodvfy"):
        raise AssertionError("expected dciodvfy (dicom3tools), as `make programs` installs it. Received: none")
    lines = []
    for option in ([], ["-new"]):
        done = subprocess.run(["dciodvfy", *option, str(path)], capture_output=True, text=True, check=False)
        lines += [line for line in (done.stdout + done.stderr).splitlines() if line]
        kinds = {line for line in lines if not line.startswith(("Error", "Warning"))}
        assert kinds <= {"Segmentation", "SCImage"}
        assert kinds
    return [line for line in lines if line not in kinds]


def written(writer, array, of, **options) -> Dataset:
    """Write an object, check what always holds, and read it."""
    path = of.with_name("written.dcm")
    writer(path, array, of, **options)
    # that study and name are empty is meant; in the source's own name there may be slips
    assert [line for line in problems(path) if NEEDED_BY_DICOMDIR not in line and "Person Name form" not in line] == []
    dataset = pydicom.dcmread(path)
    assert np.array_equal(dataset.pixel_array, array)
    return dataset


def by_source(path: pathlib.Path, image_id: str) -> np.ndarray:
    """Return the mask that lies on an image, as highdicom's reader finds it by the image's UID."""
    segmentation = highdicom.seg.segread(path)
    return segmentation.get_pixels_by_source_instance([image_id], combine_segments=True)[0]


def code(items) -> tuple[str, str, str]:
    (item,) = items
    return item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning


@pytest.fixture
def plain(tmp_path):
    return source(tmp_path / "source.dcm")


# --- what is written ------------------------------------------------------------------------------------------


def test_of_a_phantom_a_viewer_finds_study_radiograph_and_pixels(phantoms, tmp_path):
    path = sorted((phantoms / "dicom").rglob("*.dcm"))[0]
    of, pixels = pydicom.dcmread(path), dicom.read(path).pixels
    mask = (pixels > 128).astype(np.uint8)
    picture = pictures.overlay(pixels, predicted_mask=mask)
    for writer, array in ((dicom_results.write_segmentation, mask), (dicom_results.write_overlay, picture)):
        result = tmp_path / "folder" / f"{array.ndim}.dcm"
        writer(result, array, path)
        found = problems(result)
        assert len(found) == 6  # twice: of study date, time and id a DICOMDIR is made, and they are not copied
        assert all(NEEDED_BY_DICOMDIR in line for line in found)
        dataset = pydicom.dcmread(result)
        assert np.array_equal(dataset.pixel_array, array)
        assert (dataset.StudyInstanceUID, dataset.PatientID) == (of.StudyInstanceUID, of.PatientID)
        assert dataset.SeriesInstanceUID != of.SeriesInstanceUID
        (referred,) = dataset.ReferencedSeriesSequence
        assert referred.SeriesInstanceUID == of.SeriesInstanceUID
        for reference in (*dataset.SourceImageSequence, *referred.ReferencedInstanceSequence):
            assert reference.ReferencedSOPClassUID == uid.SecondaryCaptureImageStorage
            assert reference.ReferencedSOPInstanceUID == of.SOPInstanceUID
    assert np.array_equal(by_source(tmp_path / "folder" / "2.dcm", of.SOPInstanceUID), mask)
    assert list(dataset.PixelSpacing) == pytest.approx(list(map(float, of.PixelSpacing)), abs=1e-9)
    assert (dataset.LossyImageCompression, dataset.LossyImageCompressionMethod) == ("01", "ISO_10918_1")


def test_a_segmentation_says_what_it_is(plain):
    dataset = written(dicom_results.write_segmentation, MASK, plain, model="runs/demo")
    assert (dataset.SOPClassUID, dataset.Modality) == (uid.SegmentationStorage, "SEG")
    assert dataset.file_meta.TransferSyntaxUID == uid.ExplicitVRLittleEndian
    assert (dataset.SegmentationType, dataset.BitsAllocated, dataset.NumberOfFrames) == ("BINARY", 1, 1)
    assert dataset.PixelData == np.packbits(MASK, bitorder="little").tobytes()
    (segment,) = dataset.SegmentSequence
    assert (segment.SegmentNumber, segment.SegmentLabel) == (1, "Pneumothorax")
    category, kind = segment.SegmentedPropertyCategoryCodeSequence, segment.SegmentedPropertyTypeCodeSequence
    assert code(category) == ("49755003", "SCT", "Morphologically Abnormal Structure")
    assert code(kind) == ("36118008", "SCT", "Pneumothorax")
    assert segment.SegmentAlgorithmType == "AUTOMATIC"
    (algorithm,) = segment.SegmentationAlgorithmIdentificationSequence
    assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == ("ptxtf", ptxtf.__version__)
    assert algorithm.AlgorithmParameters == "model=runs/demo"
    assert code(algorithm.AlgorithmFamilyCodeSequence) == ("123110", "DCM", "Artificial Intelligence")
    assert "FrameOfReferenceUID" not in dataset
    (frame,) = dataset.PerFrameFunctionalGroupsSequence
    (derived,) = frame.DerivationImageSequence
    (image,) = derived.SourceImageSequence
    assert (image.ReferencedSOPInstanceUID, image.SpatialLocationsPreserved) == ("1.2.3", "YES")
    assert image.ReferencedSOPClassUID == uid.DigitalXRayImageStorageForPresentation


@pytest.mark.parametrize(("writer", "array"), WRITERS)
def test_what_made_it_is_where_a_viewer_shows_it(plain, writer, array):
    dataset = written(writer, array, plain, model="runs/demo")
    assert dataset.SeriesDescription == "Pneumothorax by ptxtf: research software, no medical device"
    assert (dataset.Manufacturer, dataset.ManufacturerModelName) == ("ptxtf", "ptxtf")
    assert (dataset.SoftwareVersions, dataset.DeviceSerialNumber) == (ptxtf.__version__, "runs/demo")
    assert dataset.BodyPartExamined == "CHEST"


def test_an_overlay_says_what_it_is(tmp_path):
    path = source(tmp_path / "s.dcm", BurnedInAnnotation="YES", PatientOrientation=["L", "F"])
    dataset = written(dicom_results.write_overlay, PICTURE, path, model="runs/demo")
    assert (dataset.SOPClassUID, dataset.Modality) == (uid.SecondaryCaptureImageStorage, "OT")
    assert dataset.PhotometricInterpretation == "RGB"
    assert list(dataset.ImageType)[:2] == ["DERIVED", "SECONDARY"]
    assert "no medical device" in dataset.ImageComments
    assert dataset.DerivationDescription.endswith("runs/demo")
    assert (dataset.BurnedInAnnotation, list(dataset.PatientOrientation)) == ("YES", ["L", "F"])


def test_a_mask_without_any_is_written_as_zeros(plain, caplog):
    dataset = written(dicom_results.write_segmentation, np.zeros_like(MASK), plain)
    assert (dataset.NumberOfFrames, len(dataset.SegmentSequence)) == (1, 1)
    assert dataset.PixelData == bytes(ROWS * COLUMNS // 8)
    assert caplog.records == []


def test_an_odd_number_of_bytes_is_filled_up_with_zero(tmp_path):
    path = source(tmp_path / "s.dcm", np.zeros((2, 3), np.uint16))
    dicom_results.write_segmentation(tmp_path / "o.dcm", np.uint8([[1, 0, 1], [0, 1, 1]]), path)
    assert pydicom.dcmread(tmp_path / "o.dcm").PixelData == bytes([0b110101, 0])


def test_a_segmentation_takes_a_bit_a_pixel(tmp_path):
    path = source(tmp_path / "s.dcm", np.zeros((1024, 1024), np.uint16))
    dicom_results.write_segmentation(tmp_path / "o.dcm", np.ones((1024, 1024), np.uint8), path)
    assert 1024 * 1024 / 8 < (tmp_path / "o.dcm").stat().st_size < 1024 * 1024 / 8 + 4096


# --- who the patient is ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("writer", "array"), WRITERS)
def test_nothing_tells_who_the_patient_is(tmp_path, writer, array):
    path = source(tmp_path / "s.dcm", **IDENTITY, **NEVER_COPIED)
    dataset = written(writer, array, path)
    for keyword in IDENTITY:
        assert keyword in dataset  # type 2: there, and empty
        assert not dataset[keyword].value
    assert (dataset.PatientID, dataset.ContentDate, dataset.ContentTime) == ("patient-7", "19000101", "000000")
    content = (tmp_path / "written.dcm").read_bytes()
    assert b"patient-7" in content
    for value in (*IDENTITY.values(), *NEVER_COPIED.values()):
        assert value == "F" or value.encode() not in content


@pytest.mark.parametrize(("writer", "array"), WRITERS)
def test_with_identity_an_archive_has_nothing_to_correct(tmp_path, writer, array):
    path = source(tmp_path / "s.dcm", **IDENTITY, **NEVER_COPIED, AcquisitionDate="20240228")
    dataset = written(writer, array, path, with_identity=True)
    assert {keyword: str(dataset[keyword].value) for keyword in IDENTITY} == IDENTITY
    assert (dataset.ContentDate, dataset.ContentTime) == ("20240228", "000000")  # of that day, no time is known
    content = (tmp_path / "written.dcm").read_bytes()
    for value in NEVER_COPIED.values():
        assert value.encode() not in content
    assert problems(tmp_path / "written.dcm") == []


# --- the same again -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("writer", "array"), WRITERS)
def test_the_same_arguments_give_the_same_bytes_and_others_another_uid(tmp_path, writer, array):
    path, other_path = source(tmp_path / "s.dcm"), source(tmp_path / "other.dcm", SOPInstanceUID="1.2.4")
    writer(tmp_path / "first.dcm", array, path)
    writer(tmp_path / "second.dcm", array, path)
    assert (tmp_path / "first.dcm").read_bytes() == (tmp_path / "second.dcm").read_bytes()
    writer(tmp_path / "array.dcm", array // 2, path)
    writer(tmp_path / "model.dcm", array, path, model="other")
    writer(tmp_path / "source.dcm", array, other_path)
    found = [pydicom.dcmread(tmp_path / f"{name}.dcm") for name in ("first", "array", "model", "source")]
    uids = [(dataset.SOPInstanceUID, dataset.SeriesInstanceUID) for dataset in found]
    assert len({each for pair in uids for each in pair}) == 8
    assert all(each.startswith("2.25.") and each.is_valid for pair in uids for each in pair)
    for dataset in found:
        assert dataset.file_meta.MediaStorageSOPInstanceUID == dataset.SOPInstanceUID
        assert "InstanceCreationDate" not in dataset
        assert "UI: 2.25.1\n" not in str(dataset)  # what stands there until all the rest is known


# --- sources as they come -------------------------------------------------------------------------------------

AS_THEY_COME = {
    "negative": {"PhotometricInterpretation": "MONOCHROME1"},
    "nobody": {"PatientID": None},
    "long_spacing": {"PixelSpacing": ["0.19431099999999998", "0.19431099999999998"]},
    "no_spacing": {"PixelSpacing": ["0", "0"]},
    "age_without_unit": {"PatientAge": "29"},
    "lossy": {"LossyImageCompression": "01", "LossyImageCompressionMethod": "jpeg, twice"},
    "japanese": {
        "SpecificCharacterSet": ["", "ISO 2022 IR 87"],
        "PatientName": "Yamada^Tarou=山田^太郎",
        "PatientID": "太郎",
    },
    "no_character_set": {"SpecificCharacterSet": "nonsense", "PatientID": "7"},
    "against_the_rules": {
        "PatientSex": "female",
        "PatientBirthDate": "1970-01-31",
        "StudyDate": "today",
        "StudyTime": "late",
        "PatientOrientation": "up",
        "BurnedInAnnotation": "maybe",
        "LossyImageCompression": "no",
    },
    "several_values": {"PatientSex": ["F", "M"], "WindowCenter": ["1", "2"], "StudyDate": ["20240229", "20240301"]},
    "computed_radiography": {"SOPClassUID": uid.ComputedRadiographyImageStorage, "Modality": "CR"},
    "private_class": {"SOPClassUID": "1.2.840.113619.4.26"},
    "in_space": {
        "SOPClassUID": uid.CTImageStorage,
        "FrameOfReferenceUID": "1.2.9",
        "SliceThickness": "1",
        "ImagePositionPatient": ["0", "0", "0"],
        "ImageOrientationPatient": ["1", "0", "0", "0", "1", "0"],
    },
    "big_endian": {"syntax": uid.ExplicitVRBigEndian},
    "implicit": {"syntax": uid.ImplicitVRLittleEndian},
    "deflated": {"syntax": uid.DeflatedExplicitVRLittleEndian},
}


@pytest.mark.parametrize("name", AS_THEY_COME)
@pytest.mark.parametrize(("writer", "array"), WRITERS)
def test_slips_in_a_header_do_no_harm(tmp_path, writer, array, name, recwarn):
    path = source(tmp_path / "s.dcm", **AS_THEY_COME[name])
    dataset = written(writer, array, path, with_identity=True)
    assert dataset.StudyInstanceUID == "1.2.1"
    assert dataset.PatientID == {"nobody": "", "japanese": "太郎", "no_character_set": "7"}.get(name, "patient-7")
    if name == "japanese":
        assert dataset.PatientName == "Yamada^Tarou=山田^太郎"
    if name in ("against_the_rules", "several_values"):
        assert (dataset.PatientSex, dataset.StudyDate, dataset.ContentDate) == ("", "", "19000101")
    expected = AS_THEY_COME[name].get("SOPClassUID", uid.DigitalXRayImageStorageForPresentation)
    assert dataset.SourceImageSequence[0].ReferencedSOPClassUID == expected
    assert len(recwarn) == 0


@pytest.mark.parametrize(("writer", "array"), WRITERS)
@pytest.mark.parametrize("patient_id", ["7" * 70, "7\\8"])
def test_a_patient_id_against_the_rules_is_copied_as_it_is(tmp_path, caplog, writer, array, patient_id):
    path = source(tmp_path / "s.dcm", PatientID=patient_id)
    caplog.clear()
    writer(tmp_path / "o.dcm", array, path)
    assert patient_id.encode() in (tmp_path / "o.dcm").read_bytes()
    assert caplog.records == []


@pytest.mark.parametrize(("writer", "array"), WRITERS)
def test_without_a_file_header(plain, writer, array):
    plain.write_bytes(plain.read_bytes()[plain.read_bytes().index(b"\x08\x00\x16\x00") :])
    assert written(writer, array, plain).StudyInstanceUID == "1.2.1"


@pytest.mark.parametrize(("writer", "array"), WRITERS)
def test_of_several_frames_the_first_is_meant(tmp_path, writer, array):
    many = {"SOPClassUID": uid.MultiFrameGrayscaleWordSecondaryCaptureImageStorage, "NumberOfFrames": 3}
    path = source(tmp_path / "s.dcm", np.zeros((3, ROWS, COLUMNS), np.uint16), **many)
    dataset = written(writer, array, path)
    assert dataset.SourceImageSequence[0].ReferencedFrameNumber == 1
    for frame in dataset.get("PerFrameFunctionalGroupsSequence", ()):
        assert frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber == 1


@pytest.mark.parametrize(
    ("elements", "of_segmentation", "of_overlay"),
    [
        ({"PixelAspectRatio": [2, 1]}, [2, 1], [2, 1]),
        ({"ImagerPixelSpacing": ["0.3", "0.2"]}, [3, 2], None),  # the overlay has the spacing itself
        ({"PixelSpacing": ["0.2", "0.2"]}, None, None),
    ],
)
def test_oblong_pixels_stay_oblong(tmp_path, elements, of_segmentation, of_overlay):
    path = source(tmp_path / "s.dcm", **elements)
    assert written(dicom_results.write_segmentation, MASK, path).get("PixelAspectRatio") == of_segmentation
    overlay = written(dicom_results.write_overlay, PICTURE, path)
    assert overlay.get("PixelAspectRatio") == of_overlay
    spacing = next((value for keyword, value in elements.items() if "Spacing" in keyword), None)
    assert overlay.get("PixelSpacing") == (spacing and list(map(float, spacing)))


WHEEL = [path for path in sorted(FOLDER.rglob("*")) if path.is_file()]


@pytest.mark.parametrize("path", WHEEL, ids=lambda path: path.relative_to(FOLDER).as_posix())
def test_every_file_of_pydicom_that_is_read(tmp_path, path):
    try:
        radiograph = dicom.read(path)
    except InputError:
        return
    shape, rng = radiograph.pixels.shape, np.random.default_rng(7)
    mask, picture = rng.integers(0, 2, shape, np.uint8), rng.integers(0, 256, (*shape, 3), np.uint8)
    of = shutil.copy(path, tmp_path / "source.dcm")
    if "JPEGLSNearLossless" in path.name:
        with pytest.raises(InputError, match=r"Received: StudyInstanceUID='', SeriesInstanceUID=''$"):
            dicom_results.write_segmentation(tmp_path / "o.dcm", mask, of)
        return
    segmentation = written(dicom_results.write_segmentation, mask, of)
    written(dicom_results.write_overlay, picture, of, with_identity=True)
    if "ReferencedFrameNumber" not in segmentation.SourceImageSequence[0]:
        dicom_results.write_segmentation(tmp_path / "o.dcm", mask, of)
        assert np.array_equal(by_source(tmp_path / "o.dcm", radiograph.image_id), mask)


# --- what raises ----------------------------------------------------------------------------------------------

REFUSED = {
    "no_study": ({"StudyInstanceUID": None}, r"expected UIDs for results to refer to. Received: StudyInstanceUID=''$"),
    "no_series": ({"SeriesInstanceUID": ""}, r"Received: SeriesInstanceUID=''$"),
    "no_instance": ({"SOPInstanceUID": None}, r"Received: SOPInstanceUID=''$"),
    "no_class": ({"SOPClassUID": None}, r"Received: SOPClassUID=''$"),
    "no_uid": ({"StudyInstanceUID": "study one"}, r"Received: StudyInstanceUID='study one'$"),
    "two_uids": ({"StudyInstanceUID": ["1.2", "1.3"]}, r"Received: StudyInstanceUID="),
    "colour": ({"PhotometricInterpretation": "RGB", "SamplesPerPixel": 3}, r"Received: PhotometricInterpretation=RGB$"),
    "no_size": ({"Rows": None}, r"Received: Rows=None$"),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize(("writer", "array"), WRITERS)
def test_a_source_that_cannot_be_named_is_refused_in_one_line(tmp_path, writer, array, name):
    elements, message = REFUSED[name]
    path = source(tmp_path / "s.dcm", **elements)
    with pytest.raises(InputError, match=message) as caught:
        writer(tmp_path / "o.dcm", array, path)
    assert str(caught.value).startswith(f"{path}: expected ")
    assert not (tmp_path / "o.dcm").exists()


@pytest.mark.parametrize(("writer", "array"), WRITERS)
def test_broken_and_other_files_are_refused_in_one_line(tmp_path, plain, writer, array):
    whole = plain.read_bytes()
    broken = tmp_path / "broken.dcm"
    for content in (b"", b"P5 52 40 255 ", whole[:100], whole[:200], whole[:400], whole[:150] + bytes(900)):
        broken.write_bytes(content)
        with pytest.raises(InputError) as caught:
            writer(tmp_path / "o.dcm", array, broken)
        assert str(caught.value).startswith(f"{broken}: expected ")
        assert "\n" not in str(caught.value)
    for path in (tmp_path, tmp_path / "nowhere.dcm"):
        with pytest.raises(InputError, match=str(path)):
            writer(tmp_path / "o.dcm", array, path)
    assert not (tmp_path / "o.dcm").exists()


@pytest.mark.parametrize(
    ("writer", "array", "message"),
    [
        (dicom_results.write_segmentation, MASK[1:], r"its height and width, \(40, 52\)\. Received: shape=\(39, 52\)"),
        (dicom_results.write_segmentation, MASK * 255, r"mask: expected uint8 \[H, W\] of \{0, 1\}\. .* up to 255"),
        (dicom_results.write_segmentation, MASK.astype(np.float32), r"mask: expected uint8 .* dtype=float32"),
        (dicom_results.write_segmentation, MASK[..., np.newaxis], r"mask: expected uint8 .* shape=\(40, 52, 1\)"),
        (
            dicom_results.write_overlay,
            PICTURE[:, 1:],
            r"its height and width, \(40, 52\)\. Received: shape=\(40, 51, 3\)",
        ),
        (dicom_results.write_overlay, PICTURE[..., 0], r"picture: expected uint8 RGB .* shape=\(40, 52\)"),
        (dicom_results.write_overlay, PICTURE / 255, r"picture: expected uint8 RGB .* dtype=float64"),
    ],
)
def test_arrays_that_do_not_fit_raise(plain, writer, array, message):
    with pytest.raises(ValueError, match=message):
        writer(plain.with_name("o.dcm"), array, plain)


@pytest.mark.parametrize("model", ["", "x" * 65, "a\\b", "a\nb"])
def test_a_model_that_no_element_can_hold_raises(plain, model):
    with pytest.raises(ValueError, match=r"model: expected 1 to 64 printable characters"):
        dicom_results.write_overlay(plain.with_name("o.dcm"), PICTURE, plain, model=model)
