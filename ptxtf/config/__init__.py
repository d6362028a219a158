"""What a user can set: one frozen dataclass per stage, checked when made; field names are the flag names.

| module    | settings of                                                |
|-----------|------------------------------------------------------------|
| records   | what stands between files and batches                      |
| network   | what the network sees, is made of, and is to learn         |
| training  | how weights follow their gradients, and the run            |
| inference | how trained networks are asked, and which of them together |
| results   | what a trained run is used for                             |
| exporting | what it is exported as                                     |
| serving   | the page on which one is tried                             |
| fields    | (what such settings are made of, and how they are checked) |

Flows in: plain values. Flows out: objects that every later stage can trust. Nothing here parses flags or knows files
or TensorFlow; messages speak of flags, as that is where most values come from. A field without a default must be given.
A setting that another one makes ineffective is refused. `dataclasses.replace` makes a changed, checked copy.
"""

from ptxtf.config.exporting import ExportConfig
from ptxtf.config.fields import check_fields, check_seed, setting
from ptxtf.config.inference import EnsembleConfig, InferenceConfig, RunsConfig
from ptxtf.config.network import Attention, LossConfig, Mode, ModelConfig, Precision, PreprocessConfig, Upsampling
from ptxtf.config.records import Cache, ConvertConfig, InputConfig, PhantomConfig, ServiceConfig
from ptxtf.config.results import CompareConfig, EvaluateConfig, MaskConfig, PredictConfig
from ptxtf.config.serving import LimitConfig, ServeConfig
from ptxtf.config.training import RUN, OptimizerConfig, RunConfig, TrainConfig

__all__ = [
    "RUN",
    "Attention",
    "Cache",
    "CompareConfig",
    "ConvertConfig",
    "EnsembleConfig",
    "EvaluateConfig",
    "ExportConfig",
    "InferenceConfig",
    "InputConfig",
    "LimitConfig",
    "LossConfig",
    "MaskConfig",
    "Mode",
    "ModelConfig",
    "OptimizerConfig",
    "PhantomConfig",
    "Precision",
    "PredictConfig",
    "PreprocessConfig",
    "RunConfig",
    "RunsConfig",
    "ServeConfig",
    "ServiceConfig",
    "TrainConfig",
    "Upsampling",
    "check_fields",
    "check_seed",
    "setting",
]
