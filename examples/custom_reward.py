"""A reward of your own: custom_reward_function.path=examples/custom_reward.py, and ``custom: 1.0`` in rewards.mix."""


def reward(prompts, completions, references, **columns):
    """Half a point for an answer of at most 40 characters, half for naming the reference."""
    answers = [text.split("</think>")[-1].strip() for text in completions]
    short = [0.5 * (0 < len(answer) <= 40) for answer in answers]
    return [a + 0.5 * (r is not None and r in t) for a, r, t in zip(short, references, answers, strict=True)]
