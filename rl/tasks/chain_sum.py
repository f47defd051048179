"""Text: sums and differences of a few numbers, from reasoning-gym's ``chain_sum``.

The hash of an expression decides on which side of the split it lies, whatever the sizes and the seed.
"""

from __future__ import annotations

from rl.errors import ConfigError, DataError
from rl.tasks.splits import require_int, split_of, too_few
from rl.types import Message, Prompt, Task

_STRIDE = 1_000_003  # reasoning-gym seeds row i with seed + i: keep the rows of two seeds apart


def generate(
    split: str,
    *,
    size: int = 2000,
    seed: int = 0,
    min_terms: int = 2,
    max_terms: int = 3,
    min_digits: int = 1,
    max_digits: int = 2,
) -> list[Prompt]:
    """Different expressions such as ``17 + 4 - 9 =``, of ``min_terms`` to ``max_terms`` numbers.

    Raises ConfigError on a bad argument, DataError where there are fewer than ``size`` such expressions.
    """
    require_int("chain_sum", "size", size, 1)
    require_int("chain_sum", "seed", seed, 0)
    _check_range("terms", min_terms, max_terms, 12)
    _check_range("digits", min_digits, max_digits, 9)
    try:
        from reasoning_gym.arithmetic.chain_sum import ChainSumConfig, ChainSumDataset
    except ImportError as error:
        raise DataError("data source chain_sum: the package is missing; pip install reasoning-gym") from error
    attempts = 20 * size + 5000
    settings = ChainSumConfig(min_terms, max_terms, min_digits, max_digits, seed=seed * _STRIDE, size=attempts)
    rows = ChainSumDataset(settings)
    found: dict[str, Prompt] = {}
    for index in range(attempts):
        entry = rows[index]
        expression = entry["metadata"]["expression"]
        if expression not in found and split_of(expression) == split:
            found[expression] = _prompt(expression, entry["answer"])
            if len(found) == size:
                return list(found.values())
    raise too_few("chain_sum", len(found), size, "ask for fewer, or for more terms or digits")


def running_totals(expression: str) -> str:
    """The steps of a chain, left to right: ``17 + 4 - 9`` gives ``17+4=21 21-9=12``; a lone number gives itself."""
    first, *rest = expression.split()
    total, steps = int(first), []
    for operator, number in zip(rest[::2], rest[1::2], strict=True):
        result = total + int(number) if operator == "+" else total - int(number)
        steps.append(f"{total}{operator}{number}={result}")
        total = result
    return " ".join(steps) or first


def _check_range(what: str, low: int, high: int, limit: int) -> None:
    require_int("chain_sum", f"min_{what}", low, 1, limit)
    require_int("chain_sum", f"max_{what}", high, 1, limit)
    if low > high:
        raise ConfigError(f"data source chain_sum: min_{what}={low} is above max_{what}={high}")


def _prompt(expression: str, answer: str) -> Prompt:
    return Prompt(
        id=f"chain_sum/{expression.replace(' ', '')}",
        task=Task.TEXT,
        messages=(Message("user", f"{expression} ="),),
        reference=answer,
        solution=f"<think>{running_totals(expression)}</think>{answer}",
        source="chain_sum",
        metadata={"expression": expression},
    )
