"""The bidirectional transformer that the LLaDA-like families share.

Pre-norm blocks of RMSNorm, attention with rotary positions, and SwiGLU; no biases; an untied head (LLaDA, arXiv
2502.09992, section 3 and its released configuration). Parameter names follow LLaDA's checkpoints.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class TransformerConfig:
    """Sizes. Example, LLaDA-8B: d_model 4096, n_layers 32, n_heads 32, mlp_hidden_size 12288, vocab_size 126464."""

    vocab_size: int
    d_model: int
    n_layers: int
    n_heads: int
    mlp_hidden_size: int
    max_sequence_length: int = 4096
    rope_theta: float = 500_000.0
    rms_norm_eps: float = 1e-5


class RMSNorm(nn.Module):
    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.weight.shape, self.weight, self.eps)


class Block(nn.Module):
    """One layer. With ``rows``, queries, output and MLP are computed for those positions only: exact, and cheaper."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        d = config.d_model
        self.n_heads = config.n_heads
        self.attn_norm = RMSNorm(d, config.rms_norm_eps)
        self.q_proj = nn.Linear(d, d, bias=False)
        self.k_proj = nn.Linear(d, d, bias=False)
        self.v_proj = nn.Linear(d, d, bias=False)
        self.attn_out = nn.Linear(d, d, bias=False)
        self.ff_norm = RMSNorm(d, config.rms_norm_eps)
        self.ff_proj = nn.Linear(d, config.mlp_hidden_size, bias=False)
        self.up_proj = nn.Linear(d, config.mlp_hidden_size, bias=False)
        self.ff_out = nn.Linear(config.mlp_hidden_size, d, bias=False)

    def forward(self, x: Tensor, rope: tuple[Tensor, Tensor], bias: Tensor | None, rows: Rows | None = None) -> Tensor:
        """x [B, L, D] -> [B, L, D], or [M, D] with rows."""
        normed = self.attn_norm(x)
        wanted, query_rope = normed, rope
        if rows is not None:
            wanted = rows.gather(normed)
            query_rope = rows.gather_rope(rope)
        q = rotate(self._heads(self.q_proj(wanted)), query_rope)
        k = rotate(self._heads(self.k_proj(normed)), rope)
        v = self._heads(self.v_proj(normed))
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        attended = attended.transpose(1, 2).flatten(2)
        if rows is not None:
            attended, x = rows.flatten(attended), rows.flatten(rows.gather(x))
        x = x + self.attn_out(attended)
        normed = self.ff_norm(x)
        return x + self.ff_out(F.silu(self.ff_proj(normed)) * self.up_proj(normed))

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.n_heads, -1)).transpose(1, 2)


class Rows:
    """A selection of positions, rows [B, L] bool, as a padded gather: sequences may select different numbers."""

    def __init__(self, rows: Tensor) -> None:
        counts = rows.sum(1)
        width = int(counts.max())
        # A stable sort puts the selected positions first, in order.
        self.index = torch.argsort((~rows).to(torch.int8), dim=1, stable=True)[:, :width]
        self.valid = None
        if int(counts.min()) != width:
            self.valid = torch.arange(width, device=rows.device) < counts[:, None]

    def gather(self, x: Tensor) -> Tensor:
        """[B, L, D] -> [B, width, D]"""
        return x.gather(1, self.index[..., None].expand(-1, -1, x.shape[-1]))

    def gather_rope(self, rope: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Two tables [L, H] -> two of [B, 1, width, H]."""
        return rope[0][self.index][:, None], rope[1][self.index][:, None]

    def flatten(self, x: Tensor) -> Tensor:
        """[B, width, D] -> [M, D], selected positions only."""
        return x.flatten(0, 1) if self.valid is None else x[self.valid]


class Transformer(nn.Module):
    """Token ids to final hidden states, and hidden states to logits."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.wte = nn.Embedding(config.vocab_size, config.d_model)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layers))
        self.ln_f = RMSNorm(config.d_model, config.rms_norm_eps)
        self.ff_out = nn.Linear(config.d_model, config.vocab_size, bias=False)
        self._rope: tuple[Tensor, Tensor] | None = None

    def reset_parameters(self, generator: torch.Generator) -> None:
        """Normal with deviation 1/sqrt(d_model), residual outputs scaled by 1/sqrt(2 * layers) as GPT-2 does.

        At LLaDA's width that is 0.016; GPT-2's fixed 0.02 starts a narrow model in a long plateau.
        """
        std = self.config.d_model**-0.5
        scale = (2 * self.config.n_layers) ** -0.5
        for name, parameter in self.named_parameters():
            if parameter.dim() < 2:
                nn.init.ones_(parameter)
            else:
                residual = ".attn_out." in name or ("blocks." in name and ".ff_out." in name)
                nn.init.normal_(parameter, std=std * (scale if residual else 1.0), generator=generator)

    def forward(self, token_ids: Tensor, attention_mask: Tensor | None = None, rows: Tensor | None = None) -> Tensor:
        """[B, L] -> [B, L, D]; with rows [B, L] bool, [M, D] in row-major order."""
        x = self.wte(token_ids)
        rope = self._rope_tables(token_ids.shape[1], x)
        bias = None if attention_mask is None or bool(attention_mask.all()) else attention_mask[:, None, None, :]
        for block in self.blocks[:-1]:
            x = block(x, rope, bias)
        x = self.blocks[-1](x, rope, bias, None if rows is None else Rows(rows))
        return self.ln_f(x)

    def head(self, hidden: Tensor, first: int = 0, count: int | None = None) -> Tensor:
        """Logits for vocabulary ids first .. first + count; the whole vocabulary by default."""
        if first == 0 and count is None:
            return self.ff_out(hidden)
        return F.linear(hidden, self.ff_out.weight[first : None if count is None else first + count])

    def _rope_tables(self, length: int, like: Tensor) -> tuple[Tensor, Tensor]:
        if self._rope is None or self._rope[0].shape[0] < length or self._rope[0].device != like.device:
            with torch.inference_mode(False):  # the cache outlives the call, and training reads it too
                self._rope = rope_tables(
                    max(length, 256), self.config.d_model // self.config.n_heads, self.config.rope_theta, like.device
                )
        cos, sin = self._rope
        return cos[:length].to(like.dtype), sin[:length].to(like.dtype)


def rope_tables(length: int, size: int, theta: float, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cosines and sines [L, size] in float32."""
    exponent = torch.arange(0, size, 2, device=device, dtype=torch.float32) / size
    angles = torch.outer(torch.arange(length, device=device, dtype=torch.float32), 1.0 / theta**exponent)
    angles = torch.cat([angles, angles], dim=-1)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, rope: tuple[Tensor, Tensor]) -> Tensor:
    """Rotary positions (arXiv 2104.09864), the two-halves layout. x [B, heads, L, H]."""
    cos, sin = rope
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-second, first], dim=-1) * sin
