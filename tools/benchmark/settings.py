"""What a user of the benchmark can set; each field is a flag."""

import dataclasses

from ptxtf import files
from ptxtf.config import Precision, check_fields, setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class BenchmarkConfig:
    """What is timed, and what is written."""

    image_size: int = setting("height and width in pixels", 512)
    batch_size: int = setting("images per call", 8)
    repeats: int = setting("timed runs of each, after two to warm up; WHAT=input: batches per turn, at most", 15)
    files: int = setting("DICOMs of WHAT=convert; the usual script gets a tenth; WHAT=input takes 320 at most", 3000)
    turns: int = setting("turns of WHAT=convert and WHAT=input", 5)
    workers: int = setting("processes of WHAT=convert; processes or threads of the peers of WHAT=input", 2)
    backbone: str = setting("encoder of WHAT=model, and of the training step of WHAT=input", "resnet34")
    precision: Precision = setting("precision of the same, as of ptxtf.train", "auto")
    legacy_python: str = setting("WHAT=model: a Python that has segmentation_models and TensorFlow 2.18", "")
    step_size: int = setting(
        "height and width of the images of WHAT=input's training step, in pixels; image_size is the most", 128
    )
    save: str = setting("JSON file to write all figures to", "")
    picture: str = setting("PNG file to draw a batch of WHAT=input to, before and after augmentation", "")
    export_stablehlo: str = setting(
        "folder to write the compiled preprocessing to, as StableHLO with example inputs and outputs", ""
    )

    def __post_init__(self) -> None:
        least = {"image_size": 64, "batch_size": 1, "repeats": 1, "files": 1, "turns": 1, "workers": 1}
        # phantoms need 64 pixels, records 32
        for name, lowest in {**least, "step_size": 32}.items():
            if getattr(self, name) < lowest:
                raise ValueError(f"expected {name} of at least {lowest}. Received: {name}={getattr(self, name)}")
        check_fields(self)
        for name in ("save", "picture"):
            target = getattr(self, name)
            if target and files.path(target).is_dir():
                raise ValueError(f"expected {name}, a file to write. Received: a folder, {name}={target!r}")
        if self.export_stablehlo and files.path(self.export_stablehlo).is_file():
            raise ValueError(
                f"expected export_stablehlo, a folder. Received: a file, export_stablehlo={self.export_stablehlo!r}"
            )
