r"""A fourth, blind set of kinds for ``math_templates``, written without sight of the verifier or of the other sets.

Endings of language models and of students in chat: markdown, TeX, HTML, JSON, code, tables, other languages and scripts,
corrections, explanations behind the answer, and (``never``) hedges, refusals, denials, bounds and truncated texts.
"""

from __future__ import annotations

import re

from benchmarks.parity.math_kind import Kind, full_width

_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
).split()
_TENS = "- - twenty thirty forty fifty sixty seventy eighty ninety".split()
_RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
_LOWERED = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
_ARABIC = str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩")
_PERSIAN = str.maketrans("0123456789", "۰۱۲۳۴۵۶۷۸۹")
_HINDI = str.maketrans("0123456789", "०१२३४५६७८९")
_BOLD = str.maketrans("0123456789", "𝟎𝟏𝟐𝟑𝟒𝟓𝟔𝟕𝟖𝟗")


def _words(text: str) -> str:
    number = int(text)
    if number < 20:
        return _ONES[number]
    if number < 100:
        return _TENS[number // 10] + (f"-{_ONES[number % 10]}" if number % 10 else "")
    rest = f" and {_words(str(number % 100))}" if number % 100 else ""
    return f"{_ONES[number // 100]} hundred{rest}"


def _words_and_digits(text: str) -> str:
    return f"{_words(text)} ({text})"


def _arabic(text: str) -> str:
    return text.translate(_ARABIC)


def _persian(text: str) -> str:
    return text.translate(_PERSIAN)


def _hindi(text: str) -> str:
    return text.translate(_HINDI)


def _bold(text: str) -> str:
    return text.translate(_BOLD)


def _letter(text: str) -> str:
    return text.replace("(", "").replace(")", "")


def _small_letter(text: str) -> str:
    return _letter(text).lower()


def _percent_word(text: str) -> str:
    return text.replace("\\%", " percent").replace("%", " percent")


def _joined(text: str) -> str:
    return text.replace(" ", "", 1)


def _long_minus(text: str) -> str:
    return text.replace("-", "−")


def _said_minus(text: str) -> str:
    return text.replace("-", "negative ")


def _sqrt_call(text: str) -> str:
    return re.sub(r"√(\d+)", r"*sqrt(\1)", text)


def _raised_power(text: str) -> str:
    return re.sub(r" x 10\^(\d+)", lambda found: " × 10" + found[1].translate(_RAISED), text)


def _e_power(text: str) -> str:
    return re.sub(r" x 10\^(\d+)", r"e\1", text)


def _small_fraction(text: str) -> str:
    return re.sub(r"^(\d+)/(\d+)$", lambda found: f"{found[1].translate(_RAISED)}⁄{found[2].translate(_LOWERED)}", text)


def _spoken_fraction(text: str) -> str:
    return text.replace("/", " over ")


def _text_fraction(text: str) -> str:
    return text.replace("\\dfrac", "\\tfrac")


def _lower(text: str) -> str:
    return text.lower()


def _upper(text: str) -> str:
    return text.upper()


FOURTH = (
    # Endings of chat models: markdown
    Kind(
        "fourth: heading, then the value",
        (
            "### Final Answer\n\n**{a}**",
            "## ✅ Answer\n\n> **{a}**",
            "---\n\n#### Result:\n{a}\n\n---",
            "# Conclusion\nThe answer is **{a}**.",
        ),
    ),
    Kind(
        "fourth: bold label",
        (
            "**Final Answer**: {a}",
            "**Final Answer:** **{a}**",
            "***Answer: {a}***",
            "**The final answer is: ${t}$**",
        ),
    ),
    Kind(
        "fourth: bold amid a sentence",
        (
            "So, after all the steps, we find that there are **{a}** {n} in total.",
            "Therefore, she has **{a} {n}** left at the end of the week.",
            "Thus there are __{a}__ {n} altogether. Let me know if you'd like another example!",
        ),
        "integer",
    ),
    Kind(
        "fourth: nested formatting",
        (
            "> ### **Answer:** $\\boxed{\\mathbf{{t}}}$",
            "**Answer:** <u>**{a}**</u>",
            "1. **Result**\n   - *Final answer:* **$\\boxed{{t}}$**",
        ),
    ),
    Kind(
        "fourth: closing courtesy",
        (
            "The answer is **{a}**.\n\nI hope this helps! Let me know if you have any other questions. 😊",
            "Final answer: {a}\n\nWould you like me to explain any of the 3 steps in more detail?",
            "$\\boxed{{t}}$\n\nFeel free to ask if anything in step 2 is unclear.",
        ),
    ),
    Kind(
        "fourth: emoji",
        (
            "🎯 **Answer:** {a} ✅",
            "👉 Final answer: {a} 🎉🎉",
            "✨ So the answer is {a}! 🚀",
            "✅ {a}",
        ),
        steps=False,
    ),
    Kind(
        "fourth: blockquote and rule",
        (
            "> The final answer is {a}.",
            "***\n\n> **Answer** → {a}\n\n***",
        ),
    ),
    Kind(
        "fourth: key takeaways behind",
        (
            "**Answer: {a}**\n\n**Key takeaways:**\n1. Read the question twice.\n2. Check the units.\n3. Simplify.",
            "The answer is {a}.\n\n### Summary\n- We used 2 equations.\n- We eliminated 1 variable.",
        ),
    ),
    Kind(
        "fourth: struck out",
        (
            "Answer: ~~{d}~~ **{a}**",
            "The answer is ~~{d}~~ {a}.",
            "<p>Answer: <del>{d}</del> <ins>{a}</ins></p>",
        ),
    ),
    # TeX
    Kind(
        "fourth: box variants",
        (
            "$\\boxed{ {t} }$",
            "\\[\\boxed{\\displaystyle {t}}\\]",
            "$$\n\\boxed{\n{t}\n}\n$$",
            "\\(\\boxed{\\boldsymbol{{t}}}\\)",
        ),
    ),
    Kind(
        "fourth: box with a name inside",
        (
            "$$\\boxed{x = {t}}$$",
            "\\[ \\boxed{\\text{Answer: } {t}} \\]",
            "Hence $\\boxed{f(3) = {t}}$.",
        ),
        "integer",
    ),
    Kind(
        "fourth: box around a sum",
        (
            "$$\\boxed{{p} + {q} = {t}}$$",
            "The total is $\\boxed{{p}+{q}={t}}$ {n}.",
        ),
        "integer",
    ),
    Kind(
        "fourth: coloured and framed",
        (
            "$\\boxed{\\color{blue}{{t}}}$",
            "\\[\\color{red}{\\boxed{{t}}}\\]",
            "\\fbox{${t}$}",
            "Answer: \\colorbox{yellow}{${t}$}",
        ),
    ),
    Kind(
        "fourth: underlined in TeX",
        (
            "Therefore the answer is $\\underline{\\underline{{t}}}$.",
            "$$\\therefore\\ \\text{answer} = \\underline{{t}}$$",
        ),
    ),
    Kind(
        "fourth: aligned derivation",
        (
            "\\begin{align*}\nx &= {p} + {q} \\\\\n&= {t}\n\\end{align*}",
            "\\[\n\\begin{aligned}\nT &= {p} + {q}\\\\\n  &= \\boxed{{t}}\n\\end{aligned}\n\\]",
            "$$\\begin{aligned} n - {q} &= {p} \\\\ n &= {p} + {q} \\\\ n &= {t} \\end{aligned}$$\nSo $n = {t}$.",
        ),
        "integer",
    ),
    Kind(
        "fourth: Minerva ending",
        (
            "Final Answer: The final answer is ${t}$. I hope it is correct.",
            "The final answer is $\\boxed{{t}}$. I hope it is correct.",
            "Therefore, the final answer is: $\\boxed{{t}}$. I hope it is correct.",
        ),
    ),
    Kind(
        "fourth: TeX spacing and punctuation",
        (
            "The answer is \\(\\,{t}\\,\\).",
            "Thus the answer is $$\\quad {t} \\quad.$$",
            "We conclude that the answer is ${t}{}$.",
            "The answer is $ \\left( {t} \\right) $.",
        ),
        "integer",
    ),
    Kind(
        "fourth: QED behind",
        (
            "so the value is ${t}$. $\\blacksquare$",
            "Hence the answer is $\\boxed{{t}}$. $\\square$",
            "The answer is therefore ${t}$. Q.E.D.",
        ),
    ),
    Kind(
        "fourth: box with the unit outside",
        (
            "The area is $\\boxed{{t}}$ square centimeters.",
            "It takes her $\\boxed{{t}}\\text{ minutes}$.",
            "\\[\\boxed{{t}}~\\text{{n}}\\]",
        ),
        "integer",
    ),
    Kind(
        "fourth: fraction styles",
        (
            "The probability is $\\boxed{{t}}$.",
            "The simplified fraction is ${t}$.",
            "\\[P = \\boxed{\\displaystyle{t}}\\]",
        ),
        "fraction",
        change=_text_fraction,
    ),
    Kind(
        "fourth: small fraction",
        ("The answer is {a}.", "Answer: **{a}** of the cake", "So the probability is {a}"),
        "fraction",
        change=_small_fraction,
    ),
    Kind(
        "fourth: fraction in words between digits",
        ("The answer is {a}.", "so you get {a} as your final answer"),
        "fraction",
        change=_spoken_fraction,
    ),
    # HTML, XML, JSON, YAML and code
    Kind(
        "fourth: HTML",
        (
            "<p>The final answer is <strong>{a}</strong>.</p>",
            '<div class="answer"><b>Answer:</b>&nbsp;{a}</div>',
            "<ul><li>Step 1: read</li><li>Step 2: solve</li></ul><h3>Answer: {a}</h3>",
            "The answer is<br><b>{a}</b><br/>",
        ),
    ),
    Kind(
        "fourth: tags",
        (
            "<think>Maybe {d}? Let me check... no, that's off.</think>\n\nThe answer is {a}.",
            "<think>{s}</think>\n<answer>{a}</answer>",
            "<answer>\n{a}\n</answer>",
            "<solution>{s}</solution><final_answer>{a}</final_answer>",
        ),
        steps=False,
    ),
    Kind(
        "fourth: JSON",
        (
            '{"answer": "{a}"}',
            '{"reasoning": "we add the 2 parts", "final_answer": "{a}"}',
            '```json\n{\n  "steps": 3,\n  "answer": "{a}"\n}\n```',
        ),
    ),
    Kind(
        "fourth: JSON number",
        (
            '{"answer": {a}}',
            '```json\n{"thought": "add both", "answer": {a}, "confidence": 0.97}\n```',
        ),
        "integer",
    ),
    Kind(
        "fourth: YAML",
        (
            "```yaml\nsteps: 3\nanswer: {a}\n```",
            "---\nanswer: {a}\n...",
        ),
        "integer",
    ),
    Kind(
        "fourth: code and its output",
        (
            "```python\ntotal = {p} + {q}\nprint(total)\n```\nOutput:\n```\n{a}\n```\nThe answer is {a}.",
            "```python\nprint({p} + {q})  # {a}\n```\n\nSo the answer is `{a}`.",
            "```python\nx = {p}\ny = {q}\nprint(x + y)\n```\n\nRunning this prints {a}, so the final answer is **{a}**.",
        ),
        "integer",
    ),
    Kind(
        "fourth: code span",
        (
            "Final answer: `{a}`",
            "The answer is:\n\n```\n{a}\n```",
            "```text\nAnswer: {a}\n```",
        ),
    ),
    Kind(
        "fourth: table with a last row",
        (
            "| Item | Count |\n|---|---|\n| Monday | {p} |\n| Tuesday | {q} |\n| **Total** | **{a}** |\n\n"
            "The total is **{a}**.",
            "| Step | Value |\n|:--|--:|\n| first | {p} |\n| second | {q} |\n\n**Answer:** {a} {n}",
        ),
        "integer",
    ),
    Kind(
        "fourth: table with one answer",
        (
            "| Question | Answer |\n|---|---|\n| 1 | {a} |",
            "| **Final Answer** | {a} |\n|---|---|",
        ),
        steps=False,
    ),
    Kind(
        "fourth: special tokens behind",
        (
            "The answer is {a}.<|im_end|>",
            "#### {a}</s>",
            "$\\boxed{{t}}$<|eot_id|>",
            "The final answer is {a}.<|endoftext|><|endoftext|><|endoftext|>",
        ),
    ),
    Kind(
        "fourth: GSM8K marks",
        (
            "There are {p}+{q}=<<{p}+{q}={a}>>{a} {n}.\n#### {a}",
            "{p} + {q} = <<{p}+{q}={a}>>{a}\n####{a}",
            "He needs {p}+{q} = <<{p}+{q}={a}>>{a} {n} in all.",
        ),
        "integer",
    ),
    # Word questions
    Kind(
        "fourth: equation at the end",
        (
            "Total: {p} + {q} = {a}",
            "{p} + {q} = {a} {n}.",
            "In total that makes {p} + {q} = **{a}** {n}.",
            "So altogether: {p} plus {q} equals {a}.",
        ),
        "integer",
    ),
    Kind(
        "fourth: check behind the answer",
        (
            "The answer is {a}.\n\nCheck: {a} - {q} = {p}. ✓",
            "**Answer: {a}**\n\n*Verification:* {p} + {q} = {a} ✔️",
            "So $x = {t}$. Plugging back in: ${t} - {q} = {p}$, which matches the problem.",
        ),
        "integer",
    ),
    Kind(
        "fourth: explanation behind the answer",
        (
            "Answer: {a}\n\nExplanation: {s}",
            "{a}\n\nHere's why: {s}",
            "The answer is {a}. Here is how I got it. {s}",
            "**{a}** is the answer.\n\n**Reasoning:** {s}",
        ),
        "integer",
        steps=False,
    ),
    Kind(
        "fourth: sentence with other numbers behind",
        (
            "Therefore, Janet will have {a} {n} after 3 weeks.",
            "So the 4 friends have {a} {n} altogether after 2 days.",
            "It will take {a} minutes to fill the 2 tanks.",
        ),
        "integer",
    ),
    Kind(
        "fourth: restated question",
        (
            "Question: How many {n} are there if each of the 6 boxes is full?\nAnswer: {a}",
            "You asked how many {n} remain after 5 days. There are {a} {n} remaining.",
            "How many {n} does Tom have now? {a}.",
            "Q: what is the total number of {n}?\nA: {a}",
        ),
        "integer",
    ),
    Kind(
        "fourth: next question started",
        (
            "The answer is {a}.\n\nQuestion: Tom has 12 pens and gives 4 away. How many are left?",
            "#### {a}\n\nQ: A train goes 60 miles in an hour. How far does it go in 3 hours?\nA: Let's think step by step.",
        ),
        "integer",
    ),
    Kind(
        "fourth: word problem with units",
        (
            "The distance is {a} km.",
            "The rope is $\\boxed{{t}\\text{ m}}$ long.",
            "Answer: {a} cm²",
            "The volume is **{a} cubic feet**.",
        ),
        "integer",
    ),
    Kind(
        "fourth: measure in a sentence",
        (
            "The answer is {a}.",
            "So we end up with **{a}** exactly.",
            "$$\\boxed{{t}}$$",
            "Final answer: ${t}$",
        ),
        "measure",
    ),
    Kind(
        "fourth: measure without a space",
        ("Answer: {a}", "its {a}", "so the answer is **{a}**!"),
        "measure",
        change=_joined,
    ),
    Kind(
        "fourth: age and years",
        (
            "Therefore Maria is {a} years old now.",
            "She is {a} years old, and in 5 years her brother will be in school too. So the answer is {a}.",
            "Dad's current age is **{a}**.",
        ),
        "integer",
    ),
    Kind(
        "fourth: rate units",
        (
            "His average speed is {a} miles per hour.",
            "The speed of the boat is $\\boxed{{t}}$ mph.",
            "Speed = {a} km/h",
        ),
        "integer",
    ),
    Kind(
        "fourth: angles",
        (
            "The measure of angle B is {a}°.",
            "$\\angle ABC = \\boxed{{t}^\\circ}$",
            "so the angle is {a} degrees",
        ),
        "integer",
    ),
    # Money and percentages
    Kind(
        "fourth: money with cents",
        (
            "She has ${a}.00 left.",
            "The total cost is **${a}.00**.",
            "Answer: $\\boxed{\\${t}.00}$",
        ),
        "integer",
    ),
    Kind(
        "fourth: other currencies",
        (
            "The total price is €{a}.",
            "He paid £{a} for the tickets.",
            "The total cost is ₹{a}.",
            "Final answer: {a} euros",
        ),
        "integer",
    ),
    Kind(
        "fourth: dollars in words",
        (
            "Her profit is {a} dollars.",
            "so he spent {a} bucks in total",
            "The bill comes to USD {a}.",
            "**Answer:** \\({t}\\) dollars per day",
        ),
        "integer",
    ),
    Kind(
        "fourth: money in a box",
        (
            "$\\boxed{{t}}$",
            "Thus each person pays \\(\\boxed{{t}}\\).",
            "She makes **{a}** every day at the farmers' market.",
            "Mrs. Lopez spends {a} in total, which is within her budget.",
        ),
        "money",
    ),
    Kind(
        "fourth: percent in words",
        ("The increase is {a}.", "so the answer is **{a}**", "Answer: {a} of the class"),
        "percent",
        change=_percent_word,
    ),
    Kind(
        "fourth: percent signs",
        (
            "The price went up by $\\boxed{{t}}$.",
            "{a} of the students passed.",
            "Answer ➜ **{a}**",
        ),
        "percent",
    ),
    # Multiple choice
    Kind(
        "fourth: choice after the list",
        (
            "A) always\nB) often\nC) sometimes\nD) rarely\nE) never\n\nAnswer: {a}",
            "The options are (A), (B), (C), (D) and (E). The correct option is {a}.",
            "Looking at choices A through E, only {a} fits. So the answer is {a}.",
        ),
        "choice",
    ),
    Kind(
        "fourth: choice with rejected ones",
        (
            "- {d} is incorrect, since it ignores the sign.\n- {a} is correct. ✓\n\n**Answer: {a}**",
            "I was torn between {d} and {a}, but {d} fails the second condition, so the answer is {a}.",
            "Not {d}, because that one doubles the total. The right choice is {a}.",
        ),
        "choice",
    ),
    Kind(
        "fourth: choice letter alone",
        (
            "The correct answer is **{a}**.",
            "**Answer: Option {a}**",
            "Answer: {a}.",
            "Correct choice ➡️ **{a}**",
        ),
        "choice",
        change=_letter,
    ),
    Kind(
        "fourth: choice letter with its text",
        (
            "The correct answer is **{a}. It decreases over time**.",
            "Answer: {a}) the mitochondria",
            "The answer is {a}: None of these plants need soil.",
        ),
        "choice",
        change=_letter,
    ),
    Kind(
        "fourth: choice in a box",
        (
            "$\\boxed{{t}}$",
            "\\[\\boxed{\\textbf{{a}}}\\]",
            "The answer is $\\boxed{\\mathrm{{a}}}$.",
        ),
        "choice",
    ),
    Kind(
        "fourth: choice in small letters",
        ("the answer is {a})", "i pick option {a}.", "answer: {a}"),
        "choice",
        change=_small_letter,
    ),
    # Students in chat
    Kind(
        "fourth: student chat",
        (
            "ok so i got {a} as my final answer",
            "ans = {a}",
            "ans: {a} :)",
            "its {a}, final answer",
        ),
        steps=False,
    ),
    Kind(
        "fourth: typos",
        (
            "Teh answer is {a}.",
            "The anwser is {a}",
            "Fianl answer: {a}",
            "So teh final anser is {a} .",
        ),
    ),
    Kind(
        "fourth: shouting and spacing",
        (
            "FINAL ANSWER : {a}",
            "THE ANSWER IS {a}!!!",
            "Answer   :   {a}   ",
            "\n\n\nANSWER:\n\n\n{a}\n\n\n",
        ),
    ),
    Kind(
        "fourth: bare value",
        ("{a}", "{a}.", "${t}$", "**{a}**"),
        steps=False,
    ),
    Kind(
        "fourth: quoted",
        (
            'The answer is "{a}".',
            "My final answer is “{a}”.",
            "Answer: '{a}'",
        ),
    ),
    Kind(
        "fourth: arrows and brackets",
        (
            "⇒ x = {a}",
            "⟹ answer: {a}",
            "∴ the answer is {a}",
            "Answer: [{a}]",
        ),
        "integer",
    ),
    Kind(
        "fourth: answer put first",
        (
            "It's {a}, since the other cases are all impossible.",
            "{a}. That follows at once from the symmetry of the figure.",
            "The answer is {a} because the 2 sides of the equation must balance.",
        ),
        steps=False,
    ),
    # Corrections
    Kind(
        "fourth: self-correction",
        (
            "The answer is {d}. Wait, I made an arithmetic mistake. The correct answer is {a}.",
            "So we get {d}... hmm, no, I forgot to carry. It should be {a}. Final answer: {a}",
            "$\\boxed{{e}}$\n\nWait, let me re-check. I misread the problem. The corrected answer is $\\boxed{{t}}$.",
            "Answer: {d}\n\nCorrection: the answer is {a}, not {d}.",
        ),
    ),
    Kind(
        "fourth: apology",
        (
            "I apologize for my earlier mistake. The correct answer is {a}, not {d}.",
            "You're right, {d} was wrong. Sorry about that! The correct answer is **{a}**.",
            "My previous answer of {d} was incorrect; the right answer is {a}.",
        ),
    ),
    Kind(
        "fourth: common mistake behind",
        (
            "The answer is {a}. (A common mistake is to answer {d}, forgetting the last step.)",
            "**Answer: {a}**\n\n⚠️ Note: many students get {d} here because they skip a step, but that is wrong.",
            "Final answer: {a}. I first got {d}, but that was a slip.",
        ),
    ),
    Kind(
        "fourth: not this but that",
        (
            "The answer is not {d} but {a}.",
            "The answer isn't {d}, it's {a}.",
            "The correct answer is {a} rather than {d}.",
            "Answer: {a} (not {d})",
        ),
    ),
    Kind(
        "fourth: other person's answer rejected",
        (
            "The student's answer of {d} is wrong. The correct answer is {a}.",
            "Your friend said {d}, but that's a mistake: the right answer is {a}.",
            "The answer key says {d}, which is a misprint. The correct answer is {a}.",
        ),
    ),
    Kind(
        "fourth: agreed by two ways",
        (
            "Method 1 gives {a}. Method 2 also gives {a}. So the answer is {a}.",
            "Both approaches agree: the answer is ${t}$.",
            "Double-checking gives the same result, so the answer is indeed **{a}**.",
        ),
    ),
    Kind(
        "fourth: spurious root dropped",
        (
            "This gives $x = {t}$ or $x = {e}$. Since ${e}$ does not satisfy the original equation, $x = {t}$.",
            "The candidates are {d} and {a}. Reject {d}, as it makes the denominator zero. The only solution is {a}.",
        ),
        "negative",
    ),
    Kind(
        "fourth: truncated after the answer",
        (
            "The final answer is $\\boxed{{t}}$. This means that each of the",
            "**Final Answer:** {a}\n\nLet me double-che",
            "So the answer is {a}.\n\n**Explanation:** The key idea is that we fir",
        ),
    ),
    # Types with their own shapes
    Kind(
        "fourth: large numbers",
        (
            "The population is **{a}**.",
            "The final answer is ${t}$ people.",
            "Total: {a} views per year.",
            "$$\\boxed{{t}}$$",
        ),
        "large",
    ),
    Kind(
        "fourth: long minus",
        ("The answer is {a}.", "$x = {t}$", "**Final answer:** {a}"),
        "negative",
        change=_long_minus,
    ),
    Kind(
        "fourth: minus in words",
        ("The answer is {a}.", "so x equals {a}", "Final answer: **{a}**"),
        "negative",
        change=_said_minus,
    ),
    Kind(
        "fourth: number in words",
        ("The answer is {a}.", "So the answer is **{a}**.", "There are {a} {n} left. The answer is {a}."),
        "integer",
        change=_words,
    ),
    Kind(
        "fourth: number in words and digits",
        ("The answer is {a}.", "Final answer: {a} {n}", "**{a}** is the final answer."),
        "integer",
        change=_words_and_digits,
    ),
    Kind(
        "fourth: root as a call",
        ("The length is {a}.", "Answer: `{a}`", "d = {a}"),
        "root",
        change=_sqrt_call,
    ),
    Kind(
        "fourth: root",
        ("Thus $AB = {t}$.", "The hypotenuse is {a}.", "The distance is $\\boxed{{t}}$ units."),
        "root",
    ),
    Kind(
        "fourth: power of ten raised",
        ("The answer is {a}.", "**Answer:** {a}", "Total number of atoms: {a}"),
        "power",
        change=_raised_power,
    ),
    Kind(
        "fourth: power of ten with an e",
        ("The answer is {a}.", "Output: `{a}`\n\nSo the answer is {a}.", "Final answer = {a}"),
        "power",
        change=_e_power,
    ),
    Kind(
        "fourth: roots",
        (
            "The solutions are $x = {a1}$ and $x = {a2}$.",
            "Hence $\\boxed{x = {a1} \\text{ or } x = {a2}}$.",
            "So x = {a2} or x = {a1}.",
            "The solution set is $\\{{a2}, {a1}\\}$.",
        ),
        "roots",
    ),
    Kind(
        "fourth: roots with subscripts",
        (
            "$$x_1 = {a1}, \\quad x_2 = {a2}$$",
            "**Solutions:** x₁ = {a1}, x₂ = {a2}",
            "$\\boxed{{a1}, {a2}}$",
            "The roots are {a1} and {a2}. Checking both in the equation gives 0 = 0. ✓",
        ),
        "roots",
    ),
    Kind(
        "fourth: ordered values",
        (
            "The solution of the system is $(x, y) = ({a1}, {a2})$.",
            "So x = {a1} and y = {a2}, i.e. ({a1}, {a2}).",
            "$$\\boxed{({a1}, {a2})}$$",
            "**Answer:** $\\left({a1},\\ {a2}\\right)$",
        ),
        "ordered",
    ),
    Kind(
        "fourth: point",
        (
            "The midpoint is {a}.",
            "The vertex of the parabola is at the point $\\boxed{{t}}$.",
            "Center: **{a}**",
            "The lines meet at $P = {t}$.",
        ),
        "pair",
    ),
    Kind(
        "fourth: word",
        (
            "So the answer is **{a}**.",
            "$\\boxed{{t}}$",
            "Final answer: {a}!",
            "Answer: {a}, not {d}.",
        ),
        "word",
    ),
    Kind(
        "fourth: word in other letters",
        ("the answer is {a}", "answer: **{a}**", "i think its {a}"),
        "word",
        change=_lower,
    ),
    Kind(
        "fourth: yes or no with a reason",
        (
            "**{a}**, because the 2 triangles are similar.",
            "Answer: {a}. The sum of the digits decides it.",
            "$\\boxed{{t}}$",
            "So the answer is: {a}.",
        ),
        "yes",
    ),
    Kind(
        "fourth: yes or no in capitals",
        ("{a}!", "The answer is {a}.", "FINAL ANSWER: {a}"),
        "yes",
        change=_upper,
        steps=False,
    ),
    Kind(
        "fourth: time of day",
        (
            "The train arrives at {a}.",
            "So the movie ends at **{a}**, after the 20-minute break.",
            "Final answer: {a}",
        ),
        "clock",
    ),
    Kind(
        "fourth: decimal",
        (
            "The average is **{a}**.",
            "Answer: {a} (exact, no rounding needed)",
            "Each person pays ${a}.",
            "$$\\boxed{{t}\\text{ kg}}$$",
        ),
        "decimal",
    ),
    # Scripts and languages
    Kind(
        "fourth: bold digits",
        ("The answer is {a}.", "✨ Answer: {a} ✨"),
        "integer",
        change=_bold,
    ),
    Kind(
        "fourth: full width",
        ("答案：{a}", "答えは{a}です。", "答案是{a}。"),
        "integer",
        change=full_width,
    ),
    Kind(
        "fourth: Chinese",
        (
            "所以，最终答案是 **{a}**。",
            "因此，一共有{a}个苹果。",
            "答：小明还剩{a}元。",
            "综上所述，答案为 $\\boxed{{t}}$。",
        ),
        "integer",
    ),
    Kind(
        "fourth: Chinese choice",
        ("故选：{a}", "因此，正确答案是选项 {a}。", "【答案】{a}\n【解析】由题意，其余选项均不成立。"),
        "choice",
        change=_letter,
    ),
    Kind(
        "fourth: Chinese correction",
        ("答案是{d}。等等，我算错了，正确答案应该是{a}。", "答案不是{d}，而是{a}。"),
        "integer",
    ),
    Kind(
        "fourth: Japanese",
        ("したがって、答えは {a} です。", "よって、残りは{a}個です。", "**答え：** $\\boxed{{t}}$"),
        "integer",
    ),
    Kind(
        "fourth: Korean",
        ("따라서 정답은 {a}입니다.", "그러므로 모두 {a}개입니다.", "**정답:** {a}"),
        "integer",
    ),
    Kind(
        "fourth: Spanish",
        ("Por lo tanto, la respuesta es **{a}**.", "Respuesta final: {a}", "En total, María tiene {a} manzanas."),
        "integer",
    ),
    Kind(
        "fourth: French",
        ("La réponse est donc {a}.", "**Réponse finale : {a}**", "Au total, il lui reste {a} euros."),
        "integer",
    ),
    Kind(
        "fourth: German",
        (
            "Die Antwort lautet also **{a}**.",
            "Antwort: Peter hat noch {a} Äpfel.",
            "Das Ergebnis ist nicht {d}, sondern {a}.",
        ),
        "integer",
    ),
    Kind(
        "fourth: Italian",
        ("Quindi la risposta è {a}.", "**Risposta finale:** ${t}$", "In totale ci sono {a} studenti."),
        "integer",
    ),
    Kind(
        "fourth: Portuguese",
        ("Portanto, a resposta é {a}.", "Resposta: **{a}**", "Resposta final: $\\boxed{{t}}$. Espero ter ajudado!"),
        "fraction",
    ),
    Kind(
        "fourth: Russian",
        ("Ответ: {a}.", "Таким образом, правильный ответ — **{a}**.", "Значит, у Маши осталось {a} рублей."),
        "integer",
    ),
    Kind(
        "fourth: Ukrainian",
        ("Відповідь: {a}.", "Отже, відповідь дорівнює {a}."),
        "integer",
    ),
    Kind(
        "fourth: Polish and Czech",
        ("Odpowiedź: {a}", "Zatem ostateczna odpowiedź to **{a}**.", "Odpověď: {a}", "Výsledek je tedy {a}."),
        "integer",
    ),
    Kind(
        "fourth: Dutch and Swedish",
        ("Het antwoord is dus {a}.", "**Antwoord:** {a}", "Svaret är {a}.", "**Svar:** {a}"),
        "integer",
    ),
    Kind(
        "fourth: Turkish",
        ("Cevap: {a}", "Sonuç olarak doğru cevap **{a}**.", "Buna göre toplam {a} elma vardır."),
        "integer",
    ),
    Kind(
        "fourth: Vietnamese",
        ("Vậy đáp án là {a}.", "**Đáp số:** {a}", "Vậy Lan còn lại {a} quả táo."),
        "integer",
    ),
    Kind(
        "fourth: Indonesian",
        ("Jadi, jawabannya adalah {a}.", "**Jawaban akhir:** {a}", "Jadi, jumlah seluruhnya adalah {a} buku."),
        "integer",
    ),
    Kind(
        "fourth: Arabic",
        ("إذن الإجابة هي {a}.", "**الإجابة النهائية:** {a}", "الجواب: $\\boxed{{t}}$"),
        "integer",
    ),
    Kind(
        "fourth: Arabic digits",
        ("الإجابة هي {a}.", "الجواب النهائي: {a}"),
        "integer",
        change=_arabic,
    ),
    Kind(
        "fourth: Persian",
        ("پاسخ نهایی: {a}", "بنابراین جواب {a} است."),
        "integer",
        change=_persian,
    ),
    Kind(
        "fourth: Hindi",
        ("अतः उत्तर {a} है।", "**उत्तर:** {a}", "इसलिए सही उत्तर $\\boxed{{t}}$ है।"),
        "integer",
    ),
    Kind(
        "fourth: Hindi digits",
        ("उत्तर: {a}", "अतः अंतिम उत्तर {a} है।"),
        "integer",
        change=_hindi,
    ),
    Kind(
        "fourth: Bengali and Thai",
        ("সুতরাং, উত্তর হলো {a}।", "**উত্তর:** {a}", "ดังนั้นคำตอบคือ {a}", "**คำตอบ:** {a}"),
        "integer",
    ),
    Kind(
        "fourth: Greek and Hebrew",
        ("Άρα η απάντηση είναι {a}.", "**Απάντηση:** {a}", "התשובה היא {a}.", "**תשובה סופית:** {a}"),
        "integer",
    ),
    # No single value is given
    Kind(
        "fourth: never, one or the other",
        (
            "The answer is either {a} or {d}.",
            "It's {a} or maybe {d}, I can't tell which.",
            "Final answer: {a} or {d}",
            "$\\boxed{{t} \\text{ or } {e}}$",
        ),
        never=True,
    ),
    Kind(
        "fourth: never, two readings",
        (
            "If the discount applies once, the answer is {a}; if it applies twice, it is {d}. The problem does not say which.",
            "Depending on the interpretation, the result is {a} or {d}.",
            "There are two possible readings: one gives {a}, the other {d}. I cannot decide between them.",
        ),
        never=True,
    ),
    Kind(
        "fourth: never, two methods disagree",
        (
            "One method gives {a} and another gives {d}, so I am not sure which is right.",
            "I got {a} the first time and {d} the second time, no idea which one is correct.",
        ),
        never=True,
    ),
    Kind(
        "fourth: never, denied",
        (
            "The answer is not {a}.",
            "It can't be {a}, but I don't know what it is instead.",
            "Neither {a} nor {d} is the correct answer.",
            "$x \\neq {t}$",
        ),
        never=True,
    ),
    Kind(
        "fourth: never, refused",
        (
            "I'm sorry, but I can't solve this problem.",
            "There is not enough information to determine the answer.",
            "$\\boxed{\\text{Cannot be determined}}$",
            "I don't know the answer.",
        ),
        never=True,
    ),
    Kind(
        "fourth: never, guess withdrawn",
        (
            "At first I thought the answer was {a}, but that is wrong, and I could not find the correct one.",
            "The answer is {a}. Wait, no, that's wrong. I give up.",
            "Someone might say {a}, but that is incorrect. I do not know the right answer.",
        ),
        never=True,
    ),
    Kind(
        "fourth: never, bounds",
        (
            "The answer is greater than {a}.",
            "So the answer must be less than {a}.",
            "All we can say is that $x > {t}$.",
            "The answer is strictly more than {a}, but I could not find its exact value.",
        ),
        "integer",
        never=True,
    ),
    Kind(
        "fourth: never, range",
        (
            "The answer lies somewhere between {a} and {d}.",
            "It is between {a} and {d} {n}, but I can't say exactly how many.",
            "Anything from {a} to {d} would work.",
        ),
        "integer",
        never=True,
    ),
    Kind(
        "fourth: never, truncated before the answer",
        (
            "Therefore, the final answer is",
            "**Final Answer:**",
            "$\\boxed{",
            "So the total number of {n} is equal to",
        ),
        "integer",
        never=True,
    ),
    Kind(
        "fourth: never, empty placeholders",
        (
            "The answer is $\\boxed{}$.",
            "Final answer: [insert answer here]",
            "#### ???",
            '{"answer": null}',
        ),
        never=True,
    ),
    Kind(
        "fourth: never, choices",
        (
            "Both {a} and {d} are correct.",
            "The answer could be {a} or {d}.",
            "I'd rule out {a}, but I can't choose between the rest.",
            "It's a toss-up between {a} and {d}.",
        ),
        "choice",
        never=True,
    ),
    Kind(
        "fourth: never, yes and no",
        (
            "Yes and no; it depends on whether n is even.",
            "It could be yes or no; the problem does not give enough information.",
            "I can't say whether it is yes or no.",
        ),
        "yes",
        never=True,
    ),
    Kind(
        "fourth: never, other languages",
        (
            "答案是{a}或者{d}，我不确定。",
            "La respuesta es {a} o {d}, no estoy seguro.",
            "Die Antwort ist entweder {a} oder {d}.",
            "Ответ: либо {a}, либо {d}.",
        ),
        "integer",
        never=True,
    ),
    Kind(
        "fourth: never, denied in other languages",
        (
            "答案不是{a}，但我不知道正确答案。",
            "La réponse n'est pas {a}.",
            "La respuesta no es {a}.",
            "Я не знаю ответа.",
        ),
        "integer",
        never=True,
    ),
    Kind(
        "fourth: never, asked back",
        (
            "Could you clarify the question? Did you mean {a} or {d}?",
            "Is it {a}? Or {d}? I really don't know.",
            "Please provide the full problem so that I can help you solve it.",
        ),
        never=True,
    ),
    Kind(
        "fourth: never, left as an exercise",
        (
            "I'll leave the final calculation to you. Good luck!",
            "You can finish the last step on your own; I won't give the answer away.",
        ),
        never=True,
    ),
)
