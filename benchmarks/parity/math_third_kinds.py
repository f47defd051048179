r"""A third set of kinds for ``math_templates``: written when the rules had been made after the first two, and judged once before
anything was mended."""

from __future__ import annotations

from benchmarks.parity.math_kind import Kind

THIRD = (
    Kind(
        "third: conclusion heading", ("### Conclusion\n\nThe total is {a}.", "## Answer\n\n{a}", "# Final result: {a}")
    ),
    Kind("third: checked at the end", ("The answer is {a}. ✓", "Answer: {a} ✅", "**{a}** ✔️"), "integer"),
    Kind(
        "third: thanks behind",
        ("The answer is {a}. Let me know if you have any questions!", "So it's {a}. Hope that helps!"),
    ),
    Kind(
        "third: confidence behind", ("Answer: {a}\nConfidence: 95%", "The answer is {a}.\n\nConfidence: 0.9"), "integer"
    ),
    Kind(
        "third: json",
        ('{"answer": {a}}', '```json\n{"answer": {a}}\n```', '{"reasoning": "3 + 4 = 7", "answer": {a}}'),
        "integer",
    ),
    Kind("third: yaml", ("answer: {a}", "steps: 3\nanswer: {a}", "final_answer: {a}"), "integer"),
    Kind(
        "third: xml",
        ("<final>{a}</final>", "<result>{a}</result>", "<final_answer>{a}</final_answer>", "<ans>{a}</ans>"),
    ),
    Kind(
        "third: think tag first",
        ("<think>{s} so maybe {d}</think>\nThe answer is {a}.", "<think>It could be {d}.</think>{a}"),
        "integer",
    ),
    Kind("third: reasoning tag", ("<reasoning>{s}</reasoning>\n<answer>\n{a}\n</answer>", "<answer> {a} </answer>\n")),
    Kind(
        "third: box in a tag",
        (
            r"<answer>\boxed{{t}}</answer>",
            r"<answer>$\boxed{{t}}$</answer>",
            r"<answer>The answer is $\boxed{{t}}$.</answer>",
        ),
    ),
    Kind(
        "third: box then words",
        (
            r"\boxed{{t}} is the answer we wanted.",
            r"So $\boxed{{t}}$, as required.",
            r"$\boxed{{t}}$ (this matches the check 3 + 4 = 7)",
        ),
    ),
    Kind("third: fbox", (r"$\fbox{{t}}$", r"\framebox{{t}}", r"$$\boxed {{t}}$$"), "integer"),
    Kind(
        "third: text in the box",
        (r"\boxed{\text{The answer is }{t}}", r"\boxed{x = {t}}", r"\boxed{\textbf{{t}}}", r"\boxed{\mathbf{{t}}}"),
        "integer",
    ),
    Kind(
        "third: unit in the box",
        (r"\boxed{{t}\text{ units}}", r"\boxed{{t}\,\mathrm{cm}}", r"\boxed{\${t}}"),
        "integer",
    ),
    Kind(
        "third: display",
        (
            "The result is\n\\[\n{t}\n\\]",
            "Hence\n$$x = {t}.$$",
            "which gives\n\\begin{equation}\nx = {t}\n\\end{equation}",
        ),
        "integer",
    ),
    Kind(
        "third: chain of equals",
        ("Total = {p} + {q} = {a}", "$x = {p} + {q} = {t}$", "So {p} + {q} = **{a}**"),
        "integer",
    ),
    Kind("third: arrow", ("{p} + {q} → {a}", "Total → {a}", "⟹ {a}"), "integer"),
    Kind(
        "third: ordinal list end",
        ("1. Add {p} and {q}.\n2. The sum is {a}.\n3. So the answer is {a}.", "Step 3: Therefore, {a}."),
        "integer",
    ),
    Kind(
        "third: to conclude",
        ("In conclusion, {a} {n} were sold.", "To sum up, there are {a} {n}.", "All in all, {a} {n} remain."),
        "integer",
    ),
    Kind("third: possessive", ("Mary's total is {a}.", "Tom's share is {a}.", "The train's speed is {a}."), "integer"),
    Kind(
        "third: ends up with",
        ("He ends up with {a} {n}.", "She is left with {a} {n}.", "This leaves us with {a} {n}."),
        "integer",
    ),
    Kind(
        "third: needs to be",
        ("He must buy {a} more {n}.", "They have to save {a} {n}.", "You would need {a} {n}."),
        "integer",
    ),
    Kind(
        "third: number, then why",
        ("{a}, because {p} + {q} = {a}.", "{a} – since {p} and {q} add up to it.", "{a}. This is {p} + {q}."),
        "integer",
        steps=False,
    ),
    Kind(
        "third: not d but a",
        ("The answer is {a} rather than {d}.", "It's {a} instead of {d}.", "Not {d}, it's {a}."),
        "integer",
    ),
    Kind(
        "third: recalculated",
        (
            "The answer is {d}. Let me recheck: {p} + {q} = {a}. So the answer is {a}.",
            "I get {d}. Actually, redoing it gives {a}.",
        ),
        "integer",
    ),
    Kind(
        "third: mistake found",
        ("Answer: {d}\n\nCorrection: the answer should be {a}.", "#### {d}\nI made an error above.\n#### {a}"),
        "integer",
    ),
    Kind(
        "third: two answers by two methods",
        ("Method 1 gives {d}. Method 2 gives {a}. Method 2 is right, so the answer is {a}.",),
        "integer",
    ),
    Kind(
        "third: alternatives",
        (
            "Answer: {a} / {d}",
            "{a} (or {d})",
            "The answer is {a} or possibly {d}.",
            "The answer might be {a}, but it could also be {d}.",
        ),
        "integer",
        never=True,
    ),
    Kind(
        "third: cannot tell",
        (
            "There is not enough information. It may be {a}.",
            "I am not sure; maybe {a} or {d}.",
            "I cannot determine whether it is {a} or {d}.",
        ),
        "integer",
        never=True,
    ),
    Kind(
        "third: all listed",
        (
            "\\boxed{{a}}\n\\boxed{{d}}",
            "1) {a}\n2) {d}\n3) 77\nOne of these is the answer.",
            "Possible answers: {a}, {d}",
        ),
        "integer",
        never=True,
    ),
    Kind(
        "third: range",
        ("Between {a} and {d}.", "about {a} to {d}", "The answer is {a}–{d}.", r"\boxed{{a}-{d}}"),
        "integer",
        never=True,
    ),
    Kind(
        "third: refused",
        (
            "The answer isn't {a}.",
            "Clearly {a} is impossible.",
            "So the answer cannot be {a}.",
            r"$x \neq {t}$",
            "We rule out {a}.",
        ),
        "integer",
        never=True,
    ),
    Kind(
        "third: only an equation",
        ("Let x = {a}y.", "We need to find {a} + {d}."),
        "integer",
        never=True,
    ),
    Kind(
        "third: letter with text",
        (
            "The answer is {a} 42 apples.",
            "{a}: because 3 + 4 = 7",
            "Option {a} is correct.",
            "**Answer: {a} the second one**",
        ),
        "choice",
    ),
    Kind(
        "third: letter in a box",
        (r"\boxed{\text{{a}}}", r"$\boxed{\mathrm{{a}}}$", r"The correct choice is $\boxed{{a}}$."),
        "choice",
    ),
    Kind(
        "third: letters compared",
        (
            "A: 3, B: 4. The best is {a}.",
            "Between {d} and {a}, {a} is right.",
            "{d} is wrong because 3 > 2. {a} is correct.",
        ),
        "choice",
    ),
    Kind(
        "third: portuguese and italian",
        ("Portanto, restam {a} maçãs.", "O total é {a}.", "Quindi il totale è {a}.", "Alla fine ha {a} mele."),
        "integer",
    ),
    Kind(
        "third: polish and dutch",
        ("Zatem zostało {a} jabłek.", "Wynik: {a}", "Dus er zijn {a} appels over.", "Het totaal is {a}."),
        "integer",
    ),
    Kind(
        "third: korean and chinese",
        ("따라서 총 {a}개입니다.", "합은 {a}이다.", "因此总共需要{a}天。", "综上，答案选{a}。"),
        "integer",
    ),
    Kind(
        "third: turkish and vietnamese",
        ("Sonuç olarak {a} elma kaldı.", "Toplam {a} eder.", "Vậy còn lại {a} quả.", "Tổng cộng là {a}."),
        "integer",
    ),
    Kind(
        "third: sets",
        (
            r"$\{{a1}, {a2}\}$",
            r"\boxed{\{{a1}, {a2}\}}",
            "The solution set is {{a1}, {a2}}.",
            r"$x \in \{{a1}, {a2}\}$",
        ),
        "roots",
    ),
    Kind(
        "third: roots, respectively",
        (
            "The values are {a1} and {a2}, respectively.",
            "Either x = {a1} or x = {a2}.",
            "The two solutions: {a1}, {a2}.",
        ),
        "roots",
    ),
    Kind(
        "third: pair in words",
        ("The coordinates are ({a1}, {a2}).", "So the point is at $({a1},{a2})$.", r"\boxed{({a1}, {a2})}"),
        "ordered",
        steps=False,
    ),
    Kind(
        "third: time in prose",
        ("She leaves at {a}.", "It is {a} now.", r"\boxed{{t}}", "The clock shows {a}."),
        "clock",
    ),
    Kind(
        "third: money forms",
        ("The bill is {a}.00.", "{a} is what he pays.", "Total cost: {a}", "It costs {a} per person."),
        "money",
    ),
    Kind(
        "third: percent forms",
        ("{a} of the class", "The rate is {a} per year.", "an increase of {a}", "That is {a}."),
        "percent",
    ),
    Kind(
        "third: fraction forms",
        (
            "The fraction is {a}.",
            "{a} of the cake is left.",
            "So P = ${t}$.",
            "the probability that both are red is ${t}$.",
        ),
        "fraction",
    ),
    Kind("third: scientific", ("The mass is {a} kg.", "about $ {t} $ m", "= {a}", r"\boxed{{t}}"), "power"),
    Kind(
        "third: word answers",
        ("The capital is {a}.", "It will be {a}.", "The answer: {a}!", r"\boxed{\text{{a}}}"),
        "word",
    ),
    Kind(
        "third: yes or no, reasons behind",
        ("{a}. The sum is 7, which is odd.", "**{a}** — 3 is less than 4.", "The answer is {a}, since 7 is prime."),
        "yes",
    ),
)
