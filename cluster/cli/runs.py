"""``unigrpo train``, ``sft`` and ``eval``: cheap checks first, then trackers, workers and learner, then the work."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cluster import console
from cluster.cli.dry_run import dry_run
from cluster.cli.report import closing_report
from cluster.evaluate import origin
from cluster.evaluate.suite import for_evaluation, held_out, make_layout
from cluster.model.log import log_models
from cluster.plan.family import with_family
from cluster.run import cache_gate, preflight
from cluster.run.about import about
from cluster.run.checkpoint import with_policy
from cluster.run.folder import already_finished, check_output, open_run
from cluster.run.hub import pinned, recorded
from cluster.run.objective import announce
from cluster.run.provenance import provenance
from cluster.run.settings import load, on_gpu, tell
from cluster.run.status import StatusBoard
from policies.files.parts import Part
from rl.config import Config, LoraConfig, to_yaml
from rl.evaluation import Evaluation
from rl.health.watch import Watch, summarise
from rl.output.tables import Screen
from rl.protocols import Tracker
from rl.tracking import report
from rl.tracking.metrics_file import read_metrics
from rl.tracking.trackers import Trackers, tracked
from rl.types import Prompt

POLICY_FOLDER = "policy"
SAME_TWICE = "one evaluation: before and after are the same number"


def train(recipe: str, overrides: Sequence[str], dry: bool = False) -> int:
    """A whole run, or the rest of one; the trained policy goes to ``run_dir/policy``. dry: only what would run is printed."""
    began = time.monotonic()
    (config, notes), screen = load(recipe, overrides), Screen()
    check_output(config)
    config = pinned(config, parts=("train", "val") if _evaluates(config) else ("train",))
    if already_finished(config, screen):
        log_models(config, console.show)  # a process may have been ended while it logged them
        return console.OK
    inputs = preflight.check(config, needs_train=True, needs_val=_evaluates(config), part=_part(dry))
    preflight.check_messages(inputs.all)
    preflight.check_resume(config, "train", inputs)
    if dry:
        return dry_run(config, "train", inputs, on_gpu(recipe, overrides), notes)
    board = StatusBoard(config)
    with tracked(
        Trackers(open_run(config, about(config, "train", recipe, inputs), screen, config.steps), board)
    ) as tracker:
        tell(screen, notes)
        announce(screen, config, inputs.train, overrides)
        tracker.phase(_starting(config))
        from cluster.actors.nodes import nodes_watched
        from cluster.run.resume import reward_digests
        from cluster.run.session import session
        from cluster.run.sigterm import stopping
        from cluster.weights.digest import sha256
        from rl.checkpoints.folder import FolderCheckpoints
        from rl.data.stream import PromptStream
        from rl.loop import Parts
        from rl.loop import train as loop

        cache_gate.check(config, inputs.train, tracker)
        stream = PromptStream(config.data.train, config.seed, inputs.train)
        with (
            session(config) as parts,
            nodes_watched(config.tracking.machine_s, tracker.machine),
            stopping(config.cluster.grace_s) as stop,
        ):
            board.watch(parts)
            saved = FolderCheckpoints(config, reward_digests(config))
            result = loop(Parts(config, stream, inputs.val, parts.workers, parts.learner, tracker, saved), stop)
            weights = parts.learner.weights()
            _export(config, weights)
    summary = report.summarise(
        config,
        result.before,
        result.after,
        seconds=time.monotonic() - began,
        steps=result.steps,
        weights_digest=sha256(weights),
    )
    health = {"health": health_of(config)} if config.health.on else {}
    facts = {**_from_hub(config), **provenance(config, inputs.val), **health}
    seconds = round(result.seconds, 1)
    files = report.finish(screen, config, {"command": "train", "train_seconds": seconds, **summary, **facts})
    _attach(tracker, config, files)
    log_models(config, lambda line: tell(screen, [line]))
    return console.OK


def _attach(tracker: Trackers, config: Config, files: list[Path]) -> None:
    """What a run leaves, with its report, as artifacts."""
    pages = closing_report(config)
    tracker.attach([*files, *pages], {"report": pages[0].name} if pages else {})


def show_settings(recipe: str, overrides: Sequence[str]) -> int:
    """Print the whole config of a run: a YAML file that ``--recipe`` takes."""
    console.show(to_yaml(with_family(recipe, overrides)[0]), end="")
    return console.OK


def sft(recipe: str, overrides: Sequence[str], dry: bool = False) -> int:
    """Fine-tuning in this process, held-out evaluation before and after; the policy goes to ``run_dir/policy``."""
    began = time.monotonic()
    (config, notes), screen = load(recipe, overrides), Screen()
    check_output(config)
    config = pinned(config, parts=("train", "val") if _evaluates(config) else ("train",))
    inputs = preflight.check(config, needs_train=True, needs_val=_evaluates(config), answered=True, part=_part(dry))
    preflight.check_solutions(inputs)
    preflight.check_messages(inputs.val)
    preflight.check_resume(config, "sft", inputs)
    if dry:
        return dry_run(config, "sft", inputs, on_gpu(recipe, overrides), notes)
    steps = config.sft.steps
    with tracked(open_run(config, about(config, "sft", recipe, inputs), screen, steps)) as tracker:
        tell(screen, notes)
        before, digest = _fine_tune(config, inputs, tracker)
        after = _held_out(_tuned(config), inputs.val, tracker, steps)[0].metrics if config.val_after_train else {}
    summary = report.summarise(
        config, before, after, seconds=time.monotonic() - began, steps=steps, weights_digest=digest
    )
    facts = {**_from_hub(config), **provenance(config, inputs.val)}
    _attach(tracker, config, report.finish(screen, config, {"command": "sft", **summary, **facts}))
    log_models(config, lambda line: tell(screen, [line]))
    return console.OK


def evaluate(recipe: str, overrides: Sequence[str], dry: bool = False) -> int:
    """One held-out evaluation of ``policy.path``, in a run folder of its own (``NAME-eval`` unless named)."""
    began = time.monotonic()
    (loaded, notes), screen = load(recipe, overrides, trains=False), Screen()
    config = with_policy(for_evaluation(loaded))
    if not any(override.strip().startswith("name=") for override in overrides):
        config = dataclasses.replace(config, name=f"{config.name}-eval")
    trained = origin.origin_of(loaded, config)
    config = origin.beside(config, trained, overrides)
    check_output(config)
    config = pinned(config, parts=("train", "val") if config.evaluation.k_shots else ("val",))
    inputs = preflight.check(config, needs_train=False, needs_val=True, part=_part(dry))
    make_layout(config, inputs.val)
    if dry:
        return dry_run(config, "eval", inputs, on_gpu(recipe, overrides), notes)
    with tracked(open_run(config, about(config, "eval", recipe, inputs), screen, 0)) as tracker:
        tell(screen, notes)
        origin.tag(tracker, trained)
        tracker.phase(_starting(config))
        held = held_out(config, inputs.val, tracker)
    seconds = time.monotonic() - began
    summary = report.summarise(
        config, held.metrics, held.metrics, seconds=seconds, steps=0, weights_digest=held.digest, sure=held.sure
    )
    facts = {"command": "eval", "note": SAME_TWICE, **summary, **_from_hub(config), **held.facts}
    tracker.attach(report.finish(screen, config, facts, held.rows, held.notes))
    origin.link_back(config, trained, facts)
    return console.OK


def _held_out(config: Config, prompts: Sequence[Prompt], tracker: Tracker, step: int) -> tuple[Evaluation, str]:
    """Workers of their own for one of fine-tuning's evaluations, under the noise of every other one; and the weights' digest.
    Raises TrainingError where nothing could be scored before a run has done anything (step 0)."""
    learner = dataclasses.replace(config.learner, lora=LoraConfig())  # fine-tuning learns all weights, and no adapter
    config = dataclasses.replace(config, learner=learner)
    tracker.phase(_starting(config))
    from cluster.run.session import session
    from cluster.weights.digest import sha256
    from rl.evaluation import evaluate, evaluation_seed
    from rl.tracking.failures import require_scores

    with session(config, train=False) as parts:
        weights = parts.workers.update_weights(parts.learner, 0)
        tracker.phase(f"evaluating {len(prompts)} held-out prompts")
        evaluation = evaluate(parts.workers, prompts, weights, evaluation_seed(config.seed))
        digest = sha256(parts.learner.weights())
    tracker.log(step, evaluation.metrics)
    tracker.samples(step, evaluation.groups, "val")
    if step == 0:
        require_scores(evaluation.groups, f"the evaluation of {len(prompts)} held-out prompts")
    return evaluation, digest


def _fine_tune(config: Config, inputs: preflight.Inputs, tracker: Tracker) -> tuple[Mapping[str, float], str]:
    """Fine-tune ``policy.path``, or go on, and save the result: held-out scores from before, and its weights' digest."""
    import torch

    from cluster.run.sigterm import handlers_kept, stopping
    from cluster.weights.digest import sha256
    from policies import load_policy
    from rl.checkpoints.folder import FolderCheckpoints
    from rl.data.stream import PromptStream
    from rl.learner.engine import TorchEngine
    from rl.sft.run import SftRun

    torch.set_num_threads(config.sft.threads)
    policy = load_policy(config.policy.path, device=config.policy.device, dtype=config.policy.dtype)
    engine = TorchEngine(policy.module, config.sft, config.sft.lr_decay_steps or config.sft.steps)
    stream = PromptStream(config.data.train, config.seed, inputs.train)
    run = SftRun(policy, engine, stream, config, FolderCheckpoints(config))
    before = run.resume()
    if before is None:
        before = _held_out(config, inputs.val, tracker, 0)[0].metrics if config.val_before_train else {}

    def evaluate(step: int) -> Mapping[str, float]:
        policy.save(config.run_dir / POLICY_FOLDER)
        with handlers_kept():
            metrics = _held_out(_tuned(config), inputs.val, tracker, step)[0].metrics
        tracker.phase("fine-tuning")
        torch.set_num_threads(config.sft.threads)
        return metrics

    tracker.phase("fine-tuning")
    with stopping(config.cluster.grace_s) as stop:
        run.run(tracker.log, before, evaluate, stop)
    policy.save(config.run_dir / POLICY_FOLDER)
    return before, sha256({name: value.float().cpu().numpy() for name, value in policy.module.state_dict().items()})


def _tuned(config: Config) -> Config:
    """The config of an evaluation of what was fine-tuned."""
    return dataclasses.replace(
        config, policy=dataclasses.replace(config.policy, path=str(config.run_dir / POLICY_FOLDER))
    )


def health_of(config: Config) -> dict[str, Any]:
    """What a run's metrics say of its health: see ``rl.health.watch.summarise``."""
    return summarise(Watch.of(config.health, read_metrics(config.run_dir)))


def _export(config: Config, weights: Mapping[str, np.ndarray]) -> Path:
    """The trained policy as a folder that ``policy.path`` takes."""
    from cluster.weights.digest import copy_into
    from policies import load_policy

    policy = load_policy(config.policy.path, dtype=config.policy.dtype)
    copy_into(policy.module.state_dict(), weights)
    folder = config.run_dir / POLICY_FOLDER
    policy.save(folder)
    return folder


def _from_hub(config: Config) -> dict[str, Mapping[str, str]]:
    """For summary.json: the commits of what was taken by its name on a hub."""
    names = recorded(config)
    return {"from_hub": names} if names else {}


def _part(dry: bool) -> Part:
    """A dry run of a policy on a hub downloads no weights."""
    return Part.CHECKS if dry else Part.ALL


def _evaluates(config: Config) -> bool:
    return config.val_before_train or config.val_after_train or config.test_freq > 0


def _starting(config: Config) -> str:
    return "starting Ray" if config.cluster.mode == "ray" else "loading the policy"
