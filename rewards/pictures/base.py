"""What scorers of pictures share: which picture and which text belong together, batches, and texts encoded once."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from rewards.base import invalid
from rewards.response import split_response
from rewards.settings import RewardSettings, setting
from rl.pixels import open_image
from rl.threads import torch_threads
from rl.types import RewardItem, Score

_CACHED_TEXTS = 65_536
_MAX_CAPTION = 20_000  # characters; tokenizers read all of a text before they cut it


@dataclass(frozen=True, kw_only=True)
class PictureSettings(RewardSettings):
    device: str = setting("where the model is: cpu, cuda or cuda:N", "cpu")
    batch_size: int = setting("pictures at a time", 32, above=0)
    threads: int = setting("CPU threads: the same arithmetic wherever it runs", 1, above=0)


class PictureReward(ABC):
    """A subclass sets ``preprocess`` (a PIL picture -> [3, H, W]) and gives ``values``; what fails is one item's status."""

    preprocess: Any

    def __init__(self, settings: PictureSettings) -> None:
        self.device, self.batch_size, self.threads = settings.device, settings.batch_size, settings.threads

    @abstractmethod
    def values(self, images: Sequence[Any], captions: Sequence[str]) -> np.ndarray:
        """[N] float32, of preprocessed pictures [3, H, W] and texts. Called with no gradients and ``threads`` threads."""

    def pair(self, item: RewardItem) -> tuple[Any, str]:
        """The picture and the text of one item. Raises ValueError or OSError where there is no such pair."""
        return pair_of(item)

    def score(self, items: Sequence[RewardItem]) -> list[Score]:
        """Equal pictures with equal texts are scored once: a group of drawings often holds many."""
        import torch

        begin = time.perf_counter()
        scores: list[Score] = [invalid("")] * len(items)
        members: dict[tuple[Hashable, str], list[int]] = {}
        ready: list[tuple[Any, str]] = []
        for index, item in enumerate(items):
            try:
                image, caption = self.pair(item)
                key = ((image.size, image.tobytes()), caption)
                if key not in members:
                    ready.append((self.preprocess(image), caption))
                members.setdefault(key, []).append(index)
            except (ValueError, OSError) as error:
                scores[index] = invalid(f"row {item.prompt.id}: {error}")
        if ready:
            with torch.inference_mode(), torch_threads(self.threads):
                values = self.values([image for image, _ in ready], [caption for _, caption in ready])
            seconds = (time.perf_counter() - begin) / len(items)
            for indices, value in zip(members.values(), values, strict=True):
                score = (
                    Score(float(value), seconds=seconds) if np.isfinite(value) else invalid("the value is not finite")
                )
                for index in indices:
                    scores[index] = score
        return scores

    def batches(self, images: Sequence[Any], dtype: Any) -> list[tuple[int, Any]]:
        """(start, pixels [b, 3, H, W] on the device), ``batch_size`` at a time."""
        import torch

        starts = range(0, len(images), self.batch_size)
        return [(s, torch.stack(list(images[s : s + self.batch_size])).to(self.device, dtype)) for s in starts]


class EmbeddingReward(PictureReward):
    """``scale`` times the cosine of two encoders: what CLIP-shaped scorers are.

    A subclass sets ``model`` (``encode_image`` and ``encode_text``, as open_clip's) and ``tokenizer``.
    """

    model: Any
    tokenizer: Any
    scale: float = 100.0

    def __init__(self, settings: PictureSettings) -> None:
        super().__init__(settings)
        self._texts: OrderedDict[str, Any] = OrderedDict()

    def values(self, images: Sequence[Any], captions: Sequence[str]) -> np.ndarray:
        return self.scale * self.cosines(images, captions)

    def cosines(self, images: Sequence[Any], captions: Sequence[str]) -> np.ndarray:
        """[N] float32, of preprocessed pictures [3, H, W] and texts."""
        import torch

        with torch.inference_mode(), torch_threads(self.threads):
            texts, found = self._text_features(captions), []
            for start, pixels in self.batches(images, self.image_dtype()):
                features = self.model.encode_image(pixels, normalize=True).float()
                found.append((features * texts[start : start + self.batch_size]).sum(-1).cpu())
            return torch.cat(found).numpy()

    def image_dtype(self) -> Any:
        """Of the weights that meet the pixels; norms and biases may be of another."""
        parameters = list(self.model.parameters())
        return next((weight.dtype for weight in parameters if weight.ndim == 4), parameters[0].dtype)

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


def pair_of(item: RewardItem) -> tuple[Any, str]:
    """The picture and the text of one item. Raises ValueError or OSError where there is no such pair."""
    prompt = item.prompt
    if item.image is not None:
        caption = prompt.reference or (prompt.messages[-1].content if prompt.messages else "")
        return picture_of(item.image), _text(caption, "caption")
    if prompt.image is not None:
        return picture_of(prompt.image), _text(split_response(item.text).answer or "", "answer")
    raise ValueError("no picture to score")


def _text(text: str, what: str) -> str:
    if not text.strip():
        raise ValueError(f"an empty {what}")
    return text[:_MAX_CAPTION]


def picture_of(image: str | bytes | np.ndarray) -> Any:
    """A PIL picture. Raises ValueError (DataError for a file) where it is none, or too large."""
    if isinstance(image, str | bytes):
        return open_image(image)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"picture of {image.dtype} {list(image.shape)}; allowed: uint8 [H, W, 3]")
    return Image.fromarray(image)
