"""The config of a run: its sections, how it is loaded, and its checks."""

from rl.config.cluster import ClusterConfig
from rl.config.health import HealthConfig
from rl.config.layers import Layer, Origin, origins, value_of
from rl.config.learner import LearnerConfig, UniGRPOConfig
from rl.config.load import build_config, layers_of, load_config, merge, settings_given, to_yaml
from rl.config.lora import LoraConfig
from rl.config.recipes import headline, recipe_layers, recipe_names, recipe_path
from rl.config.rewards import CustomRewardConfig, FailureConfig, JudgeConfig, RewardsConfig
from rl.config.sections import (
    CacheGateConfig,
    Config,
    DataConfig,
    EvaluationConfig,
    PolicyConfig,
    RolloutConfig,
    SftConfig,
    SourceConfig,
    TrackingConfig,
)

__all__ = [
    "CacheGateConfig",
    "ClusterConfig",
    "Config",
    "CustomRewardConfig",
    "DataConfig",
    "EvaluationConfig",
    "FailureConfig",
    "HealthConfig",
    "JudgeConfig",
    "Layer",
    "LearnerConfig",
    "LoraConfig",
    "Origin",
    "PolicyConfig",
    "RewardsConfig",
    "RolloutConfig",
    "SftConfig",
    "SourceConfig",
    "TrackingConfig",
    "UniGRPOConfig",
    "build_config",
    "headline",
    "layers_of",
    "load_config",
    "merge",
    "origins",
    "recipe_layers",
    "recipe_names",
    "recipe_path",
    "settings_given",
    "to_yaml",
    "value_of",
]
