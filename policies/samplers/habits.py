"""How a family's own code samples text, where families differ. The family's file states it; the settings can say otherwise."""

from __future__ import annotations

from dataclasses import dataclass, replace

from policies.samplers import AUTO, PLAIN
from rl.types import TextSampling


@dataclass(frozen=True, slots=True)
class Habits:
    """The defaults are LLaDA's (github.com/ML-GSAI/LLaDA, generate.py).

    schedule     how many tokens each step reveals: a name in ``policies.samplers.TEXT_SCHEDULES``
    confidence   the distribution that confidence, entropy and margin are of. ``plain``: the policy's own, at temperature 1.
                 ``drawn``: the one that the token is drawn from, after temperature, top_k and top_p
    top_p_first  where top_k and top_p are both set, top_p cuts the whole distribution, and top_k cuts the rest
    mask_counts  the mask token, which is never written, has its share in the distribution that confidence is of
    whole_rank   which of equally sure tokens is kept depends on where torch.topk sees them. True: as the original, in the
                 whole sequence, or a block-causal policy's whole block. False: among the masked ones alone
    turn_end     the token that ends a turn, beside the end of text, which ``confidence_eos_eot_inf`` holds back too
    """

    schedule: str = "uniform"
    confidence: str = PLAIN
    top_p_first: bool = False
    mask_counts: bool = False
    whole_rank: bool = False
    turn_end: str | None = None

    def chosen(self, sampling: TextSampling) -> Habits:
        """With what the settings say."""
        said = {name: getattr(sampling, name) for name in ("schedule", "confidence")}
        return replace(self, **{name: value for name, value in said.items() if value != AUTO})


LLADA = Habits()
