"""How weights go from the learner's ranks to the rollout workers: one interface, and its wires by name.

A wire is one file and one line in ``WIRES``, or an installed package's entry point in the group ``unigrpo.wires``. Nothing
outside this folder names one. This file is light: a wire's own code is imported where weights are about to travel.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from rl.config import Config
from rl.errors import ConfigError, UniGRPOError, one_line
from rl.registry import Extends, Registry, part, resolve
from rl.types import WeightRef

if TYPE_CHECKING:
    from torch import Tensor

    from cluster.weights.payload import Payload


@dataclass(frozen=True, slots=True)
class Published:
    """The name of one version of the weights. base: digest of the weights that an adapter is added to; None: all travel."""

    ref: WeightRef
    base: str | None = None


class Destination(Protocol):
    """Where one worker's new weights go."""

    name: str
    """The worker's, for errors."""

    def targets(self, shapes: Mapping[str, tuple[int, ...]]) -> Mapping[str, Tensor]:
        """The tensors to write, by name. Raises WorkerError where names or shapes differ from the policy's."""
        ...


class Ranks(Protocol):
    """The learner's ranks, as the driver sees them: ``cluster.learner.rank_group.RankGroup``."""

    @property
    def patience_s(self) -> float:
        """After so long without news from the other side, a transfer has broken off."""
        ...

    def ask_first(self, request: Any) -> Any:
        """What ``WeightWire.serve`` of rank 0 returns."""
        ...

    def ask_all(self, request: Any) -> list[Any]:
        """The same of every rank, in their order."""
        ...

    def start(self, request: Any, first_waits_for: Sequence[Any] = ()) -> None:
        """``serve`` on every rank, without waiting. Rank 0 begins when these object refs are ready."""
        ...


class WeightWire(ABC):
    """One of these lives in the driver, in each rank and in each rollout worker. ``name`` is the one it is registered by."""

    name = ""

    @abstractmethod
    def publish(self, payload: Payload, version: int) -> tuple[WeightRef, Any]:
        """On rank 0: the version's name and digest, and what ``receive`` needs (None where ``deliver`` makes that).

        The other ranks take part in the payload's collectives. Raises TrainingError for a NaN in the weights.
        """

    @abstractmethod
    def receive(self, destination: Destination, ref: WeightRef, body: Any) -> None:
        """On a rollout worker: write the weights and check their digest.

        Raises WorkerError where they are not what ``ref`` names, and TransferError where the other side is gone.
        """

    def deliver(self, ranks: Ranks | None, actors: Sequence[Any], published: Published, body: Any) -> list[Any]:
        """On the driver: start ``receive_weights`` on these actors, all at once; the object refs of their calls.

        ranks: None where the learner lives in the driver's process, which only the default wire serves.
        """
        return [actor.receive_weights.remote(self.name, published, body) for actor in actors]

    def serve(self, payload: Payload, request: Any) -> Any:
        """On a rank: answer what ``deliver`` asks through ``Ranks``."""
        raise NotImplementedError(f"weight wire {self.name}: asked its ranks for {request!r}, and does not serve")

    def finish(self, ranks: Ranks) -> None:  # noqa: B027 - most wires have nothing to do here
        """On the driver: every worker that was there has the version."""

    def release(self) -> None:  # noqa: B027
        """On a rank, before it changes its weights."""


@dataclass(frozen=True, slots=True)
class Wire:
    """What is known of a wire before anything starts.

    transport       the ``WeightWire`` class, or ``module:attribute`` of it
    keeps_versions  a version can still be received when newer ones are published: a worker that is replaced, rollouts
                    ahead of the learner (``max_staleness``) and taking turns on a device need that
    shares_device   each rollout worker must be on the device of a learner rank
    """

    transport: type[WeightWire] | str = field(metadata=part(Extends("cluster.weights.base:WeightWire")))
    keeps_versions: bool
    shares_device: bool = False


WIRES: Registry[Wire] = Registry(
    "weight wire",
    {
        "object_store": Wire("cluster.weights.object_store:ObjectStore", keeps_versions=True),
        "collective": Wire("cluster.weights.collective:Collective", keeps_versions=False),
        "ipc": Wire("cluster.weights.ipc:Ipc", keeps_versions=False, shares_device=True),
    },
    group="unigrpo.wires",
    member=Wire,
)
DEFAULT = "object_store"  # also for a learner that lives in the driver's process


def open_wire(name: str) -> WeightWire:
    """This process's end of a wire. Raises ConfigError."""
    try:
        wire: WeightWire = resolve(WIRES[name].transport)()
    except UniGRPOError:
        raise
    except Exception as error:  # a package's own code
        raise ConfigError(f"weight wire {name!r}: cannot be opened: {one_line(error)}") from error
    wire.name = name
    return wire


def check_wire(config: Config) -> None:
    """That ``cluster.weight_sync`` exists and can do what else is configured. Raises ConfigError."""
    cluster, name = config.cluster, config.cluster.weight_sync
    WIRES.require("cluster.weight_sync", name)
    wire = WIRES[name]
    if config.max_staleness and not wire.keeps_versions:
        raise ConfigError(
            f"max_staleness={config.max_staleness} with cluster.weight_sync={name}: the learner holds its newest weights "
            f"only, and a replaced worker may need earlier ones; set cluster.weight_sync={DEFAULT}"
        )
    if cluster.take_turns and not wire.keeps_versions:
        raise ConfigError(
            f"cluster.take_turns=true with cluster.weight_sync={name}: the learner is offloaded while rollout workers "
            f"sample, so their weights must wait elsewhere; set cluster.weight_sync={DEFAULT}"
        )
    on_gpus = config.policy.device.startswith("cuda")
    if wire.shares_device and on_gpus and cluster.placement == "disaggregated":
        raise ConfigError(
            f"cluster.weight_sync={name} with cluster.placement=disaggregated: learner ranks and rollout workers must share "
            "GPUs for it; set cluster.placement=colocated"
        )
