"""Write what the originals' own modules say of small random checkpoints: ``tests/rewards/data/image_golden.json``.

    pip install --no-deps --target ORIGINALS imscore==0.0.11
    PYTHONPATH=.:ORIGINALS python -m benchmarks.parity.image_parity

imscore (MIT, https://github.com/RE-N-Y/imscore) carries ImageReward's BLIP and head, HPSv2's resizing and LAION's head in
modules that import beside transformers 5.
"""

from __future__ import annotations

import json
import types
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from rewards.pictures.torchvision_ops import ensure_torchvision_ops
from tests.rewards import picture_models as small

OUT = Path(__file__).parents[2] / "tests" / "rewards" / "data" / "image_golden.json"


def imagereward() -> list[float]:
    """As in imscore's ``ImageReward.score``, with its modules at a small size, on pictures prepared as the paper's code does."""
    import torchvision.transforms as transforms
    from imscore.imreward.bert import BertModel  # pyright: ignore[reportMissingImports]
    from imscore.imreward.model import MLP  # pyright: ignore[reportMissingImports]
    from imscore.imreward.vit import VisionTransformer  # pyright: ignore[reportMissingImports]
    from tokenizers import BertWordPieceTokenizer

    tensors = small.random_tensors(small.imagereward_shapes())
    vision = VisionTransformer(small.SIZE, small.PATCH, 3, small.WIDTH, small.LAYERS, small.HEADS)
    text = BertModel(
        types.SimpleNamespace(
            vocab_size=len(small.VOCAB), hidden_size=small.TEXT, pad_token_id=0, max_position_embeddings=40,
            layer_norm_eps=1e-12, num_attention_heads=small.HEADS, encoder_width=small.WIDTH,
            intermediate_size=2 * small.TEXT, num_hidden_layers=small.LAYERS, chunk_size_feed_forward=0,
        )
    )  # fmt: skip
    head = MLP(small.TEXT)
    for module, prefix in ((vision, "blip.visual_encoder."), (text, "blip.text_encoder."), (head, "mlp.")):
        part = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
        missing = module.load_state_dict(part, strict=False).missing_keys
        assert all("position_ids" in name for name in missing), missing
        module.eval()
    prepare = transforms.Compose(
        [
            transforms.Resize(small.SIZE, interpolation=transforms.InterpolationMode.BICUBIC),
            transforms.CenterCrop(small.SIZE),
            transforms.ToTensor(),
            transforms.Normalize((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
        ]
    )
    pixels = torch.stack([torch.as_tensor(prepare(Image.fromarray(picture))) for picture in small.pictures()])
    vocabulary = {word: index for index, word in enumerate(small.VOCAB)}
    tokenizer = BertWordPieceTokenizer(vocabulary, lowercase=True)
    tokenizer.enable_truncation(35)
    tokenizer.enable_padding(length=35)
    encoded = tokenizer.encode_batch(small.CAPTIONS)
    with torch.inference_mode():
        seen = vision(pixels)
        read = text(
            torch.tensor([one.ids for one in encoded]),
            attention_mask=torch.tensor([one.attention_mask for one in encoded]),
            encoder_hidden_states=seen,
            encoder_attention_mask=torch.ones(seen.shape[:2], dtype=torch.bool),
        )
        return ((head(read[:, 0])[:, 0] - 0.16717362830052426) / 1.0333394966054072).tolist()


def letterboxed() -> list[list[float]]:
    """Mean of each channel and one row of pixels, of HPSv2's own resizing, which is of tensors."""
    import torchvision.transforms.functional as images
    from imscore.hps.model import ResizeMaxSize  # pyright: ignore[reportMissingImports]

    resize = ResizeMaxSize(32)
    found = []
    for picture in (*small.pictures(), *small.odd_pictures()):
        pixels = resize(images.to_tensor(Image.fromarray(picture)))
        pixels = images.normalize(pixels, [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711])
        found.append([*pixels.mean((1, 2)).tolist(), *pixels[0, 16].tolist()])
    return found


def aesthetic() -> list[float]:
    """LAION's head on embeddings of length 1."""
    from imscore.aesthetic.model import MLP  # pyright: ignore[reportMissingImports]

    head = MLP()
    tensors = small.random_tensors(small.mlp_shapes("", 768), seed=4)
    head.load_state_dict(tensors)
    features = small.drawn("features", (4, 768), np.random.default_rng(6))
    with torch.inference_mode():
        return head.eval()(features / features.norm(dim=-1, keepdim=True))[:, 0].tolist()


def main() -> None:
    ensure_torchvision_ops()
    golden = {"imagereward": imagereward(), "letterbox": letterboxed(), "aesthetic": aesthetic()}
    OUT.write_text(json.dumps({"source": "imscore 0.0.11", **golden}, indent=1) + "\n")
    print(json.dumps(golden)[:300])


if __name__ == "__main__":
    main()
