"""One frozen dataclass a command: every default and every check is written here, once."""

from cvkit.config.base import ComputeConfig, Config, InferenceConfig, TrainingConfig
from cvkit.config.checks import parse_shard, parse_size
from cvkit.config.saliency import EvaluateConfig, PredictConfig, SampleFixationsConfig, TrainSaliencyConfig

__all__ = [
    "ComputeConfig",
    "Config",
    "EvaluateConfig",
    "InferenceConfig",
    "PredictConfig",
    "SampleFixationsConfig",
    "TrainSaliencyConfig",
    "TrainingConfig",
    "parse_shard",
    "parse_size",
]
