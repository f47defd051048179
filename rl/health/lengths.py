"""Rules over the lengths of text answers."""

from __future__ import annotations

from rl.health.rule import Rule, mean_of

_CANVAS, _TRUNCATED = "response_length/canvas_share", "response_length/clip_ratio"

CANVAS = Rule(
    mean_of(_CANVAS),
    (_CANVAS,),
    limit=0.95,
    value="mean share of the canvas that a text answer takes, of 10 steps",
    means="answers fill the canvas: the length that the policy wants is not the length that it may have",
    do="raise max_new_tokens of rollout.TASK, or reward brevity; look at samples for filler that repeats",
)
TRUNCATED = Rule(
    mean_of(_TRUNCATED),
    (_TRUNCATED,),
    limit=0.25,
    value="mean share of rollouts that ran out of canvas before their end, of 10 steps",
    means="answers are cut off before they end, and are scored as if that were the policy's fault",
    do="raise max_new_tokens of rollout.TASK, or set learner.overlong_filtering=true",
)
