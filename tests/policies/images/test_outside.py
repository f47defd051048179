"""An image tokenizer that an installed package brings: a policy loads it, draws with it and looks through it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from tests.outside.package import make_package, run_with
from tests.toys import toy_folder

GREY = """
import numpy as np


class Grey:
    image_size, codes_per_image = 32, 16

    def __init__(self, levels):
        self.codebook_size = levels

    def encode(self, pixels):
        patches = pixels.astype(np.int64).reshape(len(pixels), 4, 8, 4, 8, 3).mean((2, 4, 5))
        return (patches * self.codebook_size // 256).astype(np.int64).reshape(len(pixels), 16)

    def decode(self, codes):
        grid = (np.asarray(codes).reshape(-1, 4, 4) * 256 // self.codebook_size).astype(np.uint8)
        return np.repeat(grid.repeat(8, 1).repeat(8, 2)[..., None], 3, 3)


def load(folder, settings, device):
    return Grey(settings["levels"])
"""

SCRIPT = """
import json
from policies import generate_image, load_policy
from policies.families.mmada import image_codes
from tests.toys import toy_understand_prompt

policy = load_policy("policy")
drawn = generate_image(policy, ["a red circle"], {"steps": 2}, [0])[0]
again = policy.image_tokenizer.encode(policy.image_tokenizer.decode(drawn.token_ids[None]))[0]
policy.save("copy")
print(json.dumps({
    "kind": type(load_policy("copy").image_tokenizer).__name__,
    "same": (again == drawn.token_ids).all().item(),
    "seen": len(image_codes(policy, toy_understand_prompt())),
}))
"""


def test_an_image_tokenizer_comes_from_outside(tmp_path: Path) -> None:
    shutil.copytree(toy_folder(), tmp_path / "policy")
    (tmp_path / "policy" / "image_tokenizer" / "config.json").write_text('{"_class_name": "Grey", "levels": 64}')
    make_package(tmp_path, "grey", GREY, {"unigrpo.image_tokenizers": "Grey = grey:load"})
    found = json.loads(run_with(tmp_path, "-c", SCRIPT).stdout)
    assert found == {"kind": "Grey", "same": True, "seen": 16}
