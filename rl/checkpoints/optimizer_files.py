"""An optimizer's state on disk: whole tensors by parameter name, shared out over one file a rank.

    optimizer.json                             {"format", "steps", "shards"}
    optimizer.safetensors                      of one rank
    optimizer-00001-of-00002.safetensors ...   of more

Since tensors are whole, any number of ranks, any ZeRO stage and either engine reads what another wrote.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from rl.errors import CheckpointError

STATE_FILE = "optimizer.json"
TENSORS_FILE = "optimizer.safetensors"
_FORMAT = 1


def shard_name(rank: int, ranks: int) -> str:
    return TENSORS_FILE if ranks == 1 else f"optimizer-{rank + 1:05d}-of-{ranks:05d}.safetensors"


def write_state(folder: Path, steps: int, tensors: Mapping[str, Tensor], rank: int = 0, ranks: int = 1) -> None:
    """This rank's share: tensors ``{parameter}.{key}``. steps: where the learning-rate schedule is."""
    save_file(dict(tensors), folder / shard_name(rank, ranks))
    if rank == 0:
        (folder / STATE_FILE).write_text(json.dumps({"format": _FORMAT, "steps": steps, "shards": ranks}))


class SavedState(Mapping[str, Tensor]):
    """What all ranks wrote: ``steps``, and tensors, each read when it is asked for. Raises CheckpointError."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            state = json.loads((folder / STATE_FILE).read_text())
        except (OSError, ValueError) as error:
            raise self._unreadable(error) from error
        self.steps, shards = state.get("steps"), state.get("shards", 1)
        if state.get("format") != _FORMAT or not isinstance(self.steps, int) or not isinstance(shards, int):
            raise CheckpointError(
                f"{folder / STATE_FILE}: format {state.get('format')!r}, this version reads {_FORMAT}"
            )
        self._open = [self._shard(shard_name(rank, shards)) for rank in range(shards)]
        self._places = {key: shard for shard in self._open for key in shard.keys()}  # noqa: SIM118 - no mapping

    def __getitem__(self, key: str) -> Tensor:
        return self._places[key].get_tensor(key).clone()  # not a view of the file

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def _shard(self, name: str) -> safe_open:
        try:
            return safe_open(str(self.folder / name), framework="pt")
        except (OSError, SafetensorError) as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: Exception) -> CheckpointError:
        return CheckpointError(f"{self.folder}: optimizer state cannot be read: {error}")
