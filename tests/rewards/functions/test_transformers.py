"""transformers and torchvision in a user's file, in every process that runs it and without a word about operators."""

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cluster.cli.app import app
from rewards import load_reward
from tests.rewards.bert_reward import make_bert, write_reward
from tests.rewards.makers import text_item

ITEMS = [text_item("<think>a</think>7"), text_item("no"), text_item("")]


def python(code: str, *arguments: str) -> str:
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def reward_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder: Path = tmp_path_factory.mktemp("bert")
    make_bert(folder)
    return write_reward(folder)


@pytest.fixture(scope="module")
def expected(reward_file: str) -> list[float]:
    """In a process of its own, in which nothing else has declared anything."""
    code = (
        "import sys; from rewards import load_reward; from tests.rewards.makers import text_item\n"
        "assert 'torch' not in sys.modules\n"
        f"scores = load_reward({reward_file + ':reward'!r}).score([text_item(t) for t in {[i.text for i in ITEMS]!r}])\n"
        "print([score.value if score.usable else score.detail for score in scores])\n"
    )
    values = eval(python(code).splitlines()[-1])
    assert len(set(values)) == 3 and all(0 < value < 1 for value in values)
    return values


@pytest.mark.long
def test_a_childs_scores_are_the_same(reward_file: str, expected: list[float]) -> None:
    isolated = load_reward({"name": "custom", "path": reward_file, "isolate": True})
    scores = isolated.score(ITEMS)
    assert [score.detail for score in scores] == [""] * 3
    assert [score.value for score in scores] == pytest.approx(expected, abs=1e-6)


@pytest.mark.long
def test_the_check_says_so_too(reward_file: str) -> None:
    result = CliRunner().invoke(app, ["rewards", "check", f"{reward_file}:reward"], env={"COLUMNS": "200"})
    assert result.exit_code == 0 and "the same scores twice" in result.output, result.output
    assert "sample/0" in result.output


@pytest.mark.long
@pytest.mark.parametrize(
    "line",
    [
        "from torchvision import ops, transforms; from torchvision.transforms import v2; from transformers import AutoModel",
        "import importlib; importlib.import_module('transformers').pipeline; import torchvision",
    ],
)
def test_each_way_to_ask_for_it(line: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(f"def reward(completions):\n    {line}\n    return [1.0] * len(completions)\n")
    code = (
        "import sys; from rewards import load_reward; from tests.rewards.makers import text_item\n"
        f"reward = load_reward({f'{path}:reward'!r})\n"
        "assert not {'torch', 'transformers', 'torchvision'} & set(sys.modules), 'imported before anybody asked'\n"
        "print([score.detail or score.value for score in reward.score([text_item('a')])])\n"
    )
    assert python(code).splitlines()[-1] == "[1.0]"


WANTED = (
    "from transformers import BertModel, BertConfig; BertModel(BertConfig(hidden_size=12, num_hidden_layers=1))",
    "from transformers import CLIPModel, CLIPConfig, CLIPProcessor",
    "from transformers import SiglipModel, SiglipImageProcessor",
    "from transformers import AutoModel, AutoTokenizer, AutoProcessor, AutoConfig",
    "from transformers import AutoModelForSequenceClassification, AutoModelForCausalLM",
    "from transformers import pipeline, TextClassificationPipeline",
    "from transformers import DetrForObjectDetection, DetrImageProcessor",
    "from transformers import ViTModel, ViTImageProcessor, ViTImageProcessorFast",
    "from transformers import Blip2Model, BlipForConditionalGeneration",
    "from transformers import T5ForConditionalGeneration, T5EncoderModel",
    "from transformers import Owlv2ForObjectDetection, Owlv2Processor",
    "from transformers import DebertaV2ForSequenceClassification",
    "from transformers.models.qwen2_vl import modeling_qwen2_vl",
    "from transformers.image_utils import load_image; from transformers.image_transforms import center_crop",
    "import transformers; transformers.Trainer; transformers.TrainingArguments",
    "import torch, torchvision; torchvision.ops.nms",
    "from torchvision.models import resnet18; resnet18(num_classes=2)",
    "from torchvision.transforms import Compose, Resize, ToTensor, InterpolationMode",
    "from torchvision.transforms.v2 import functional; import torchvision.transforms.functional as F",
    "import torchvision.io",
    "import torchvision.utils, torchvision.datasets",
    "__import__('transformers').CLIPTextModel",
)


@pytest.mark.long
def test_what_users_import_from_both(tmp_path: Path) -> None:
    """Each in a reward of its own, in one process that has imported neither."""
    for index, line in enumerate(WANTED):
        body = f"def reward(completions):\n    {line}\n    return [1.0] * len(completions)\n"
        (tmp_path / f"mine{index}.py").write_text(body)
    code = (
        "import sys; from rewards import load_reward; from tests.rewards.makers import text_item\n"
        f"rewards = [load_reward(f'{tmp_path}/mine{{n}}.py:reward') for n in range({len(WANTED)})]\n"
        "print([score.detail or score.value for each in rewards for score in each.score([text_item('a')])])\n"
    )
    assert python(code).splitlines()[-1] == str([1.0] * len(WANTED))
