"""The mend for a function that was written for chat messages: here, prompts and completions are texts."""

import pytest

from rewards import load_reward
from tests.rewards.makers import text_item

CHAT = [
    'return [c[0]["content"] for c in completions]',
    "return [c[0]['content'] for c in completions]",
    'return [c[-1]["content"] for c in completions]',
    'return [completion["content"] for completion in completions]',
    'return [completions[0][0]["content"]]',
    'return [c[0].get("content") for c in completions]',
    "return [c[0].content for c in completions]",
    "return [c.content for c in completions]",
    'return [m["content"] for c in completions for m in c if m["role"] == "assistant"]',
    'return [next(m["content"] for m in c if m["role"] == "assistant") for c in completions]',
    'return ["".join(m["content"] for m in c) for c in completions]',
    'return [p[-1]["content"] for p in prompts]',
    'return [prompts[0][-1]["content"]]',
    'q = prompts[0][0]["role"]',
    'responses = [completion[0]["content"] for completion in completions]\n    return responses',
    'return list(map(lambda c: c[0]["content"], completions))',
    'from operator import itemgetter\n    return [itemgetter("content")(c[0]) for c in completions]',
    "def f(role, content): return 1.0\n    return [f(**c[0]) for c in completions]",
    'return [{**c[0]}["content"] for c in completions]',
    'return [dict(c[0])["content"] for c in completions]',
    'last = completions[0][-1]\n    text = last["content"]',
    'return [c[0]["content"][0]["text"] for c in completions]',
    'return [c[0].items() for c in completions] or "content"',
]


@pytest.mark.parametrize("body", CHAT)
@pytest.mark.parametrize("text", ["<think>a</think>7", "b"])
def test_chat_messages_are_told_from_texts(body, text, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(f"def reward(prompts, completions, **columns):\n    {body}\n")
    (score,) = load_reward(f"{path}:reward").score([text_item(text)])
    assert score.status == "crashed" and "mine.py:" in score.detail
    assert "are texts here, not lists of messages: write completion for completion[0]['content']" in score.detail


def test_an_empty_completion_is_told_too(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text('def reward(completions): return [c[0]["content"] for c in completions]\n')
    (score,) = load_reward(f"{path}:reward").score([text_item("")])
    assert "IndexError" in score.detail and "are texts here" in score.detail


def test_verls_solution_is_a_text_too(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        'def compute_score(data_source, solution_str, ground_truth, extra_info): return solution_str[0]["content"]\n'
    )
    (score,) = load_reward(f"{path}:compute_score").score([text_item("7")])
    assert "solution_str are texts here" in score.detail


@pytest.mark.parametrize(
    "body",
    ["return 'a'['b']", "return [c[99] for c in completions]", "return [c.split(1) for c in completions]", "1 / 0"],
)
def test_other_mistakes_get_no_such_hint(body, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(f"def reward(completions):\n    {body}\n")
    assert "are texts here" not in load_reward(f"{path}:reward").score([text_item("7")])[0].detail
