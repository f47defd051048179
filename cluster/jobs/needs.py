"""What a submitted job is given and must find on the cluster. It imports the standard library alone: the job reads it first."""

from __future__ import annotations

from collections.abc import Mapping

COMMANDS = ("train", "sft", "eval")
CONFIG_FILE = "job.yaml"

# Import names of the packages in pyproject.toml.
MODULES: Mapping[str, str] = {
    "datasets": "datasets",
    "deepspeed": "deepspeed",
    "httpx2": "httpx2",
    "huggingface-hub": "huggingface_hub",
    "jinja2": "jinja2",
    "math-verify": "math_verify",
    "matplotlib": "matplotlib",
    "mlflow": "mlflow",
    "numpy": "numpy",
    "omegaconf": "omegaconf",
    "open-clip-torch": "open_clip",
    "pillow": "PIL",
    "psutil": "psutil",
    "pyarrow": "pyarrow",
    "pyyaml": "yaml",
    "ray": "ray",
    "rich": "rich",
    "safetensors": "safetensors",
    "scipy": "scipy",
    "sympy": "sympy",
    "tokenizers": "tokenizers",
    "torch": "torch",
    "torchvision": "torchvision",
    "transformers": "transformers",
    "typer": "typer",
    "xxhash": "xxhash",
}
