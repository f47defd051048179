"""``unigrpo eval --harness lm-eval``: EleutherAI's harness asks and judges, our policies answer."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cluster import console
from cluster.evaluate import origin
from cluster.evaluate.contexts import open_contexts
from cluster.evaluate.likelihood import DRAWS
from cluster.evaluate.verdicts import agreement, verdicts
from cluster.run import preflight
from cluster.run.checkpoint import with_policy
from cluster.run.folder import check_output, open_run
from cluster.run.provenance import provenance
from cluster.run.settings import load, tell
from rl.config import Config
from rl.config.rewards import CustomRewardConfig, JudgeConfig, RewardsConfig
from rl.errors import ConfigError, UniGRPOError, one_line
from rl.output.printable import escaped_in_json
from rl.output.tables import Screen
from rl.protocols import Tracker
from rl.registry import close_to
from rl.tracking import report
from rl.tracking.intervals import Interval, of_prompts
from rl.tracking.mlflow.page import About
from rl.tracking.rows import RowsWriter
from rl.tracking.trackers import tracked

HARNESS = "lm-eval"
FOLDER = "lm_eval"
ESTIMATE = "Monte Carlo evidence lower bound (LLaDA, arXiv 2502.09992, appendix B.5)"
_TEXT = "evaluation.text"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line asks of the harness. shots: None: as the task says. draws: masks a log-likelihood is the mean of."""

    tasks: tuple[str, ...]
    limit: float | None = None
    include: tuple[Path, ...] = ()
    shots: int | None = None
    chat: bool = False
    draws: int = DRAWS


def evaluate(recipe: str, overrides: Sequence[str], asked: Asked, dry: bool = False) -> int:
    """The harness's own report, and our summary.json and rows beside it. Raises ConfigError, PolicyError, one line each."""
    began = time.monotonic()
    _check(asked)
    (loaded, notes), screen = load(recipe, overrides, trains=False), Screen()
    config = _alone(with_policy(loaded))
    if not any(override.strip().startswith("name=") for override in overrides):
        config = replace(config, name=f"{config.name}-{HARNESS}")
    trained = origin.origin_of(loaded, config)
    config = origin.beside(config, trained, overrides)
    check_output(config)
    folder = preflight.check_text_policy(config)
    manager = _tasks(asked)
    if dry:
        tell(screen, notes)
        screen.print(f"{HARNESS}: {', '.join(asked.tasks)} on {folder}; every check passed, and nothing was started.")
        return console.OK
    with tracked(open_run(config, About(config, "eval", recipe), screen, 0)) as tracker:
        tell(screen, notes)
        origin.tag(tracker, trained)
        _log.info("%s: tasks %s", HARNESS, ", ".join(asked.tasks))
        model, results = _run(config, folder, asked, _typed(overrides), manager, tracker)
        summary = _written(config, model, results, asked, time.monotonic() - began)
    _show(screen, config, summary, results)
    origin.link_back(config, trained, summary)
    return console.OK


def _check(asked: Asked) -> None:
    if importlib.util.find_spec("lm_eval") is None:
        raise ConfigError(
            f"--harness {HARNESS}: lm-eval is not installed; it is the extra eval: pip install -c constraints.txt 'unigrpo[eval]'"
        )
    if not asked.tasks:
        raise ConfigError("--tasks is empty: give the harness's names, e.g. --tasks gsm8k,minerva_math500")
    for folder in asked.include:
        if not folder.is_dir():
            raise ConfigError(
                f"--include-path {folder}: no such folder; give one with the harness's task files (.yaml)"
            )
    if asked.limit is not None and asked.limit <= 0:
        raise ConfigError(f"--limit {asked.limit:g}: must be above 0: documents a task, or a share below 1")
    if asked.draws < 1:
        raise ConfigError(f"--draws {asked.draws}: must be 1 or more")


def _tasks(asked: Asked) -> Any:
    """The harness's task manager. Raises ConfigError for a name that it does not know."""
    from lm_eval.tasks import TaskManager  # pyright: ignore[reportMissingImports]

    manager = TaskManager(include_path=[str(folder) for folder in asked.include] or None)
    for name in asked.tasks:
        if not manager.match_tasks([name]):
            raise ConfigError(
                f"--tasks {name}: the harness has no such task{close_to(name, manager.all_tasks)}; `lm_eval ls tasks` lists "
                "them, and --include-path adds a folder of your own"
            )
    return manager


def _alone(config: Config) -> Config:
    """The config of workers that sample for another's judgement: the rewards are its own, and nothing is trained."""
    mix = {"text": {"format": 1.0}}
    part = replace(config.evaluation, n_samples_per_prompt=1, n_samples=None, k_shots=0, layout=None, mix=mix)
    rewards = RewardsConfig(mix=mix, sandbox=config.rewards.sandbox)
    data = replace(config.data, train=[], val=[])
    return replace(
        config,
        evaluation=part,
        rewards=rewards,
        data=data,
        judge=JudgeConfig(),
        custom_reward_function=CustomRewardConfig(),
    )


def _typed(overrides: Sequence[str]) -> frozenset[str]:
    """Settings of evaluation.text that the user set: they go before what a task asks for."""
    found: set[str] = set()
    for override in overrides:
        name, _, value = override.strip().partition("=")
        if name == _TEXT:
            found |= {part.partition(":")[0].strip(" {") for part in value.split(",")}
        elif name.startswith(f"{_TEXT}."):
            found.add(name.removeprefix(f"{_TEXT}."))
    return frozenset(found)


def _run(
    config: Config, folder: Path, asked: Asked, typed: frozenset[str], manager: Any, tracker: Tracker
) -> tuple[Any, dict[str, Any]]:
    import lm_eval  # pyright: ignore[reportMissingImports]

    evaluate_with: Any = lm_eval.simple_evaluate  # a decorator of theirs hides what it takes
    from cluster.evaluate.lm_eval_model import HarnessModel

    out = config.run_dir / FOLDER
    out.mkdir(exist_ok=True)
    generations = out / "generations.jsonl"
    generations.unlink(missing_ok=True)
    model = HarnessModel(config, open_contexts(folder), typed, asked.draws, generations, tracker)
    tracker.phase(f"{HARNESS}: loading {', '.join(asked.tasks)}")
    limit = asked.limit if asked.limit is None or asked.limit < 1 else int(asked.limit)
    try:
        results = evaluate_with(
            model=model,
            tasks=manager.match_tasks(list(asked.tasks)),
            num_fewshot=asked.shots,
            limit=limit,
            task_manager=manager,
            apply_chat_template=asked.chat,
            fewshot_as_multiturn=asked.chat,
            bootstrap_iters=1000,
            random_seed=config.seed,
            numpy_random_seed=config.seed,
            torch_random_seed=config.seed,
        )
    except (UniGRPOError, MemoryError):
        raise
    except Exception as error:  # its tasks load data sets and run code of their own
        _log.error("%s failed", HARNESS, exc_info=True)
        raise ConfigError(
            f"--harness {HARNESS}: {one_line(error)}; the traceback is in {config.run_dir / 'log'}"
        ) from error
    assert results is not None  # this process is rank 0
    return model, results


def _written(config: Config, model: Any, results: Mapping[str, Any], asked: Asked, seconds: float) -> dict[str, Any]:
    """results.json, samples and differences of the harness; our rows and summary."""
    samples: Mapping[str, list[Mapping[str, Any]]] = results["samples"]
    out = config.run_dir / FOLDER
    _dump(out / "results.json", {name: value for name, value in results.items() if name != "samples"})
    ours = {task: verdicts(found, task) for task, found in samples.items()}
    _lines(out / "differences.jsonl", [each.row() for found in ours.values() for each in found if each.differs])
    for task, found in samples.items():
        _lines(out / f"samples_{task}.jsonl", found)
    with RowsWriter(config.run_dir) as rows:
        for task, found in samples.items():
            rows.put(_rows(task, found, model.generated))
    scores = {task: _scores(found) for task, found in samples.items()}
    means = {task: sum(values) / len(values) if values else None for task, (_, values) in scores.items()}
    sure = {f"val/{task}/score": of_prompts(values) for task, (_, values) in scores.items()}
    summary = report.summarise(
        config, {}, {}, seconds=seconds, steps=0, weights_digest=model.digest,
        sure={name: one for name, one in sure.items() if isinstance(one, Interval)},
    )  # fmt: skip
    facts = provenance(config, (), model.where)
    facts["sampling"] |= {"text": [dataclasses.asdict(each) for each in model.used], "chat_template": asked.chat}
    facts["data"] = {task: _data(results, task, found) for task, found in samples.items()}
    theirs = {
        "name": HARNESS, "metrics": {task: name for task, (name, _) in scores.items()}, "results": results["results"],
        "limit": asked.limit, "fewshot": results.get("n-shot"), "loglikelihood": {"estimate": ESTIMATE, "draws": asked.draws},
        "contexts_cut": model.contexts.cut, "contexts": model.contexts.of,
        "our_verifier": {task: agreement(found) for task, found in ours.items() if found},
    }  # fmt: skip
    whole = {
        "command": "eval", **summary, "tasks": {task: {"before": mean, "after": mean} for task, mean in means.items()},
        "scored_by": {task: [name] for task, (name, _) in scores.items()}, "trained_on": {}, **facts, "harness": theirs,
    }  # fmt: skip
    return json.loads(json.dumps(whole, default=str))


def _show(screen: Screen, config: Config, summary: Mapping[str, Any], results: Mapping[str, Any]) -> None:
    from lm_eval.utils import make_table  # pyright: ignore[reportMissingImports]

    tables = [make_table(results)]
    if "groups" in results:
        tables.append(make_table(results, "groups"))
    for table in tables:
        console.show(table)
        _log.info("%s:\n%s", HARNESS, table)
    theirs, out = summary["harness"], config.run_dir / FOLDER
    notes = []
    if theirs["contexts_cut"]:
        notes.append(
            f"{theirs['contexts_cut']:,} of {theirs['contexts']:,} contexts were cut on the left: the policy takes fewer tokens"
        )
    for task, found in theirs["our_verifier"].items():
        told = ", ".join(
            f"{name}: {one['right']} right, {one['differs']} judged differently"
            for name, one in found.items()
            if isinstance(one, dict)
        )
        notes.append(f"{task}: our verifier calls {found['ours']} of {found['n']} right; {told}")
    notes += [str(out / name) for name in ("results.json", "differences.jsonl")]
    report.finish(screen, config, summary, config.run_dir / "rows.jsonl", notes)


def _scores(samples: Sequence[Mapping[str, Any]]) -> tuple[str, list[float]]:
    """The task's first metric under its first filter, and its value for each document, where it is a number."""
    first = next(iter(samples), None)
    if first is None:
        return "", []
    for metric in first["metrics"]:
        if isinstance(first[metric], int | float):
            chosen = [sample for sample in samples if sample["filter"] == first["filter"]]
            return f"{metric},{first['filter']}", [float(sample[metric]) for sample in chosen]
    return "", []


def _rows(
    task: str, samples: Sequence[Mapping[str, Any]], generated: Mapping[tuple[str, int], Sequence[Mapping[str, Any]]]
) -> list[dict[str, Any]]:
    """One row a response; every metric of every filter is in its parts, the score is the first."""
    parts: dict[int, dict[str, float]] = {}
    for sample in samples:
        own = {f"{name},{sample['filter']}": sample[name] for name in sample["metrics"]}
        numbers = {name: float(value) for name, value in own.items() if isinstance(value, int | float)}
        parts.setdefault(int(sample["doc_id"]), {}).update(numbers)
    name, found = _scores(samples)[0], []
    for sample in {int(each["doc_id"]): each for each in reversed(samples)}.values():
        number, responses = int(sample["doc_id"]), [each for of in sample["resps"] for each in of]
        if not all(isinstance(each, str) for each in responses):  # log-likelihoods, e.g. of all choices
            responses = [json.dumps(responses, default=str)]
        facts = generated.get((task, number), [])
        for index, response in enumerate(responses):
            own = facts[index] if index < len(facts) else {}
            found.append({
                "id": f"{task}/{number}", "sample": index, "task": "text", "source": task,
                "prompt": str(sample["arguments"][0][0]),
                "response": response,
                "reference": str(sample["target"]), "score": parts[number].get(name), "status": "ok",
                "parts": parts[number], "detail": "", "seed": own.get("seed"), "tokens": own.get("tokens"),
                "ended": own.get("ended"), "image": None,
            })  # fmt: skip
    return sorted(found, key=lambda row: (int(row["id"].rpartition("/")[2]), row["sample"]))


def _data(results: Mapping[str, Any], task: str, samples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Which data a task asked: its name, its version, and a SHA-256 over the harness's hashes of documents and prompts."""
    own = results["configs"].get(task, {})
    each = {int(sample["doc_id"]): (sample["doc_hash"], sample["prompt_hash"]) for sample in samples}
    digest = hashlib.sha256(json.dumps(sorted(each.items())).encode()).hexdigest()
    named = {name: own.get(name) for name in ("dataset_path", "dataset_name", "dataset_kwargs", "test_split")}
    return {**named, "version": results["versions"].get(task), "rows": len(each), "sha256": digest}


def _dump(path: Path, content: Any) -> None:
    path.write_text(escaped_in_json(json.dumps(content, indent=2, default=str)) + "\n", "utf-8")


def _lines(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(escaped_in_json(json.dumps(row, ensure_ascii=False, default=str)) + "\n")
