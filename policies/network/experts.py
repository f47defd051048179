"""A mixture of experts in the place of an MLP, as LLaDA2 and Ling (Bailing) release it.

The router scores every expert by a sigmoid. A bias that balances the load, and that no gradient moves, is added for the
choice alone: the best groups by the sum of their two best experts, then the best experts within them (DeepSeek-V3, arXiv
2412.19437, section 2.1.2). Their unbiased scores, normalised to sum to one and scaled, weigh their outputs. Shared
experts see every token.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from policies.network.recomputed import gated


@dataclass(frozen=True, slots=True)
class ExpertsConfig:
    """Example, LLaDA2-mini: count 256, per_token 8, hidden_size 512, shared 1, groups 8 of which 4, scale 2.5.

    first_layer  layers before it keep a dense MLP
    """

    count: int
    per_token: int
    hidden_size: int
    shared: int
    groups: int
    groups_per_token: int
    scale: float
    first_layer: int


class SparseExperts(nn.Module):
    """Weights of all experts are stacked: gate_proj and up_proj [E, hidden, D], down_proj [E, D, hidden]."""

    expert_bias: Tensor

    def __init__(self, d_model: int, config: ExpertsConfig) -> None:
        super().__init__()
        self.config = config
        self.router = Router(d_model, config.count, bias=False)
        self.register_buffer("expert_bias", torch.zeros(config.count))
        self.gate_proj = nn.Parameter(torch.empty(config.count, config.hidden_size, d_model))
        self.up_proj = nn.Parameter(torch.empty(config.count, config.hidden_size, d_model))
        self.down_proj = nn.Parameter(torch.empty(config.count, d_model, config.hidden_size))
        self.shared = SharedExpert(d_model, config.hidden_size * config.shared) if config.shared else None

    def forward(self, x: Tensor) -> Tensor:
        """[..., D] -> [..., D]. Each expert sees its tokens as one batch."""
        tokens = x.flatten(0, -2)
        chosen, weights = self.route(tokens)
        order = chosen.flatten().argsort(stable=True)
        sources = order // self.config.per_token
        counts = torch.bincount(chosen.flatten(), minlength=self.config.count).tolist()
        parts = tokens[sources].split(counts)
        outputs = torch.cat([self._expert(index, part) for index, part in enumerate(parts) if len(part)])
        weighted = outputs * weights.flatten()[order][:, None]
        # Sum in the order of the token's own experts, whatever else is in the batch.
        mixed = torch.empty_like(weighted).index_copy(0, order, weighted)
        mixed = mixed.view(len(tokens), self.config.per_token, -1).sum(1).to(x.dtype).view_as(x)
        return mixed if self.shared is None else mixed + self.shared(x)

    def route(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """[T, D] -> experts [T, per_token] int64 and their weights [T, per_token] float32."""
        config = self.config
        scores = self.router(tokens).sigmoid()
        biased = (scores + self.expert_bias).unflatten(1, (config.groups, -1))
        best = biased.topk(2, dim=-1).values.sum(-1).topk(config.groups_per_token, dim=-1).indices
        outside = torch.ones_like(biased[..., 0], dtype=torch.bool).scatter(1, best, False)
        chosen = biased.masked_fill(outside[..., None], -torch.inf).flatten(1).topk(config.per_token, dim=-1).indices
        weights = scores.gather(1, chosen)
        if config.per_token > 1:
            weights = weights / (weights.sum(-1, keepdim=True) + 1e-20)
        return chosen, weights * config.scale

    def _expert(self, index: int, tokens: Tensor) -> Tensor:
        gate, up = F.linear(tokens, self.gate_proj[index]), F.linear(tokens, self.up_proj[index])
        return F.linear(gated(gate, up), self.down_proj[index])


class Router(nn.Linear):
    """A linear layer in float32 at least, whatever the weights are: near ties decide which experts a token sees."""

    def forward(self, input: Tensor) -> Tensor:  # torch's own name
        dtype = torch.promote_types(input.dtype, torch.float32)
        return F.linear(input.to(dtype), self.weight.to(dtype))


class SharedExpert(nn.Module):
    def __init__(self, d_model: int, hidden_size: int) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(d_model, hidden_size, bias=False)
        self.up_proj = nn.Linear(d_model, hidden_size, bias=False)
        self.down_proj = nn.Linear(hidden_size, d_model, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(gated(self.gate_proj(x), self.up_proj(x)))
