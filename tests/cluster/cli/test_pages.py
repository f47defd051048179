"""The page of a trace in a real browser, full of text that would like to be code."""

from __future__ import annotations

import base64
import hashlib
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from cluster.cli.generate import trace_page as page
from rl.tracking.pages.html import policy_of, template_of
from rl.types import Message
from tests.toys import toy_draw_prompt, toy_policy, toy_text_prompt

BROWSER = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
TEMPLATE = template_of("playback.html")
RAN = "document.title='RAN';document.body.dataset.ran='yes'"
HOSTILE = [
    f"</script><script>{RAN}</script>",
    f"<img src=x onerror=\"{RAN}\"><svg onload=\"{RAN}\">",
    f"<!--<script>{RAN}</script>-->",
    f"]]>\u2028\u2029\";{RAN};//",
    f"javascript:{RAN}",
    f"<iframe srcdoc=\"<script>parent.{RAN}</script>\"></iframe><base href=//evil><form action=//evil>",
    "<style>body{display:none}</style><link rel=stylesheet href=//evil><meta http-equiv=refresh content='0;url=//evil'>",
    "\u202egnihtyreve\x1b]0;title\x07\ud800",
    "__DATA__ __POLICY__ ${" + RAN + "} {{" + RAN + "}}",
    "x" * 100_000,
]  # fmt: skip


class Echo:
    """A tokenizer whose tokens are hostile texts."""

    def decode(self, token_ids: list[int]) -> str:
        return "".join(HOSTILE[token] for token in token_ids)


def hostile_page(text: str) -> str:
    policy = toy_policy()
    ids = np.arange(len(HOSTILE))
    asked = replace(toy_text_prompt(), messages=(Message("user", text),))
    stand_in = SimpleNamespace(
        name=text,
        tokenizer=Echo(),
        vocabulary=SimpleNamespace(eos_id=10**6, image_offset=0),
        image_tokenizer=policy.image_tokenizer,
    )
    from rl.types import Modality

    span = SimpleNamespace(start=0, stop=len(ids), modality=Modality.TEXT)
    rollout = SimpleNamespace(
        spans=[span],
        token_ids=ids,
        step_map=ids % 3,
        confidence=None,
        entropy=None,
        response_mask=np.ones(len(ids), bool),
        seed=1,
        status=text,
        image=None,
    )
    return page(stand_in, asked, [rollout])  # pyright: ignore[reportArgumentType]


def test_the_policy_names_the_pages_own_script_and_style_alone() -> None:
    found = policy_of(TEMPLATE)
    assert "unsafe" not in found and "default-src 'none'" in found and "http" not in found
    whole = hostile_page(HOSTILE[0])
    assert f'content="{found}"' in whole
    (script,) = re.findall(r"<script>(.*?)</script>", whole, re.DOTALL)
    assert base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() in found
    assert whole.count("<script") == 2 and not re.search(r"[\x1b\x07\u202e\u2028\ud800]", whole)
    assert toy_draw_prompt().task  # its pictures are data: the policy's img-src


@pytest.mark.long
@pytest.mark.skipif(BROWSER is None, reason="no Chromium or Chrome on the PATH")
@pytest.mark.parametrize("text", HOSTILE[:-1])
def test_nothing_of_it_runs_in_a_browser(tmp_path: Path, text: str) -> None:
    dom = opened(tmp_path, hostile_page(text))
    title, play, tokens = (
        re.search(r"<title>(.*?)</title>", dom),
        "Play</button>" in dom,
        dom.count('<span title="step'),
    )
    assert title is not None and title[1] == "Denoising, step by step" and "data-ran" not in dom
    assert tokens == len(HOSTILE) and play, "our own script ran"


@pytest.mark.long
@pytest.mark.skipif(BROWSER is None, reason="no Chromium or Chrome on the PATH")
def test_the_browser_refuses_a_script_that_gets_in_all_the_same(tmp_path: Path) -> None:
    """Escaping aside: what stands in the page as a script is not the one that the policy names."""
    added = f'<script>{RAN}</script><img src=x onerror="{RAN}"></body>'
    whole = hostile_page("x")
    assert whole.count("</body>") == 1
    injected = whole.replace("</body>", added)
    dom = opened(tmp_path, injected)
    assert "data-ran" not in dom and "<title>RAN" not in dom
    free = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", injected)
    assert "data-ran" in opened(tmp_path, free), "and without the policy it would have run"


def opened(folder: Path, html: str) -> str:
    """The document as the browser has it once its scripts have run."""
    assert BROWSER is not None
    file = folder / "page.html"
    file.write_text(html, "utf-8")
    options = (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        f"--user-data-dir={folder / 'profile'}",
    )
    command = [BROWSER, *options, "--virtual-time-budget=3000", "--dump-dom", f"{file.as_uri()}#end"]
    for _ in range(3):  # a browser without a desktop ends by a signal now and then, before it has read anything
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        if done.returncode >= 0:
            break
    assert done.returncode == 0, done.stderr[-500:]
    return done.stdout
