"""CLIP score through open_clip: how well a picture and a caption agree (arXiv 2104.08718, without its clipping at 0).

The value is 100 times the cosine of the two embeddings, the scale in which the MMaDA paper reports it (29.4 to 32.5); its
weight there is 0.1. A drawn picture is scored against its caption; a written caption against the picture it describes.
"""

from __future__ import annotations

import difflib
import importlib.util
from pathlib import Path
from typing import Any

from rewards.pictures.base import EmbeddingReward
from rl.errors import RewardError, one_line

CONFIG = "open_clip_config.json"
_SHIPPED = {"tiny": Path(__file__).parents[1] / "tiny" / "clip"}


class ClipReward(EmbeddingReward):
    """Example: ``ClipReward("ViT-L-14", pretrained="/models/vit_l_14.safetensors", device="cuda")``.

    model        ``tiny`` (shipped, for rendered scenes), an open_clip name, ``hf-hub:...``, or a folder with
                 open_clip_config.json, safetensors and tokenizer
    pretrained   tag or weights file, for an open_clip name
    batch_size   pictures at a time
    threads      CPU threads: the same arithmetic wherever it runs
    precision    fp32, or bf16: half the memory on a GPU, for about three digits of the cosine
    """

    name = "clip"

    def __init__(
        self,
        model: str = "tiny",
        pretrained: str | None = None,
        device: str = "cpu",
        batch_size: int = 64,
        threads: int = 1,
        precision: str = "fp32",
    ) -> None:
        ClipReward.check(model, pretrained, device, batch_size, threads, precision)
        super().__init__(device, batch_size, threads)
        source = _source(model)
        try:
            self.model, self.preprocess, self.tokenizer = _load(source, pretrained, device, precision)
        except Exception as error:
            raise RewardError(f"reward 'clip': model={model!r}: {one_line(error)}") from error

    @staticmethod
    def check(
        model: str = "tiny",
        pretrained: str | None = None,
        device: str = "cpu",
        batch_size: int = 64,
        threads: int = 1,
        precision: str = "fp32",
    ) -> None:
        """Find mistakes without importing open_clip. Raises RewardError."""
        if precision not in ("fp32", "bf16"):
            raise RewardError(f"reward 'clip': precision={precision!r}; allowed: fp32, bf16")
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
