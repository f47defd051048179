"""The transformer that all families share, told apart by its configuration.

Pre-norm blocks of RMSNorm, attention with rotary positions, and SwiGLU (LLaDA, arXiv 2502.09992, section 3 and its
released configuration). A family may group its key-value heads, add biases, normalise queries and keys, rotate a part of
each head, tie the head to the embedding, shift its predictions by one, attend block-causally (arXiv 2503.09573), or
replace MLPs by experts. Parameter names follow LLaDA's checkpoints; a family maps its own names onto them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from policies.network.cache import KeyValueCache
from policies.network.compiled import compiled
from policies.network.experts import ExpertsConfig, SparseExperts
from policies.network.packed_sequences import Packing
from policies.network.prepacked_weights import is_packed
from policies.network.recomputed import gated, rms_norm
from policies.network.rows import Rows


@dataclass(frozen=True, slots=True)
class TransformerConfig:
    """Sizes. Example, LLaDA-8B: d_model 4096, n_layers 32, n_heads 32, mlp_hidden_size 12288, vocab_size 126464.

    n_kv_heads      heads of keys and values, shared by groups of query heads; None: n_heads
    head_dim        None: d_model / n_heads
    rotary_dim      leading part of each head that is rotated; None: all of it
    rotary_float32  rotate in single precision whatever the weights' precision, as LLaDA does
    qkv_bias, out_bias, qk_norm   of the attention's projections
    tied_head       logits come from the embedding's rows
    shifted         the state at position p - 1 predicts the token at p (Dream); position 0 uses its own
    block_length    attend to the own block and those before it, blocks counted from position 0; None: to everything
    experts         a mixture of experts in the place of the MLPs from layer ``experts.first_layer``
    """

    vocab_size: int
    d_model: int
    n_layers: int
    n_heads: int
    mlp_hidden_size: int
    max_sequence_length: int = 4096
    rope_theta: float = 500_000.0
    rms_norm_eps: float = 1e-5
    n_kv_heads: int | None = None
    head_dim: int | None = None
    rotary_dim: int | None = None
    rotary_float32: bool = False
    qkv_bias: bool = False
    out_bias: bool = False
    qk_norm: bool = False
    tied_head: bool = False
    shifted: bool = False
    block_length: int | None = None
    experts: ExpertsConfig | None = None

    @property
    def kv_heads(self) -> int:
        return self.n_kv_heads or self.n_heads

    @property
    def head_size(self) -> int:
        return self.head_dim or self.d_model // self.n_heads


class RMSNorm(nn.Module):
    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return rms_norm(x, self.weight, self.eps)


class Block(nn.Module):
    """One layer. With ``rows``, queries, output and MLP are computed for those positions only: exact, and cheaper."""

    def __init__(self, config: TransformerConfig, layer: int) -> None:
        super().__init__()
        d, size, eps = config.d_model, config.head_size, config.rms_norm_eps
        self.head_size, self.layer = size, layer
        self.compiled = False  # see policies.network.compiled
        self.group = config.n_heads // config.kv_heads
        self.attn_norm = RMSNorm(d, eps)
        self.q_proj = nn.Linear(d, config.n_heads * size, bias=config.qkv_bias)
        self.k_proj = nn.Linear(d, config.kv_heads * size, bias=config.qkv_bias)
        self.v_proj = nn.Linear(d, config.kv_heads * size, bias=config.qkv_bias)
        self.q_norm = RMSNorm(size, eps) if config.qk_norm else nn.Identity()
        self.k_norm = RMSNorm(size, eps) if config.qk_norm else nn.Identity()
        self.attn_out = nn.Linear(config.n_heads * size, d, bias=config.out_bias)
        self.ff_norm = RMSNorm(d, eps)
        self.experts = None
        if config.experts is not None and layer >= config.experts.first_layer:
            self.experts = SparseExperts(d, config.experts)
        else:
            self.ff_proj = nn.Linear(d, config.mlp_hidden_size, bias=False)
            self.up_proj = nn.Linear(d, config.mlp_hidden_size, bias=False)
            self.ff_out = nn.Linear(config.mlp_hidden_size, d, bias=False)

    def forward(
        self,
        x: Tensor,
        rope: tuple[Tensor, Tensor],
        bias: Tensor | Packing | None,
        rows: Rows | None = None,
        cache: KeyValueCache | None = None,
    ) -> Tensor:
        """x [B, L, D] -> [B, L, D], or [M, D] with rows. bias: bool, broadcast to [B, heads, queries, keys]; or how B
        sequences are packed in x [1, T, D]."""
        if rows is None:
            q, k, v = self._run(Block._project, x, rope)
        else:
            normed = self.attn_norm(x)
            q = rotate(self.q_norm(self._heads(self.q_proj(rows.gather(normed)))), rows.gather_rope(rope))
            (k, v), bias = self._keys_values(normed, rope), rows.gather_bias(bias)
        if cache is not None:
            k, v = cache.write(self.layer, k, v)
        attended = self._attend(q, k, v, bias).transpose(1, 2).flatten(2)
        if rows is not None:
            attended, x = rows.flatten(attended), rows.flatten(rows.gather(x))
        return self._run(Block._finish, x, attended)

    def _run(self, part: Callable[..., Any], *args: Any) -> Any:
        return (compiled(part) if self.compiled else part)(self, *args)

    def _project(self, x: Tensor, rope: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Rotated queries and keys, and values [B, heads, L, H], of states [B, L, D]."""
        normed = self.attn_norm(x)
        return (rotate(self.q_norm(self._heads(self.q_proj(normed))), rope), *self._keys_values(normed, rope))

    def _finish(self, x: Tensor, attended: Tensor) -> Tensor:
        """What follows attention: its output, and the MLP."""
        x = x + self.attn_out(attended)
        return x + self._feed_forward(self.ff_norm(x))

    def keys_values(self, x: Tensor, rope: tuple[Tensor, Tensor], cache: KeyValueCache) -> None:
        """Put keys and values of states [B, L, D] into the cache, behind what it has."""
        cache.write(self.layer, *self._keys_values(self.attn_norm(x), rope))

    def _keys_values(self, normed: Tensor, rope: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Rotated keys and values [B, kv_heads, L, H] of normalised states [B, L, D]."""
        return rotate(self.k_norm(self._heads(self.k_proj(normed))), rope), self._heads(self.v_proj(normed))

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | Packing | None) -> Tensor:
        if isinstance(bias, Packing):
            return bias.attend(q, k, v, self._attend)
        if self.group == 1:
            return F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        if bias is None:
            return F.scaled_dot_product_attention(q, k, v, enable_gqa=True)
        # The fused kernels take grouped heads or a mask, not both.
        k, v = k.repeat_interleave(self.group, 1), v.repeat_interleave(self.group, 1)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=bias)

    def _feed_forward(self, normed: Tensor) -> Tensor:
        if self.experts is not None:
            return self.experts(normed)
        return self.ff_out(gated(self.ff_proj(normed), self.up_proj(normed)))

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (-1, self.head_size)).transpose(1, 2)


class Transformer(nn.Module):
    """Token ids to final hidden states, and hidden states to logits."""

    ff_out: nn.Linear  # None where the head is tied to the embedding

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.wte = nn.Embedding(config.vocab_size, config.d_model)
        self.blocks = nn.ModuleList(Block(config, layer) for layer in range(config.n_layers))
        self.ln_f = RMSNorm(config.d_model, config.rms_norm_eps)
        if config.tied_head:
            self.register_module("ff_out", None)
        else:
            self.ff_out = nn.Linear(config.d_model, config.vocab_size, bias=False)
        self._rope: tuple[Tensor, Tensor] | None = None
        self.packing = False  # see policies.network.packed_sequences.pack_sequences

    def reset_parameters(self, generator: torch.Generator) -> None:
        """Normal with deviation 1/sqrt(d_model), residual outputs scaled by 1/sqrt(2 * layers) as GPT-2 does.

        At LLaDA's width that is 0.016; GPT-2's fixed 0.02 starts a narrow model in a long plateau.
        """
        for buffer in self.buffers():
            buffer.zero_()  # the experts' balance
        std = self.config.d_model**-0.5
        scale = (2 * self.config.n_layers) ** -0.5
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            elif parameter.dim() < 2:
                nn.init.ones_(parameter)
            else:
                residual = ".attn_out." in name or ("blocks." in name and ".ff_out." in name) or ".down_proj" in name
                nn.init.normal_(parameter, std=std * (scale if residual else 1.0), generator=generator)

    def forward(
        self,
        token_ids: Tensor,
        attention_mask: Tensor | None = None,
        rows: Tensor | Rows | None = None,
        cache: KeyValueCache | None = None,
        clean: Tensor | None = None,
    ) -> Tensor:
        """[B, L] -> [B, L, D]; with rows [B, L] bool, [M, D] in row-major order. See Policy.hidden for cache and clean."""
        if clean is not None and self.config.block_length is not None:
            assert isinstance(rows, Tensor) and cache is None
            return self._two_streams(token_ids, clean, attention_mask, rows)
        packing = None if cache is not None else self._packing(attention_mask)
        if packing is not None:
            shape, token_ids, attention_mask = token_ids.shape, packing.pack(token_ids), None
            rows = rows.selected(shape) if isinstance(rows, Rows) else rows
            rows = None if rows is None else packing.pack(rows)
        x, rope, bias = self._enter(token_ids, attention_mask, cache, packing)
        for block in self.blocks[:-1]:
            x = block(x, rope, bias, cache=cache)
        asked = Rows.of(rows) if isinstance(rows, Tensor) else rows
        if asked is not None and self.config.shifted:
            asked = asked.shifted(None if packing is None else packing.positions)
        x = self.blocks[-1](x, rope, bias, asked, cache)
        x = self.ln_f(x)
        if packing is not None and rows is None:
            x = packing.unpack(x, shape)
        if rows is None and self.config.shifted:
            x = torch.cat([x[:, :1], x[:, :-1]], dim=1)
        return x

    def extend(self, token_ids: Tensor, cache: KeyValueCache) -> None:
        """Put keys and values of [B, L] settled tokens into the cache. The last layer needs no more than that."""
        x, rope, bias = self._enter(token_ids, None, cache)
        for block in self.blocks[:-1]:
            x = block(x, rope, bias, cache=cache)
        last = self.blocks[-1]
        assert isinstance(last, Block)
        last.keys_values(x, rope, cache)
        cache.commit(token_ids.shape[1])

    def _packing(self, attention_mask: Tensor | None) -> Packing | None:
        """How padded sequences are packed, where they are to be and there is padding."""
        if not self.packing or attention_mask is None or _all(attention_mask):
            return None
        length, device = self.config.block_length, attention_mask.device
        return Packing.of(attention_mask, lambda stop: None if length is None else block_bias(0, stop, length, device))

    def _two_streams(self, noisy: Tensor, clean: Tensor, attention_mask: Tensor | None, rows: Tensor) -> Tensor:
        """A block-causal pass over [noisy ; clean]: a noisy block attends to itself and to the clean blocks before it, a
        clean block to the clean ones up to itself (BD3-LM, arXiv 2503.09573, section 3.2). [M, D], noisy states at rows.

        Noisy blocks before the first that has rows, and the clean block after which none has, are left out: nobody
        looks at them.
        """
        size = self.config.block_length
        assert size is not None
        blocks = torch.arange(noisy.shape[1], device=noisy.device) // size
        wanted = rows.any(0).nonzero().squeeze(1)
        first, last = int(blocks[wanted[0]]) * size, int(blocks[wanted[-1]]) * size
        parts = (slice(first, min(last + size, noisy.shape[1])), slice(0, last))
        place = torch.cat([torch.arange(part.start, part.stop, device=noisy.device) for part in parts])
        is_noisy = torch.arange(len(place), device=noisy.device) < parts[0].stop - first
        own = (blocks[place][:, None] == blocks[place]) & (is_noisy[:, None] == is_noisy)
        bias = (own | (~is_noisy & (blocks[place][:, None] > blocks[place])))[None, None]
        if attention_mask is not None:
            bias = bias & attention_mask[:, None, None, place]
        x = self.wte(torch.cat([noisy[:, parts[0]], clean[:, parts[1]]], dim=1))
        cos, sin = self._rope_tables(0, noisy.shape[1], x)
        rope = cos[place], sin[place]
        for block in self.blocks[:-1]:
            x = block(x, rope, bias)
        asked = torch.zeros(x.shape[:2], dtype=torch.bool, device=x.device)
        asked[:, is_noisy] = rows[:, parts[0]]
        return self.ln_f(self.blocks[-1](x, rope, bias, Rows.of(asked)))

    def _enter(
        self,
        token_ids: Tensor,
        attention_mask: Tensor | None,
        cache: KeyValueCache | None,
        packing: Packing | None = None,
    ):
        """Embeddings [B, L, D], rotary tables of their positions, and who may attend to whom."""
        x = self.wte(token_ids)
        if packing is not None:
            cos, sin = self._rope_tables(0, max(packing.keys), x)
            return x, (cos[packing.positions], sin[packing.positions]), packing
        start = 0 if cache is None else cache.length
        stop = start + token_ids.shape[1]
        bias = None if attention_mask is None or _all(attention_mask) else attention_mask[:, None, None, :]
        if self.config.block_length is not None:
            block = block_bias(start, stop, self.config.block_length, x.device)
            bias = block if bias is None else bias if block is None else bias & block
        return x, self._rope_tables(start, stop, x), bias

    @property
    def read_directly(self) -> tuple[Tensor, ...]:
        """Weights that are read without a call of the module they belong to: an engine must not shard them."""
        return (self.wte.weight if self.config.tied_head else self.ff_out.weight,)

    def head(self, hidden: Tensor, first: int = 0, count: int | None = None) -> Tensor:
        """Logits for vocabulary ids first .. first + count; the whole vocabulary by default."""
        if first == 0 and count is None and self.ff_out is not None and is_packed(self.ff_out):
            return self.ff_out(hidden)
        return F.linear(hidden, self.head_weight(first, count))

    def head_weight(self, first: int = 0, count: int | None = None) -> Tensor:
        """[V, D], or the rows of vocabulary ids first .. first + count: ``head`` is its product with hidden states."""
        weight = self.wte.weight if self.config.tied_head else self.ff_out.weight
        return weight[first : None if count is None else first + count]

    def tensors(self) -> Iterator[Tensor]:
        """All that it holds: parameters, buffers and rotary tables."""
        yield from (*self.parameters(), *self.buffers(), *(self._rope or ()))

    def _rope_tables(self, start: int, stop: int, like: Tensor) -> tuple[Tensor, Tensor]:
        if self._rope is None or self._rope[0].shape[0] < stop or self._rope[0].device != like.device:
            size = self.config.rotary_dim or self.config.head_size
            with torch.inference_mode(False):  # the cache outlives the call, and training reads it too
                self._rope = rope_tables(max(stop, 256), size, self.config.rope_theta, like.device)
        cos, sin = self._rope
        dtype = torch.promote_types(like.dtype, torch.float32) if self.config.rotary_float32 else like.dtype
        return cos[start:stop].to(dtype), sin[start:stop].to(dtype)


def _all(attention_mask: Tensor) -> bool:
    """Whether nothing is masked out, where that can be seen without waiting for a GPU: who gives it a mask needs it."""
    return attention_mask.device.type == "cpu" and bool(attention_mask.all())


def block_bias(start: int, stop: int, block_length: int, device: torch.device) -> Tensor | None:
    """Block-causal attention of positions start .. stop to 0 .. stop: bool [1, 1, queries, keys], None if all see all."""
    if start // block_length == (stop - 1) // block_length:
        return None
    blocks = torch.arange(stop, device=device) // block_length
    return (blocks[None, :] <= blocks[start:, None])[None, None]


def rope_tables(length: int, size: int, theta: float, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cosines and sines [L, size] in float32."""
    exponent = torch.arange(0, size, 2, device=device, dtype=torch.float32) / size
    angles = torch.outer(torch.arange(length, device=device, dtype=torch.float32), 1.0 / theta**exponent)
    angles = torch.cat([angles, angles], dim=-1)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, rope: tuple[Tensor, Tensor]) -> Tensor:
    """Rotary positions (arXiv 2104.09864), the two-halves layout, on as much of each head as the tables are wide.

    x [B, heads, L, H] -> the same shape and dtype.
    """
    cos, sin = rope
    size = cos.shape[-1]
    if size < x.shape[-1]:
        return torch.cat([rotate(x[..., :size], rope), x[..., size:]], dim=-1)
    first, second = x.chunk(2, dim=-1)
    return torch.addcmul(x * cos, torch.cat([-second, first], dim=-1), sin).to(x.dtype)
