"""CLIP score through open_clip: how well a picture and a caption agree (arXiv 2104.08718, without its clipping at 0).

The value is 100 times the cosine of the two embeddings, the scale in which the MMaDA paper reports it (29.4 to 32.5); its
weight there is 0.1. A drawn picture is scored against its caption; a written caption against the picture it describes.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rewards.pictures.base import EmbeddingReward, PictureSettings
from rewards.settings import setting
from rl.errors import RewardError, one_line
from rl.registry import close_to

CONFIG = "open_clip_config.json"
_SHIPPED = {"tiny": Path(__file__).parents[1] / "tiny" / "clip"}


@dataclass(frozen=True, kw_only=True)
class ClipSettings(PictureSettings):
    model: str = setting(
        "tiny (shipped, for rendered scenes), an open_clip name, hf-hub:..., or a folder with open_clip_config.json, "
        "safetensors and tokenizer",
        "tiny",
    )
    pretrained: str | None = setting("tag or weights file, for an open_clip name", None)
    batch_size: int = setting("pictures at a time", 64, above=0)
    precision: str = setting(
        "bf16: half the memory on a GPU, for about three digits of the cosine", "fp32", choices=("fp32", "bf16")
    )

    def check(self) -> None:
        """Does not import open_clip."""
        source = _source(self.model)
        if source.startswith("hf-hub:"):
            return
        if source.startswith("local-dir:"):
            folder = Path(source.removeprefix("local-dir:"))
            if not (folder / CONFIG).is_file():
                raise RewardError(f"model={self.model!r}: the folder has no {CONFIG}")
            return
        names = _config_names()
        if self.model.replace("/", "-") not in names:
            raise RewardError(
                f"model={self.model!r}: no open_clip name, no folder, not 'tiny'{close_to(self.model, names)}"
            )
        if not self.pretrained:
            raise RewardError(f"model={self.model!r}: also give pretrained: a tag or a weights file")


class ClipReward(EmbeddingReward):
    """100 times the cosine of a picture and a caption, by any CLIP that open_clip loads.

    A drawn picture is scored against its caption; a written caption against the picture that it describes.
    """

    name = "clip"
    Settings = ClipSettings

    def __init__(self, settings: ClipSettings) -> None:
        super().__init__(settings)
        try:
            self.model, self.preprocess, self.tokenizer = _load(
                _source(settings.model), settings.pretrained, settings.device, settings.precision
            )
        except Exception as error:
            raise RewardError(f"model={settings.model!r}: {one_line(error)}") from error


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
        raise RewardError("open_clip is not installed; pip install open-clip-torch")
    return sorted(file.stem for file in (Path(spec.origin).parent / "model_configs").glob("*.json"))


def _load(source: str, pretrained: str | None, device: str, precision: str) -> tuple[Any, Any, Any]:
    """Model, preprocessing and tokenizer. A model without weights is an error, never a random one."""
    from rewards.pictures.torchvision_ops import ensure_torchvision_ops

    ensure_torchvision_ops()
    import open_clip
    from open_clip.transform import PreprocessCfg, image_transform_v2

    model = open_clip.create_model(
        source, pretrained=pretrained, precision=precision, device=device, require_pretrained=True
    )
    if pretrained and source.startswith("local-dir:"):  # open_clip would pass over the weights that were asked for
        open_clip.load_checkpoint(model, pretrained)  # pyright: ignore[reportArgumentType]
    settings = PreprocessCfg(**model.visual.preprocess_cfg)  # pyright: ignore
    return model.eval(), image_transform_v2(settings, is_train=False), open_clip.get_tokenizer(source)
