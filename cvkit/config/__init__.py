"""One frozen dataclass a command: every default and every check is written here, once."""

from cvkit.config.autoencoder import CaeEmbedConfig
from cvkit.config.base import LAST, ComputeConfig, Config, InferenceConfig, TrainingConfig
from cvkit.config.checks import parse_numbers, parse_shard, parse_size, parse_words
from cvkit.config.classifiers import (
    ClassifierConfig,
    ClassifyConfig,
    DownloadModelConfig,
    GradcamConfig,
    ListModelsConfig,
    ModelConfig,
    ShowModelConfig,
    parse_ranks,
)
from cvkit.config.export import ExportConfig
from cvkit.config.saliency import EvaluateConfig, PredictConfig, SampleFixationsConfig, TrainSaliencyConfig

__all__ = [
    "LAST",
    "CaeEmbedConfig",
    "ClassifierConfig",
    "ClassifyConfig",
    "ComputeConfig",
    "Config",
    "DownloadModelConfig",
    "EvaluateConfig",
    "ExportConfig",
    "GradcamConfig",
    "InferenceConfig",
    "ListModelsConfig",
    "ModelConfig",
    "PredictConfig",
    "SampleFixationsConfig",
    "ShowModelConfig",
    "TrainSaliencyConfig",
    "TrainingConfig",
    "parse_numbers",
    "parse_ranks",
    "parse_shard",
    "parse_size",
    "parse_words",
]
