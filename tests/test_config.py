"""Settings that another one gives no effect are refused, and taken where they have one."""

import pytest

from ptxtf import config

WITHOUT_EFFECT = [
    (config.PreprocessConfig, {"patch_size": 64}, {"mode": "patch"}),
    (config.PreprocessConfig, {"patches": "random"}, {"mode": "patch"}),
    (config.PreprocessConfig, {"foreground_share": 0.8}, {"mode": "patch", "patches": "random"}),
    (config.PreprocessConfig, {"clahe": False, "clip_limit": 3.0}, {"clahe": True}),
    (config.PreprocessConfig, {"clahe": False, "tile_grid": (4, 4)}, {"clahe": True}),
    (config.InputConfig, {"records_dir": "r", "positive_schedule": "stepped"}, {"positive_share": (0.8, 0.4)}),
    (config.ModelConfig, {"decoder": "fpn", "decoder_filters": (8, 8, 8, 8, 8)}, {"decoder": "unet"}),
    (config.ModelConfig, {"decoder": "fpn", "upsampling": "transposed"}, {"decoder": "unet"}),
    (config.ModelConfig, {"decoder": "fpn", "attention": "scse"}, {"decoder": "unet"}),
    (config.LossConfig, {"focal_weight": 0.0, "focal_alpha": 0.5}, {"focal_weight": 1.0}),
    (config.LossConfig, {"focal_weight": 0.0, "focal_gamma": 1.0}, {"focal_weight": 1.0}),
    (config.LossConfig, {"tversky_alpha": 0.5}, {"tversky_weight": 1.0}),
    (config.OptimizerConfig, {"final_rate": 0.1}, {"schedule": "cosine"}),
    (config.OptimizerConfig, {"restart_factor": 3.0}, {"schedule": "restarts"}),
    (config.OptimizerConfig, {"plateau_epochs": 3}, {"schedule": "plateau"}),
    (config.TrainConfig, {"run_dir": "r", "size_epochs": 3}, {"first_sizes": (64,)}),
]


@pytest.mark.parametrize(("stage", "given", "needed"), WITHOUT_EFFECT)
def test_a_setting_without_effect_is_refused(stage, given, needed):
    name = list(given)[-1]
    with pytest.raises(ValueError, match=rf"^expected no {name} with \w+=.*, which has none\. Received: {name}="):
        stage(**given)
    assert getattr(stage(**given | needed), name) == given[name]


def test_no_more_epochs_are_averaged_than_there_are():
    with pytest.raises(ValueError, match=r"^expected average up to epochs=2\. Received: average=3$"):
        config.TrainConfig(run_dir="r", epochs=2, average=3)
    assert config.TrainConfig(run_dir="r", epochs=3, average=3).average == 3
