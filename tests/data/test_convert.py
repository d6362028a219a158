"""Conversion: what is stored, in which split, what is refused, and that stopping loses nothing."""

import collections
import csv
import hashlib
import importlib
import importlib.metadata
import json
import pathlib
import shutil
import subprocess
import sys
import time

import numpy as np
import pydicom
import pytest
import tensorflow as tf

import ptxtf
from ptxtf import files, flags
from ptxtf.data import annotations, convert, dicom, rle, shards, source
from ptxtf.data.check import check
from ptxtf.errors import InputError

ROOT = pathlib.Path(__file__).parents[2]


def digests(directory) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(directory.glob("*.tfrecord"))}


def rejected(directory) -> dict[str, str]:
    with (directory / "rejected.csv").open(newline="") as file:
        return {row["name"]: row["reason"] for row in csv.DictReader(file)}


def patients_by_split(directory) -> dict[str, set[bytes]]:
    manifest = shards.read_manifest(directory)
    found = {}
    for split, parts in manifest.splits.items():
        records = tf.data.TFRecordDataset([str(directory / part.name) for part in parts])
        parsed = [tf.train.Example.FromString(record.numpy()) for record in records]
        found[split] = {item.features.feature["patient"].bytes_list.value[0] for item in parsed}
    return found


@pytest.fixture
def films(phantoms, tmp_path) -> pathlib.Path:
    """Return a copy of the phantoms that a test may spoil."""
    copy = tmp_path / "films"
    shutil.copytree(phantoms, copy)
    return copy


def test_the_same_bytes_for_any_number_of_workers(conversion, tmp_path):
    one = convert.convert(conversion(workers=1, output_dir=str(tmp_path / "one")))
    two = convert.convert(conversion(workers=2, output_dir=str(tmp_path / "two")))
    assert digests(one.directory) == digests(two.directory)
    assert one.manifest.splits == two.manifest.splits
    check(one.directory)


def test_no_patient_stands_in_two_splits(conversion, phantoms):
    done = convert.convert(conversion())
    train, val, test = patients_by_split(done.directory).values()
    assert not train & val
    assert not train & test
    assert not val & test
    people = set(annotations.read_map(phantoms / "patient-map.csv").patients.values())
    assert len(train | val | test) == len(people) < 24
    assert all(overlap.shared_images == 0 for overlap in done.survey.overlaps.values())


def test_the_study_s_split_shares_patients_and_says_so(conversion):
    done = convert.convert(conversion(split="paper", balance=1.0))
    sets = patients_by_split(done.directory)
    assert set(sets) == {"train", "test"}
    assert done.survey.overlaps["test"].shared_images > 0


def test_folds_cover_every_image_once(conversion):
    done = convert.convert(conversion(split="kfold", folds=3))
    assert list(done.manifest.splits) == ["fold0", "fold1", "fold2"]
    assert done.manifest.images("fold0+fold1+fold2") == 24


def test_patients_are_stored_as_keyed_hashes(conversion, phantoms, tmp_path):
    first = convert.convert(conversion(patient_key="one", output_dir=str(tmp_path / "one")))
    second = convert.convert(conversion(patient_key="two", output_dir=str(tmp_path / "two")))
    hashes = [set().union(*patients_by_split(done.directory).values()) for done in (first, second)]
    assert not hashes[0] & hashes[1]
    text = b"".join(path.read_bytes() for path in first.directory.iterdir())
    for patient in set(annotations.read_map(phantoms / "patient-map.csv").patients.values()):
        assert patient.encode() not in text
    assert "one" not in json.loads((first.directory / "dataset.json").read_text())["flags"].values()


def test_balance_keeps_all_positives_and_as_many_healthy(conversion, films):
    rows = (films / "train-rle.csv").read_text().splitlines()
    positive = {row.split(",")[0] for row in rows[1:] if row.split(",")[1].strip() != "-1"}
    dropped = sorted(positive)[:4]
    for path in dicom.find(films / "dicom"):
        if path.stem in dropped:
            path.unlink()
    done = convert.convert(conversion(dicom_dir=str(films / "dicom"), balance=1.0))
    splits_together = "+".join(done.manifest.splits)
    assert done.manifest.positives(splits_together) == len(positive) - 4
    assert done.manifest.images(splits_together) == 2 * (len(positive) - 4)
    assert done.survey.left_out == 4


def spoil(films) -> dict[str, pathlib.Path]:
    """Spoil five things and return the files concerned."""
    paths = dicom.find(films / "dicom")
    broken, text, unlabelled, malformed, lost = paths[:5]
    broken.write_bytes(broken.read_bytes()[: broken.stat().st_size // 2])
    text.write_text("this is no DICOM")
    csv_path = films / "train-rle.csv"
    lines = [line for line in csv_path.read_text().splitlines() if not line.startswith(unlabelled.stem)]
    lines = [f"{malformed.stem},5 3 7" if line.startswith(malformed.stem) else line for line in lines]
    csv_path.write_text("\n".join(lines) + "\n")
    lost.unlink()
    return {"broken": broken, "text": text, "unlabelled": unlabelled, "malformed": malformed, "lost": lost}


def test_bad_input_is_listed_and_the_rest_is_converted(conversion, films):
    bad = spoil(films)
    done = convert.convert(
        conversion(dicom_dir=str(films / "dicom"), annotations=str(films / "train-rle.csv"), balance=0)
    )
    listed = rejected(done.directory)
    assert done.manifest.images("+".join(done.manifest.splits)) == 24 - 5
    assert "expected" in listed[str(bad["broken"])]
    assert "expected" in listed[str(bad["text"])]
    assert "expected a row in the annotations" in listed[str(bad["unlabelled"])]
    assert "expected well-formed labels" in listed[str(bad["malformed"])]
    assert any(name.startswith(f"{films / 'train-rle.csv'}:") for name in listed)
    assert "Received: label only" in listed[bad["lost"].stem]
    assert all("\n" not in reason and "Received: " in reason for reason in listed.values())
    check(done.directory)


def test_strict_stops_at_the_first_and_writes_no_data_set(conversion, films, tmp_path):
    spoil(films)
    config = conversion(dicom_dir=str(films / "dicom"), annotations=str(films / "train-rle.csv"), strict=True)
    with pytest.raises(InputError, match=r"\(--strict\)"):
        convert.convert(config)
    assert not (tmp_path / "records" / "dataset.json").exists()


def test_strict_stops_after_a_conversion_that_was_not(conversion, films):
    broken = dicom.find(films / "dicom")[0]
    broken.write_bytes(broken.read_bytes()[:-5000])
    settings = {"dicom_dir": str(films / "dicom"), "balance": 0}
    assert len(convert.convert(conversion(**settings)).rejected) == 1
    with pytest.raises(InputError, match=rf"{broken.name}: expected .* \(--strict\)"):
        convert.convert(conversion(**settings, strict=True))


def test_the_command_needs_no_tensorflow(phantoms, tmp_path):
    flags = ["--dicom_dir=dicom", "--annotations=train-rle.csv", f"--output_dir={tmp_path / 'records'}", "--workers=1"]
    probe = (
        f"import runpy, sys; sys.argv[1:] = {flags}; runpy.run_module('tools.make_tfrecords', run_name='__main__')\n"
        "assert not {'tensorflow', 'keras'} & set(sys.modules)"
    )
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); {probe}"]
    done = subprocess.run(command, cwd=phantoms, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "records" / "dataset.json").exists()


def test_another_version_of_a_decoder_converts_anew(conversion, monkeypatch):
    first = shard_times(convert.convert(conversion()).directory)
    assert shard_times(convert.convert(conversion()).directory) == first
    real = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "99" if name == "pydicom" else real(name))
    done = convert.convert(conversion())
    assert not set(shard_times(done.directory).items()) & set(first.items())
    assert done.manifest.versions["pydicom"] == "99"


def test_the_same_films_by_another_path_are_not_converted_again(conversion, phantoms, monkeypatch):
    first = shard_times(convert.convert(conversion()).directory)
    monkeypatch.chdir(phantoms)
    assert shard_times(convert.convert(conversion(dicom_dir="dicom")).directory) == first


def shard_times(directory) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in directory.glob("*.tfrecord")}


def test_a_contact_sheet_of_other_records_goes(conversion):
    directory = convert.convert(conversion()).directory
    (directory / "contact_sheet.png").write_bytes(b"of the first")
    convert.convert(conversion())
    assert (directory / "contact_sheet.png").exists()
    convert.convert(conversion(seed=1))
    assert not (directory / "contact_sheet.png").exists()


def test_a_patient_map_of_other_images_is_one_clear_line(conversion, tmp_path):
    (tmp_path / "map.csv").write_text("image_id,patient_id\nfoo,bar\n")
    with pytest.raises(
        InputError, match=r"map\.csv: expected patients of the images .* Received: none of 24, such as "
    ):
        convert.convert(conversion(patient_map=str(tmp_path / "map.csv")))


def test_images_that_are_not_in_the_patient_map_are_noticed(conversion, phantoms, tmp_path):
    lines = (phantoms / "patient-map.csv").read_text().splitlines()
    (tmp_path / "map.csv").write_text("\n".join(lines[:-3]) + "\n")
    done = convert.convert(conversion(patient_map=str(tmp_path / "map.csv"), balance=0))
    missing = [note.name for note in done.survey.inventory.noticed if note.kind == "no patient"]
    assert sorted(missing) == sorted(line.split(",")[0] for line in lines[-3:])


def test_an_empty_folder_is_one_clear_line(conversion, tmp_path):
    (tmp_path / "empty").mkdir()
    config = conversion(dicom_dir=str(tmp_path / "empty"))
    with pytest.raises(InputError, match=r"empty: expected DICOM files at any depth\. Received: none"):
        convert.convert(config)
    assert not pathlib.Path(config.output_dir).exists()


def test_labels_of_other_images_are_one_clear_line(conversion, tmp_path):
    (tmp_path / "other.csv").write_text("ImageId,EncodedPixels\nsomebody.else,-1\n")
    with pytest.raises(InputError, match=r"SOPInstanceUID\) stands in .*other\.csv.*24 files, none of them matches"):
        convert.convert(conversion(annotations=str(tmp_path / "other.csv")))


def test_a_stopped_conversion_goes_on_after_the_last_whole_shard(conversion, monkeypatch, tmp_path):
    whole = convert.convert(conversion(output_dir=str(tmp_path / "whole")))
    real, calls = source.encode, []

    def encode_until_the_plug_is_pulled(job):
        calls.append(job)
        if len(calls) == 15:
            raise KeyboardInterrupt
        return real(job)

    monkeypatch.setattr(source, "encode", encode_until_the_plug_is_pulled)
    config = conversion(output_dir=str(tmp_path / "stopped"))
    with pytest.raises(KeyboardInterrupt):
        convert.convert(config)
    finished = len(digests(tmp_path / "stopped"))
    assert finished > 0
    assert not (tmp_path / "stopped" / "dataset.json").exists()
    calls.clear()
    monkeypatch.setattr(source, "encode", lambda job: calls.append(job) or real(job))
    done = convert.convert(config)
    assert digests(done.directory) == digests(whole.directory)
    kept = sum(shard.images for shard in [s for p in whole.manifest.splits.values() for s in p][:finished])
    assert len(calls) == 24 - kept


def test_a_finished_conversion_is_left_as_it_is(conversion, monkeypatch, films):
    (films / "dicom" / "broken.dcm").write_text("no DICOM")
    config = conversion(dicom_dir=str(films / "dicom"))
    done = convert.convert(config)
    before = {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in done.directory.glob("*.tfrecord")}
    monkeypatch.setattr(source, "encode", None)  # nobody may call it
    again = convert.convert(config)
    assert {p.name: (p.stat().st_mtime_ns, p.read_bytes()) for p in done.directory.glob("*.tfrecord")} == before
    assert again.manifest == done.manifest
    assert again.rejected == done.rejected != ()


def test_a_shard_that_was_spoiled_is_written_again(conversion):
    done = convert.convert(conversion())
    whole = digests(done.directory)
    (done.directory / done.manifest.shards("train")[0].name).write_bytes(b"spoiled")
    (done.directory / done.manifest.shards("val")[0].name).unlink()
    assert digests(convert.convert(conversion()).directory) == whole


def test_files_of_others_are_left_alone(conversion, tmp_path):
    (tmp_path / "records").mkdir()
    other = tmp_path / "records" / "mine-00000-of-00001.tfrecord"
    other.write_bytes(b"mine")
    convert.convert(conversion(num_shards=1))
    convert.convert(conversion(num_shards=2))
    assert other.read_bytes() == b"mine"


def test_without_a_map_nobody_knows_who_is_in_two_splits(conversion):
    assert convert.convert(conversion(split="paper", patient_map="")).survey.overlaps == {}


def test_a_conversion_that_replaces_another_is_no_data_set_until_it_is_whole(conversion, monkeypatch):
    done = convert.convert(conversion(num_shards=3))

    def stop(_job):
        raise KeyboardInterrupt

    monkeypatch.setattr(source, "encode", stop)
    with pytest.raises(KeyboardInterrupt):
        convert.convert(conversion(num_shards=2))
    assert not (done.directory / "dataset.json").exists()


def test_other_settings_start_again_and_leave_no_old_shards(conversion):
    convert.convert(conversion(num_shards=3))
    done = convert.convert(conversion(num_shards=1))
    assert {path.name for path in done.directory.glob("*.tfrecord")} == {
        f"{split}-00000-of-00001.tfrecord" for split in ("train", "val", "test")
    }
    check(done.directory)


def test_source_keeps_the_jpeg_stream(conversion):
    done = convert.convert(conversion(encoding="source"))
    assert done.manifest.image_size == 0
    shard = done.directory / done.manifest.shards("train")[0].name
    item = tf.train.Example.FromString(next(iter(tf.data.TFRecordDataset(str(shard)))).numpy())
    image_id = item.features.feature["image_id"].bytes_list.value[0].decode()
    dicom_dir = pathlib.Path(done.manifest.flags["dicom_dir"])
    path = next(path for path in dicom.find(dicom_dir) if path.stem == image_id)
    stream = item.features.feature["image"].bytes_list.value[0]
    assert stream in path.read_bytes()
    assert stream.startswith(b"\xff\xd8")
    assert stream.endswith(b"\xff\xd9")


def test_a_changed_shard_is_noticed(conversion):
    done = convert.convert(conversion())
    shard = done.directory / done.manifest.shards("val")[0].name
    content = bytearray(shard.read_bytes())
    content[100] ^= 1
    shard.write_bytes(content)
    with pytest.raises(InputError, match=rf"{shard.name}: expected SHA-256"):
        check(done.directory)


def test_a_file_that_ends_its_worker_is_left_out(conversion, monkeypatch, tmp_path):
    """A decoder that crashes on a damaged file, or takes all memory, costs that file alone."""
    settings = conversion(workers=2, balance=0)
    victim = dicom.find(settings.dicom_dir)[5]
    (tmp_path / "deadly.py").write_text(
        "import os\n"
        "from ptxtf.data import source\n"
        f"def encode(job): return os._exit(9) if str(job.path) == {str(victim)!r} else source.encode(job)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(source, "encode", importlib.import_module("deadly").encode)
    done = convert.convert(settings)
    assert [note.name for note in done.rejected] == [str(victim)]
    assert "ends the process" in done.rejected[0].reason
    assert done.manifest.images("+".join(done.manifest.splits)) == 23


def test_the_card_counts_what_was_labelled_and_drawn(conversion, phantoms):
    done = convert.convert(conversion(balance=0))
    card = json.loads((done.directory / "dataset.json").read_text())["card"]
    rows = annotations.read(phantoms / "train-rle.csv")
    areas = sorted(int(rle.union(texts, shape=(256, 256)).sum()) for texts in rows.values() if texts)
    parts = card["splits"].values()
    assert sum(part["images"] for part in parts) == 24
    assert sum(part["positives"] for part in parts) == len(areas)
    assert min(part["mask_area_px"]["min"] for part in parts if part["mask_area_px"]) == areas[0]
    assert max(part["mask_area_px"]["max"] for part in parts if part["mask_area_px"]) == areas[-1]
    views = collections.Counter(dicom.read_header(path).view_position for path in dicom.find(phantoms / "dicom"))
    assert sum((collections.Counter(part["view_positions"]) for part in parts), collections.Counter()) == views
    assert all(part["original_sizes"] == {"256x256": part["images"]} for part in parts)
    assert sum(part["patients"] for part in parts) == len(
        set(annotations.read_map(phantoms / "patient-map.csv").patients.values())
    )
    assert card["labels"]["positives"] == len(areas)


def test_each_fold_is_compared_with_all_others(conversion):
    survey = convert.survey(conversion(split="kfold", folds=3, balance=0))
    assert survey.overlaps.keys() == {"fold0", "fold1", "fold2"}
    assert all(overlap.shared_images == 0 for overlap in survey.overlaps.values())


def test_looking_writes_nothing(conversion, tmp_path):
    survey = convert.survey(conversion(dry_run=True))
    assert sum(map(len, survey.splits.values())) + survey.left_out == 24
    assert not (tmp_path / "records").exists()


@pytest.mark.slow
def test_a_conversion_killed_at_any_moment_goes_on_to_the_same_bytes(conversion, tmp_path):
    """Killed a little later each time, it leaves whole shards only, and in the end what one run would have written."""
    whole = convert.convert(conversion(output_dir=str(tmp_path / "whole"), num_shards=4))
    names = {part.name: part.sha256 for parts in whole.manifest.splits.values() for part in parts}
    config = conversion(output_dir=str(tmp_path / "killed"), num_shards=4, workers=2)
    (tmp_path / "run.flags").write_text(flags.to_flagfile(config))
    command = [sys.executable, "-m", "tools.make_tfrecords", f"--flagfile={tmp_path / 'run.flags'}"]
    seen_half_way = False
    for attempt in range(40):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT)
        progress = tmp_path / "killed" / ".conversion.json"
        before = progress.stat().st_mtime_ns if progress.exists() else 0
        while process.poll() is None and (not progress.exists() or progress.stat().st_mtime_ns == before):
            time.sleep(0.002)
        time.sleep(0.003 * attempt)
        process.kill()
        if process.wait() == 0:
            break
        written = digests(tmp_path / "killed")
        assert written.items() <= names.items()  # a reader's pattern finds whole shards only
        seen_half_way |= 0 < len(written) < len(names)
    assert seen_half_way
    done = convert.convert(config)
    assert digests(done.directory) == names
    assert not list(done.directory.glob(".*.part*"))


def test_no_identity_of_a_patient_gets_into_the_records(conversion, phantoms, tmp_path):
    """Whatever a DICOM says of its patient, and a JPEG comment too, is nowhere in the bytes of a record directory."""
    secrets = {
        "PatientName": "Identitas^Revelata", "PatientID": "PID-7654321", "PatientBirthDate": "19470815",
        "PatientAddress": "17 Secret Lane", "AccessionNumber": "ACC99887766", "OtherPatientIDs": "OTHER-424242",
        "InstitutionName": "Hospital of Nowhere", "ReferringPhysicianName": "Doctor^Hidden", "StudyDate": "20190203",
        "PatientComments": "comment about them", "PatientTelephoneNumbers": "555-0142-777", "StationName": "ROOM-0815",
    }  # fmt: skip
    films = tmp_path / "films"
    films.mkdir()
    for path in dicom.find(phantoms / "dicom"):
        dataset = pydicom.dcmread(path)
        for keyword, value in secrets.items():
            setattr(dataset, keyword, value)
        stream = next(pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=1))
        comment = b"\xff\xfe\x00\x14Comment^In^Stream!"
        dataset.PixelData = pydicom.encaps.encapsulate([stream[:2] + comment + stream[2:]])
        dataset.save_as(films / path.name)
    for encoding in ("raw", "png", "source"):
        done = convert.convert(
            conversion(dicom_dir=str(films), patient_map="", encoding=encoding, output_dir=str(tmp_path / encoding))
        )
        content = b"".join(path.read_bytes() for path in done.directory.iterdir())
        told = [secret for secret in (*secrets.values(), "Comment^In") if secret.encode() in content]
        assert told == []


def film(path, image_id="1.2.3", **changes):
    """Write a small film, changed by pydicom."""
    dicom.write_secondary_capture(
        path,
        np.arange(64 * 64, dtype=np.uint8).reshape(64, 64),
        dicom.Header(image_id=image_id, patient_id="7", view_position="PA"),
        study_id="1.2",
        series_id="1.3",
    )
    made = pydicom.dcmread(path)
    with pydicom.config.disable_value_validation():
        for keyword, value in changes.items():
            setattr(made, keyword, value)
        made.save_as(path)
    return path


@pytest.fixture
def film_config(conversion, tmp_path):
    """A conversion of what lies in tmp_path/few, all healthy; `image_ids` are those of the labels."""

    def make(*image_ids, **changes):
        (tmp_path / "few").mkdir(exist_ok=True)
        (tmp_path / "few.csv").write_text("\n".join(["ImageId,EncodedPixels", *(f"{name},-1" for name in image_ids)]))
        settings = {"dicom_dir": str(tmp_path / "few"), "annotations": str(tmp_path / "few.csv"), "balance": 0}
        return conversion(**settings | {"patient_map": "", "fractions": (1.0, 0.0, 0.0)} | changes)

    return make


@pytest.mark.parametrize("spacing", ["1e300", "1e-60", "1e12"])
def test_a_spacing_that_cannot_be_is_none(film_config, tmp_path, spacing):
    config = film_config("1.2.3")
    film(tmp_path / "few" / "a.dcm", PixelSpacing=[spacing, spacing])
    done = convert.convert(config)
    check(done.directory)
    case = next(ptxtf.data.examples(done.directory, "train").as_numpy_iterator())
    assert np.isnan(case["spacing_mm"]).all()


def test_free_text_as_view_position_stays_in_the_file(film_config, tmp_path):
    config = film_config("1.2.3", "1.2.4")
    film(tmp_path / "few" / "a.dcm", ViewPosition="view of Jane Doe")
    film(tmp_path / "few" / "b.dcm", "1.2.4", ViewPosition=["LL", "PA"])
    done = convert.convert(config)
    assert not [path for path in done.directory.iterdir() if b"Jane" in path.read_bytes()]
    assert done.manifest.card["splits"]["train"]["view_positions"] == {"LL": 1, "unknown": 1}


def test_a_file_that_becomes_another_on_the_way_is_left_out(film_config, tmp_path, monkeypatch):
    config = film_config("1.2.3", "1.2.4", "1.2.5", workers=1)
    paths = [film(tmp_path / "few" / f"{name}.dcm", name) for name in ("1.2.3", "1.2.4", "1.2.5")]
    survey = convert._survey

    def survey_and_change(*arguments):
        found = survey(*arguments)
        paths[0].unlink()
        film(paths[1], "1.2.9")
        return found

    monkeypatch.setattr(convert, "_survey", survey_and_change)
    done = convert.convert(config)
    reasons = {pathlib.Path(note.name).name: note.reason for note in done.rejected}
    assert "No such file" in reasons["1.2.3.dcm"]
    assert "expected image id 1.2.4, as before. Received: 1.2.9" in reasons["1.2.4.dcm"]
    assert done.manifest.images("train") == 1


def test_a_file_that_was_lost_is_tried_again(conversion, monkeypatch):
    whole = convert.convert(conversion(workers=1))
    expected = {shard.name: shard.sha256 for parts in whole.manifest.splits.values() for shard in parts}
    shutil.rmtree(whole.directory)
    encode = source.encode
    victim = []

    def lose_one(job):
        victim.extend([job] if not victim else [])
        return source.image_lost(job) if job == victim[0] else encode(job)

    with monkeypatch.context() as patch:
        patch.setattr(source, "encode", lose_one)
        assert [note.kind for note in convert.convert(conversion(workers=1)).rejected][-1] == "lost"
    done = convert.convert(conversion(workers=1))
    assert {shard.name: shard.sha256 for parts in done.manifest.splits.values() for shard in parts} == expected


def test_shards_of_an_earlier_conversion_go_and_other_files_stay(conversion):
    directory = convert.convert(conversion(num_shards=2)).directory
    (directory / "train-00007-of-00009.tfrecord").write_bytes(b"of a conversion that was stopped")
    (directory / "mine.tfrecord").write_bytes(b"")
    done = convert.convert(conversion(num_shards=1))
    expected = {shard.name for parts in done.manifest.splits.values() for shard in parts} | {"mine.tfrecord"}
    assert {path.name for path in directory.glob("*.tfrecord")} == expected


def test_one_folder_has_one_writer(conversion):
    config = conversion()
    pathlib.Path(config.output_dir).mkdir()
    with (
        files.locked(config.output_dir),
        pytest.raises(InputError, match=r"expected a folder that no other process is writing\. Received: one"),
    ):
        convert.convert(config)
    convert.convert(config)


def test_a_duplicate_is_not_missing_too(film_config, tmp_path):
    config = film_config("1.2.3", "1.2.4")
    for name, rows in {"a": 1, "b": 2}.items():
        film(tmp_path / "few" / f"{name}.dcm", SeriesNumber=rows)
    film(tmp_path / "few" / "c.dcm", "1.2.4")
    assert [note.kind for note in convert.convert(config).rejected] == ["duplicate", "duplicate"]
