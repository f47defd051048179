r"""A seventh set of endings, as sentences: one template a line, ``⏎`` for a line break.

``@n`` is the answer and ``@w`` another number. Of ``NEVER`` neither ``@a`` nor ``@n`` is an answer.
"""

SENTENCES = {
    "verdicts at the end": r"""
In conclusion, the company must hire @n workers.
To sum up: @n.
Bottom line: @n.
TL;DR: @n
Summary: the tank holds @n liters.
Conclusion: x = @n.
So our number is @n.
Hence the desired probability numerator is @n.
We find that the sum of the digits is @n.
The missing value must therefore be @n.
That leaves @n cookies.
This means that Anna is @n.
It follows that n equals @n.
Accordingly, y is equal to @n.
We obtain \(x=@n\), as desired.
which is what we wanted: @n.
Therefore: @n
Thus: $@n$
Hence $@n$ is the value of x.
And so the count is $@n$.
The final result comes to @n.
Finally, we get @n.
After simplification we get $@n$.
giving a final value of @n.
for a total of @n.
""",
    "withdrawn and checked": r"""
I got @w at first, but rechecking gives @n.
First attempt: @w (wrong). Second attempt: @n.
Attempt 1: @w ✗⏎Attempt 2: @n ✓
My answer was @w, but after double-checking it is @n.
The answer is @w... hold on, the answer is @n.
Answer: @w⏎⏎Edit: the answer is @n.
Answer: @w⏎⏎Update: Answer: @n
The answer is @w. That can't be right. The answer is @n.
The answer is @w? That would be too big. The answer is @n.
Let's guess @w. It fails. So the answer is @n.
@w would be too big, so it is @n.
Not @w. Not 3. The answer is @n.
The answer is @n. Let me double check: yes, @n.
The answer is @n. Verified by substituting: it works.
The answer is @n. (I first had @w.)
Old answer: @w. New answer: @n.
Final answer (corrected): @n
The answer is @n (previously @w).
The answer is @n; earlier I wrote @w by mistake.
So @n, not @w as stated above.
\boxed{@w} is incorrect. The correct answer is \boxed{@n}.
Wrong: \boxed{@w}. Right: \boxed{@n}.
""",
    "box contents": r"""
\boxed{\textrm{@n}}
\boxed{\texttt{@n}}
\boxed{\textsf{@n}}
\boxed{\text{$@n$}}
\boxed{\mbox{@n}}
\boxed{\displaystyle{@n}}
\boxed{\ @n\ }
\boxed{@n\;}
\boxed{\;@n}
\boxed{\\@n}
\boxed{@n\\}
\boxed{ \\ @n \\ }
\boxed{\rm @n}
\boxed{\Large{@n}}
\boxed{\left\{@n\right\}}
\boxed{\{@n\}}
\boxed{\text{Ans: } @n}
\boxed{\text{Answer: }@n}
\boxed{Answer: @n}
\boxed{answer = @n}
\boxed{n=@n}
\boxed{N = @n}
\boxed{\#\text{ways}=@n}
\boxed{\text{Total} = @n}
\boxed{\text{Total: } @n \text{ apples}}
\boxed{P(2)=@n}
\boxed{\angle A=@n^\circ}
\boxed{\mathbf{x=@n}}
\boxed{\tfrac{@n}{1}}
\boxed{@n \quad}
\boxed{\smash{@n}}
\boxed{\vphantom{1}@n}
\boxed{\hspace{1mm}@n}
\boxed{\rule{0pt}{1em}@n}
\boxed{@n\ \blacksquare}
\boxed{@n \text{ (final)}}
\boxed{@n\text{ people}}
\boxed{\text{about }@n}
""",
    "other languages longer": r"""
综上所述，最终答案是：$\boxed{@n}$。
解：由题意得 x = @w + 1。答案为 @n。
因此，正确答案是 **@n**。
所以，小华一共有 @n 元。
答：一共需要 @n 天。
故最后结果为@n。
综上，$n$ 的值为 $@n$。
最终结果：@n
Damit lautet das Ergebnis @n.
Die Lösung ist x = @n.
Das Ergebnis beträgt @n Euro.
Par conséquent, le résultat est @n.
On trouve donc x = @n.
La solution est @n.
Il lui reste @n euros.
El resultado final es @n.
La solución es x = @n.
En total hay @n manzanas.
Il risultato è @n.
La soluzione è x = @n.
O resultado é @n.
A solução é x = @n.
Итоговый ответ: @n
Получаем x = @n.
Таким образом, ответ — @n.
Ответ: **@n**.
最終的な答えは @n です。
したがって、x = @n。
最終答え：@n
따라서 정답은 @n 입니다.
최종 답: @n
الجواب النهائي: @n
अंतिम उत्तर: @n
अतः उत्तर @n है।
Câu trả lời cuối cùng là @n.
Jawaban akhir: @n
Ostateczna odpowiedź: @n
Konečná odpověď: @n
Sonuç: @n
Lopullinen vastaus: @n
""",
}

NEVER = {
    "never any": r"""
The answer is either @a, @n or something else.
Maybe @n, maybe @a.
It is @a or @n, depending on x.
If x > 0 the answer is @a, otherwise @n.
The answer depends: @a for even, @n for odd.
The answer is @a for x > 0 and @n for x < 0.
One of @a and @n.
Pick @a or @n.
I'd guess @a. Or @n.
The answer is @n ± 1.
The answer is @n plus or minus 1.
Answer: not @n
Answer: ?
Answer: @a? @n?
Is the answer @a or @n?
What about @n?
Let me try @n.
We try @n next.
Try @n first.
Assume x = @n.
Let x = @n.
The question asks about @n apples.
I need more information about the @n apples.
The problem cannot be solved with @n.
@n is just a guess and surely wrong.
\boxed{@a \text{ or possibly } @n}
\boxed{@a?}⏎\boxed{@n?}
\boxed{\text{either } @a \text{ or } @n}
\boxed{@a/@n}
\boxed{@a\;\text{or}\;@n}
\boxed{@a\vee @n}
\boxed{x=@a\text{ or }@n}
""",
}
