"""Folders in and out, and every way in which a folder can be wrong: one clear line each."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from policies import convert, load_policy
from policies.files.checkpoints import INDEX, SINGLE, check_policy, save_policy
from rl.errors import PolicyError
from tests.policies.originals import CONFIGS, write_folder
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
        ({"model_type": "gpt2"}, "model_type='gpt2': allowed: llada, mmada, Dream, sdar, llada2_moe"),
        ({"mask_token_id": 99_999}, "mask_token_id=99999: outside the vocabulary of 364"),
        ({"mask_token_id": 310}, "mask_token_id=310: lies among the image codes from 300"),
        ({"mask_token_id": 1}, "mask_token_id and eos_token_id are both 1"),
        ({"llm_vocab_size": 200}, "image codes begin at 200, but the tokenizer's text goes up to 299"),
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
    for look in (check_policy, load_policy):
        with pytest.raises(PolicyError, match=r"has shape \(64, 32\), but config.json makes it \(48, 32\)|\(32, 64\)"):
            look(folder)


def test_truncated_missing_and_pickled_weights(folder):
    whole = (folder / SINGLE).read_bytes()
    (folder / SINGLE).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(PolicyError) as caught:
        load_policy(folder)
    sizes = f"it has {len(whole) // 2} bytes, and its header promises {len(whole)}; copy it again"
    assert str(caught.value) == f"{folder / SINGLE}: not a whole safetensors file: {sizes}"
    (folder / SINGLE).unlink()
    with pytest.raises(PolicyError, match="no model.safetensors"):
        check_policy(folder)
    (folder / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(PolicyError, match=r"pickled weights .* `python -m policies\.convert"):
        check_policy(folder)


def test_missing_folder_names_what_is_allowed():
    with pytest.raises(
        PolicyError, match="no such folder; allowed: a Hugging Face-layout folder, one of tiny, or a name on a hub"
    ):
        check_policy("no/such/folder")


def test_a_missing_tensor_is_named(folder):
    weights = load_file(folder / SINGLE)
    del weights["model.transformer.blocks.1.up_proj.weight"]
    save_file(weights, folder / SINGLE)
    with pytest.raises(PolicyError, match=r"1 missing tensors, the first is model\.transformer\.blocks\.1\.up_proj"):
        load_policy(folder)


@pytest.mark.parametrize("content", [b"", b"1234567", b"\xff" * 64, b"\x04" + b"\0" * 7 + b"{}[]", b"PK\x03\x04" * 9])
def test_what_is_no_safetensors_file_is_one_line(folder, content):
    (folder / SINGLE).write_bytes(content)
    with pytest.raises(PolicyError, match="model.safetensors: not a whole safetensors file") as caught:
        load_policy(folder)
    assert "\n" not in str(caught.value)


def test_a_header_that_lies_is_refused(folder):
    whole = (folder / SINGLE).read_bytes()
    length = int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8 : 8 + length])
    header["model.transformer.ln_f.weight"]["shape"] = [33]
    text = json.dumps(header).encode().ljust(length)
    (folder / SINGLE).write_bytes(len(text).to_bytes(8, "little") + text + whole[8 + length :])
    with pytest.raises(PolicyError, match=r"ln_f\.weight of shape \(33,\) cannot have 128 bytes"):
        load_policy(folder)


def test_a_tensor_that_the_model_has_no_place_for_is_refused(folder):
    weights = load_file(folder / SINGLE)
    save_file({**weights, "model.transformer.blocks.0.q_proj.bias": torch.zeros(32)}, folder / SINGLE)
    with pytest.raises(PolicyError, match=r"q_proj\.bias has no place in the model of config\.json"):
        load_policy(folder)


def test_a_quantised_checkpoint_is_refused(folder):
    weights = load_file(folder / SINGLE)
    name = "model.transformer.wte.weight"
    save_file({**weights, name: weights[name].to(torch.float8_e4m3fn)}, folder / SINGLE)
    with pytest.raises(PolicyError, match=r"wte\.weight has dtype F8_E4M3; allowed: F64, F32"):
        load_policy(folder)


def test_an_index_stays_in_its_folder(folder):
    (folder / INDEX).write_text(json.dumps({"weight_map": {"a": "../model.safetensors"}}))
    with pytest.raises(PolicyError, match="names files outside its folder"):
        check_policy(folder)
    (folder / INDEX).write_text('{"weight_map": {}}')
    with pytest.raises(PolicyError, match="weight_map names no files"):
        check_policy(folder)
    (folder / INDEX).write_text("[]")
    with pytest.raises(PolicyError, match="no mapping 'weight_map'"):
        check_policy(folder)


def test_a_broken_image_tokenizer_is_found_before_anything_starts(folder):
    images = folder / "image_tokenizer"
    (images / "config.json").write_text('{"_class_name": "MAGVITv2"}')
    (images / "model.safetensors").rename(images / "pytorch_model.bin")
    with pytest.raises(PolicyError, match="image_tokenizer: only pickled weights"):
        check_policy(folder)


@pytest.mark.parametrize("name", CONFIGS)
def test_shards_are_written_and_read_in_every_familys_names(name, tmp_path):
    policy = load_policy(write_folder(name, tmp_path / "one"))
    with torch.no_grad():
        for parameter in policy.module.parameters():
            parameter.mul_(1.01)
    save_policy(policy, tmp_path / "many", max_shard_bytes=40_000)
    index = json.loads((tmp_path / "many" / INDEX).read_text())
    files = sorted((tmp_path / "many").glob("*.safetensors"))
    assert files[0].name == f"model-00001-of-{len(files):05d}.safetensors" and len(files) > 3
    assert set(index["weight_map"]) == set(load_file(tmp_path / "one" / SINGLE))
    assert index["metadata"]["total_size"] == 4 * sum(v.numel() for v in policy.module.state_dict().values())
    ids = torch.randint(2, 300, (2, 40), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(load_policy(tmp_path / "many").logits(ids), policy.logits(ids))


def test_saving_again_leaves_no_older_weights(tmp_path):
    policy = load_policy(write_folder("sdar", tmp_path / "one"))
    save_policy(policy, tmp_path / "saved", max_shard_bytes=40_000)
    policy.save(tmp_path / "saved")
    assert [file.name for file in (tmp_path / "saved").glob("*.safetensors*")] == [SINGLE]
    save_policy(policy, tmp_path / "saved", max_shard_bytes=40_000)
    assert not (tmp_path / "saved" / SINGLE).exists()


def test_half_precision_files_become_the_dtype_asked_for(tmp_path):
    """Routers' biases stay in single precision."""
    folder = write_folder("llada2", tmp_path / "half", torch.bfloat16)
    single, half = load_policy(folder), load_policy(folder, dtype="bfloat16")
    assert {value.dtype for value in single.module.state_dict().values()} == {torch.float32}
    kinds = {name: value.dtype for name, value in half.module.state_dict().items()}
    assert {name for name, kind in kinds.items() if kind != torch.bfloat16} == {
        f"blocks.{layer}.experts.expert_bias" for layer in (1, 2)
    }
    for name, value in half.module.state_dict().items():
        assert torch.equal(value.float(), single.module.state_dict()[name])


def test_loading_takes_the_models_own_memory(tmp_path):
    """Peak memory of a process of its own: 96 MB of weights in three shards, and room for what is not weights."""
    from benchmarks.speed.load import make_folder, measure

    result = measure(make_folder(tmp_path / "policy", 2.4e7, "float32", 40_000_000), "float32", repeats=1)
    assert result["model_bytes"] > 90_000_000 and result["files"] == 3
    assert result["peak_over_model"] < 1.2


def test_what_generation_config_says_of_the_end_is_heeded(tmp_path):
    """SDAR's chat models end a turn with the first of two tokens; config.json has the second."""
    folder = write_folder("sdar", tmp_path / "sdar")
    assert load_policy(folder).vocabulary.eos_id == 1
    (folder / "generation_config.json").write_text('{"eos_token_id": [7, 1]}')
    assert load_policy(folder).vocabulary.eos_id == 7
    (folder / "generation_config.json").write_text('{"eos_token_id": 300}')
    with pytest.raises(PolicyError, match="mask_token_id and eos_token_id are both 300"):
        check_policy(folder)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("sdar", {"rope_scaling": {"type": "yarn"}}, "rope_scaling={'type': 'yarn'}: allowed: None"),
        ("sdar", {"num_key_value_heads": 3}, "3 key-value heads cannot be shared by 4 heads"),
        ("sdar", {"rope_theta": "large"}, "rope_theta='large': must be a number above 0; copy"),
        ("llada", {"alibi": True}, "alibi=True: allowed: False"),
        ("llada2", {"score_function": "softmax"}, "score_function='softmax': allowed: 'sigmoid'"),
        ("dream", {"vocab_size": 256}, "mask_token_id=300: outside the vocabulary of 256; allowed: 0..255"),
        (
            "dream",
            {"mask_token_id": 255, "vocab_size": 256},
            "the vocabulary ends before 256, but the tokenizer's text",
        ),
    ],
)
def test_configs_that_no_release_has_are_refused(name, changes, message, tmp_path):
    folder = write_folder(name, tmp_path / name)
    edit(folder, **changes)
    with pytest.raises(PolicyError) as caught:
        load_policy(folder)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_pickles_are_converted_only_where_they_are_tensors(tmp_path, capsys, monkeypatch):
    folder = write_folder("dream", tmp_path / "dream")
    torch.save({"lr": 1e-4}, folder / "training_args.bin")
    weights = load_file(folder / SINGLE)
    (folder / SINGLE).unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    monkeypatch.setattr("sys.argv", ["convert", str(folder)])
    convert.main()
    assert capsys.readouterr().out == f"wrote {folder / SINGLE}\n"
    assert load_policy(folder).vocabulary.size == 320
    torch.save({"weights": folder}, folder / "pytorch_model.bin")  # a Path: an object, not a tensor
    with pytest.raises(SystemExit, match="2"):
        convert.main()
    assert "pytorch_model.bin: more than tensors" in capsys.readouterr().err
    (folder / SINGLE).unlink()
    (folder / "pytorch_model.bin").rename(folder / "weights.pt")
    (folder / "training_args.bin").unlink()
    with pytest.raises(PolicyError, match=r"weights\.pt: a pickle, .*; save the weights as model\.safetensors"):
        check_policy(folder)
