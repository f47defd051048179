r"""A sixth set of endings, as sentences: one template a line, ``⏎`` for a line break.

``@n`` is the answer and ``@w`` another number. Of ``NEVER`` neither ``@a`` nor ``@n`` is an answer.
"""

SENTENCES = {
    "boxes as chat models end": r"""
**Answer:** $\boxed{@n}$
Thus, the final answer is:⏎⏎$$⏎\boxed{@n}⏎$$
---⏎⏎### ✅ Final Answer:⏎⏎$$⏎\boxed{@n}⏎$$⏎
**Final Answer:** \boxed{@n}⏎⏎---⏎Let me know if you want another method!
So the final answer is \[\boxed{@n}\]⏎⏎**Check:** with @w it fails.
Therefore, there are $\boxed{@n}$ such integers.
Hence, the number of ways is \(\boxed{@n}\).
The requested sum is $@w + x = \boxed{@n}$.
Thus $m+n = \boxed{@n}$.
We conclude that the area equals $\boxed{@n}$ square units.
The answer is thus $\boxed{@n}$ as claimed.
$\boxed{@n}$ is the final answer.
\[⏎\boxed{@n}⏎\]⏎⏎So after @w steps we are done.
The final answer is: $\boxed{@n}$<|im_end|>
### Final Answer⏎⏎\(\boxed{@n}\)⏎⏎### Why⏎⏎Because @w is even.
**Solution:**⏎⏎Let $x = @w$. ⏎⏎$$ \boxed{@n} $$
Answer: $\boxed{@n}$.⏎⏎*Note:* a student might say @w.
$$x = \boxed{@n}$$
\begin{align*} x &= @w - 1 \\ &= \boxed{@n}. \end{align*}
\begin{equation}\boxed{@n}\end{equation}
$\therefore$ the answer is $\boxed{@n}.$
\boxed{@n}⏎\boxed{@n}⏎\boxed{@n}
The value is \boxed{@n}, as \boxed{@n} is the only root.
The final answer is $\boxed{@n}$. The final answer is $\boxed{@n}$.
""",
    "code tables and data": r"""
```python⏎print(@w)⏎```⏎⏎Output:⏎```⏎@n⏎```⏎So the answer is @n.
| x | y |⏎|---|---|⏎| 1 | @w |⏎⏎Answer: @n
| Item | Count |⏎|---|---|⏎| a | @w |⏎⏎The total is @n.
{"reasoning": "first @w", "answer": @n}
{"reasoning": "first @w", "answer": "@n"}
{"final_answer": "@n"}
{"steps": ["take @w"], "final_answer": @n}
reasoning: take @w⏎answer: @n
- reasoning: @w⏎- answer: @n
```json⏎{"answer": "@n", "confidence": 0.9}⏎```
```⏎x = @w⏎```⏎**Answer: @n**
x = @w⏎y = 5⏎answer = @n
The program prints `@n`. So the answer is `@n`.
```python⏎def solve():⏎    return @w⏎```⏎⏎**Answer:** @n
1. @w⏎2. 7⏎⏎**Answer:** @n
* first: @w⏎* second: 7⏎⏎Final answer: @n
| Step | Value |⏎|---|---|⏎| 1 | @w |⏎| Total | @n |⏎⏎Total: @n
<answer>{"value": @n}</answer>
<answer>$x=@n$</answer>
<answer>The answer is @n.</answer>
<answer>The total is @n apples.</answer>
<reasoning>@w</reasoning>⏎<answer>@n</answer>
<think>@w</think><answer>@n</answer>
<scratch>The answer is @w.</scratch>⏎The answer is @n.
Answer:⏎```⏎@n⏎```
""",
    "sentences of word problems": r"""
Janet makes $@n every day at the farmers' market.
It takes her @n minutes to walk home.
Tom will be @n years old.
The train travels @n miles.
The shop sold @n loaves of bread.
Each friend gets @n marbles.
There were @n people on the bus at the end.
He has to read @n more pages.
So James writes @n pages a year.
So the profit is $@n.
Mark has @n flowers in his garden.
They need @n buses.
Hence Kylar needs to pay $@n for the glasses.
So Toulouse, Charleston and Seattle have @n sheep together.
It will take Carla @n minutes to download the file.
Thus, John is @n miles from home.
Eliza's earnings for this week are $@n.
So there are @n cups of feed left for the last meal.
The remaining distance is @n kilometers.
Then, he ran @n meters in all.
The answer is that she has @n eggs.
In total, she spent @n dollars.
Wendi needs to give her chickens @n cups of feed.
So the price after the discount is $@n.00.
""",
    "corrections and denials abroad": r"""
答案是@w。不对，答案是@n。
答案是@w。等一下，答案应该是@n。
答案不是@w，而是@n。
Ответ: @w. Нет, ответ: @n.
Ответ не @w, а @n.
La respuesta es @w. No, la respuesta es @n.
La respuesta no es @w, sino @n.
Die Antwort ist @w. Moment, die Antwort ist @n.
Die Antwort ist nicht @w, sondern @n.
La réponse est @w. Attendez, la réponse est @n.
La réponse n'est pas @w mais @n.
La risposta non è @w, ma @n.
A resposta não é @w, mas @n.
Odpowiedź: @w. Odpowiedź to jednak @n.
答えは@wではなく@nです。
答えは@wです。いや、答えは@nです。
정답은 @w가 아니라 @n입니다.
Het antwoord is niet @w maar @n.
Svaret är inte @w utan @n.
Cevap @w değil, @n.
Răspunsul nu este @w, ci @n.
Відповідь не @w, а @n.
所以@w是错的，答案是@n。
""",
    "sentences abroad without the word": r"""
Всего @n яблок.
Итого: @n
Следовательно, x = @n.
Il y a donc @n pommes.
Donc x = @n.
Es sind @n Äpfel.
Also ist x = @n.
Somit gilt $x = @n$.
Por lo tanto, x = @n.
Entonces tiene @n manzanas.
Quindi x = @n.
Portanto, x = @n.
所以小明有@n个苹果。
因此x=@n。
所以，他一共走了@n公里。
故$x=@n$。
総数は@n個です。
よって x = @n である。
그러므로 x = @n이다.
모두 @n개입니다.
Vậy x = @n.
Jadi x = @n.
Więc x = @n.
Dus x = @n.
Tehát x = @n.
一共需要@n元。
""",
    "line breaks and asides": r"""
The answer is⏎@n
The final answer is:⏎\boxed{@n}
Answer⏎⏎@n
So the answer⏎is @n.
The answer is "@n" [1].
The answer (see above) is @n.
The answer, as shown, is @n.
The answer, of course, is @n.
The answer to the question "how many?" is @n.
The answer is @n (exactly).
The answer is @n (see figure).
(The answer is @n.)
[The answer is @n]
*The answer is @n.*
_The answer is @n._
~~@w~~ @n
The answer is ~~@w~~ @n.
\cancel{@w} @n
<s>@w</s> <b>@n</b>
The answer is <del>@w</del> @n.
The answer is {@n}.
The answer is: [@n].
The answer is @n*.
The answer is @n :)
The answer is @n, I am sure.
The answer is @n. I am 95% sure.
The answer is @n. Confidence: 0.9
The answer is @n. (Confidence: 95%)
@n. That is the answer.
@n, that's my answer.
My answer would be @n.
I believe the answer is @n.
I think the answer is @n.
Probably @n.
The answer is probably @n.
It's @n.
That's @n.
That makes @n.
""",
    "runs on": r"""
The answer is @n.⏎⏎Q: There are 3 trees and @w more. How many?⏎A: The answer is @w.
The answer is @n.⏎⏎Question: What is @w?⏎Answer: @w
#### @n⏎⏎Question: and now?⏎#### @w
\boxed{@n}⏎⏎Problem: Find y.⏎Solution: \boxed{@w}
The answer is @n.<|endoftext|>The answer is @w.
The answer is @n.<|eot_id|><|endoftext|><|endoftext|><|endoftext|>
@n<|endoftext|><|endoftext|>
The answer is @n.</s></s></s>
The answer is @n.<|im_end|>⏎<|im_start|>user⏎And @w?<|im_end|>
The answer is @n. The answer is @n. The answer is @n.
Answer: @n⏎Answer: @n⏎Answer: @n
#### @n⏎#### @n
The answer is @n.⏎⏎Human: What about @w?⏎⏎Assistant: The answer is @w.
The answer is @n.⏎⏎User: And @w?⏎Assistant: @w
The answer is @n.<｜end▁of▁sentence｜>
The answer is @n.<end_of_turn>
\boxed{@n}<|endoftext|>\boxed{@w}
The answer is @n.⏎###⏎Question: @w
<think>I think \boxed{@w}.</think>⏎⏎\boxed{@n}
<think>@w or so. The answer is @w.</think>⏎@n
""",
}

NEVER = {
    "hedges abroad": r"""
答案可能是@a或@b
答案是@a或者@b。
答案：@a，@b
Ответ: @a или @b
La respuesta es @a o @b.
Die Antwort ist @a oder @b.
Die Antwort ist entweder @a oder @b.
La réponse est @a ou @b.
La réponse est soit @a soit @b.
정답은 @a 또는 @b입니다.
答えは@aまたは@bです。
La risposta è @a o @b.
A resposta é @a ou @b.
Odpowiedź: @a lub @b
Het antwoord is @a of @b.
Svaret är @a eller @b.
Cevap: @a veya @b
Răspuns: @a sau @b
Відповідь: @a або @b
Đáp án: @a hoặc @b
Jawaban: @a atau @b
Απάντηση: @a ή @b
Odpověď: @a nebo @b
Vastaus: @a tai @b
الجواب: @a أو @b
उत्तर: @a या @b
""",
    "bounds and ranges": r"""
Somewhere between @a and @n.
@a, 5 or @n
The answer is @a–@n.
The answer is @n to 120.
The answer is at most @n.
The answer is @n or more.
The answer is up to @n.
The answer is no more than @n.
The answer is fewer than @n.
The answer is over @n.
It is less than @n.
The answer lies between @n and 120.
It is greater than or equal to @n.
The answer is not equal to @n.
The answer exceeds @n.
We only know that it is above @n.
It must be below @n.
\boxed{\text{at least } @n}
\boxed{\text{less than } @n}
\boxed{\geq @n}
\boxed{x > @n}
\boxed{@n+}
\boxed{@a \text{ to } @n}
\boxed{@n \text{ or more}}
The answer is @n times something.
The answer is @n more than x.
Is it @n?
Could the answer be @n?
If the answer is @n, we are done.
Suppose the answer is @n.
""",
}

# @p + @q is @n.
SUMS = {
    "displayed formulas without a box": r"""
\[⏎\begin{aligned}⏎x &= @p + @q \\⏎&= @n⏎\end{aligned}⏎\]
\begin{align*}⏎x &= @p + @q \\⏎  &= @n.⏎\end{align*}
Thus $x = @p + @q = @n$.
$$@p + @q = @n$$
So we get \(@p + @q = @n\).
So the total is @p + @q = @n apples.
@p + @q = @n
= @p + @q⏎= @n
Total: @p + @q = **@n**
Then $@p+@q=@n$ people came.
We add: @p + @q = @n.
Adding both, $@p + @q = @n.$
Thus, $$x = @p + @q = @n.$$
Therefore the sum is $@p + @q = \mathbf{@n}$.
Altogether there are @p + @q = @n of them.
@p boys and @q girls make @n children.
He has @p and gets @q, so he has @n now.
After @p days there were @q, and in the end there were @n.
She spends $@p and $@q, so she spends $@n in total.
With @p and @q we have a total of @n.
The first gives @p, the second gives @q, and the sum is @n.
@p + @q = @n, so the answer is @n.
The perimeter is @p + @q = @n cm.
Since @p + @q = @n, there are @n.
""",
}
