"""How thirty languages say "answer: 5" and "the answer is 5": templates of ``math_kinds``."""

from __future__ import annotations

COLON = {
    "Chinese and Japanese": ("答案：{a}", "最终答案：{a}", "答：{a}", "答え：{a}", "解答: {a}"),
    "Korean and Vietnamese": ("정답: {a}", "답: {a}", "Đáp án: {a}", "Đáp số: {a}"),
    "Cyrillic": ("Ответ: {a}", "**Ответ:** {a}", "Відповідь: {a}", "Отговор: {a}", "Одговор: {a}"),
    "Romance": ("Respuesta: {a}", "Réponse : {a}", "Risposta: {a}", "Resposta: {a}", "Răspuns: {a}"),
    "Germanic": ("Antwort: {a}", "Lösung: {a}", "Antwoord: {a}", "Svar: {a}", "**Antwort:** {a}"),
    "West Slavic": ("Odpowiedź: {a}", "Odpověď: {a}", "Odpoveď: {a}", "Odgovor: {a}"),
    "Arabic, Hebrew and Persian": ("الجواب: {a}", "الإجابة: {a}", "תשובה: {a}", "پاسخ: {a}"),
    "South Asia": ("उत्तर: {a}", "উত্তর: {a}", "பதில்: {a}", "సమాధానం: {a}"),
    "others": (
        "Cevap: {a}",
        "Vastaus: {a}",
        "Válasz: {a}",
        "Απάντηση: {a}",
        "คำตอบ: {a}",
        "Jawaban: {a}",
        "Atsakymas: {a}",
    ),
}
SENTENCE = {
    "Chinese": ("所以答案是{a}。", "因此，最终答案为 {a}。", "答案是 **{a}**。", "故答案为{a}"),
    "Japanese": ("答えは{a}です。", "したがって、答えは {a} です。", "よって、正解は{a}である。"),
    "Korean": ("정답은 {a}입니다.", "따라서 답은 {a}이다.", "답은 {a}입니다."),
    "Russian and Ukrainian": ("Ответом является {a}.", "Правильный ответ — {a}.", "Відповідь — {a}."),
    "Spanish and Portuguese": ("La respuesta es {a}.", "Por lo tanto, la respuesta final es {a}.", "A resposta é {a}."),
    "French and Italian": ("La réponse est {a}.", "La réponse finale est donc {a}.", "La risposta è {a}."),
    "German and Dutch": (
        "Die Antwort ist {a}.",
        "Die Antwort lautet {a}.",
        "Das Ergebnis ist {a}.",
        "Het antwoord is {a}.",
    ),
    "Nordic": ("Svaret är {a}.", "Svaret er {a}.", "Vastaus on {a}.", "Det endelige svaret er {a}."),
    "Polish and Czech": ("Odpowiedź to {a}.", "Odpovědí je {a}.", "Ostateczna odpowiedź to {a}."),
    "Turkish and Hungarian": ("Cevap {a}.", "Doğru cevap {a}'dir.", "A válasz {a}."),
    "Arabic and Hebrew": ("الجواب هو {a}.", "الإجابة هي {a}.", "התשובה היא {a}."),
    "Hindi and Bengali": ("उत्तर {a} है।", "सही उत्तर {a} है।", "উত্তর হল {a}।"),
    "Vietnamese, Thai and Indonesian": (
        "Đáp án là {a}.",
        "Vậy đáp số là {a}.",
        "คำตอบคือ {a}",
        "Jawabannya adalah {a}.",
    ),
    "Greek and Romanian": ("Η απάντηση είναι {a}.", "Răspunsul este {a}.", "Răspunsul final este {a}."),
}
