r"""The words that announce an answer: "the answer is", its heading, and the same in thirty languages."""

from __future__ import annotations

import re

COPULA = (
    r"(?:is(?!n)|are(?!n)|was(?!n)|were|equals?|(?:should|must|would|will|might|may|could|has to|ought to"
    r"|turns out to|appears to|seems to) be"
    r"|comes? out (?:to be|to|as|at)|works out (?:to be|to|as)|becomes?|remains|lies|=|:|→|-+>|=+>|⇒|⟹|➡|➜|—|–|-(?=\s))"
)
_STRONG = r"answers?|ans"
_WEAK = r"solutions?|results?|options?|choices?|conclusion"
# Of thirty languages. ``of`` is Dutch; in English too, 3 of 4 states no single value.
OR = (
    "or|oder|ou|o|u|или|либо|або|abo|lub|albo|(?<!out )of|"
    "eller|veya|ya da|sau|hoặc|atau|ή|nebo|anebo|alebo|tai|vagy|ali|või|arba|vai|"
    "أو|או|या|অথবা|หรือ|ou bien|soit"
)
AND = "and|und|et|y|e|и|en|och|og|ve|và|dan|και|ja|és|și|oraz|та"
CHINESE = "和|还是|還是|或者|或|与|及|및|또는|と|または|や"
ENGLISH = re.compile(
    rf"(?<![A-Za-z])(?:(?P<strong>{_STRONG})|(?P<weak>{_WEAK}))(?![A-Za-z])[\"'*_\])}}]{{0,4}}\s{{0,3}}(?:\([^()\n]{{0,40}}\)\s?)?"
    rf"(?:,?\s?(?:to|of|for|in|here|then|thus|therefore|hence|now|as|we|that|from|on|at)\b[^.\n:=$]{{0,60}}?)?"
    rf"(?<![A-Za-z](?=[A-Za-z])){COPULA}(?![A-Za-z])",
    re.IGNORECASE,
)
HEADING = re.compile(
    r"^[^\w\n(]{0,12}(?:the\s+)?(?:(?:final|correct|right|short)\s+)?answers?[\s*_:#.]{0,8}\n+",
    re.IGNORECASE | re.MULTILINE,
)
DIRECT = re.compile(
    r"^[^\w\n(]{0,12}(?:final\s+)?ans(?:wer|\.)?[*_ ]{1,4}(?=[-+]?[0-9$\\(]|[A-J]\b)", re.IGNORECASE | re.MULTILINE
)
_LATIN = (
    "respuesta|réponse|reponse|risposta|resposta|răspuns\\w*|raspuns\\w*|antwort|lösung|ergebnis|antwoord|svar\\w*|vastau\\w*|"
    "odpowied\\w*|odpověd\\w*|odpověď|odpoveď|odpoved\\w*|válasz\\w*"
    "|eredmény|cevap|cevab\\w*|yanıt\\w*|sonuç|đáp án|đáp số|câu trả lời|"
    "kết quả|jawab\\w*|hasil\\w*|atsakym\\w*|atbilde|vastus\\w*|odgovor\\w*|resultado|résultat|risultato|rezultat\\w*|wynik\\w*|"
    "výsledek|výsledok|resultat\\w*|uitkomst|tulos|svarið|erantzun\\w*|sagot|jibu|antwoord\\w*"
)
_OTHER = (
    "选|選|答案|答え|こたえ|解答|正解|回答|结果|結果|答|정답|해답|답|결과|ответ\\w*|результат\\w*|відповід\\w*|отговор\\w*|одговор\\w*|адказ\\w*|"
    "απάντηση|απαντηση|αποτέλεσμα|תשובה|התשובה|התוצאה|الجواب|الإجابة|الاجابة|الناتج|جواب|پاسخ|उत्तर|जवाब|উত্তর|பதில்|விடை|"
    "సమాధానం|ഉത്തരം|ಉತ್ತರ|ਉੱਤਰ|જવાબ|คำตอบ|პასუხი|պատասխան\\w*|жауап\\w*"
)
FOREIGN = re.compile(rf"(?<![^\W\d_])(?:{_LATIN})(?![^\W\d_])|(?:{_OTHER})", re.IGNORECASE)
FOREIGN_NOT = re.compile(
    r"不是|並非|并非|ではな|じゃな|아니|(?<![^\W\d_])(?:не|ні|no es|nicht"
    r"|n'est pas|pas|non|não|niet|inte|ikke|ei ole|nie|není|nem|"
    r"değil|không|bukan|nu este|δεν)(?![^\W\d_])|ليس|ليست|लא|לא|नहीं|না",
    re.IGNORECASE,
)
CORRECTION = re.compile(
    r"(?<![A-Za-z])(?:(?:oh |hmm,? |but )?(?:no,?\s+)?wait(?:,?\s*no)?"
    r"|hold on|(?:let me )?scratch that|oops|correction|my mistake|sorry|"
    r"on second thoughts?|i (?:take that back|was wrong|made (?:a|an) "
    r"(?:mistake|error|slip)|misread|miscalculated|miscounted)[^.:;!?\n]{0,60}|"
    r"(?:that|this|it)(?:'s| is| was) (?:wrong|incorrect|not right"
    r"|a mistake|an error)|let me (?:correct|fix|redo|revise|recompute|"
    r"recalculate|reconsider|rethink)[^.:;!?\n]{0,40}|i mean|strike that|make that)(?![A-Za-z])"
    r"|(?:^|[.!?;:,—–\n…-])\s*(?:hmm,? )?(?:actually|rather|no)(?=[,:;.!—–\s-])"
    r"|(?:等一下|等等|不对|更正|いや|訂正|잠깐|아니|подождите|нет,|espera|attends|moment|corrección)",
    re.IGNORECASE,
)
HEDGE = re.compile(
    r"[*_$)\s\"']*[.,;:!?]*\s*\(?(?:or(?:[\s,]+(?:else|maybe|perhaps|possibly|even|is it|it is|it's|(?:it|this"
    r"|that) (?:could|might|may)(?: also| well)? be|could it be))?"
    r"|alternatively|perhaps|maybe|possibly|otherwise|and/or|(?:but |and )?(?:it |this |that )?(?:could"
    r"|might|may|can) (?:also |well |just as well |even )?be"
    r"|another (?:possible |valid )?(?:answer|option|solution|possibility) (?:is|could be|would be)|if not)(?![A-Za-z])[\s,:]*",
    re.IGNORECASE,
)
RESTATED = re.compile(
    r"equivalent|simpl|decimal|about|approx|roughly|in other words|i\.e|that is|namely|written|which is|in terms|lowest",
    re.IGNORECASE,
)
NOT_CONTENT = re.compile(
    r"^(?:in)?(?:correct|right|wrong|valid|verified|shown|given|below"
    r"|above|as follows|the following|consistent|confirmed|reasonable|"
    r"unique|clear|obvious|obtained|found|reached|presented|stated|expected|checked|required|boxed|expressed|rounded|unchanged|"
    r"straightforward|simple|easy|complete|done|fine|good|sensible|plausible|exact)(?![A-Za-z])",
    re.IGNORECASE,
)
SUBORDINATE = re.compile(
    r"(?<![A-Za-z])(?:since|because|if|as|when|although|though|while"
    r"|given that|once|whether|suppose|assuming)\s[^.;:!?\n]{0,80}$",
    re.IGNORECASE,
)
# No answer is given, whatever was said before.
GAVE_UP = re.compile(
    r"\b(?:i give up|(?:i )?(?:do not|don't) know|no idea|(?:does not|doesn't|do not|don't) say (?:which|whether)"
    r"|(?:not enough|insufficient|too little) (?:information|data)"
    r"|(?:can(?:no|')t|can not|could(?: not|n't)|unable to|impossible to) (?:be )?"
    r"(?:find|determin|decid|tell|sa[yi]|know|solv)\w*"
    r"|not (?:sure|certain|clear) (?:whether|if|which)|(?:won't|will not|not going to) (?:give|tell|reveal|say)"
    r"|on your own|as an exercise|(?:could(?: not|n't)|did(?: not|n't)|unable to) (?:finish|complete|get any further)"
    r"|ran out of (?:time|space|tokens)|there is no (?:correct |valid )?answer|(?:need|require)s? more (?:information"
    r"|data|context|details)"
    r"|please (?:provide|clarify|give me|share)|leave [^.\n]{1,40} to (?:you|the reader)|(?:but|have|with|give|found) no answer"
    r"|(?:can(?:no|')t|can not|unable to) (?:see|view|read|access|open|answer)|is (?:ambiguous|ill-posed|unclear|unanswerable)"
    r"|as an ai)\b"
    r"|\banswer(?: is| =|:)[\s$\\({*:]*\Z"  # cut off
    r"|no puedo (?:resolver|determinar|responder|ver)|kann (?:ich )?(?:[^.\n]{1,40} )?nicht (?:lösen|bestimmen|beantworten|sehen)"
    r"|je ne peux pas|não (?:consigo|posso)|non (?:posso|riesco)|не (?:могу|получается)|无法(?:确定|回答|解答|得出)|できません"
    r"|알 수 없|不确定|不知道|je ne sais pas|ich weiß (?:es )?nicht|no lo sé|não sei|non lo so|не знаю|わかりません|모르겠",
    re.IGNORECASE,
)
# A text that stops in the middle of its last sentence: behind an operator, or a word that wants another.
CUT_OFF = re.compile(
    r"(?:[0-9A-Za-z)}$]\s*(?:[+/×÷·−=]|(?<=\s)[-*](?!\*)|\\(?:times|cdot|div|frac\{[^{}]{0,20}\}\{?))"
    r"|(?<![A-Za-z\\{])(?:the|an|and|with|plus|minus|times|then|that|which|because|since|if|must|have to [a-z]{2,12}"
    r"|we (?:must|have|need|can|get|find)(?: to [a-z]{2,12})?))[\s$]*\Z",
    re.IGNORECASE,
)
# A number that only names a place of the text or of a book.
REFERRED = re.compile(
    r"(?<![A-Za-z])(?:questions?|problems?|exercises?|steps?|figures?|fig\.|equations?|eq\.|theorems?|lemmas?|sections?|chapters?"
    r"|examples?|footnotes?|problema|pregunta|ejercicio|paso|aufgabe|schritt|frage|étape|exercice|question n°)\s+"
    r"(?:no\. |number |#)?\(?[0-9]{1,4}(?:\.[0-9]{1,2})?\)?(?![0-9.,]*[0-9%])",
    re.IGNORECASE,
)
