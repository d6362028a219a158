"""Settings of what a trained run is exported as."""

import dataclasses
from typing import Literal

from ptxtf.config.fields import check, check_fields, setting

FORMATS = ("savedmodel", "onnx", "tflite")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """A trained run as files that need no ptxtf."""

    run_dir: str = setting("folder that ptxtf.train or ptxtf.ensemble wrote; several with commas between: their mean")
    output_dir: str = setting(
        "folder for saved_model/, model.onnx, model.tflite, rule.json and README.md, the model card; an earlier export "
        "in it is replaced"
    )
    formats: tuple[str, ...] = setting(
        "savedmodel: from a picture's bytes to its mask, for TensorFlow; onnx (needs the extra onnx) and tflite: from "
        "an image of the network's size to its probabilities",
        ("savedmodel",),
    )
    precision: Literal["float32", "trained"] = setting(
        "what the network computes in: float32, which all devices do, or as it was trained", "float32"
    )
    evaluation: str = setting(
        "folder that ptxtf.evaluate wrote of the run: its scores go into the model card; empty: none", ""
    )

    def __post_init__(self) -> None:
        check_fields(self)
        is_known = 0 < len(set(self.formats)) == len(self.formats) and set(self.formats) <= set(FORMATS)
        check(is_known, f"formats of {', '.join(FORMATS)}, each once", formats=self.formats)
        others = set(self.formats) & {"onnx", "tflite"}
        check(
            not others or self.precision == "float32",
            f"precision=float32 with {' and '.join(sorted(others))}, which compute in nothing else here",
            precision=self.precision,
        )
