"""Reading a response: ``<think>...</think>answer``, or the answer in tags of its own."""

from __future__ import annotations

from dataclasses import dataclass

OPEN, CLOSE = "<think>", "</think>"
_TAGS, _REASONED = ("<answer>", "</answer>"), "</reasoning>"  # of DeepSeek-R1's form, and of d1's


@dataclass(frozen=True, slots=True)
class Response:
    """Example: ``split_response("<think>3+4</think>7")`` is ``Response("3+4", "7", True)``.

    thought       what lies between the tags, stripped; None where there are none
    answer        what follows the last ``</think>``, stripped; the whole text where there are no tags; None where the
                  thought was never closed, for then there is no answer yet
    well_formed   exactly one non-empty thought, at the start, and a non-empty answer
    """

    thought: str | None
    answer: str | None
    well_formed: bool


def split_response(text: str, answered: bool = False) -> Response:
    """answered: the answer is a picture, so that it need not be in words too."""
    if CLOSE not in text:
        return Response(None, None if OPEN in text else text.strip(), False)
    before, _, after = text.rpartition(CLOSE)
    answer = after.strip()
    thought = before.split(OPEN, 1)[1].strip() if OPEN in before else before.strip()
    one_each = text.count(OPEN) == text.count(CLOSE) == 1
    well_formed = one_each and text.lstrip().startswith(OPEN) and bool(thought) and bool(answer or answered)
    return Response(thought, answer, well_formed)


def final_answer(text: str) -> str | None:
    """What the last ``<answer>`` after the thought holds; without one, all that follows the thought. None: there is no answer.

    Example: of ``<reasoning>3 + 4</reasoning><answer>7</answer>`` and of ``<think>3 + 4</think>7`` it is ``7``.
    """
    answer = split_response(text).answer
    if answer and _TAGS[0] in answer:
        return answer.rsplit(_TAGS[0], 1)[1].split(_TAGS[1], 1)[0].strip()
    if answer and _REASONED in answer:
        return answer.rpartition(_REASONED)[2].strip()
    return answer
