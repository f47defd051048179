r"""A fifth set of endings, as sentences: one template a line, ``⏎`` for a line break.

``@n`` is the answer and ``@w`` another number. Of ``NEVER`` neither ``@a`` nor ``@n`` is an answer.
"""

SENTENCES = {
    "words of many languages": r"""
答案：@n
答案是@n。
所以答案为@n。
因此，最终答案是 @n。
答：@n
故答案为：@n
最后答案：$@n$
Ответ: @n.
Ответ: $@n$
Итак, ответ @n.
정답: @n
정답은 @n입니다.
답: @n
따라서 답은 @n입니다.
答えは@nです。
答え：@n
解答：@n
したがって、答えは @n である。
Odpowiedź: @n
Odpowiedź to @n.
Respuesta: @n
La respuesta es @n.
La respuesta final es $@n$.
Por lo tanto, la respuesta correcta es @n.
Réponse : @n
La réponse est @n.
La réponse finale est donc @n.
Antwort: @n
Die Antwort ist @n.
Die Antwort lautet @n.
Die endgültige Antwort lautet: **@n**
Lösung: @n
Ergebnis: @n
Risposta: @n
La risposta è @n.
La risposta finale è: @n
Resposta: @n
A resposta é @n.
Portanto, a resposta final é @n.
Antwoord: @n
Het antwoord is @n.
Cevap: @n
Yanıt: @n
Svar: @n
Svaret är @n.
Vastaus: @n
Odpověď: @n
Válasz: @n
Răspuns: @n
Răspunsul este @n.
Απάντηση: @n
Η απάντηση είναι @n.
Відповідь: @n
Отговор: @n
الجواب: @n
الإجابة: @n
الجواب هو @n.
उत्तर: @n
उत्तर है @n
উত্তর: @n
คำตอบ: @n
คำตอบคือ @n
Đáp án: @n
Đáp số: @n
Vậy đáp án là @n.
Jawaban: @n
Jadi, jawabannya adalah @n.
תשובה: @n
Одговор: @n
Odgovor: @n
Kết quả: @n
Resultado: @n
Résultat : @n
结果是@n
结果为@n。
""",
    "words of many languages after another number": r"""
@w < 100. 答案：@n
@w < 100. 所以答案为@n。
@w < 100. 答：@n
@w < 100. 最后答案：$@n$
@w < 100. Ответ: $@n$
@w < 100. 정답: @n
@w < 100. 답: @n
@w < 100. 答えは@nです。
@w < 100. 解答：@n
@w < 100. Odpowiedź: @n
@w < 100. Respuesta: @n
@w < 100. La respuesta final es $@n$.
@w < 100. Réponse : @n
@w < 100. La réponse finale est donc @n.
@w < 100. Die Antwort ist @n.
@w < 100. Die endgültige Antwort lautet: **@n**
@w < 100. Ergebnis: @n
@w < 100. La risposta è @n.
@w < 100. Resposta: @n
@w < 100. Portanto, a resposta final é @n.
@w < 100. Het antwoord is @n.
@w < 100. Yanıt: @n
@w < 100. Svaret är @n.
@w < 100. Odpověď: @n
@w < 100. Răspuns: @n
@w < 100. Απάντηση: @n
@w < 100. Відповідь: @n
@w < 100. الجواب: @n
@w < 100. الجواب هو @n.
@w < 100. उत्तर है @n
@w < 100. คำตอบ: @n
@w < 100. Đáp án: @n
@w < 100. Vậy đáp án là @n.
@w < 100. Jadi, jawabannya adalah @n.
@w < 100. Одговор: @n
@w < 100. Kết quả: @n
@w < 100. Résultat : @n
@w < 100. 结果为@n。
""",
    "english leads": r"""
Final answer: @n
Final Answer → @n
FINAL ANSWER: @n
ANSWER: @n
Ans: @n
Ans. @n
A: @n
Answer = @n
Answer - @n
answer is @n
The final answer is: @n
The correct answer is @n.
Our answer is @n.
My final answer: @n
The answer should be @n.
The answer must be @n.
So the answer would be @n.
The answer comes out to @n.
The answer turns out to be @n.
The answer equals @n.
The answer, then, is @n.
The answer to the problem is @n.
The answer to this question is therefore @n.
Thus the required answer is $@n$.
So we conclude that the answer is $@n$.
The result is @n.
The solution is @n.
Final result: @n
Solution: @n
Result: @n
Therefore, the answer is simply @n.
The answer is just @n
The answer is clearly @n.
The answer is exactly @n.
The answer I get is @n.
I get @n as the answer.
@n is the answer.
So @n is our final answer.
Hence the final answer: $\mathbf{@n}$
The answer is (@n).
The answer is: ⏎⏎@n
Answer:⏎@n
Answer:⏎⏎$$@n$$
Final answer:⏎\[ @n \]
The answer is: $$@n$$
The answer is \(@n\).
The answer is "@n".
The answer is '@n'.
The answer is **@n**.
The answer is: **@n**
The answer is `@n`.
The answer is __@n__.
The answer is that x equals @n.
The answer is given by @n.
The answer is therefore @n.
The answer is thus @n.
The answer is @n!
The answer is @n!!
The answer is... @n.
The answer is — @n
answer: x = @n
The answer is x = @n.
The final answer is $x=@n$.
""",
    "plain last sentences": r"""
So she has @n apples left.
Thus, there are @n ways.
Therefore he needs @n minutes.
He needs \$@n.
We get **@n** apples.
x is @n
So x is equal to @n.
Hence, x = @n.
So the total is @n.
This gives us @n.
which gives @n.
So we have @n students in all.
Altogether that makes @n.
In total: @n
Total = @n
Therefore the value of $x$ is $@n$.
The largest possible value is @n.
So the smallest such integer is $@n$.
The area of the triangle is $@n$.
They paid $@n.
It costs $@n.00.
Thus, the remainder is @n.
So f(3) = @n.
We conclude that $f(3)=@n$.
Thus k must be @n.
∴ x = @n
=> @n
-> @n
= @n
@n
$@n$
**@n**
@n.
So, @n.
""",
    "chat tokens and farewells": r"""
The answer is @n.<|im_end|>
The answer is $@n$.</s>
#### @n<|endoftext|>
Answer: @n<|eot_id|>
So there are @n.<|end|>
\boxed{@n} ✅
Final Answer: **@n** 🎉
The answer is @n. ✓
The answer is $@n$.⏎⏎I hope it is correct.
#### @n I hope this helps!
Answer: @n⏎⏎Let me know if you have any questions.
So there are @n.⏎⏎Hope that helps! 😊
\boxed{@n}⏎```
Final Answer: **@n**⏎---
The answer is @n.⏎⏎
The answer is $@n$. \blacksquare
#### @n⏎⏎$\square$
Answer: @n QED
So there are @n.⏎⏎Thank you.
\boxed{@n}⏎</answer>
Final Answer: **@n**⏎⏎This completes the solution.
The answer is @n.⏎Done.
The answer is $@n$.⏎⏎Feel free to ask more!
#### @n (final)
Answer: @n⏎[DONE]
So there are @n. That's it!
\boxed{@n}⏎⏎### End
Final Answer: **@n**⏎This solution is verified.
The answer is @n.⏎⏎Is there anything else?
The answer is $@n$.<eos>
""",
    "corrections": r"""
The answer is @w. Wait, no. The answer is @n.
The answer is @w. Hmm, that is wrong. The answer is @n.
\boxed{@w}. No, wait: \boxed{@n}.
\boxed{@w} Correction: \boxed{@n}
\boxed{@w}⏎⏎Actually, I forgot a factor. \boxed{@n}
The answer is @w... Actually the answer is @n.
Answer: @w⏎⏎Let me check again.⏎⏎Answer: @n
#### @w⏎Oops.⏎#### @n
So the answer is @w. But this ignores the last case. So the answer is @n.
I first thought the answer is @w, but the answer is @n.
The answer is @w, no, sorry, the answer is @n.
The answer is @w, sorry, I mean @n.
The answer is @w — scratch that — @n.
It is @w. Correction: it is @n.
\boxed{@w}. I made a mistake above; the correct answer is \boxed{@n}.
<answer>@w</answer> Wait, that is not right. <answer>@n</answer>
Final answer: @w⏎Revised final answer: @n
The answer is @w? No: the answer is @n.
Is the answer @w? Let us check. No. The answer is @n.
One might say the answer is @w. However, the correct answer is @n.
At first glance the answer is @w; in truth the answer is @n.
My previous answer was @w. The corrected answer is @n.
The expected answer is often given as @w, but the actual answer is @n.
I initially got \boxed{@w}, which is incorrect. The right one is \boxed{@n}.
Since the result is @w, the final answer is @n.
The result is @w, and the final answer is @n.
The solution is x = @w, so the answer is @n.
The answer is: x = @w so the answer is @n.
""",
    "negations": r"""
The answer is not @w. The answer is @n.
The answer is not @w, but @n.
The answer is @n, not @w.
It's @n, not @w.
It is @n rather than @w.
The answer isn't @w; it's @n.
Answer: @n (not @w)
The answer is @n instead of @w.
The answer cannot be @w, so the answer is @n.
\boxed{@n}, not \boxed{@w}.
\boxed{@n} (and not @w)
So the answer is @n, and not @w as I first thought.
The answer is @n, which is different from @w.
The answer is @n and not @w.
Not @w: the answer is @n.
Final answer: @n, rather than @w.
The wrong answer is @w. The right answer is @n.
@w is not the answer. @n is.
@w is wrong. The answer is @n.
The answer is no longer @w but @n.
""",
    "prose after the box": r"""
\boxed{@n}. This is because @w + 3 is too much.
\boxed{@n}⏎⏎We can check with x = @w.
The answer is $\boxed{@n}$ since @w divides it.
Thus \boxed{@n} (there were @w at first).
\boxed{@n}⏎⏎**Explanation:** The first @w terms cancel.
\boxed{@n} apples after @w days.
= \boxed{@n} So in the end she has @n, of @w.
\boxed{@n}⏎⏎Note: the result @w would be off.
\boxed{@n}. A common mistake is to answer @w.
\boxed{@n}⏎⏎Verification: @w + 1 = 50.
The answer is @n. Check: @n - 2 = @w. ✓
The answer is @n, since @w were taken.
The answer is @n. (There are @w others.)
#### @n⏎⏎Explanation: @w is the first.
Answer: @n⏎⏎Explanation: We started with @w.
Answer: @n. Reason: we used @w.
<answer>@n</answer> I used @w steps.
**Final Answer:** @n⏎⏎This took @w steps.
The final answer is @n after @w days.
The answer is @n because @w is prime.
The answer is @n (from @w).
The answer is @n out of @w.
The answer is @n, as @w shows.
The answer is @n for @w people.
The answer is @n when x is @w.
The answer is @n, where we took y = @w.
Answer: @n (see line @w)
Answer: @n [@w steps]
The answer is @n; we never used the @w.
The answer is @n — the other @w drop out.
Answer: @n⏎⏎Confidence: @w%
Answer: @n⏎Confidence: @w
""",
    "box wrappers": r"""
\boxed{\text{@n}}
\boxed{\mathbf{@n}}
\boxed{$@n$}
\fbox{@n}
\boxed @n
\boxed{\large @n}
\(\boxed{@n}\)
\[\boxed{@n}\]
$$\boxed{@n}$$
\boxed{~@n~}
\boxed{@n.}
\boxed{\displaystyle @n}
\boxed{\boxed{@n}}
\framebox{@n}
\boxed {@n}
\boxed{x = @n}
\boxed{\text{The answer is } @n}
\boxed{⏎@n⏎}
\boxed{@n }
\boxed{ @n}
\boxed{{@n}}
\boxed{\,@n\,}
\boxed{\mathrm{@n}}
\boxed{\bf @n}
\boxed{\textbf{@n}}
\boxed{+@n}
\boxed{(@n)}
\boxed{[@n]}
\boxed{\color{red}{@n}}
\boxed{\textcolor{blue}{@n}}
\boxed{@n\checkmark}
\boxed{n = @n}
\boxed{@n\text{.}}
\boxed{\phantom{0}@n}
\boxed{\underline{@n}}
\boxed{**@n**}
\boxed{\left. @n \right.}
\boxed{@n;}
\boxed{\#@n}
\bbox{@n}
\boxed{\huge{@n}}
\boxed{\quad @n \quad}
\boxed{\mathit{@n}}
\boxed{@n,}
\boxed{f(2)=@n}
\boxed{\angle ABC = @n}
\boxed{|A \cup B| = @n}
\boxed{\text{Area} = @n}
\boxed{\text{total: } @n}
\boxed{a+b = @n}
\boxed{S_{20} = @n}
\boxed{AB = @n}
\boxed{x \approx @n}
\boxed{x\equiv@n}
\boxed{\$@n}
\boxed{@n^{\text{th}}}
""",
    "markdown and tags": r"""
**Answer:** @n
**Answer**: @n
**Final Answer**⏎⏎@n
### Final Answer⏎⏎**@n**
## Answer⏎@n
*@n*
`@n`
**Answer: @n**
> **@n**
- Answer: @n
* **Answer:** $@n$
1. Answer: @n
<answer>@n</answer>
<ANSWER>@n</ANSWER>
[ANSWER]@n[/ANSWER]
<final_answer>@n</final_answer>
<answer>⏎@n⏎</answer>
<answer> $@n$ </answer>
<answer>\boxed{@n}</answer>
<answer>x = @n</answer>
<think>maybe \boxed{@w}</think>@n
<think>The answer is @w.</think>⏎The answer is @n.
<think>⏎The answer is @w.⏎</think>⏎<answer>@n</answer>
{"answer": @n}
{"answer": "@n"}
```json⏎{"answer": @n}⏎```
```⏎@n⏎```
answer = @n
print(@n)⏎```output⏎@n⏎```⏎The answer is @n.
\begin{answer}@n\end{answer}
| Answer | @n |
<b>@n</b>
Answer: <b>@n</b>
Answer: <u>@n</u>
<<@n>>
✅ Final Answer: **@n**
🔹 Answer: @n
Answer: ==@n==
Answer: [@n]
Answer: {@n}
**Ans:** @n
<Answer>@n</Answer>
<response>@n</response>
<solution>@n</solution>
<|answer|>@n
[[@n]]
Answer: ~@n~
""",
    "gsm8k ends": r"""
She sold @w/2 = <<@w/2=7>>7 clips.⏎#### @n
#### @n
#### @n.
#### $@n
#### @n dollars
####@n
#### **@n**
#### $@n$
#### @n apples
#### \$@n
#### @n%
#### @n.00
#### @n.0
#### Answer: @n
#### The answer is @n
### @n
#### @n⏎⏎
#### x = @n
#### \boxed{@n}
@w more.⏎⏎#### @n miles
""",
    "steps and questions": r"""
Step 3: The answer is @n.
Q: What is @w + x?⏎A: @n
What is @w minus something? The answer is @n.
If there are @w cows, how many legs? The answer is @n.
Question: how many of the @w? Answer: @n
1. Take @w.⏎2. The answer is @n.
(a) @w⏎So the answer is @n.
The question asks for the answer to @w + y, which is @n.
We were asked for the answer, given @w. The answer is @n.
Put the final answer in \boxed{}. The answer is \boxed{@n}.
The answer goes in \boxed{answer}: \boxed{@n}
I need \boxed{?} here with @w. So \boxed{@n}.
The answer to part (a) is @w. The answer to part (b), which was asked, is @n.
The problem says the answer is a two-digit number. From @w we find that the answer is @n.
The answer is an integer. @w is too large, so the answer is @n.
The answer is positive, so x = @n.
Since the answer is odd, x = @n.
The answer is obtained by taking @w away, giving @n.
The answer is found from @w: it is @n.
The answer is as follows: @n
The answer is below.⏎⏎@n
The answer is:⏎- @n
""",
    "box against prose": r"""
The answer is $\boxed{@n}$. The value @w came first.
Since the answer is @w in the first case, overall it is \boxed{@n}.
\boxed{@n}⏎⏎The answer is @n.
The answer is \boxed{@n}, that is, @n.
\boxed{@n}⏎\boxed{@n}
First part: \boxed{@w}.⏎⏎Then, the total is \boxed{@n}.
Step 1: \boxed{@w}⏎Step 2: \boxed{@n}
We know $x = \boxed{@w}$ from above, therefore the final answer is $\boxed{@n}$.
The first sum is \boxed{@w}. Doubling and adding gives \boxed{@n}. Final Answer: The final answer is $@n$.
\boxed{@w} is the area of one; the final answer is \boxed{@n}
= \boxed{@w} So in the end she has a total of $@n. Final Answer: The final answer is $@n$.
Final Answer: The final answer is $\boxed{@n}$. I hope it is correct.
Final Answer: The largest $k$ is @n.
Final Answer: The volume of $ABCD$ is @n. I hope this helps.
Final Answer: The final answer is $@n$. I hope it is correct.
#### \boxed{@n}
Hence there are @n of them. I hope it is correct. <|im_end|>
**Final Answer**⏎\boxed{@n}
**Final Answer:** The number of ways is **@n**.
The final answer is \( \boxed{@n} \)
""",
}

NEVER = {
    "hedges": r"""
The answer is @a or @b.
The answer is either @a or @b.
\boxed{@a} or \boxed{@b}
\boxed{@a \text{ or } @b}
$\boxed{@a}$, $\boxed{@b}$
\boxed{@a};\boxed{@b}
\boxed{@a}, \boxed{@b}
\boxed{@a}/\boxed{@b}
<answer>@a</answer> or <answer>@b</answer>
<answer>@a or @b</answer>
Answer: @a or @b
Answer: @a / @b
#### @a or @b
The answer is @a (or maybe @b).
The answer is @a, or possibly @b.
The answer is @a or perhaps @b.
The answer might be @a or it might be @b.
Either \boxed{@a} or \boxed{@b}.
\boxed{@a}⏎⏎or⏎⏎\boxed{@b}
\boxed{@a}⏎⏎Alternatively, \boxed{@b}
Final answer: @a, @b
The answer is between @a and @b.
答案是@a或@b
\boxed{@a} \boxed{@b}
\boxed{@a,@b}
\boxed{\{@a,@b\}}
\boxed{@a\text{ and }@b}
The answer is @a and @b.
The possible answers are @a, @b.
**@a** or **@b**
\boxed{@a}, maybe \boxed{@b}
\boxed{@a} and \boxed{@b}
""",
    "given up": r"""
I don't know.
I do not know the answer. It may be @n.
The answer cannot be determined.
I am not sure, maybe @n?
I cannot solve this. @n + 1 is a guess.
The answer is unknown.
\boxed{}
\boxed{?}
The answer is \boxed{\text{unknown}}.

I give up.
The answer is not @n.
It is not @n.
The answer is definitely not @n.
\boxed{\text{not } @n}
The answer is greater than @n.
The answer is less than @n.
The answer is at least @n.
The answer is about a multiple of @n.
@n is wrong.
@n is not the answer.
The answer is more than @n.
There is no answer; @n fails.
The answer is a multiple of @n.
The answer is a number below @n.
<answer></answer> @n was tried.
I could not finish. So far: @n
The answer isn't @n.
The answer can't be @n.
\boxed{x \neq @n}
\boxed{\neq @n}
\boxed{> @n}
""",
}
