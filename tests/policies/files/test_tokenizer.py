"""Chat templates as published, and tokenizers that come without tokenizer.json."""

from __future__ import annotations

import json
import shutil

import pytest
from tokenizers import Tokenizer, models

from policies import load_policy
from policies.files.fresh_policy import SPECIAL
from policies.files.tokenizer import ChatTokenizer
from rl.errors import DataError, PolicyError
from rl.types import Message
from tests.policies.originals import GOLDEN, write_folder
from tests.toys import toy_folder, toy_policy

CHATS = json.loads((GOLDEN / "chat.json").read_text())
ADDED = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "<|mask|>")


@pytest.mark.parametrize("name", CHATS)
def test_published_templates_render_as_in_transformers(name):
    golden = CHATS[name]
    tokenizer = ChatTokenizer(Tokenizer(models.BPE()), golden["template"], golden["special"])
    for chat in golden["chats"]:
        assert tokenizer.render(chat["messages"]) == chat["text"]


def test_special_tokens_reach_the_template_from_the_folder(tmp_path):
    golden = CHATS["LLaDA-8B-Instruct"]
    shutil.copyfile(toy_folder() / "tokenizer.json", tmp_path / "tokenizer.json")
    settings = {"chat_template": golden["template"], "bos_token": {"content": "<bos>"}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    tokenizer = ChatTokenizer.load(tmp_path)
    assert tokenizer.chat([Message("user", "a")])[0] == tokenizer.token_id("<bos>")


def test_a_template_that_refuses_says_so():
    template = "{% if messages[0].role != 'user' %}{{ raise_exception('begin with the user') }}{% endif %}"
    with pytest.raises(DataError, match="refuses turns of system: begin with the user"):
        ChatTokenizer(Tokenizer(models.BPE()), template).render([{"role": "system", "content": ""}])
    with pytest.raises(PolicyError, match="not a Jinja template"):
        ChatTokenizer(Tokenizer(models.BPE()), "{% if %}")


def test_a_template_runs_in_the_sandbox():
    with pytest.raises(DataError, match="unsafe|undefined"):
        template = "{{ messages.__class__.__mro__[1].__subclasses__()() }}"
        ChatTokenizer(Tokenizer(models.BPE()), template).render([{"role": "user", "content": ""}])


@pytest.fixture
def vocabulary_files(tmp_path):
    """vocab.json, merges.txt and tokenizer_config.json as Dream releases them, from the toy's own vocabulary."""
    model = json.loads((toy_folder() / "tokenizer.json").read_text())["model"]
    base = sorted((token for token in model["vocab"] if token not in SPECIAL), key=model["vocab"].get)
    (tmp_path / "vocab.json").write_text(json.dumps({token: index for index, token in enumerate(base)}))
    merges = [" ".join(pair) if isinstance(pair, list) else pair for pair in model["merges"]]
    (tmp_path / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    flags = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False}
    added = {
        str(len(base) + index): {"content": token, "special": token.startswith("<|"), **flags}
        for index, token in enumerate(ADDED)
    }
    settings = {"added_tokens_decoder": added, "chat_template": "{{ messages[0].content }}", "eos_token": ADDED[0]}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({**settings, "tokenizer_class": "Qwen2Tokenizer"}))
    return tmp_path


TEXTS = (
    "a red circle",
    "It's 2024, HE'LL say <think>3+4=7</think>",
    "  two  spaces\n\n\tand lines \r\n end ",
    "émigré e\u0301 日本語 😀 ①½",
    "<|im_start|>user\nwhat?<|im_end|>\n",
    "x**2/(y-1)!!",
)


def test_a_tokenizer_of_vocabulary_files_is_that_of_transformers(vocabulary_files):
    from transformers import Qwen2Tokenizer

    theirs, ours = Qwen2Tokenizer.from_pretrained(str(vocabulary_files)), ChatTokenizer.load(vocabulary_files)
    assert len(ours) == len(theirs)
    for text in TEXTS:
        assert ours.encode(text) == theirs(text, add_special_tokens=False)["input_ids"], text
    assert ours.decode(ours.encode("<|im_start|>é<think>x")) == "é<think>x"


def test_a_policy_without_tokenizer_json_is_loaded_and_saved(vocabulary_files, tmp_path):
    folder = write_folder("dream", tmp_path / "policy")
    (folder / "tokenizer.json").unlink()
    (folder / "chat_template.jinja").unlink()
    for file in ("vocab.json", "merges.txt", "tokenizer_config.json"):
        shutil.copyfile(vocabulary_files / file, folder / file)
    policy = load_policy(folder)
    policy.save(tmp_path / "saved")
    assert load_policy(tmp_path / "saved").tokenizer.encode("a red 12") == policy.tokenizer.encode("a red 12")


def test_added_tokens_that_would_move_are_refused(vocabulary_files):
    file = vocabulary_files / "tokenizer_config.json"
    settings = json.loads(file.read_text())
    first = min(settings["added_tokens_decoder"], key=int)
    settings["added_tokens_decoder"]["9999"] = settings["added_tokens_decoder"].pop(first)
    file.write_text(json.dumps(settings))
    with pytest.raises(PolicyError, match="vocab.json: not a tokenizer: .* is to be"):
        ChatTokenizer.load(vocabulary_files)


def test_released_names_of_layout_tokens_are_found():
    """MMaDA's released tokenizer has no <|t2i|>: reserved tokens have its meaning."""
    tokenizer = toy_policy().tokenizer
    aliased = ChatTokenizer(tokenizer._tokenizer, "", aliases={"<|r2i|>": "<|soi|>", "<|t2i|>": "<|mmu|>"})
    assert aliased.token_id("<|r2i|>") == tokenizer.token_id("<|soi|>")
    assert aliased.token_id("<|t2i|>") == tokenizer.token_id("<|t2i|>")
    with pytest.raises(PolicyError, match="no token '<|none|>'"):
        aliased.token_id("<|none|>")
