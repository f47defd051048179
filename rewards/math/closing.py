r"""The answer of a text without any mark: what its last sentence with a value gives. Nothing is evaluated."""

from __future__ import annotations

import re

from rewards.math.candidates import formulas, without_negations
from rewards.math.prose import FORMULA, Read, read_statement, read_value

PROSE = 2_000  # characters at the end that are read as sentences
YES = re.compile(r"\W*(yes|no|true|false)(?![A-Za-z])(?!\s+(?:solution|real|or|and)\b)", re.IGNORECASE)
_IS = re.compile(
    r"(?<![A-Za-z])(?:is|are|was|were|equals?|be|becomes?|gives?|get|gets|got|have|has|makes?|leaves?|yields?|needs?|costs?|pays?|takes?|it's"
    r"|arrives?|ends?|finish(?:es)?|meets?|intersects?|cross(?:es)?|begins?|starts?|falls? on|lands? on)"
    r"(?![A-Za-z])\s*(?:(?:exactly|only|about|a total of|in total|thus|therefore|equal to|that|located|found|at|in|:)\s+|:\s*)*",
    re.IGNORECASE,
)
_NUMBER = re.compile(
    r"(?:(?<![\w)}\]])[-−])?(?<![0-9.])(?:\\?[$€£₹¥]\s?)?"  # a minus after an operand is a subtraction
    r"(?:[0-9]{1,4}(?::[0-9]{1,4}){1,3}(?:\s?[AaPp]\.?[Mm]\.?)?(?![A-Za-z])|\\[dt]?frac\{-?[0-9]{1,100}\}\{[0-9]{1,100}\}"
    r"|(?:[0-9]{1,3}(?:,[0-9]{3}){1,30}(?![0-9])|[0-9]{1,100})(?:\.[0-9]{1,100})?(?:/[0-9]{1,100})?)(?:\s?\\?%)?"
)
_RESULT_NUMBER = re.compile(
    r"(?:=|so|then|giving|gives|leaving|leaves|makes|making|totals?|totalling|get|gets|yields|yielding|i\.e\.,?|or)\s*\\?\$?\s*$",
    re.IGNORECASE,
)
_BOLD = re.compile(r"\*\*([^*\n]{1,200})\*\*")
_SENTENCE_END = re.compile(r"[.!?:]+(?<![0-9] :)(?=\s|$|[\"'*)])|\n+")
_VALUE_LIKE = re.compile(r"[0-9$]|\\[(\[]|√|π|∞")
_BECAUSE = re.compile(r"(?<![A-Za-z])(?:because|since|as)(?![A-Za-z])", re.IGNORECASE)
_UNSURE = re.compile(
    r"(?:\bthan(?: or equal to)?|\babove|\bbelow|\bbetween|\bexceeds?|\bexceeding|\bbeyond|\bover|\bat (?:least|most)|\bup to"
    r"|\b(?:almost|nearly|mindestens|höchstens|fast|au (?:moins|plus)|(?:al|por lo|a lo) (?:menos|más)|almeno"
    r"|al massimo|pelo menos"
    r"|no máximo|не (?:менее|более|больше|меньше)|минимум|максимум"
    r"|bis zu|mehr als|weniger als|(?:pas |non )?(?:plus|moins) de|(?:no )?(?:más|menos) de|(?:non )?(?:più|meno) di"
    r"|(?:não )?(?:mais|menos) de|(?:niet )?(?:meer|minder) dan|(?:nie )?(?:więcej|mniej) niż|(?:более|больше|меньше) чем)"
    r"|不超过|超过|不到|至少|至多|最多|少なくとも|最大で|최소|최대"
    r"|\bhalf(?: of)?|\bt(?:wi|hri)ce|\b(?:double|triple|base|modulo|mod)|\b(?:square|cube|root|third|quarter|multiple"
    r"|power)s? of)"
    r"\s*[$\\(]{0,2}\s*$",
    re.IGNORECASE,
)
_WORKED_ON = re.compile(r"\s*(?:squared|cubed|factorial|doubled|halved|tripled)(?![A-Za-z])", re.IGNORECASE)
# What follows only says when or why: ``The maximum is 10, attained at x = 3.``
_CLAUSE = re.compile(
    r",?\s(?:attained|achieved|reached|realized|occurring|when|where|whenever|because|since|as)(?![A-Za-z])"
    r"(?!.*(?<![A-Za-z])(?:so|then|thus|hence|therefore|giving|gives|leaving|makes?)(?![A-Za-z]))",
    re.IGNORECASE | re.DOTALL,
)
_SUCH = re.compile(
    r"\bthere (?:are|is|were) ([0-9]{1,9}) such [^.:!?\n]{1,60}:\s", re.IGNORECASE
)  # and then they are listed
_IF = re.compile(
    r"(?<![A-Za-z])(?:if|when) [^,;.\n]{2,60},\s+(?:it is |the answer is |then )?(?=[-$\\(0-9])", re.IGNORECASE
)
_SPELT = re.compile(
    r"\b(?:two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|[a-z]{3,5}teen|[a-z]{3,5}ty)\b", re.IGNORECASE
)
_OPERATOR = re.compile(r"\s*(?:[-+*/×÷·−^]|\\(?:times|cdot|div))\s*")
_NAME = re.compile(r"(?<![A-Za-z\\])[A-Za-z](?:_?[0-9])?\s?=\s?$")
_VARIABLE = re.compile(r"[xyznabckpqrtuvwij](?![A-Za-z'])")
ATTEMPT = re.compile(  # where a text stops on its way
    r"\W*(?:suppose|assume|imagine|take)(?![A-Za-z])"
    r"(?!.*(?<![A-Za-z])(?:then|so|thus|hence|therefore|gives?|get|equals?|makes?)(?![A-Za-z]))(?!.*=)|"
    r"\W*(?:let(?:'s| us| me)?|assume|suppose|consider|imagine|try|(?:we|i) (?:now |next |can |could )?(?:try|assume|suppose)"
    r"|(?:the |this )?(?:question|problem|exercise) (?:asks|says|states|wants))(?![A-Za-z])"
    r"(?!.*(?<![A-Za-z])(?:then|so|thus|hence|therefore|gives?|get|is|are|makes?)(?![A-Za-z]))",
    re.IGNORECASE | re.DOTALL,
)
_OR_ELSE = re.compile(r"\W*(?:or|alternatively)(?![A-Za-z])", re.IGNORECASE)
CHOSEN = re.compile(
    r"(?:options?|choices?|choose|select|pick|letter|answers?)\W{0,4}\(?([A-J])\)?(?![A-Za-z])|\(([A-J])\)"
    r"|\*\*\(?([A-J])\)?\.?\*\*|(?:so|hence|therefore|thus|is|it's|é|è|es|est|ist|jest|är|er|:)\s+(?:la |die "
    r"|der )?([A-J])(?=\W*$)"
    r"|(?:[Oo]nly|[Ii]t is|[Ii]t's) ([A-J])(?=[:,.]|\s[a-z]|$)|^\W*([A-J])(?=,? (?:because|since|as)\b)"
    r"|(?<![A-Za-z])([A-J]) is (?:true|correct|right)"
    r"|(?:with|be|choose|pick|are|correct:)\s+([A-J])(?=\W*$|\s+and\s+[A-J])|(?<=[A-J]) and ([A-J])(?=\W*$)"
    r"|(?:option|choice|answer|letter)\s+\(?([a-e])\)?(?=\W*$)"
)
_CHECKED = re.compile(
    r"(?:let'?s |to |we )?(?:check|verif|plug|substitut\w+ back|putting (?:it|this) back)\w*\b"
    r"|.{0,120}\b(?:which (?:matches|agrees|checks)(?: [^.\n]{1,40})?|as required"
    r"|as expected|checks out)\W*$",
    re.IGNORECASE | re.DOTALL,
)


def closing(text: str, sources: frozenset[str], wanted: str) -> str | None:
    """The last sentence that has a value."""
    original = text[-PROSE:]
    tail = without_negations(original)
    if not wanted and "last_number" in sources and (such := list(_SUCH.finditer(tail))):
        return such[-1].group(1)
    spelt = not re.search("[0-9$]", tail)
    masked = FORMULA.sub(lambda match: "$" + "x" * (len(match.group()) - 2) + "$", tail)
    ends = [0, *(match.end() for match in _SENTENCE_END.finditer(masked)), len(tail)]
    for begin, end in list(zip(ends, ends[1:], strict=False))[:-40:-1]:
        sentence = tail[begin:end]
        asked = sentence.rstrip().endswith("?")
        if re.search("[0-9]", original[begin:end]) and (asked or not re.search("[0-9]", sentence)):
            return None  # a question, or what is denied
        if ATTEMPT.match(sentence) and re.search("[0-9]", sentence):
            return None
        if begin and _CHECKED.match(sentence.strip()) and re.search("[0-9]", tail[:begin]):
            continue
        if wanted == "choice" and (chosen := [m for m in CHOSEN.finditer(sentence)]):
            reason = _BECAUSE.search(sentence, chosen[0].end())
            chosen = [m for m in chosen if reason is None or m.start() < reason.start()]
            letters = dict.fromkeys(next(filter(None, m.groups())).upper() for m in chosen)
            return ", ".join(letters)
        if wanted == "choice":
            continue  # its reasons may hold numbers
        if wanted in ("word", "yes"):
            found = _word_of(sentence, wanted)
        else:
            likely = _VALUE_LIKE.search(sentence) or (spelt and _SPELT.search(sentence))
            found = _value_of(sentence, masked[begin:end], sources) if likely else None
        if found and begin and _OR_ELSE.match(sentence):
            before = closing(text[: len(text) - len(original) + begin], sources, wanted)
            return f"{before}, {found}" if before else found
        if found:
            return found
        if wanted not in ("word", "yes") and "last_number" in sources and re.search("[0-9]", sentence):
            return None  # a bound: more than 5
    return None


def _word_of(sentence: str, wanted: str) -> str | None:
    said = YES.match(sentence) if wanted == "yes" else None
    if said is not None:
        return said.group(1)
    bold = _BOLD.findall(sentence)
    if bold:
        return bold[-1]
    verbs = list(_IS.finditer(sentence))
    if not verbs:
        return None
    words = re.split(r",|\s(?:because|since|as|which)\s", sentence[verbs[-1].end() :], maxsplit=1)[0]
    words = re.sub(r"^(?:an?|the)\s+", "", words.strip(" .!\n*\"'"), flags=re.IGNORECASE)
    return words if 0 < len(words.split()) <= 4 else None


def _before_clause(sentence: str, masked: str) -> Read | None:
    """The value of a main clause, where only a reason or a condition follows."""
    for clause in _CLAUSE.finditer(masked):
        for verb in reversed(list(_IS.finditer(masked, 0, clause.start()))):
            value = read_statement(sentence[: clause.start()], verb.end())
            if value is not None and not sentence[value.end : clause.start()].strip(" *,_$"):
                return value
    return None


def _of_conditions(sentence: str) -> str | None:
    """``If the ends count, 9; if not, 8.`` is neither."""
    read = [read_value(sentence, condition.end()) for condition in _IF.finditer(sentence)]
    values = list(dict.fromkeys(value.text for value in read if value is not None))
    return ", ".join(values) if len(values) > 1 else None


def _value_of(sentence: str, masked: str, sources: frozenset[str]) -> str | None:
    options: list[Read] = []
    if "last_number" in sources and (several := _of_conditions(sentence)) is not None:
        return several
    if (reason := _BECAUSE.search(masked)) and re.search("[0-9]", masked[: reason.start()]) and _CLAUSE.search(masked):
        return _value_of(sentence[: reason.start()], masked[: reason.start()], sources)
    if "formula" in sources and (main := _before_clause(sentence, masked)) is not None:
        return main.text
    if "formula" in sources:
        for match in _IS.finditer(masked):
            value = read_value(sentence, match.end())
            if value is not None:
                linked = read_statement(sentence, match.end()) or value
                options.append(Read(linked.text, linked.end + 1))  # a tie goes to the sentence
        options += [
            Read(match.group(1), match.end())
            for match in _BOLD.finditer(sentence)
            if _VALUE_LIKE.search(match.group(1))
        ]
        options += [Read(candidate.text, candidate.end) for candidate in formulas(sentence)]
    best = max(options, key=lambda option: option.end) if options else None
    if "last_number" not in sources:
        return best.text if best is not None else None
    numbers = list(_NUMBER.finditer(masked))
    if best is None:
        return _last_number(sentence, numbers)
    later = [
        n
        for n in numbers
        if n.start() >= best.end and _RESULT_NUMBER.search(masked[max(0, n.start() - 16) : n.start()])
    ]
    return _number_at(sentence, later[-1]) if later else best.text


def _last_number(sentence: str, numbers: list[re.Match[str]]) -> str | None:
    """With those that are joined to it; not a bound, as in ``more than 5``."""
    if not numbers:
        return None
    last = numbers[-1]
    for number in numbers[-6:-1]:
        value = read_value(sentence, number.start())
        name = _NAME.search(sentence, max(0, number.start() - 12), number.start())
        if value is not None and name is not None and "=" in value.text:
            value = read_value(sentence, name.start())  # x = 31, y = 27
        if (
            value is not None
            and value.end >= last.end()
            and re.search(r", |[0-9%] to [-0-9$]|[0-9]\s?[–—]\s?[0-9$]", value.text)
        ):
            return None if _UNSURE.search(sentence, 0, number.start()) else value.text
    if _UNSURE.search(sentence, max(0, last.start() - 24), last.start()) or _VARIABLE.match(sentence, last.end()):
        return None
    if _WORKED_ON.match(sentence, last.end()):
        return None
    first = len(numbers) - 1
    while first and _OPERATOR.fullmatch(sentence, numbers[first - 1].end(), numbers[first].start()):
        first -= 1
    if first < len(numbers) - 1 and not re.search(r"=\s*$", sentence[: numbers[first].start()]):
        return sentence[numbers[first].start() : last.end()]  # 21 + 41 is no 41
    return _number_at(sentence, last)


def _number_at(sentence: str, match: re.Match[str]) -> str:
    """The number, with the unit that follows it."""
    value = read_value(sentence, match.start())
    if value is not None and re.fullmatch(r"[-−]?\\?[$€£]?[0-9][0-9.,/]*\s?\\?%?\s[A-Za-z ]{1,40}", value.text):
        return value.text
    return match.group()
