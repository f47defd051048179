"""Settings of processes and machines."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class ClusterConfig:
    """Processes and machines. Deadlines are in seconds.

    mode              ray, or inline: one process, a debugger's choice; the same numbers
    address           HOST:PORT of the head of a Ray cluster, or auto: the one that this machine is part of; null: a Ray of
                      this run's own
    rollout_workers   processes that sample
    reward_workers    processes that score
    learner_ranks     processes that learn, each on a device of its own where there are GPUs
    start_deadline_s  until an actor is ready
    rollout_deadline_s, reward_deadline_s, learner_deadline_s  until a call to such an actor is answered
    heartbeat_s       an actor without a heartbeat for so long is lost
    restart_budget    replacements of rollout workers, and as many of reward workers, in one run
    learner_rebuilds  times that a run starts its learner ranks anew and goes back to its last checkpoint
    grace_s           after SIGTERM, to finish or abandon the step and save; then the run just ends
    weight_sync       how weights reach rollout workers. ``collective``: in buckets, by gloo, or by NCCL between GPUs of their
                      own; ``ipc``: from the memory of a rank on the same device
    stall_s           a warning, with who is waited for, after so long without any answer
    in_flight         new weights come while a batch ahead is sampled: finish it at its version, or restart what is not
                      sampled yet at the new one (fresher; which groups those are depends on who was quick)
    placement         disaggregated: a GPU for each rank and rollout worker; colocated: they share; auto: as GPUs allow
    take_turns        colocated: while rollout workers sample, the learner's memory waits on the host, and they have none
                      while it learns
    scorer_workers    model reward workers, for rewards on a GPU and ``rewards.scorers``
    scorer_gpus       GPUs of each of them where one needs a GPU; below 1: they share
    labels            rollout, reward, scorer or learner -> labels of the nodes where those actors go:
                      ``reward: {pool: cpu}``
    """

    mode: str = "ray"
    address: str | None = None
    rollout_workers: int = 2
    reward_workers: int = 1
    scorer_workers: int = 1
    scorer_gpus: float = 1.0
    learner_ranks: int = 1
    start_deadline_s: float = 300.0
    rollout_deadline_s: float = 600.0
    reward_deadline_s: float = 300.0
    learner_deadline_s: float = 1800.0
    heartbeat_s: float = 30.0
    restart_budget: int = 16
    learner_rebuilds: int = 3
    grace_s: float = 30.0
    stall_s: float = 120.0
    weight_sync: str = "object_store"
    in_flight: str = "finish"
    placement: str = "auto"
    take_turns: bool = False
    labels: dict[str, dict[str, str]] = field(default_factory=dict)
