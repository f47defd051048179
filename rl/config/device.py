"""``policy.device=auto`` and ``policy.dtype=auto``, resolved."""

from __future__ import annotations

from dataclasses import replace

from rl.config.checks import validate
from rl.config.sections import Config

AUTO = "auto"
DTYPE_ON = {"cpu": "float32", "cuda": "bfloat16"}


def resolved(config: Config, gpu: bool, check: bool = True) -> Config:
    """What stands for ``auto``. gpu: whether there is one where the policy will run. What was said explicitly stays.
    check: False for a config that is changed after its checks, as a gate does that compares one sample.

    Raises ConfigError where other settings do not go with it.
    """
    policy = config.policy
    device = ("cuda" if gpu else "cpu") if policy.device == AUTO else policy.device
    dtype = DTYPE_ON.get(device.partition(":")[0], "float32") if policy.dtype == AUTO else policy.dtype
    if (device, dtype) == (policy.device, policy.dtype):
        return config
    found = replace(config, policy=replace(policy, device=device, dtype=dtype))
    if check:
        validate(found)
    return found


def is_open(config: Config) -> bool:
    return AUTO in (config.policy.device, config.policy.dtype)
