"""CLIP score through open_clip: how well a picture and a caption agree (arXiv 2104.08718, without its clipping at 0).

The value is 100 times the cosine of the two embeddings, the scale in which the MMaDA paper reports it (29.4 to 32.5); its
weight there is 0.1. A drawn picture is scored against its caption; a written caption against the picture it describes.
"""

from __future__ import annotations

import difflib
import importlib.util
import time
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rewards.base import invalid, one_line
from rewards.text import split_response
from rl.errors import RewardError
from rl.threads import torch_threads
from rl.types import RewardItem, Score

CONFIG = "open_clip_config.json"
_SHIPPED = {"tiny": Path(__file__).parent / "tiny_clip"}
_CACHED_TEXTS = 65_536
_MAX_CAPTION = 20_000  # characters; tokenizers read all of a text before they cut it
_MAX_PIXELS = 50_000_000
_FORMATS = ("PNG", "JPEG", "WEBP")


class ClipReward:
    """Example: ``ClipReward("ViT-L-14", pretrained="/models/vit_l_14.safetensors", device="cuda")``.

    model        ``tiny`` (shipped, for rendered scenes), an open_clip name, ``hf-hub:...``, or a folder with
                 open_clip_config.json, safetensors and tokenizer
    pretrained   tag or weights file, for an open_clip name
    batch_size   pictures at a time
    threads      CPU threads: the same arithmetic wherever it runs
    """

    name = "clip"

    def __init__(
        self,
        model: str = "tiny",
        pretrained: str | None = None,
        device: str = "cpu",
        batch_size: int = 64,
        threads: int = 1,
    ) -> None:
        self.check(model, pretrained, device, batch_size, threads)
        self.device, self.batch_size, self.threads = device, batch_size, threads
        self._texts: OrderedDict[str, Any] = OrderedDict()
        source = _source(model)
        try:
            self.model, self.preprocess, self.tokenizer = _load(source, pretrained, device)
        except Exception as error:
            raise RewardError(f"reward 'clip': model={model!r}: {one_line(error)}") from error

    @staticmethod
    def check(
        model: str = "tiny",
        pretrained: str | None = None,
        device: str = "cpu",
        batch_size: int = 64,
        threads: int = 1,
    ) -> None:
        """Find mistakes without importing open_clip. Raises RewardError."""
        for key, value in (("batch_size", batch_size), ("threads", threads)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise RewardError(f"reward 'clip': {key}={value!r}; allowed: a whole number above 0")
        source = _source(model)
        if source.startswith("hf-hub:"):
            return
        if source.startswith("local-dir:"):
            folder = Path(source.removeprefix("local-dir:"))
            if not (folder / CONFIG).is_file():
                raise RewardError(f"reward 'clip': model={model!r}: the folder has no {CONFIG}")
            return
        names = _config_names()
        if model.replace("/", "-") not in names:
            close = difflib.get_close_matches(model, names, n=1, cutoff=0.5)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise RewardError(f"reward 'clip': model={model!r}: no open_clip name, no folder, not 'tiny'{hint}")
        if not pretrained:
            raise RewardError(f"reward 'clip': model={model!r}: also give pretrained: a tag or a weights file")

    def score(self, items: Sequence[RewardItem]) -> list[Score]:
        begin = time.perf_counter()
        scores: list[Score] = [invalid("")] * len(items)
        ready: list[tuple[int, Any, str]] = []
        for index, item in enumerate(items):
            try:
                image, caption = _pair(item)
                ready.append((index, self.preprocess(image), caption))
            except (ValueError, OSError) as error:
                scores[index] = invalid(f"row {item.prompt.id}: {error}")
        if ready:
            cosines = self.cosines([image for _, image, _ in ready], [caption for _, _, caption in ready])
            seconds = (time.perf_counter() - begin) / len(items)
            for (index, _, _), cosine in zip(ready, cosines, strict=True):
                finite = np.isfinite(cosine)
                scores[index] = (
                    Score(100.0 * float(cosine), seconds=seconds) if finite else invalid("cosine is not finite")
                )
        return scores

    def cosines(self, images: Sequence[Any], captions: Sequence[str]) -> np.ndarray:
        """[N] float32, of preprocessed pictures [3, H, W] and texts."""
        import torch

        found = []
        with torch.inference_mode(), torch_threads(self.threads):
            texts = self._text_features(captions)
            for start in range(0, len(images), self.batch_size):
                pixels = torch.stack(list(images[start : start + self.batch_size])).to(self.device)
                features = self.model.encode_image(pixels, normalize=True).float()
                found.append((features * texts[start : start + self.batch_size]).sum(-1).cpu())
        return torch.cat(found).numpy()

    def _text_features(self, captions: Sequence[str]) -> Any:
        """[N, D], from the cache where a caption was seen before: a group shares one."""
        import torch

        wanted = dict.fromkeys(captions)
        missing = [caption for caption in wanted if caption not in self._texts]
        for start in range(0, len(missing), self.batch_size):
            part = missing[start : start + self.batch_size]
            features = self.model.encode_text(self.tokenizer(part).to(self.device), normalize=True).float()
            self._texts.update(zip(part, features, strict=True))
        result = torch.stack([self._texts[caption] for caption in captions])
        for caption in wanted:
            self._texts.move_to_end(caption)
        while len(self._texts) > _CACHED_TEXTS:
            self._texts.popitem(last=False)
        return result


def _pair(item: RewardItem) -> tuple[Any, str]:
    """The picture and the text of one item. Raises ValueError or OSError where there is no such pair."""
    prompt = item.prompt
    if item.image is not None:
        caption = prompt.reference or (prompt.messages[-1].content if prompt.messages else "")
        return _picture(item.image), _text(caption, "caption")
    if prompt.image is not None:
        return _picture(prompt.image), _text(split_response(item.text).answer or "", "answer")
    raise ValueError("no picture to score")


def _text(text: str, what: str) -> str:
    if not text.strip():
        raise ValueError(f"an empty {what}")
    return text[:_MAX_CAPTION]


def _picture(image: str | np.ndarray) -> Any:
    from PIL import Image

    if isinstance(image, str):
        with Image.open(image, formats=_FORMATS) as file:
            if file.width * file.height > _MAX_PIXELS:
                raise ValueError(f"picture of {file.width}x{file.height} pixels; allowed: {_MAX_PIXELS}")
            return file.convert("RGB")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"picture of {image.dtype} {list(image.shape)}; allowed: uint8 [H, W, 3]")
    return Image.fromarray(image)


def _source(model: str) -> str:
    """What open_clip calls the model."""
    if model in _SHIPPED:
        return f"local-dir:{_SHIPPED[model]}"
    if model.startswith(("local-dir:", "hf-hub:")):
        return model
    return f"local-dir:{model}" if Path(model).is_dir() else model


def _config_names() -> list[str]:
    """open_clip's model names, read off its folder, since importing it takes seconds."""
    spec = importlib.util.find_spec("open_clip")
    if spec is None or spec.origin is None:
        raise RewardError("reward 'clip': open_clip is not installed; pip install open-clip-torch")
    return sorted(file.stem for file in (Path(spec.origin).parent / "model_configs").glob("*.json"))


def _load(source: str, pretrained: str | None, device: str) -> tuple[Any, Any, Any]:
    """Model, preprocessing and tokenizer. A model without weights is an error, never a random one."""
    from rewards.torchvision_ops import ensure_torchvision_ops

    ensure_torchvision_ops()
    import open_clip
    from open_clip.transform import PreprocessCfg, image_transform_v2

    model = open_clip.create_model(source, pretrained=pretrained, device=device, require_pretrained=True)
    settings = PreprocessCfg(**model.visual.preprocess_cfg)  # pyright: ignore
    return model.eval(), image_transform_v2(settings, is_train=False), open_clip.get_tokenizer(source)
