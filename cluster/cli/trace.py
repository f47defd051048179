"""The page of ``unigrpo generate --trace``: how the answers came out of their masks."""

from __future__ import annotations

from collections.abc import Sequence

from policies.base import Policy
from rl.tracking.pages.film import Decoders, film
from rl.tracking.pages.playback import playback
from rl.types import Prompt, Rollout


def page(policy: Policy, prompt: Prompt, rollouts: Sequence[Rollout]) -> str:
    """HTML: see ``rl.tracking.pages.playback``."""
    vocabulary = policy.vocabulary
    decoders = Decoders(policy.tokenizer, vocabulary.eos_id, vocabulary.image_offset, policy.image_tokenizer)
    films = [film(decoders, rollout) for rollout in rollouts]
    return playback(f"{policy.name}: {prompt.task}", prompt.messages[-1].content, films)
