"""Loading a policy of N random parameters: peak host memory against the model's size, time against reading the file.

    python benchmarks/speed/load.py --parameters 1e9 --dtype bfloat16 --json load.json

Memory is that of a process of its own, above what it had after its imports. Reading is a plain copy of the file's bytes
into memory that exists, as often as loading and in turn with it; both are medians. ``--library`` also reads the same tensors
with safetensors' own readers, ``mmap`` and ``pread``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

CHILD = """
import json, sys, time
from pathlib import Path
from policies.files.checkpoints import load_policy
def peak():  # not getrusage: its peak is handed on from the parent
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0])
before = peak()
start = time.perf_counter()
policy = load_policy(sys.argv[1], dtype=sys.argv[2])
seconds = time.perf_counter() - start
size = sum(p.numel() * p.element_size() for p in policy.module.parameters())
print(json.dumps({"seconds": seconds, "peak": (peak() - before) * 1024, "size": size}))
"""

LIBRARY = """
import json, sys, time, torch
from pathlib import Path
from safetensors import safe_open
def peak():
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
torch.zeros(9).copy_(torch.ones(9))
before, start, kept = peak(), time.perf_counter(), []
for file in sorted(Path(sys.argv[1]).glob("*.safetensors")):
    with safe_open(file, framework="pt", backend=sys.argv[2]) as opened:
        for key in opened.offset_keys():
            value = opened.get_tensor(key)
            kept.append(torch.empty_like(value).copy_(value))
            del value
seconds = time.perf_counter() - start
size = sum(value.numel() * value.element_size() for value in kept)
print(json.dumps({"seconds": seconds, "peak": (peak() - before) * 1024, "size": size}))
"""


def make_folder(folder: Path, parameters: float, dtype: str, shard_bytes: int = 1 << 62, vocabulary: int = 512) -> Path:
    """A LLaDA-shaped policy of about so many parameters, in shards of so many bytes, a toy's tokenizer with it."""
    import torch

    from policies.families import llada
    from policies.files.checkpoints import DTYPES, write_weights
    from policies.files.fresh_policy import CHAT_TEMPLATE, train_tokenizer
    from policies.files.uninitialised import empty_module
    from policies.network.transformer import Transformer

    width = 2048 if parameters >= 2e8 else 256
    per_layer = 4 * width**2 + 3 * width * 3 * width + 2 * width
    layers = max(1, round((parameters - 2 * vocabulary * width) / per_layer))
    config = {
        "model_type": "llada", "d_model": width, "n_layers": layers, "n_heads": width // 64, "vocab_size": vocabulary,
        "mlp_hidden_size": 3 * width, "mask_token_id": 0, "eos_token_id": 1,
    }  # fmt: skip
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE)
    train_tokenizer(["load"], 300).save(str(folder / "tokenizer.json"))
    module = empty_module(partial(Transformer, llada.sizes(config)), DTYPES[dtype], "cpu")
    module.reset_parameters(torch.Generator().manual_seed(0))
    write_weights(folder, llada.tensors(module), shard_bytes)
    return folder


def read_seconds(files: Sequence[Path]) -> float:
    """Into memory that is allocated here, since loading allocates too."""
    start, kept = time.perf_counter(), []
    for file in files:
        kept.append(bytearray(file.stat().st_size))
        with file.open("rb", buffering=0) as source:
            view = memoryview(kept[-1])
            while len(view):
                view = view[source.readinto(view) :]
    return time.perf_counter() - start


def child(*command: str) -> dict[str, float]:
    done = subprocess.run([sys.executable, "-c", *command], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def measure_library(folder: Path, repeats: int) -> dict[str, float]:
    """Peak over the tensors' bytes, and seconds, of each of the library's readers."""
    result: dict[str, float] = {}
    for backend in ("mmap", "pread"):
        reads = [child(LIBRARY, str(folder), backend) for _ in range(repeats)]
        result[f"{backend}_peak_over_model"] = max(read["peak"] for read in reads) / reads[0]["size"]
        result[f"{backend}_seconds"] = statistics.median(read["seconds"] for read in reads)
    return result


def measure(folder: Path, dtype: str, repeats: int) -> dict[str, float]:
    loads, reads = [], []
    for _ in range(repeats):
        reads.append(read_seconds(sorted(folder.glob("*.safetensors"))))
        loads.append(child(CHILD, str(folder), dtype))
    seconds = statistics.median(load["seconds"] for load in loads)
    return {
        "files": len(list(folder.glob("*.safetensors"))),
        "model_bytes": loads[0]["size"],
        "peak_over_model": max(load["peak"] for load in loads) / loads[0]["size"],
        "load_seconds": seconds,
        "read_seconds": statistics.median(reads),
        "time_over_reading": seconds / statistics.median(reads),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parameters", type=float, default=1e9)
    parser.add_argument("--dtype", default="bfloat16", help="of the file")
    parser.add_argument("--load-dtype", help="asked for; default: the file's")
    parser.add_argument("--shard-gb", type=float, help="largest shard; default: one file")
    parser.add_argument("--vocabulary", type=int, default=512, help="tokens: a large one makes two large tensors")
    parser.add_argument("--library", action="store_true", help="measure safetensors' own readers too")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "policy"
        # In a process of its own, so that its memory is gone when loading is measured.
        code = (
            "import sys; from benchmarks.speed.load import *; make_folder(Path(sys.argv[1]), float(sys.argv[2]), sys.argv[3], "
            "int(float(sys.argv[4]) * 1e9), int(sys.argv[5]))"
        )
        made = [
            str(folder),
            str(options.parameters),
            options.dtype,
            str(options.shard_gb or 1e9),
            str(options.vocabulary),
        ]
        subprocess.run([sys.executable, "-c", code, *made], check=True)
        result = measure(folder, options.load_dtype or options.dtype, options.repeats)
        if options.library:
            result |= measure_library(folder, options.repeats)
    text = json.dumps(result, indent=2)
    print(text)
    if options.json:
        options.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
