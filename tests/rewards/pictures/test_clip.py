"""The CLIP reward through open_clip, and the small CLIP that ships."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from rewards import load_reward
from rewards.pictures.clip import ClipReward, ClipSettings
from rewards.pictures.composition import find_objects, holds
from rewards.tiny.clip_ranking import ranking, variations
from rewards.tiny.scene_clip import FOLDER, config, vocabulary, write_folder, write_tokenizer
from rewards.tiny.train_clip import SceneEncoder, augment, contrastive
from rl.errors import RewardError
from rl.scenes import CATEGORIES, PALETTE, SceneObject, SceneSpec, all_specs, caption, render
from rl.types import Prompt, RewardItem, ScoreStatus, Task
from tests.rewards.makers import drawn_item, text_item

SPECS = all_specs()


@pytest.fixture(scope="module")
def clip():
    return ClipReward(ClipSettings(batch_size=8))


def scenes(count, start=0):
    return [
        drawn_item(render(spec, index), reference=caption(spec)) for index, spec in enumerate(SPECS[start::37][:count])
    ]


def test_a_score_is_a_hundred_times_open_clips_own_cosine(clip):
    items = scenes(20)
    with torch.no_grad():
        images = torch.stack([clip.preprocess(Image.fromarray(np.asarray(item.image))) for item in items])
        texts = clip.tokenizer([item.prompt.reference for item in items])
        wanted = torch.cosine_similarity(clip.model.encode_image(images), clip.model.encode_text(texts))
    values = [score.value for score in clip.score(items)]
    assert values == pytest.approx((100 * wanted).tolist(), abs=1e-3)


def test_a_score_does_not_depend_on_its_batch_mates(clip):
    items = scenes(19, start=5)
    together = [score.value for score in clip.score(items)]
    alone = [clip.score([item])[0].value for item in items]
    backwards = [score.value for score in clip.score(items[::-1])][::-1]
    assert together == pytest.approx(alone, abs=1e-3) and together == pytest.approx(backwards, abs=1e-3)


def test_a_caption_is_encoded_once(monkeypatch):
    clip, calls = ClipReward(ClipSettings()), []
    tokenizer = clip.tokenizer
    monkeypatch.setattr(clip, "tokenizer", lambda texts: calls.append(list(texts)) or tokenizer(texts))
    items = scenes(3) * 4
    first = [score.value for score in clip.score(items)]
    assert [score.value for score in clip.score(items)] == pytest.approx(first, abs=1e-3)
    assert sum(calls, []) == [item.prompt.reference for item in items[:3]]


def test_the_process_keeps_its_thread_count(clip):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(before + 1)
        clip.score(scenes(2))
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)


def test_the_right_picture_scores_above_nearly_right_ones_in_every_category(clip):
    for category in CATEGORIES:
        specs = [spec for spec in SPECS if spec.category == category]
        won = total = 0
        for spec in specs[:: max(1, len(specs) // 6)]:
            found = [(other, render(other, 3)) for other in variations(spec)]
            wrong = [picture for other, picture in found if not holds(spec, find_objects(picture))]
            items = [drawn_item(picture, reference=caption(spec)) for picture in (render(spec, 3), *wrong)]
            right, *others = [score.value for score in clip.score(items)]
            won += sum(right > value for value in others)
            total += len(others)
        assert won / total >= 0.9, (category, won, total)


def test_a_written_caption_is_scored_against_the_picture_it_describes(clip):
    image = render(SceneSpec("colors", (SceneObject("circle", "red"),)), 0)
    prompt = Prompt("look/1", Task.UNDERSTAND, (), image=image)
    texts = ["<think>red</think>a red circle", "<think>red</think>four blue squares", "<think>red", "<think>a</think> "]
    right, wrong, unfinished, empty = clip.score([RewardItem(prompt, text) for text in texts])
    assert right.value > wrong.value + 10
    assert unfinished.status is empty.status is ScoreStatus.INVALID


def test_an_image_file_is_read_and_a_bad_one_named(clip, tmp_path):
    good, bad, gif = (tmp_path / name for name in ("good.png", "bad.png", "bad.gif"))
    Image.fromarray(render(SPECS[0], 0)).save(good)
    Image.fromarray(render(SPECS[0], 0)).save(gif)
    bad.write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 50)
    prompts = [
        Prompt("look/1", Task.UNDERSTAND, (), image=str(path)) for path in (good, bad, gif, tmp_path / "none.png")
    ]
    scores = clip.score([RewardItem(prompt, "a circle") for prompt in prompts])
    assert scores[0].usable
    assert all(score.status is ScoreStatus.INVALID and "row look/1" in score.detail for score in scores[1:])


def test_one_item_without_a_picture_does_not_take_the_others_with_it(clip):
    items = [*scenes(1), text_item("7"), drawn_item(np.zeros((48, 48), np.uint8)), *scenes(2)[1:]]
    statuses = [score.status for score in clip.score(items)]
    assert statuses == [ScoreStatus.OK, ScoreStatus.INVALID, ScoreStatus.INVALID, ScoreStatus.OK]
    assert clip.score([]) == []


def test_any_open_clip_folder_loads_and_weights_are_never_random(tmp_path):
    from rewards.pictures.torchvision_ops import ensure_torchvision_ops

    ensure_torchvision_ops()
    import open_clip

    torch.manual_seed(3)
    model = open_clip.CLIP(**config()["model_cfg"]).eval()
    write_folder(tmp_path / "mine", model)
    loaded = load_reward({"name": "clip", "model": str(tmp_path / "mine")})
    (score,) = loaded.score(scenes(1))
    assert score.usable and -100 <= score.value <= 100
    (tmp_path / "mine" / "open_clip_model.safetensors").unlink()
    with pytest.raises(RewardError, match="mine"):
        load_reward({"name": "clip", "model": str(tmp_path / "mine")})


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"model": "ViT-B-23", "pretrained": "openai"}, "did you mean 'ViT-B-32'"),
        ({"model": "ViT-B-32"}, "also give pretrained"),
        ({"batch_size": 0}, "batch_size=0; allowed"),
        ({"threads": 1.5}, "threads=1.5; allowed"),
        ({"model": "."}, "has no open_clip_config.json"),
    ],
)
def test_mistakes_are_one_clear_line(settings, said):
    with pytest.raises(RewardError, match=said) as caught:
        load_reward({"name": "clip", **settings})
    assert "\n" not in str(caught.value)


def test_what_ships_is_small_whole_and_made_by_this_code(tmp_path):
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) < 1_200_000
    assert json.loads((FOLDER / "open_clip_config.json").read_text()) == config()
    write_tokenizer(tmp_path)
    assert (FOLDER / "tokenizer.json").read_text() == (tmp_path / "tokenizer.json").read_text()


def test_the_tokenizer_knows_every_word_of_every_caption_and_marks_both_ends(clip):
    ids = vocabulary()
    tokens = clip.tokenizer([caption(spec) for spec in SPECS])
    assert not (tokens == ids["<unknown>"]).any() and (tokens[:, 0] == ids["<start>"]).all()
    assert (tokens.max(dim=1).values == ids["<end>"]).all() and max(ids.values()) == ids["<end>"]
    strange = clip.tokenizer(["A Red, circle! ünïcode " + "red " * 100])
    assert strange.shape == (1, tokens.shape[1]) and strange[0, 2] == ids["red"] and strange[0, -1] == ids["<end>"]


def test_ranking_counts_pairs_in_the_right_order(clip):
    result = ranking(clip.model, clip.tokenizer, SPECS[::211], seed=0)
    assert all(0 <= value <= 1 for name, value in result.items() if name != "correlation")
    assert result["text/all"] > 0.8 and result["correlation"] > 0.2


def test_variations_change_one_thing():
    spec = SceneSpec("color_attr", (SceneObject("circle", "red"), SceneObject("square", "blue")))
    names = {caption(other) for other in variations(spec)}
    assert "a blue circle and a red square" in names and "a green circle and a blue square" in names
    assert caption(spec) not in names
    counted = variations(SceneSpec("counting", (SceneObject("circle", "red", 2),)))
    assert {item.objects[0].count for item in counted} == {1, 2, 3, 4}
    assert len(counted) == len(PALETTE) - 1 + 2 + 3


def test_the_loss_ignores_other_true_pairs_and_falls_with_the_right_ones():
    true = torch.eye(3, dtype=torch.bool)
    true[0, 1] = True  # caption 1 is true of picture 0 too
    owner = torch.tensor([0, 1, 2])
    logits = torch.zeros(3, 3, requires_grad=True)
    contrastive(logits, true, owner).backward()
    gradient = logits.grad
    assert gradient is not None and gradient[0, 1] == 0 and (gradient.diagonal() < 0).all() and gradient[1, 0] > 0
    assert contrastive(20.0 * torch.eye(3), true, owner) < 1e-6
    pasted = torch.cat([torch.zeros(3, 3), torch.full((1, 3), 9.0)])  # a wrong picture that scores above all
    with_pasted = contrastive(pasted, torch.cat([true, true.new_zeros(1, 3)]), torch.tensor([0, 1, 2, -1]))
    assert with_pasted > contrastive(logits.detach(), true, owner) + 1


def test_augmented_pictures_stay_in_range_and_scene_vectors_have_length_one():
    pixels = torch.from_numpy(np.stack([render(spec, 0) for spec in SPECS[:8]])).permute(0, 3, 1, 2)
    images = augment(pixels, torch.Generator().manual_seed(0))
    assert images.shape == (8, 3, 48, 48) and images.min() >= -2.0 and images.max() <= 0.0
    assert SceneEncoder(5, 16)(torch.arange(5)).norm(dim=-1).tolist() == pytest.approx([1.0] * 5)


def test_torchvision_imports_whether_or_not_its_operators_load():
    code = (
        "from rewards.pictures.torchvision_ops import ensure_torchvision_ops\n"
        "declared = ensure_torchvision_ops()\n"
        "assert ensure_torchvision_ops() == declared\n"
        "import torch, torchvision\n"
        "assert hasattr(torch.ops.torchvision, 'nms')\n"
        "assert declared != torchvision.extension._has_ops()\n"
        "from torchvision.transforms.functional import resize\n"
        "assert resize(torch.zeros(1, 4, 4), [2, 2]).shape == (1, 2, 2)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
