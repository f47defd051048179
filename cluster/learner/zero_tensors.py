"""Where DeepSpeed keeps its tensors at each ZeRO stage (DeepSpeed 0.19.8), so that they can be offloaded.

A newer DeepSpeed may keep a buffer that is not listed here. Then ``tests/cluster/learner/test_offload.py`` fails: it asks
the garbage collector what is left on the device.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

# Attributes of ZeRO's optimizer. Each is a tensor, or tensors in lists and dictionaries.
PARTITIONED = (  # stages 1 and 2
    "bit16_groups_flat",  # the weights: parameters are views of these
    "single_partition_of_fp32_groups",
    "averaged_gradients",
    "all_grad_tensors",
    "extra_large_param_to_reduce",
    "previous_reduced_grads",
    "accumulated_grads_in_cpu",
    "param_buffer_of_bit16_for_cpu_offload_groups",
    "temp_grad_buffer_for_cpu_offload",
    "temp_grad_buffer_for_gpu_offload",
)
SHARDED = (  # stage 3
    "lp_param_buffer",  # this rank's shards of the weights
    "fp16_partitioned_groups_flat",
    "fp32_partitioned_groups_flat",
    "grad_partitions_flat_buffer",
    "averaged_gradients",
)
BY_STAGE: Mapping[int, tuple[str, ...]] = {0: (), 1: PARTITIONED, 2: PARTITIONED, 3: SHARDED}


def zero_tensors(engine: Any, stage: int) -> Iterator[Tensor]:
    """What ``engine``, a ``deepspeed.DeepSpeedEngine``, keeps beside its parameters, their gradients, and the state of the
    optimizer inside. Views come as well as what they are views of."""
    zero = engine.optimizer
    for name in BY_STAGE[stage]:
        yield from _in(getattr(zero, name, None))
    for bucket in getattr(zero, "ipg_buckets", {}).values():  # gradients on their way to other ranks
        yield from _in(bucket.buffer)
    if stage == 3:  # a frozen parameter's shard is in no buffer
        yield from (parameter.ds_tensor for parameter in engine.module.parameters())


def _in(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
        if value.is_leaf and value.grad is not None:
            yield value.grad
    elif isinstance(value, Mapping):
        yield from (tensor for part in value.values() for tensor in _in(part))
    elif isinstance(value, (list, tuple)):
        yield from (tensor for part in value for tensor in _in(part))
