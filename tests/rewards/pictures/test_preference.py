"""ImageReward, HPSv2, PickScore and the aesthetic head on small random checkpoints, against the originals' own numbers.

``data/image_golden.json`` was written by ``benchmarks/parity/image_parity.py`` with the originals' modules.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from rewards import load_reward
from rewards.mix import RewardMix
from rewards.pictures.clip import ClipReward, ClipSettings
from rewards.pictures.preference import clip_processor, letterbox, linear_chain, through
from rl.errors import RewardError
from tests.rewards import picture_models as small
from tests.rewards.makers import drawn_item, text_item

GOLDEN = json.loads((Path(__file__).parents[1] / "data" / "image_golden.json").read_text())
ITEMS = [drawn_item(picture, reference=text) for picture, text in zip(small.pictures(), small.CAPTIONS, strict=True)]


@pytest.mark.parametrize("suffix", ["safetensors", "pt"])
def test_imagereward_says_what_the_original_says(tmp_path, suffix):
    reward = load_reward({"name": "imagereward", "path": small.imagereward_folder(tmp_path, suffix)})
    together = [score.value for score in reward.score(ITEMS)]
    assert together == pytest.approx(GOLDEN["imagereward"], abs=1e-4)
    assert len({round(value, 3) for value in together}) == 3
    assert [reward.score([item])[0].value for item in ITEMS] == pytest.approx(together, abs=1e-5)


def test_imagereward_names_what_a_folder_lacks(tmp_path):
    with pytest.raises(RewardError, match="no such folder"):
        RewardMix.check({"draw": {"imagereward": 0.1}}, {"imagereward": {"path": "/no/such"}})
    with pytest.raises(RewardError, match="no ImageReward.safetensors or ImageReward.pt"):
        load_reward({"name": "imagereward", "path": str(tmp_path)})
    path = small.imagereward_folder(tmp_path)
    tensors = small.random_tensors(small.imagereward_shapes())
    del tensors["blip.text_encoder.encoder.layer.1.crossattention.self.key.weight"]
    save_file(tensors, tmp_path / "ImageReward.safetensors")
    with pytest.raises(RewardError, match="no tensor for encoder.layer.1.crossattention.self.key.weight"):
        load_reward({"name": "imagereward", "path": path})


class Harmful:
    def __reduce__(self):
        return (print, ("ran",))


def test_a_pickle_that_would_run_code_is_refused(tmp_path, capsys):
    small.imagereward_folder(tmp_path)
    (tmp_path / "ImageReward.safetensors").unlink()
    torch.save({"x": Harmful()}, tmp_path / "ImageReward.pt")
    with pytest.raises(RewardError, match="cannot be read as weights"):
        load_reward({"name": "imagereward", "path": str(tmp_path)})
    assert "ran" not in capsys.readouterr().out


def test_the_aesthetic_head_says_what_the_original_says():
    tensors = small.random_tensors(small.mlp_shapes("", 768), seed=4)
    features = small.drawn("features", (4, 768), np.random.default_rng(6))
    features = features / features.norm(dim=-1, keepdim=True)
    values = through(linear_chain(tensors, "cpu", "here"), features)[:, 0]
    assert values.tolist() == pytest.approx(GOLDEN["aesthetic"], abs=1e-4)


def test_the_aesthetic_reward_reads_a_head_and_a_picture(tmp_path):
    clip = ClipReward(ClipSettings())
    width = clip.model.visual.output_dim
    save_file(small.random_tensors(small.mlp_shapes("", width)), tmp_path / "head.safetensors")
    reward = load_reward({"name": "aesthetic", "head": str(tmp_path / "head.safetensors"), "model": "tiny"})
    values = [score.value for score in reward.score([*ITEMS, text_item("no picture")])]
    pixels = torch.stack([clip.preprocess(Image.fromarray(picture)) for picture in small.pictures()])
    with torch.inference_mode():
        features = clip.model.encode_image(pixels, normalize=True)
    head = linear_chain(small.random_tensors(small.mlp_shapes("", width)), "cpu", "here")
    assert values[:3] == pytest.approx(through(head, features)[:, 0].tolist(), abs=1e-4)
    assert reward.score([text_item("no picture")])[0].status.value == "invalid"


def test_hpsv2_makes_pictures_fit_as_the_original_does():
    pictures = (*small.pictures(), *small.odd_pictures())
    for picture, golden in zip(pictures, GOLDEN["letterbox"], strict=True):
        pixels = letterbox(32)(Image.fromarray(picture))
        assert pixels.shape == (3, 32, 32)
        assert [*pixels.mean((1, 2)).tolist(), *pixels[0, 16].tolist()] == pytest.approx(golden, abs=1e-5)
    assert letterbox(64)(Image.fromarray(np.zeros((64, 48, 3), np.uint8))).shape == (3, 64, 64)


def test_hpsv2_is_the_cosine_of_a_published_file(tmp_path):
    tiny = ClipReward(ClipSettings())
    with torch.no_grad():
        for weight in tiny.model.parameters():
            weight.mul_(1.02).add_(0.001)  # so that the file's weights are not the folder's
    file = tmp_path / "HPS_v2.1_compressed.pt"
    torch.save({"epoch": 1, "state_dict": tiny.model.state_dict()}, file)
    folder = Path(__file__).parents[3] / "rewards" / "tiny" / "clip"
    reward = load_reward({"name": "hpsv2", "pretrained": str(file), "model": str(folder)})
    size = tiny.model.visual.image_size
    pixels = torch.stack(
        [letterbox(size if isinstance(size, int) else size[0])(Image.fromarray(p)) for p in small.pictures()]
    )
    with torch.inference_mode():  # as the original: the diagonal of image features times text features
        out = tiny.model(pixels, tiny.tokenizer(small.CAPTIONS))
    original = torch.diagonal(
        out["image_features"] @ out["text_features"].T if isinstance(out, dict) else out[0] @ out[1].T
    )
    assert [score.value for score in reward.score(ITEMS)] == pytest.approx(original.tolist(), abs=1e-5)


def pickscore_folder(folder):
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import CLIPConfig, CLIPModel, PreTrainedTokenizerFast

    words = ["<s>", "</s>", "<pad>", "<unk>", *small.VOCAB[4:]]
    core = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()  # pyright: ignore
    core.post_processor = processors.TemplateProcessing("<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)])  # pyright: ignore
    PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    ).save_pretrained(folder)
    part = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = CLIPConfig(
        text_config={
            **part, "vocab_size": len(words), "max_position_embeddings": 16,
            "eos_token_id": 1, "bos_token_id": 0, "pad_token_id": 2,
        },
        vision_config={**part, "image_size": 32, "patch_size": 8},
        projection_dim=24,
    )  # fmt: skip
    torch.manual_seed(0)
    CLIPModel(config).save_pretrained(folder)
    return str(folder)


def test_pickscore_is_the_scaled_cosine_of_the_published_layout(tmp_path):
    from transformers import AutoTokenizer, CLIPImageProcessorPil, CLIPModel

    reward = load_reward({"name": "pickscore", "path": pickscore_folder(tmp_path)})
    model, tokenizer = CLIPModel.from_pretrained(tmp_path).eval(), AutoTokenizer.from_pretrained(tmp_path)
    tokens = tokenizer(small.CAPTIONS, padding=True, truncation=True, max_length=16, return_tensors="pt")
    prepare = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    pixels = torch.as_tensor(np.stack([prepare(Image.fromarray(p))["pixel_values"][0] for p in small.pictures()]))
    with torch.inference_mode():  # PickScore's own code: logit_scale.exp() * (text_embs @ image_embs.T)
        original = model(input_ids=tokens.input_ids, attention_mask=tokens.attention_mask, pixel_values=pixels)
    assert [score.value for score in reward.score(ITEMS)] == pytest.approx(
        torch.diagonal(original.logits_per_text).tolist(), abs=1e-4
    )


ODD = small.odd_pictures()
ODD_ITEMS = [drawn_item(picture, reference="a red circle") for picture in ODD]


def original_letterbox(picture, size):
    """The order of HPSv2's ``image_transform``: a tensor of 0 to 1, which is resized, padded and normalised."""
    from torchvision.transforms import InterpolationMode, v2

    height, width = picture.shape[:2]
    sides = [round(side * (size / max(height, width))) for side in (height, width)]
    down, across = (size - side for side in sides)
    steps = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]
    steps += [v2.Resize(sides, InterpolationMode.BICUBIC, antialias=True)] if max(height, width) != size else []
    steps += [v2.Pad([across // 2, down // 2, across - across // 2, down - down // 2])]
    mean, std = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
    return v2.Compose([*steps, v2.Normalize(mean, std)])(picture)


def test_hpsv2_of_odd_sizes_is_the_originals_to_five_digits(tmp_path):
    tiny = ClipReward(ClipSettings())
    save_file(tiny.model.state_dict(), tmp_path / "hps.safetensors")
    folder = Path(__file__).parents[3] / "rewards" / "tiny" / "clip"
    reward = load_reward({"name": "hpsv2", "pretrained": str(tmp_path / "hps.safetensors"), "model": str(folder)})
    size = tiny.model.visual.image_size
    pixels = torch.stack([original_letterbox(p, size if isinstance(size, int) else size[0]) for p in ODD])
    with torch.inference_mode():
        seen = tiny.model.encode_image(pixels, normalize=True)
        read = tiny.model.encode_text(tiny.tokenizer(["a red circle"]), normalize=True)
    values = [score.value for score in reward.score(ODD_ITEMS)]
    assert values == pytest.approx((seen @ read.T)[:, 0].tolist(), abs=1e-5)
    assert len({round(value, 4) for value in values}) > len(ODD) // 2


def test_pickscore_of_odd_sizes_is_the_originals_to_five_digits(tmp_path):
    from transformers import AutoTokenizer, CLIPImageProcessorPil, CLIPModel

    reward = load_reward({"name": "pickscore", "path": pickscore_folder(tmp_path)})
    prepare = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    pixels = torch.as_tensor(np.stack([prepare(Image.fromarray(p))["pixel_values"][0] for p in ODD]))
    for picture, expected in zip(ODD, pixels, strict=True):
        torch.testing.assert_close(clip_processor(32)(Image.fromarray(picture)), expected, rtol=0, atol=1e-5)
    model, tokenizer = CLIPModel.from_pretrained(tmp_path).eval(), AutoTokenizer.from_pretrained(tmp_path)
    tokens = tokenizer(["a red circle"], return_tensors="pt")
    with torch.inference_mode():
        original = model(input_ids=tokens.input_ids, attention_mask=tokens.attention_mask, pixel_values=pixels)
    values = [score.value for score in reward.score(ODD_ITEMS)]
    assert values == pytest.approx(original.logits_per_text[0].tolist(), abs=1e-5)


# Height and width: neighbours of the models' sides, primes, odd margins on either side, near 2:1, larger and smaller.
SIZES = (
    (32, 33), (33, 32), (32, 35), (35, 32), (31, 32), (32, 31), (63, 64), (64, 63), (29, 30), (30, 29), (96, 97), (97, 96),
    (17, 53), (53, 17), (7, 9), (9, 7), (61, 127), (127, 61), (50, 75), (75, 50), (224, 225), (225, 224), (3, 40), (40, 3),
    (111, 113), (36, 37),
)  # fmt: skip


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_pictures_of_any_size_become_the_originals_pixels(size):
    """HPSv2 pads what it scaled as numbers, PickScore cuts a middle out of what Pillow scaled: at 32, and at an odd side."""
    from transformers import CLIPImageProcessorPil

    picture = np.random.default_rng(size[0] * size[1]).integers(0, 2, (*size, 3), dtype=np.uint8) * 255
    for side in (32, 37):
        torch.testing.assert_close(
            letterbox(side)(Image.fromarray(picture)), original_letterbox(picture, side), rtol=0, atol=1e-5
        )
        original = CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size={"height": side, "width": side})
        expected = torch.as_tensor(original(Image.fromarray(picture))["pixel_values"][0])
        torch.testing.assert_close(clip_processor(side)(Image.fromarray(picture)), expected, rtol=0, atol=1e-5)


def test_a_picture_too_narrow_to_scale_is_one_rows_fault(tmp_path):
    reward = load_reward({"name": "pickscore", "path": pickscore_folder(tmp_path)})
    line = np.zeros((1, 70_000, 3), np.uint8)
    bad, good = reward.score([drawn_item(line, reference="a line"), ODD_ITEMS[0]])
    assert bad.status.value == "invalid" and "allowed: 64,000,000 in all; crop it" in bad.detail
    assert good.usable
    assert letterbox(32)(Image.fromarray(line)).shape == (3, 32, 32)


def test_clip_in_half_precision_stays_near_and_batches_change_nothing():
    full, half = ClipReward(ClipSettings()), ClipReward(ClipSettings(precision="bf16"))
    values = [score.value for score in full.score(ITEMS)]
    assert [score.value for score in half.score(ITEMS)] == pytest.approx(values, abs=2.0)
    assert [score.value for score in ClipReward(ClipSettings(batch_size=1)).score(ITEMS)] == pytest.approx(
        values, abs=1e-3
    )
    with pytest.raises(RewardError, match="precision='fp8'; allowed: fp32, bf16"):
        ClipSettings(precision="fp8")


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        ("hpsv2", {"pretrained": "/no/such.pt"}, "pretrained='/no/such.pt': no such file"),
        ("pickscore", {"path": "/no/such"}, "path='/no/such': no such file or folder"),
        ("aesthetic", {"head": "/no/such"}, "head='/no/such': no such file"),
        ("hpsv2", {}, "needs the setting 'pretrained'"),
    ],
)
def test_mistakes_are_found_without_loading_a_model(name, settings, said):
    with pytest.raises(RewardError, match=said):
        RewardMix.check({"draw": {name: 0.1}}, {name: settings})
