"""Small random checkpoints in the published layouts. Weights come from NumPy's generator, which every version draws alike."""

import json

import numpy as np
import torch
from safetensors.torch import save_file

VOCAB = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "red", "blue", "circle", "square", "of", "two", "##s", ",", "the"]
CAPTIONS = ["a red circle", "two blue squares, of the red", "unknown words and a circle " * 9]
WIDTH, PATCH, SIZE, TEXT, LAYERS, HEADS = 32, 16, 64, 48, 2, 2


def drawn(name, shape, chance, scale=0.15):
    if name.endswith(("norm1.weight", "norm2.weight", "norm.weight", "LayerNorm.weight")):
        return torch.from_numpy((1 + 0.1 * chance.standard_normal(shape)).astype(np.float32))
    return torch.from_numpy((scale * chance.standard_normal(shape)).astype(np.float32))


def pictures():
    """uint8 [H, W, 3] of other shapes than the models'."""
    chance = np.random.default_rng(5)
    coarse = [chance.integers(0, 256, (h, w, 3), dtype=np.uint8) for h, w in ((4, 4), (3, 5), (6, 4))]
    return [np.kron(picture, np.ones((16, 16, 1), dtype=np.uint8)) for picture in coarse]


ODD_SIZES = ((33, 47), (47, 33), (31, 31), (21, 90), (91, 23), (32, 32), (65, 64), (64, 65), (101, 99), (40, 131))


def odd_pictures():
    """uint8 [H, W, 3] of sizes that leave odd margins, with edges that bicubic curves overshoot."""
    chance = np.random.default_rng(7)
    return [chance.integers(0, 2, (*size, 3), dtype=np.uint8) * 255 for size in ODD_SIZES]


def imagereward_shapes():
    """Names as in ImageReward.pt."""
    tokens = (SIZE // PATCH) ** 2 + 1
    shapes = {
        "blip.visual_encoder.cls_token": (1, 1, WIDTH),
        "blip.visual_encoder.pos_embed": (1, tokens, WIDTH),
        "blip.visual_encoder.patch_embed.proj.weight": (WIDTH, 3, PATCH, PATCH),
        "blip.visual_encoder.patch_embed.proj.bias": (WIDTH,),
        **_linear("blip.visual_encoder.norm", WIDTH),
        "blip.text_encoder.embeddings.word_embeddings.weight": (len(VOCAB), TEXT),
        "blip.text_encoder.embeddings.position_embeddings.weight": (40, TEXT),
        **_linear("blip.text_encoder.embeddings.LayerNorm", TEXT),
    }
    for layer in range(LAYERS):
        block = f"blip.visual_encoder.blocks.{layer}"
        shapes |= _linear(f"{block}.norm1", WIDTH) | _linear(f"{block}.norm2", WIDTH)
        shapes |= _linear(f"{block}.attn.qkv", 3 * WIDTH, WIDTH) | _linear(f"{block}.attn.proj", WIDTH, WIDTH)
        shapes |= _linear(f"{block}.mlp.fc1", 4 * WIDTH, WIDTH) | _linear(f"{block}.mlp.fc2", WIDTH, 4 * WIDTH)
        block = f"blip.text_encoder.encoder.layer.{layer}"
        for kind, width in (("attention", TEXT), ("crossattention", WIDTH)):
            shapes |= _linear(f"{block}.{kind}.self.query", TEXT, TEXT)
            shapes |= _linear(f"{block}.{kind}.self.key", TEXT, width) | _linear(
                f"{block}.{kind}.self.value", TEXT, width
            )
            shapes |= _linear(f"{block}.{kind}.output.dense", TEXT, TEXT) | _linear(
                f"{block}.{kind}.output.LayerNorm", TEXT
            )
        shapes |= _linear(f"{block}.intermediate.dense", 2 * TEXT, TEXT) | _linear(
            f"{block}.output.dense", TEXT, 2 * TEXT
        )
        shapes |= _linear(f"{block}.output.LayerNorm", TEXT)
    return shapes | mlp_shapes("mlp.", TEXT)


def mlp_shapes(prefix, width):
    widths = [width, 1024, 128, 64, 16, 1]
    places = (0, 2, 4, 6, 7)
    pairs = zip(places, widths[:-1], widths[1:], strict=True)
    return {k: v for place, into, out in pairs for k, v in _linear(f"{prefix}layers.{place}", out, into).items()}


def random_tensors(shapes, seed=3):
    chance = np.random.default_rng(seed)
    return {name: drawn(name, shape, chance) for name, shape in shapes.items()}


def imagereward_folder(folder, suffix="safetensors"):
    tensors = random_tensors(imagereward_shapes())
    if suffix == "pt":
        torch.save(tensors, folder / "ImageReward.pt")
    else:
        save_file(tensors, folder / "ImageReward.safetensors")
    (folder / "vocab.txt").write_text("\n".join(VOCAB) + "\n")
    (folder / "config.json").write_text(json.dumps({"vision_heads": HEADS, "text_heads": HEADS}))
    return str(folder)


def _linear(name, out, into=None):
    return {f"{name}.weight": (out,) if into is None else (out, into), f"{name}.bias": (out,)}
