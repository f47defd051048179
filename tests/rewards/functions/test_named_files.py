"""Files that a reward opens by its own place belong to it: they are sent with a job, and a change of them is noticed."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from rewards.functions.beside import digests, modules_beside
from rewards.functions.named_files import named_files

FILES = ("words.txt", "lists/en.txt", "lists/fr.csv", "deep/er/w.json", "other.py", "no_suffix", "a b.txt")
HERE = "from pathlib import Path\nimport os\nHERE = Path(__file__).parent\n"
OPENED = [
    ("open(Path(__file__).parent / 'words.txt')", ["words.txt"]),
    ("Path(__file__).with_name('words.txt').read_text()", ["words.txt"]),
    ("Path(__file__).resolve().parent.joinpath('lists', 'en.txt')", ["lists/en.txt"]),
    ("HERE / 'lists' / 'en.txt'", ["lists/en.txt"]),
    ("(HERE / 'lists').glob('*.txt')", ["lists"]),
    ("os.path.join(os.path.dirname(__file__), 'lists', 'fr.csv')", ["lists/fr.csv"]),
    ("open(os.path.join(HERE, 'words.txt'), 'r', encoding='utf-8')", ["words.txt"]),
    ("open(f'{HERE}/words.txt')", ["words.txt"]),
    ("open(os.path.dirname(__file__) + '/words.txt')", ["words.txt"]),
    ("HERE / 'deep/er/w.json'", ["deep/er/w.json"]),
    ("HERE / 'deep' / 'er/w.json'", ["deep/er/w.json"]),
    ("HERE / 'no_suffix'", ["no_suffix"]),
    ("HERE / 'a b.txt'", ["a b.txt"]),
    ("runpy.run_path(os.path.join(HERE, 'other.py'))", ["other.py"]),
    ("sys.path.insert(0, str(HERE / 'deep'))", ["deep"]),
    ("DATA = HERE / 'deep'\nFILE = DATA / 'er' / 'w.json'", ["deep"]),
    ("[HERE / 'words.txt', HERE / 'lists/en.txt']", ["words.txt", "lists/en.txt"]),
    ("open('words.txt')", []),
    ("x = {'words.txt': 1}", []),
    ("HERE / 'missing.txt'", []),
    ("HERE / '..'", []),
    ("HERE / '/etc/passwd'", []),
    ("HERE / name", []),
    ("print(HERE, 'words')", []),
    ("HERE / ''", []),
    ("HERE / 'a\\0b'", []),
    (f"HERE / {'x' * 5000!r}", []),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("w")
    return tmp_path


@pytest.mark.parametrize(("line", "found"), OPENED, ids=lambda value: str(value)[:50])
def test_what_a_file_opens_by_its_own_place(folder: Path, line: str, found: list[str]) -> None:
    assert sorted(map(str, named_files(ast.parse(HERE + line), folder))) == sorted(found)


def test_it_goes_with_the_modules_and_so_does_what_a_helper_opens(folder: Path) -> None:
    (folder / "mine.py").write_text(f"{HERE}import helper\nW = open(HERE / 'words.txt')\n")
    (folder / "helper.py").write_text(f"{HERE}import other\nL = HERE / 'lists'\n")
    beside = modules_beside(folder / "mine.py")
    assert set(map(str, beside)) == {"words.txt", "helper.py", "other.py", "lists"}
    assert all((folder / place).samefile(file) for place, file in beside.items())


def test_a_change_of_any_of_them_is_another_digest(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "mine.py").write_text(f"{HERE}import other\nW, L = HERE / 'words.txt', HERE / 'lists'\n")
    monkeypatch.chdir(folder)
    before = digests(Path("mine.py"))
    assert set(before) == {"mine.py", "other.py", "words.txt", "lists/en.txt", "lists/fr.csv"}
    for name in before:
        Path(name).write_text(Path(name).read_text() + "\n")
        after = digests(Path("mine.py"))
        assert {each for each in after if after[each] != before[each]} == {name}
        before = after
    Path("no_suffix").write_text("changed")
    assert digests(Path("mine.py")) == before and digests(Path("gone.py")) == {}
