"""Rows in the published layouts of data sets, for where the published files are not at hand. Questions are made up."""

from __future__ import annotations

from typing import Any


def verl(source: str, question: str, truth: Any, **extra: Any) -> dict[str, Any]:
    """As DARE and verl write them."""
    return {
        "data_source": source,
        "prompt": [{"role": "user", "content": question}],
        "reward_model": {"ground_truth": truth, "style": "rule"},
        "extra_info": {"index": 0, "split": "train", "task": "math", **extra},
    }


# preset -> (name of a file in its layout, rows, the reference of the first)
ROWS: dict[str, tuple[str, list[Any], str | None]] = {
    "gsm8k": (
        "main/train-00000-of-00001.parquet",
        [
            {"question": "Ann has 3 pears and buys 4. How many?", "answer": "3 + 4 = <<3+4=7>>7\n#### 7"},
            {"question": "Bo has 9 pens and loses 4. How many?", "answer": "9 - 4 = <<9-4=5>>5\n#### 5"},
        ],
        "7",
    ),
    "math": (
        "data/train-00000-of-00001.parquet",
        [{"problem": "What is $2^3$?", "level": "Level 1", "type": "Algebra", "solution": "It is $\\boxed{8}$."}],
        "It is $\\boxed{8}$.",
    ),
    "math500": ("math500.parquet", [verl("math500", "What is $1/2 + 1/2$?", "1")], "1"),
    "countdown": (
        "train.parquet",
        [
            verl("countdown", "Reach 5 with 2, 3 and 4.", "5", numbers="[2, 3, 4]"),
            verl("countdown", "Reach 10 with 1 to 4.", "10", numbers="[1, 2, 3, 4]"),
        ],
        "5",
    ),
    "sudoku4x4": (
        "train.parquet",
        [verl("sudoku", "Solve 0321003004002100.", "4321123434122143", puzzle="0321003004002100")],
        "4321123434122143",
    ),
    "knights-and-knaves": (
        "train/people3_num1000.jsonl",
        [
            {
                "quiz": "Ann says Bo is a knave. Bo says nothing.",
                "names": ["Ann", "Bo"],
                "solution": [True, False],
                "solution_text_format": "(1) Ann is a knight\n(2) Bo is a knave",
            }
        ],
        "(1) Ann is a knight\n(2) Bo is a knave",
    ),
    "mbpp": (
        "full/train-00000-of-00001.parquet",
        [
            {
                "task_id": 1,
                "text": "Write a function that adds.",
                "code": "def add(a, b):\r\n    return a + b",
                "test_list": ["assert add(1, 2) == 3", "assert add(0, 0) == 0"],
                "test_setup_code": "",
            }
        ],
        "def add(a, b):\r\n    return a + b",
    ),
    "humaneval": (
        "HumanEval.jsonl",
        [
            {
                "task_id": "X/0",
                "prompt": "def add(a, b):\n    '''The sum.'''\n",
                "canonical_solution": "    return a + b\n",
                "entry_point": "add",
                "test": "def check(candidate):\n    assert candidate(1, 2) == 3\n",
            }
        ],
        None,
    ),
    "kodcode": (
        "data/train-00000-of-00001.parquet",
        [
            {
                "question": "Write add(a, b).",
                "solution": "def add(a, b):\n    return a + b",
                "test": "from solution import add\n\ndef test_add():\n    assert add(1, 2) == 3\n",
            }
        ],
        "def add(a, b):\n    return a + b",
    ),
    "geneval": (
        "prompts/evaluation_metadata.jsonl",
        [{"tag": "counting", "include": [{"class": "cow", "count": 2}], "prompt": "a photo of two cows"}],
        "a photo of two cows",
    ),
    "hpsv2": ("benchmark/anime.json", ["A cat in a hat", "A dog"], "A cat in a hat"),
    "imagereward-prompts": ("data/refl_data.json", [{"text": "a blue fox ", "image": "000044-0048"}], "a blue fox "),
    "clevr": (
        "data/train-00000-of-00017.parquet",
        [{"image": {"bytes": "PNG", "path": None}, "problem": "How many things?", "solution": "<answer> 3 </answer>"}],
        "3",
    ),
    "geoqa": (
        "data/train-00000-of-00001.parquet",
        [
            {
                "image": {"bytes": "PNG", "path": None},
                "problem": "What is angle A?",
                "solution": "<answer> 40° </answer>",
            }
        ],
        "40°",
    ),
}
