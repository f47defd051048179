"""Folders in and out, and every way in which a folder can be wrong: one clear line each."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from policies import load_policy
from policies.checkpoints import INDEX, SINGLE, check_policy
from rl.errors import PolicyError
from tests.toys import toy_draw_prompt, toy_folder, toy_policy, toy_text_prompt


@pytest.fixture
def folder(tmp_path):
    shutil.copytree(toy_folder(), tmp_path / "copy")
    return tmp_path / "copy"


def edit(folder, **changes):
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def test_saved_and_loaded_again_gives_the_same_logits(tmp_path):
    policy = toy_policy()
    policy.save(tmp_path / "saved")
    again = load_policy(tmp_path / "saved")
    ids = torch.arange(12)[None] + 20
    assert torch.equal(policy.logits(ids), again.logits(ids))
    for prompt in (toy_text_prompt(), toy_draw_prompt()):
        assert policy.encode_prompt(prompt) == again.encode_prompt(prompt)
    assert set(load_file(tmp_path / "saved" / SINGLE)) == set(load_file(toy_folder() / SINGLE))


def test_key_names_are_the_familys_own():
    keys = set(load_file(toy_folder() / SINGLE))
    assert {"model.transformer.wte.weight", "model.transformer.ff_out.weight", "model.transformer.ln_f.weight"} <= keys
    parts = "attn_norm ff_norm q_proj k_proj v_proj attn_out ff_proj up_proj ff_out".split()
    assert {f"model.transformer.blocks.1.{part}.weight" for part in parts} <= keys


def test_shards_are_read_and_a_missing_one_is_named(folder):
    weights = load_file(folder / SINGLE)
    names = sorted(weights)
    halves = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for file, keys in halves.items():
        save_file({key: weights[key] for key in keys}, folder / file)
    (folder / SINGLE).unlink()
    index = {key: file for file, keys in halves.items() for key in keys}
    (folder / INDEX).write_text(json.dumps({"weight_map": index}))
    ids = torch.arange(5)[None] + 20
    assert torch.equal(load_policy(folder).logits(ids), load_policy(toy_folder()).logits(ids))
    (folder / "b.safetensors").unlink()
    with pytest.raises(PolicyError, match=r"b\.safetensors: listed in .* but missing"):
        check_policy(folder)


def test_bfloat16_is_loaded_as_asked(folder):
    assert load_policy(folder, dtype="bfloat16").module.wte.weight.dtype is torch.bfloat16
    with pytest.raises(PolicyError, match="float64x.*allowed: float32"):
        load_policy(folder, dtype="float64x")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "gpt2"}, "model_type='gpt2': allowed: llada, mmada"),
        ({"mask_token_id": 99_999}, "mask_token_id=99999: outside the vocabulary of 364"),
        ({"mask_token_id": 310}, "mask_token_id=310: lies among the image codes from 300"),
        ({"mask_token_id": 1}, "mask_token_id and eos_token_id are both 1"),
        ({"codebook_size": 128}, "image codes 300..427 run past the vocabulary of 364"),
    ],
)
def test_a_config_that_contradicts_itself_is_refused_before_weights_are_read(folder, changes, message):
    edit(folder, **changes)
    (folder / SINGLE).write_bytes(b"never read")
    with pytest.raises(PolicyError) as caught:
        check_policy(folder)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_shape_that_does_not_fit_names_both(folder):
    edit(folder, mlp_hidden_size=48)
    with pytest.raises(PolicyError, match=r"has shape \(64, 32\), but config.json makes it \(48, 32\)|\(32, 64\)"):
        load_policy(folder)


def test_truncated_missing_and_pickled_weights(folder):
    whole = (folder / SINGLE).read_bytes()
    (folder / SINGLE).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(PolicyError, match="not a whole safetensors file"):
        load_policy(folder)
    (folder / SINGLE).unlink()
    with pytest.raises(PolicyError, match="no model.safetensors"):
        check_policy(folder)
    (folder / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(PolicyError, match="pickled weights .* convert"):
        check_policy(folder)


def test_missing_folder_names_what_is_allowed():
    with pytest.raises(PolicyError, match="no such folder; allowed: a Hugging Face-layout folder, or one of tiny"):
        check_policy("no/such/folder")


def test_a_missing_tensor_is_named(folder):
    weights = load_file(folder / SINGLE)
    del weights["model.transformer.blocks.1.up_proj.weight"]
    save_file(weights, folder / SINGLE)
    with pytest.raises(PolicyError, match=r"1 tensors missing, the first is model\.transformer\.blocks\.1\.up_proj"):
        load_policy(folder)
