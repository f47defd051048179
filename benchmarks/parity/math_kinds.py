r"""Ways in which models end an answer: the kinds of ``math_templates``."""

from __future__ import annotations

from benchmarks.parity.math_kind import Kind, full_width
from benchmarks.parity.math_languages import COLON, SENTENCE
from benchmarks.parity.math_later_kinds import LATER
from benchmarks.parity.math_third_kinds import THIRD

_BOX = (
    Kind("box at the end", (r"The answer is $\boxed{{t}}$.", r"Thus we get \boxed{{t}}", r"So $\boxed{{t}}$.")),
    Kind("box displayed", ("Therefore,\n\\[\n\\boxed{{t}}\n\\]", r"$$\boxed{{t}}$$")),
    Kind("box, then prose", (r"$\boxed{{t}}$ This is smaller than {d}, as it should be.",)),
    Kind("box, then a check", ("\\boxed{{t}}\n\nLet me verify: 20 + 31 = 51. ✓ Everything is consistent.",)),
    Kind("box, then wait", ("\\boxed{{t}}. Wait, let me double-check: 4 × 5 = 20. Yes, that holds.",)),
    Kind("box, bold label", ("**Final Answer:** $\\boxed{{t}}$", "### Final Answer\n\n$\\boxed{{t}}$")),
    Kind("box with text", (r"\boxed{\text{{a}}}", r"$\boxed{\textbf{{a}}}$"), "integer"),
    Kind("box twice", ("So it is $\\boxed{{t}}$.\n\n**Final Answer**\n\n$\\boxed{{t}}$",)),
    Kind("boxed steps", (r"The first part is \boxed{{e}}. Going on from there, the total is \boxed{{t}}.",)),
    Kind(
        "box corrected", (r"\boxed{{e}}. No, wait: I misread it. \boxed{{t}}.", r"\boxed{{e}}. Actually, \boxed{{t}}.")
    ),
    Kind("box corrected in prose", (r"I get \boxed{{e}}. Hmm, that's wrong. The correct answer is {a}.",)),
    Kind("box assigned", (r"$x = \boxed{{t}}$", r"$\boxed{x = {t}}$"), "integer"),
    Kind("box full-width", (r"\boxed{{t}}", r"答案是 $\boxed{{t}}$。"), "integer", change=full_width),
    Kind("box and a unit behind", (r"$\boxed{{t}}$ square units", r"\boxed{{t}} dollars in total"), "integer"),
    Kind(
        "box of a step, then a final answer",
        (r"$= \boxed{{e}}$ So we continue. Final Answer: The final answer is ${t}$.",),
    ),
    Kind("box, special token", (r"\boxed{{t}}<|im_end|>", "\\boxed{{t}}</s>", "\\boxed{{t}}\n<|endoftext|>")),
    Kind("box spaced", (r"\boxed { {t} }", r"\fbox{{t}}", r"$\boxed{\,{t}\,}$")),
    Kind("boxes, or", (r"\boxed{{t}} or \boxed{{e}}", r"$\boxed{{t}}$ or maybe $\boxed{{e}}$"), "integer", never=True),
    Kind("boxes, comma", (r"\boxed{{t}}, \boxed{{e}}", "\\boxed{{t}}; \\boxed{{e}}"), "integer", never=True),
    Kind("or in a box", (r"\boxed{{t} \text{ or } {e}}", r"\boxed{{t}, {e}}"), "integer", never=True),
    Kind("boxed choices", (r"\boxed{{t}} or \boxed{{e}}", r"\boxed{{t}}, \boxed{{e}}"), "choice", never=True),
    Kind(
        "boxes and",
        (r"The solutions are \boxed{{a1}} and \boxed{{a2}}.", r"$\boxed{{a1}}$ and $\boxed{{a2}}$"),
        "roots",
    ),
    Kind("boxes named", (r"$x=\boxed{{a1}}$, $y=\boxed{{a2}}$", r"x = \boxed{{a1}} and y = \boxed{{a2}}"), "ordered"),
    Kind("boxes in a pair", (r"$(x,y)=(\boxed{{a1}},\boxed{{a2}})$",), "ordered"),
    Kind("box with a choice", (r"The answer is $\boxed{{t}}$.", r"\boxed{\textbf{{a}}}"), "choice"),
    Kind("box with a word", (r"The answer is $\boxed{{t}}$.", r"\boxed{{a}}"), "word"),
    Kind("box with a time", (r"$\boxed{{t}}$", r"\boxed{{a}}"), "clock"),
    Kind("box with a power of ten", (r"$\boxed{{t}}$", r"\boxed{{a}}"), "power"),
)
_MARKS = (
    Kind("tag", ("<answer>{a}</answer>", "<answer>\n{a}\n</answer>", "<answer> ${t}$ </answer>")),
    Kind("tag in capitals", ("<ANSWER>{a}</ANSWER>", "<Answer>{a}</Answer>")),
    Kind("tag in brackets", ("[ANSWER]{a}[/ANSWER]", "[answer] {a} [/answer]")),
    Kind(
        "tag with a sentence", ("<answer>The answer is {a}.</answer>", "<answer>\nThe final answer is ${t}$\n</answer>")
    ),
    Kind("tag with a box", (r"<answer>$\boxed{{t}}$</answer>", "<answer>\\[\\boxed{{t}}\\]</answer>")),
    Kind("tags, or", ("<answer>{a}</answer> or <answer>{d}</answer>",), "integer", never=True),
    Kind("tag after a thought", ("<think>{s} I think {d}.</think>\n<answer>{a}</answer>",)),
    Kind("tag corrected", ("<answer>{d}</answer> Wait, that is wrong. <answer>{a}</answer>",)),
    Kind("tag, then prose", ("<answer>{a}</answer>\nI hope this helps! Note that {d} is not possible.",)),
    Kind("hash", ("#### {a}", "\n#### {a}\n")),
    Kind("hash, then more", ("#### {a}\n\nI hope this helps.", "#### {a}<|eot_id|>", "#### **{a}**")),
    Kind("hash as a heading", ("#### Answer\n{a}", "#### Final Answer:\n\n**{a}**")),
    Kind("heading", ("## Answer\n\n{a}", "### Final answer\n${t}$", "# Answer: {a}")),
    Kind("thought, then the value", ("<think>{s} Perhaps {d}?</think>{a}", "<think>{s}</think>\n\n${t}$"), steps=False),
    Kind("json", ('{"reasoning": "{p}", "answer": "{a}"}', '```json\n{"answer": "{a}"}\n```'), "integer"),
)
_PHRASE = (
    Kind("the answer is", ("The answer is {a}.", "So the answer is {a}", "Hence the answer is ${t}$.")),
    Kind("the final answer is", ("The final answer is {a}.", "Therefore, the final answer is: ${t}$.")),
    Kind("answer, colon", ("Answer: {a}", "ANSWER: {a}", "Final Answer: {a}", "Final answer: ${t}$")),
    Kind("answer, bold", ("**Answer:** {a}", "**Answer**: {a}", "**Answer: {a}**", "__Answer:__ **{a}**")),
    Kind("answer, arrow and emoji", ("✅ Final Answer: **{a}**", "Final answer → {a}", "🎉 The answer is **{a}**! 🎉")),
    Kind("answer on its own line", ("Answer:\n{a}", "**Final Answer**\n\n{a}", "The answer is:\n\n\\[ {t} \\]")),
    Kind(
        "answer, adverbs", ("The answer is therefore {a}.", "The answer is thus simply {a}.", "Our answer is then {a}.")
    ),
    Kind("answer given by", ("The answer is given by {p} + {q} = {a}.", "The answer is that x equals {a}."), "integer"),
    Kind(
        "label, then a sentence", ("Final Answer: The total number of {n} is {a}.", "Answer: The value of $n$ is {a}.")
    ),
    Kind(
        "two answers, so",
        ("Since the result is {d}, the final answer is {a}.", "The result is {d}, so the answer is {a}."),
    ),
    Kind("solution, so the answer", ("The solution is x = {d}, so the answer is {a}.",), "integer"),
    Kind("not that, this", ("The answer is not {d}. The answer is {a}.", "The answer isn't {d}; the answer is {a}.")),
    Kind("this, not that", ("The answer is {a}, not {d}.", "It's {a}, not {d}.", "The answer is {a} rather than {d}.")),
    Kind("exclaimed", ("The answer is {a}!", "The final answer is {a}!!"), "integer"),
    Kind(
        "answer, because", ("The answer is {a} because the rest is {d}.", "The answer is {a}, since {d} was excluded.")
    ),
    Kind(
        "answer, then more",
        ("The answer is {a}. I hope it is correct.", "The answer is {a}. Let me know if {d} puzzles you."),
    ),
    Kind(
        "answer, wait, answer",
        ("The answer is {d}. Wait, no. The answer is {a}.", "The answer is {d}. Actually, the answer is {a}."),
    ),
    Kind("answer, no, value", ("The answer is {d}. No, wait, it's {a}.", "The answer is {d}... Correction: {a}.")),
    Kind(
        "value is the answer", ("So {a} is the answer.", "Hence ${t}$ is the final answer.", "Thus {a} is our answer.")
    ),
    Kind(
        "correct choice",
        ("The correct choice is {a}.", "The correct answer is {a} since it fits.", "Option {a} is correct."),
        "choice",
    ),
    Kind("answer, a letter", ("Answer: {a}", "The answer is {a}.", "**{a}**"), "choice"),
    Kind("answer, a word", ("The answer is {a}.", "Answer: {a}", "**Answer:** {a}"), "word"),
    Kind("answer, yes or no", ("The answer is {a}.", "**{a}**", "Answer: {a}"), "yes"),
    Kind("answer, a time", ("The answer is {a}.", "Answer: {a}"), "clock"),
    Kind(
        "answer verified",
        ("So the answer is {a}.\nThis solution is verified.", "The answer is {a}. The result is correct."),
    ),
    Kind("comes out", ("The answer comes out to {a}.", "The answer should be {a}.", "The answer must be ${t}$.")),
    Kind("answer with words", ("The answer is {a} (as expected).", "Final answer: {a} (see above)")),
    Kind("the value of", ("Therefore, the value of x is {a}.", "Hence the sum equals {a}.", "The total cost is {a}.")),
    Kind("first thought", ("I first thought the answer was {d}, but the answer is {a}.",)),
    Kind(
        "answers, or",
        ("The answer is {a} or {d}.", "Answer: {a} or {d}", "The answer is either {a} or {d}."),
        "integer",
        never=True,
    ),
    Kind(
        "answers, maybe",
        ("The answer is {a}. Or maybe {d}.", "The answer is {a}. Alternatively, {d}."),
        "integer",
        never=True,
    ),
    Kind("letters, or", ("The answer is {a} or {d}.", "{a} or {d}", "Answer: {a} and {d}"), "choice", never=True),
)
_FORMULAS = (
    Kind("last formula", ("Thus $x = {t}$.", "So we conclude that ${t}$.", "This gives \\({t}\\).")),
    Kind("last displayed", ("Hence\n\\[ x = {t} \\]", "Hence\n$$f(2) = {t}.$$")),
    Kind("aligned", ("\\begin{align*} x &= {p} + {q} \\\\ &= {t} \\end{align*}",), "integer"),
    Kind("chain of equations", ("$x = {p} + {q} = {t}$", "x = {p} + {q} = {t}"), "integer"),
    Kind("roots in words", ("The two roots are {a1} and {a2}.", "The roots are {a1} and {a2}."), "roots"),
    Kind("roots in formulas", ("So the roots are $x={a1}$ and $x={a2}$.", "$x = {a1}$ or $x = {a2}$."), "roots"),
    Kind(
        "answers and", ("The answers are {a1} and {a2}.", "Answer: {a1}, {a2}", "The answer is {a1} and {a2}."), "roots"
    ),
    Kind("unknowns", ("x = {a1}, y = {a2}", "So $x = {a1}$ and $y = {a2}$."), "ordered", steps=False),
)
_NUMBERS = (
    Kind("last number", ("So there are {a} {n} in total.", "That makes {a} {n}."), "integer"),
    Kind("bold number", ("We get **{a}** {n}.", "That leaves **{a}**.", "In all: **{a} {n}**"), "integer"),
    Kind("money", ("He needs {t}.", "She pays {a} in all.", "In total it costs **{a}**."), "money"),
    Kind("percentage", ("The price rises by {a}.", "It fell by {t}."), "percent"),
    Kind("x is", ("x is {a}", "Therefore x equals {a}."), "integer"),
    Kind("alone", ("{a}", "${t}$", "**{a}**", "= {a}", "`{a}`"), steps=False),
    Kind("struck", ("~~{d}~~ {a}", "The answer is ~~{d}~~ {a}."), "integer"),
    Kind("bullets", ("- Total so far: {d}\n- Final: {a}", "* {n}: 5\n* Result: {a}"), "integer"),
    Kind("number, hope", ("Hence there are {a} of them. I hope it is correct.<|im_end|>",), "integer"),
    Kind("number, of the n", ("So {a} of the {n} are left.", "He has {a} {n} left for his friends."), "integer"),
    Kind("number with words", ("Therefore it takes {a} (not {d}) {n}.", "It's {a} {n}."), "integer"),
)
_LANGUAGES = tuple(Kind(f"colon, {name}", texts) for name, texts in COLON.items()) + tuple(
    Kind(f"sentence, {name}", texts, "integer") for name, texts in SENTENCE.items()
)

KINDS = {kind.name: kind for kind in (*_BOX, *_MARKS, *_PHRASE, *_FORMULAS, *_NUMBERS, *_LANGUAGES, *LATER, *THIRD)}
