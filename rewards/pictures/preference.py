"""CLIP-shaped scorers of drawn pictures that were trained on people's choices: HPSv2, PickScore, and LAION's aesthetic head.

Each reads the checkpoint in the form in which it was published, from a local file or folder; nothing is fetched, and no
pickle is run (``weights_only``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rewards.pictures.base import EmbeddingReward, PictureReward, PictureSettings, picture_of
from rewards.pictures.clip import ClipReward, ClipSettings
from rewards.settings import setting
from rl.errors import RewardError, one_line
from rl.pixels import scaled_sides
from rl.types import RewardItem

_MEAN, _STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True, kw_only=True)
class Hpsv2Settings(ClipSettings):
    pretrained: str = setting("the published file, HPS_v2.1_compressed.pt, or its state dict as safetensors")
    model: str = setting("the CLIP that it is, as for the reward clip", "ViT-H-14")
    batch_size: int = setting("pictures at a time", 32, above=0)

    def check(self) -> None:
        _check_path("pretrained", self.pretrained)
        super().check()


class Hpsv2Reward(ClipReward):
    """Human Preference Score v2 (arXiv 2306.09341): the cosine of a fine-tuned ViT-H-14, about 0.2 to 0.35.

    Pictures are made to fit with black bars, not cropped, as in the original.
    """

    name = "hpsv2"
    scale = 1.0
    Settings = Hpsv2Settings

    def __init__(self, settings: Hpsv2Settings) -> None:
        super().__init__(settings)
        size = self.model.visual.image_size
        self.preprocess = letterbox(size[0] if isinstance(size, tuple | list) else size)


@dataclass(frozen=True, kw_only=True)
class PickScoreSettings(PictureSettings):
    path: str = setting("a folder as PickScore_v1 is published: config.json, safetensors and tokenizer")

    def check(self) -> None:
        _check_path("path", self.path)
        if not (Path(self.path) / "config.json").is_file():
            raise RewardError(f"path={self.path!r}: the folder has no config.json")


class PickScoreReward(EmbeddingReward):
    """PickScore (arXiv 2305.01569): exp(logit scale) times the cosine of a fine-tuned CLIP-H, about 18 to 24."""

    name = "pickscore"
    Settings = PickScoreSettings

    def __init__(self, settings: PickScoreSettings) -> None:
        super().__init__(settings)
        try:
            self.model = _HuggingFaceClip(settings.path, settings.device)
        except Exception as error:
            raise RewardError(f"path={settings.path!r}: {one_line(error)}") from error
        self.tokenizer, self.scale = self.model.tokenize, self.model.scale
        self.preprocess = clip_processor(self.model.image_size)

    def image_dtype(self) -> Any:
        return self.model.dtype


@dataclass(frozen=True, kw_only=True)
class AestheticSettings(PictureSettings):
    head: str = setting("the published file, sac+logos+ava1-l14-linearMSE.pth, or the same as safetensors")
    model: str = setting("the CLIP that the head was trained on, as for the reward clip", "ViT-L-14")
    pretrained: str | None = setting("its weights, as for the reward clip: openai", None)
    batch_size: int = setting("pictures at a time", 64, above=0)

    def check(self) -> None:
        _check_path("head", self.head)
        self.clip.check()

    @property
    def clip(self) -> ClipSettings:
        return ClipSettings(
            model=self.model,
            pretrained=self.pretrained,
            device=self.device,
            batch_size=self.batch_size,
            threads=self.threads,
        )


class AestheticReward(PictureReward):
    """LAION's aesthetic predictor v2: a small head on a CLIP image embedding of length 1; about 1 to 10. No caption is read."""

    name = "aesthetic"
    Settings = AestheticSettings

    def __init__(self, settings: AestheticSettings) -> None:
        super().__init__(settings)
        self._clip = ClipReward(settings.clip)
        self.preprocess = self._clip.preprocess
        self._layers = linear_chain(load_tensors(settings.head), settings.device, f"head={settings.head!r}")

    def pair(self, item: RewardItem) -> tuple[Any, str]:
        if item.image is None:
            raise ValueError("no picture to score")
        return picture_of(item.image), ""

    def values(self, images: Sequence[Any], captions: Sequence[str]) -> Any:
        import torch

        found = []
        for _, pixels in self.batches(images, self._clip.image_dtype()):
            features = self._clip.model.encode_image(pixels, normalize=True).float()
            found.append(through(self._layers, features)[:, 0].cpu())
        return torch.cat(found).numpy()


class _HuggingFaceClip:
    """``transformers.CLIPModel`` with open_clip's two methods."""

    def __init__(self, path: str, device: str) -> None:
        _ready()
        from transformers import AutoTokenizer, CLIPModel

        self._model = CLIPModel.from_pretrained(path, local_files_only=True).to(device).eval()  # pyright: ignore
        self._tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
        self.scale = float(self._model.logit_scale.detach().exp())
        config: Any = self._model.config
        self.image_size = int(config.vision_config.image_size)
        self._longest = int(config.text_config.max_position_embeddings)
        self.dtype = self._model.dtype

    def tokenize(self, texts: Sequence[str]) -> Any:
        return self._tokenizer(
            list(texts), padding="max_length", truncation=True, max_length=self._longest, return_tensors="pt"
        )

    def encode_text(self, tokens: Any, normalize: bool) -> Any:
        pooled = self._model.text_model(tokens.input_ids, attention_mask=tokens.attention_mask).pooler_output
        return _normalised(self._model.text_projection(pooled))

    def encode_image(self, pixels: Any, normalize: bool) -> Any:
        pooled = self._model.vision_model(pixel_values=pixels).pooler_output
        return _normalised(self._model.visual_projection(pooled))


def letterbox(size: int) -> Any:
    """A PIL picture -> [3, size, size]: scaled until its longer side fits, the rest black.

    As HPSv2's ``image_transform`` does it, on numbers from 0 to 1: resizing the picture's bytes instead rounds them, and
    cuts off what bicubic curves overshoot: up to 0.001 of a score whose differences are some 0.01.
    """
    _ready()
    import torchvision.transforms.functional as images
    from torchvision.transforms import InterpolationMode

    def prepare(picture: Any) -> Any:
        pixels = images.to_tensor(picture)
        _, height, width = pixels.shape
        scale = size / max(height, width)
        if scale != 1.0:
            height, width = (max(1, round(side * scale)) for side in (height, width))
            pixels = images.resize(pixels, [height, width], InterpolationMode.BICUBIC, antialias=True)
        across, down = size - width, size - height
        pixels = images.pad(pixels, [across // 2, down // 2, across - across // 2, down - down // 2], fill=0)
        return images.normalize(pixels, list(_MEAN), list(_STD))

    return prepare


def crop(size: int) -> Any:
    """A PIL picture -> [3, size, size]: scaled until its shorter side fits, then its middle, by torchvision's rules."""
    _ready()
    from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Normalize, Resize, ToTensor

    scale = Resize(size, interpolation=InterpolationMode.BICUBIC)
    steps = Compose([scale, CenterCrop(size), ToTensor(), Normalize(_MEAN, _STD)])

    def prepare(picture: Any) -> Any:
        scaled_sides(picture.size, size)
        return steps(picture)

    return prepare


def clip_processor(size: int) -> Any:
    """A PIL picture -> [3, size, size], as ``transformers.CLIPImageProcessor`` on Pillow makes it.

    Its middle starts at half the margin, rounded down; torchvision rounds to the nearest even number.
    """
    _ready()
    import torchvision.transforms.functional as images
    from torchvision.transforms import InterpolationMode

    def prepare(picture: Any) -> Any:
        width, height = scaled_sides(picture.size, size)
        picture = images.resize(picture, [height, width], InterpolationMode.BICUBIC)
        picture = images.crop(picture, (height - size) // 2, (width - size) // 2, size, size)
        return images.normalize(images.to_tensor(picture), list(_MEAN), list(_STD))

    return prepare


def load_tensors(path: str | Path) -> dict[str, Any]:
    """Tensors by name, from safetensors or a ``.pt`` of tensors alone. Raises RewardError."""
    import torch
    from safetensors.torch import load_file

    try:
        found = load_file(path) if str(path).endswith(".safetensors") else torch.load(path, "cpu", weights_only=True)
    except Exception as error:
        raise RewardError(f"{path}: cannot be read as weights: {one_line(error)}") from error
    while isinstance(found, Mapping) and isinstance(inner := found.get("state_dict"), Mapping):
        found = inner
    return {str(name): value for name, value in found.items() if isinstance(value, torch.Tensor)}


def linear_chain(tensors: Mapping[str, Any], device: str, where: str) -> list[tuple[Any, Any]]:
    """The (weight, bias) pairs of ``layers.N``, in order: dropout between them does nothing when scoring."""
    names = sorted(
        {int(m.group(1)) for name in tensors if (m := re.fullmatch(r"(?:.*\.)?layers\.(\d+)\.weight", name))}
    )
    prefix = next((name.split("layers.")[0] for name in tensors if "layers." in name), "")
    chain = [
        tuple(tensors[f"{prefix}layers.{n}.{kind}"].float().to(device) for kind in ("weight", "bias")) for n in names
    ]
    widths = [(weight.shape[1], weight.shape[0]) for weight, _ in chain]
    if (
        not chain
        or any(out != into for (_, out), (into, _) in zip(widths, widths[1:], strict=False))
        or widths[-1][1] != 1
    ):
        raise RewardError(f"{where}: expected linear layers 'layers.N' that end in one number; found {widths}")
    return chain


def through(chain: Sequence[tuple[Any, Any]], features: Any) -> Any:
    import torch

    for weight, bias in chain:
        features = torch.nn.functional.linear(features, weight, bias)
    return features


def _ready() -> None:
    """Before torchvision or transformers' models are imported."""
    from rewards.pictures.torchvision_ops import ensure_torchvision_ops

    ensure_torchvision_ops()


def _normalised(features: Any) -> Any:
    return features / features.norm(dim=-1, keepdim=True)


def _check_path(key: str, value: str) -> None:
    if not Path(value).exists():
        raise RewardError(f"{key}={value!r}: no such file or folder; give the published checkpoint's")
