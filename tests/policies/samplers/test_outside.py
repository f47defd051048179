"""Remasking rules, unmasking schedules and caches that an installed package brings: the config knows them, samplers use them."""

from __future__ import annotations

import json
from pathlib import Path

from tests.outside.package import make_package, run_with
from tests.toys import toy_folder

CHOICES = """
from policies.samplers.remasking import Remasking
from policies.samplers.states.whole import WholeStates

# Positions from left to right: the noise and the logits do not matter.
LEFT_TO_RIGHT = Remasking(lambda logits, probability, noise: 1 / (2 + probability.new_ones(probability.shape).cumsum(-1)))


def sudden(time):
    return 1.0 if time < 1 else 0.0


class Counted(WholeStates):
    passes = 0

    def hidden(self, shown):
        Counted.passes += 1
        return super().hidden(shown)
"""

BRINGS = {
    "unigrpo.remasking": "left = choices:LEFT_TO_RIGHT",
    "unigrpo.unmasking": "sudden = choices:sudden",
    "unigrpo.caches": "counted = choices:Counted",
}

SCRIPT = """
import json
import choices
from policies import generate_image, generate_text, load_policy
from rl.config import load_config
from rl.errors import ConfigError
from rl.types import TextSampling

load_config("tiny", [
    "rollout.text.remasking=left", "rollout.text.cache=counted", "rollout.draw.schedule=sudden",
    "rollout.cache_gate.min_agreement=0.5",
])
try:
    load_config("tiny", ["rollout.draw.schedule=suden"])
except ConfigError as error:
    refused = str(error)
policy = load_policy("POLICY")
text = TextSampling(8, 8, 4, temperature=0.0, remasking="left", cache="counted")
written = generate_text(policy, [list(range(20, 30))], text, [0])[0]
drawn = generate_image(policy, ["a red circle"], {"steps": 3, "schedule": "sudden", "remask_temperature": 0.0}, [0])[0]
print(json.dumps({
    "text": written.step_map.tolist(), "passes": choices.Counted.passes, "image": drawn.step_map.tolist(), "refused": refused,
}))
"""


def test_choices_of_sampling_come_from_outside(tmp_path: Path) -> None:
    script = SCRIPT.replace("POLICY", str(toy_folder()))
    make_package(tmp_path, "choices", CHOICES, BRINGS)
    found = json.loads(run_with(tmp_path, "-c", script).stdout)
    steps = found["text"]
    assert steps == [0, 0, 1, 1, 2, 2, 3, 3][: len(steps)] and found["passes"] == 4
    # One code a step, since every step shows something; all others wait for the last, as the schedule says.
    assert sorted(found["image"]) == [0, 1] + [2] * 14
    assert found["refused"].startswith(
        "rollout.draw.schedule='suden': allowed: cosine, linear, sudden; did you mean 'sudden'"
    )
