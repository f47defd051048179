r"""More kinds for ``math_templates``: written after the parsers, and read by them once before anything was mended."""

from __future__ import annotations

from benchmarks.parity.math_kind import Kind, full_width

LATER = (
    Kind(
        "later: check behind",
        ("The answer is {a}.\n\n**Check:** {d} would be wrong, because 3 + 4 = 7.", "{s}\n\nSo we get {a}."),
    ),
    Kind(
        "later: summary",
        (
            "**Summary**\n\n- Start: 12\n- End: 31\n- **Answer: {a}**",
            "| step | value |\n|---|---|\n| 1 | 12 |\n\n**Answer:** {a}",
        ),
    ),
    Kind("later: hence colon", ("Hence: {a}", "Therefore: ${t}$", "So: **{a}**")),
    Kind(
        "later: which is",
        ("This simplifies to $3x = 12$, which gives $x = {t}$.", "This equals 3 + 4, which is {a}."),
        "integer",
    ),
    Kind(
        "later: required value",
        ("The required value is {a}.", "The desired quantity is ${t}$.", "The requested number is **{a}**."),
    ),
    Kind(
        "later: must be",
        ("So the missing number must be {a}.", "n has to be {a}.", "Thus it has to equal {a}."),
        "integer",
    ),
    Kind(
        "later: as a sentence",
        ("Tom has {a} {n}.", "They need {a} {n} more.", "Anna will be {a} years old.", "It will take her {a} days."),
        "integer",
    ),
    Kind(
        "later: money in prose",
        ("Tom pays {a} for everything.", "Her change is {a}.", "In total, he spent {a} on {n}.", "The profit was {a}."),
        "money",
    ),
    Kind(
        "later: percent in prose",
        ("About {a} of the {n} are red.", "The discount is {a}.", "So {a} of them passed the test."),
        "percent",
    ),
    Kind("later: out of", ("The probability is {a}.", "So the chance of that is ${t}$.", "P(A) = {a}"), "fraction"),
    Kind("later: measured", ("The rope is {a} long.", "It weighs {a}.", "The distance equals {a}."), "measure"),
    Kind(
        "later: time of day",
        ("The train arrives at {a}.", "So it is {a} when they meet.", "They meet at **{a}**."),
        "clock",
    ),
    Kind(
        "later: letter in prose",
        (
            "Thus, the right option is {a}.",
            "Hence {a} is the correct option.",
            "So I would choose {a}.",
            "Correct option: {a}",
        ),
        "choice",
    ),
    Kind(
        "later: letter excluded",
        ("{d} cannot be right, so the answer is {a}.", "Not {d}. The answer is {a}.", "It is not {d} but {a}."),
        "choice",
    ),
    Kind(
        "later: letters given up",
        ("It could be {a} or {d}.", "Either {a} or {d}.", "{a} and {d} are both correct."),
        "choice",
        never=True,
    ),
    Kind(
        "later: numbers given up",
        ("It could be {a} or {d}.", "{a}, or maybe {d}", "I think {a} or {d}.", "Either {a} or {d} is right."),
        "integer",
        never=True,
    ),
    Kind(
        "later: boxes given up",
        (r"\boxed{{a}}, perhaps \boxed{{d}}", r"\boxed{{a}} OR \boxed{{d}}", r"$\boxed{{a}}$ $\boxed{{d}}$"),
        "integer",
        never=True,
    ),
    Kind(
        "later: tag, hedge inside",
        ("<answer>{a} or {d}</answer>", "<answer>{a}, {d}</answer>", "<answer>{a}\n{d}</answer>"),
        "integer",
        never=True,
    ),
    Kind("later: hash, hedge", ("#### {a} or {d}", "#### {a}, {d}", "#### {a}\n#### {d}"), "integer", never=True),
    Kind(
        "later: denied",
        ("The answer is not {a}.", "It is definitely not {a}.", "{a} is not right.", "It can't be {a}."),
        "integer",
        never=True,
    ),
    Kind(
        "later: bounds",
        (
            "The answer is less than {a}.",
            "It is more than {a}.",
            "The answer is at most {a}.",
            "It lies between {d} and {a}.",
        ),
        "integer",
        never=True,
    ),
    Kind("later: question echoed", ("What is {a} + {d}?", "Is it {a}?"), "integer", never=True),
    Kind(
        "later: corrected at length",
        ("So the answer is {d}.\n\nHmm, let me double-check that. I forgot to carry.\n\nSo the answer is {a}.",),
    ),
    Kind(
        "later: corrected, typo",
        ("The answer is {d}. Sorry, I meant {a}.", "Answer: {d} -- oops, {a}.", "It's {d}; no, {a}."),
        "integer",
    ),
    Kind(
        "later: corrected, box and prose",
        (
            r"\boxed{{e}}. Wait, that's incorrect. It should be \boxed{{t}}.",
            r"Thus $\boxed{{e}}$... Hmm, no. Thus $\boxed{{t}}$.",
        ),
    ),
    Kind(
        "later: edit",
        ("Edit: the answer is {a}, not {d}.", "Update: it is {a}, not {d}.", "(I first wrote {d}.) The answer is {a}."),
        "integer",
    ),
    Kind(
        "later: rounding words",
        ("The answer is exactly {a}.", "It comes to exactly {a} in the end.", "That is {a} when rounded."),
        "integer",
    ),
    Kind(
        "later: code",
        ("```python\nx = 3 * 4\nprint(x)\n```\n\nThe program prints `{a}`.", "Running it gives:\n```\n{a}\n```"),
        "integer",
    ),
    Kind("later: quotes", ('The answer is "{a}".', "The answer is '{a}'.", "Answer: “{a}”")),
    Kind("later: parentheses", ("(Answer: {a})", "[The answer is {a}]", "The answer is ({a})."), "integer"),
    Kind(
        "later: bold label inside",
        ("The **answer** is **{a}**.", "The final answer is: **{a}**", "*The answer is {a}.*"),
    ),
    Kind(
        "later: latex text",
        (r"$\text{Answer: } {t}$", r"\[ \text{The answer is } {t}. \]", r"$\text{Therefore } x = {t}$"),
        "integer",
    ),
    Kind(
        "later: aligned box",
        (
            "\\begin{align*}\nx &= 3 \\\\\n&= \\boxed{{t}}\n\\end{align*}",
            "\\[\n\\begin{aligned}\n&= 3 \\\\\n&= \\boxed{{t}}.\n\\end{aligned}\n\\]",
        ),
    ),
    Kind(
        "later: therefore symbol",
        (r"$\therefore x = {t}$", "∴ x = {a}", "⇒ x = {a}", r"$\Rightarrow x = {t}$"),
        "integer",
    ),
    Kind(
        "later: run-on",
        (
            "#### {a}\n\nQuestion: Sue has 3 and 4.\nAnswer: 7\n#### 7",
            "The answer is {a}.\n\nQ: Next one?\nA: The answer is 7.",
        ),
    ),
    Kind(
        "later: chat tokens",
        ("The answer is {a}.<|im_end|>\n<|im_start|>user\nAnd 7?", r"\boxed{{t}}<|eot_id|>assistant \boxed{7}"),
    ),
    Kind(
        "later: german",
        ("Sie hat also {a} Äpfel.", "Die gesuchte Zahl ist {a}.", "Also ist die Lösung {a}.", "Ergebnis: {a}"),
        "integer",
    ),
    Kind("later: french", ("Le résultat est {a}.", "Il reste donc {a} pommes.", "Réponse finale : {a}"), "integer"),
    Kind(
        "later: spanish", ("El resultado es {a}.", "Por lo tanto, hay {a} manzanas.", "Respuesta final: {a}"), "integer"
    ),
    Kind("later: russian", ("Значит, осталось {a} яблок.", "Итого: {a}.", "Ответ: **{a}**"), "integer"),
    Kind(
        "later: chinese",
        ("所以一共有{a}个。", "因此，结果是{a}。", "答：一共{a}元。", "最后答案：$\\boxed{{a}}$"),
        "integer",
    ),
    Kind("later: japanese", ("したがって{a}個です。", "合計は{a}円です。", "解答：{a}"), "integer"),
    Kind(
        "later: full-width sentence",
        ("答案是：{a}。", "ｘ＝{a}", "（答）{a}"),
        "integer",
        change=full_width,
    ),
    Kind(
        "later: roots",
        ("$x = {a1}, {a2}$", "x = {a1} or x = {a2}", "{a1} and {a2}", "The zeros are at x = {a1} and x = {a2}."),
        "roots",
    ),
    Kind(
        "later: roots, marked",
        ("**x = {a1}** and **x = {a2}**", "#### {a1}, {a2}", "<answer>{a1}, {a2}</answer>", r"\boxed{{a1}, {a2}}"),
        "roots",
    ),
    Kind(
        "later: roots, numbered",
        ("$x_1 = {a1}$ and $x_2 = {a2}$", "x1 = {a1}, x2 = {a2}", "x₁ = {a1}, x₂ = {a2}"),
        "roots",
    ),
    Kind(
        "later: unknowns",
        (
            "Thus $(x, y) = ({a1}, {a2})$.",
            "The point is ({a1}, {a2}).",
            "x = {a1} and y = {a2}",
            "The answer is x = {a1}, y = {a2}.",
        ),
        "ordered",
        steps=False,
    ),
    Kind(
        "later: word in prose",
        ("It was {a}.", "So it must be {a}.", "**{a}** is the answer.", "Final answer: **{a}**."),
        "word",
    ),
    Kind(
        "later: yes or no in prose",
        ("{a}, that is right.", "{a}.", "So the answer is **{a}**.", "Answer: {a}, because 3 < 4."),
        "yes",
    ),
)
