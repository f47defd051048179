"""The policy that is measured: random weights in the shape that a benchmark asks for."""

from __future__ import annotations

from functools import partial
from typing import Any, Protocol

import torch

from policies.base import EncodedPrompt, Vocabulary
from policies.files.fresh_policy import train_tokenizer
from policies.files.tokenizer import ChatTokenizer
from policies.files.uninitialised import empty_module
from policies.network.transformer import Transformer, TransformerConfig
from policies.policy import MaskedDiffusionPolicy

MASK, EOS, FIRST_PLAIN = 0, -1, 16  # no token ends a text: both sides write all tokens


class Sizes(Protocol):
    @property
    def d_model(self) -> int: ...
    @property
    def n_layers(self) -> int: ...
    @property
    def n_heads(self) -> int: ...
    @property
    def mlp_hidden_size(self) -> int: ...


def bench_policy(
    sizes: Sizes,
    vocabulary: int,
    seed: int = 0,
    *,
    codebook: int | None = None,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    **config: Any,
) -> MaskedDiffusionPolicy:
    """No token ends a text, so that both sides write the same number of tokens. The mask token is never the likeliest, as
    after training: ours never writes it, and the plain algorithms would. codebook: None takes the shape's own, or 0.
    ``config``: what TransformerConfig has beside the sizes."""
    settings = TransformerConfig(
        vocab_size=vocabulary,
        d_model=sizes.d_model,
        n_layers=sizes.n_layers,
        n_heads=sizes.n_heads,
        mlp_hidden_size=sizes.mlp_hidden_size,
        **config,
    )
    module = empty_module(partial(Transformer, settings), dtype, device)  # values are made where they stay
    module.reset_parameters(torch.Generator(device).manual_seed(seed))
    with torch.no_grad():
        module.ff_out.weight[MASK] = 0
    codes = getattr(sizes, "codebook", 0) if codebook is None else codebook
    return MaskedDiffusionPolicy(
        "bench",
        module.eval(),
        Vocabulary(vocabulary, MASK, EOS, vocabulary - codes, codes),
        ChatTokenizer(train_tokenizer(["bench"], 300), "{{ messages[0].content }}"),
        None,
        lambda policy, prompt: EncodedPrompt(()),
    )
