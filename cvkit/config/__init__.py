"""Settings of the commands: one frozen dataclass per command, whose fields declare the options."""

from cvkit.config.base import ComputeConfig, Config, DeviceConfig, InferenceConfig, RuntimeConfig
from cvkit.config.classification import ClassifierConfig, ClassifyConfig, GradcamConfig
from cvkit.config.demo import DemoConfig
from cvkit.config.embedding import CaeEmbedConfig
from cvkit.config.evaluation import EvaluateConfig
from cvkit.config.export import ExportConfig
from cvkit.config.merge import MergeConfig
from cvkit.config.models import (
    CheckModelConfig,
    DownloadModelConfig,
    EnvConfig,
    ListModelsConfig,
    ModelPathConfig,
    ShowModelConfig,
)
from cvkit.config.preprocessing import ModelArgumentsConfig, PreprocessingConfig
from cvkit.config.resume import ResumeConfig
from cvkit.config.saliency import PredictConfig, SampleFixationsConfig
from cvkit.config.save_interval import SaveInterval
from cvkit.config.train_classifier import TrainClassifierConfig
from cvkit.config.train_saliency import TrainSaliencyConfig
from cvkit.config.training import LAST, RunConfig, TrainingConfig

__all__ = [
    "LAST",
    "CaeEmbedConfig",
    "CheckModelConfig",
    "ClassifierConfig",
    "ClassifyConfig",
    "ComputeConfig",
    "Config",
    "DemoConfig",
    "DeviceConfig",
    "DownloadModelConfig",
    "EnvConfig",
    "EvaluateConfig",
    "ExportConfig",
    "GradcamConfig",
    "InferenceConfig",
    "ListModelsConfig",
    "MergeConfig",
    "ModelArgumentsConfig",
    "ModelPathConfig",
    "PredictConfig",
    "PreprocessingConfig",
    "ResumeConfig",
    "RuntimeConfig",
    "SampleFixationsConfig",
    "SaveInterval",
    "ShowModelConfig",
    "TrainClassifierConfig",
    "TrainSaliencyConfig",
    "RunConfig",
    "TrainingConfig",
]
