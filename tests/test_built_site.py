"""The manual as a site: it builds without a broken link, and questions of the field are found by search or in two clicks."""

from __future__ import annotations

import importlib.util
import json
import math
import re
from collections import Counter
from pathlib import Path

import pytest

from tests.manual import ROOT

pytestmark = pytest.mark.skipif(importlib.util.find_spec("mkdocs") is None, reason="needs the extra docs")

# What somebody types -> the page that answers. The words are not those of its heading alone.
QUESTIONS = {
    "how much memory": "questions.html",
    "out of memory": "troubleshooting.html",
    "reproduce d1": "questions.html",
    "settings of a paper": "questions.html",
    "reward is 0": "questions.html",
    "why do ratios differ from 1": "questions.html",
    "resume another machine": "questions.html",
    "resume": "faults.html",
    "judge": "judge.html",
    "plug in a judge": "questions.html",
    "slow": "troubleshooting.html",
    "two nodes": "questions.html",
    "where are my images": "questions.html",
    "export policy": "troubleshooting.html",
    "custom reward": "tutorials/first-reward.html",
    "kuberay": "schedulers.html",
    "new estimator": "tutorials/new-estimator.html",
}
FIRST = 5


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    folder = tmp_path_factory.mktemp("site")
    config = load_config(str(ROOT / "mkdocs.yml"), site_dir=str(folder), strict=True)
    config.plugins.on_startup(command="build", dirty=False)
    build(config)
    return folder


def test_it_builds_without_a_warning_and_asks_no_other_host(site: Path) -> None:
    pages = {path.relative_to(site).as_posix(): path.read_text("utf-8") for path in site.rglob("*.html")}
    made = {"settings", "commands", "metrics", "python"}
    assert {"index.html", "security.html", *(f"reference/{name}.html" for name in made)} <= set(pages)
    for name, text in pages.items():
        loaded = re.findall(r"<(?:script|img|iframe|link)\b[^>]*?(?:src|href)=\"?(https?:[^\">\s]+)", text)
        assert not loaded, (name, loaded)


@pytest.fixture(scope="module")
def found(site: Path) -> Search:
    return Search(json.loads((site / "search" / "search_index.json").read_text("utf-8"))["docs"])


class Search:
    """The index that the site's search reads, ranked as lunr does: BM25 by field, where a title counts more than its text."""

    def __init__(self, sections: list[dict[str, str]]) -> None:
        self.boosts = [float(section.get("boost", 1)) for section in sections]
        self.places = [section["location"] for section in sections]
        self.titles = [_words_of(section["title"]) for section in sections]
        self.texts = [_words_of(re.sub(r"<[^>]+>", " ", section["text"])) for section in sections]

    def pages(self, query: str) -> list[str]:
        """Pages in the order of their best section."""
        scores: dict[str, float] = {}
        for field, boost in ((self.titles, 1000.0), (self.texts, 1.0)):
            average = sum(map(len, field)) / len(field)
            counts = [Counter(words) for words in field]
            for word in _words_of(query):
                holds = sum(word in count for count in counts)
                weight = math.log(1 + (len(field) - holds + 0.5) / (holds + 0.5))
                for place, count, words, own in zip(self.places, counts, field, self.boosts, strict=True):
                    often = count[word]
                    if often:
                        part = often * 2.2 / (often + 1.2 * (0.25 + 0.75 * len(words) / average))
                        scores[place] = scores.get(place, 0.0) + own * boost * weight * part
        order = sorted(scores, key=lambda place: -scores[place])
        return list(dict.fromkeys(place.partition("#")[0] for place in order))


STOP_WORDS = set(
    "a about after all also am among an and any are as at be because but by can do does else every for from get has have how "
    "i if in into is it its just like may me most my no nor not of off often on only or other our own so some than that the "
    "their them then there these they this to too us was we were what when where which while who why will with you your".split()
)


def _words_of(text: str) -> list[str]:
    words = re.findall(r"[a-z0-9]+", text.lower())
    return [word for word in words if word not in STOP_WORDS]


@pytest.mark.parametrize(("query", "page"), QUESTIONS.items())
def test_a_search_finds_the_page_among_the_first(found: Search, query: str, page: str) -> None:
    assert page in found.pages(query)[:FIRST]


def test_every_page_is_two_clicks_from_the_first(site: Path) -> None:
    """Beside the navigation, which has every page: by links in the text of the pages."""
    start = links(site, "index.html")
    reached = {"index.html", *start}.union(*(links(site, page) for page in start))
    assert {page for page in QUESTIONS.values()} <= reached


def links(site: Path, page: str) -> set[str]:
    text = (site / page).read_text("utf-8")
    article = text[text.index("<article") : text.index("</article>")]
    found = re.findall(r'href="?([^"#>\s]+\.html)', article)
    folder = (site / page).parent
    inside = [(folder / link).resolve() for link in found if "://" not in link]
    return {path.relative_to(site.resolve()).as_posix() for path in inside if path.is_relative_to(site.resolve())}
