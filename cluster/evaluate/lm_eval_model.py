"""A policy as a model of EleutherAI's lm-evaluation-harness. Imports lm_eval: only where it is installed."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lm_eval.api.model import LM  # pyright: ignore[reportMissingImports]

from cluster.evaluate.contexts import Contexts, ignored, sampling_of, until
from cluster.evaluate.likelihood import is_greedy, log_likelihood
from cluster.run.provenance import device_name
from policies.base import Policy
from policies.files.folders import find_policy
from rl.config import Config
from rl.evaluation import evaluation_seed, stream
from rl.output.printable import escaped_in_json
from rl.protocols import Tracker
from rl.seeds import derive_seed
from rl.types import Group, Prompt, TextSampling

BATCH = 64  # prompts that are in hand together

_log = logging.getLogger(__name__)


class HarnessModel(LM):
    """generate_until samples on our workers; loglikelihood is estimated in this process (``cluster.evaluate.likelihood``).

    typed  names of ``evaluation.text`` that the user set, which go before what a task asks for
    draws  masks a log-likelihood is the mean of
    out    every generation is written there as it comes, one JSON a line
    """

    def __init__(
        self, config: Config, contexts: Contexts, typed: frozenset[str], draws: int, out: Path, tracker: Tracker
    ) -> None:
        super().__init__()
        self.config, self.contexts, self.typed, self.draws = config, contexts, typed, draws
        self.out, self.tracker = out, tracker
        self.digest = ""
        self.where = ""
        self.used: list[TextSampling] = []
        self.generated: dict[tuple[str, int], list[dict[str, Any]]] = {}  # by task and document, without texts
        self._policy: Policy | None = None
        self._read = 0

    def generate_until(self, requests: Sequence[Any]) -> list[str]:
        wanted = [request.args[1] for request in requests]
        text = self.config.evaluation.text
        for line in ignored(wanted, text.max_new_tokens):
            _log.warning("%s", line)
        by_sampling: dict[TextSampling, list[int]] = {}
        for index, each in enumerate(wanted):
            by_sampling.setdefault(sampling_of(text, each, self.typed), []).append(index)
        found = [""] * len(requests)
        for sampling, places in by_sampling.items():
            self.used.append(sampling)
            prompts = [self._prompt(requests[index], sampling) for index in places]
            for index, response in zip(places, self._sampled(prompts, sampling, requests, places), strict=True):
                found[index] = response
        return found

    def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
        found = []
        for count, request in enumerate(requests):
            before, ids = self.contexts.pair(*request.args[:2])
            found.append((self._estimate(before, ids), is_greedy(self._loaded(), before, ids)))
            self._tell(count + 1, len(requests), "log-likelihoods")
        return found

    def loglikelihood_rolling(self, requests: Sequence[Any]) -> list[float]:
        """Of a whole text after an end-of-text token; a longer text than the policy takes is the sum of its parts."""
        found, most = [], self.contexts.max_length - 1
        for count, request in enumerate(requests):
            ids = self.contexts.tokenizer.encode(request.args[0])
            parts = [ids[start : start + most] for start in range(0, len(ids), most)]
            found.append(sum(self._estimate([self.contexts.eos_id], part) for part in parts))
            self._tell(count + 1, len(requests), "texts")
        return found

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        return self.contexts.chat(chat_history)

    @property
    def tokenizer_name(self) -> str:
        return self.config.policy.path.replace("/", "__")

    def _prompt(self, request: Any, sampling: TextSampling) -> Prompt:
        return self.contexts.prompt(request.task_name, request.doc_id, request.args[0], sampling.max_new_tokens)

    def _sampled(
        self, prompts: Sequence[Prompt], sampling: TextSampling, requests: Sequence[Any], places: Sequence[int]
    ) -> list[str]:
        from cluster.run.session import session
        from cluster.weights.digest import sha256

        config = replace(self.config, evaluation=replace(self.config.evaluation, text=sampling))
        found: list[str] = []
        with session(config, train=False) as parts, self.out.open("a", encoding="utf-8") as file:
            weights = parts.workers.update_weights(parts.learner, 0)
            self.where = device_name(config)
            for groups in stream(parts.workers, prompts, weights, evaluation_seed(config.seed), BATCH):
                for group in groups:
                    request = requests[places[len(found)]]
                    found.append(until(group.rollouts[0].text, request.args[1].get("until")))
                    file.write(self._line(group, request, found[-1]))
                file.flush()
                self._tell(len(found), len(prompts), "answers")
            self.digest = sha256(parts.learner.weights())
        return found

    def _line(self, group: Group, request: Any, response: str) -> str:
        rollout = group.rollouts[0]
        facts = {"seed": rollout.seed, "tokens": int(rollout.response_mask.sum()), "ended": str(rollout.status)}
        self.generated.setdefault((request.task_name, request.doc_id), []).append(facts)
        row = {"id": group.prompt.id, "response": response, "written": rollout.text, **facts}
        return escaped_in_json(json.dumps(row, ensure_ascii=False)) + "\n"

    def _loaded(self) -> Policy:
        if self._policy is None:
            from cluster.weights.digest import sha256
            from policies import load_policy, lora

            config = self.config
            policy = load_policy(
                find_policy(config.policy.path), device=config.policy.device, dtype=config.policy.dtype
            )
            if config.learner.lora.path is not None:
                lora.load_adapter(policy, Path(config.learner.lora.path))
            self._policy, self.where = policy, device_name(config)
            state = lora.merged_state(policy.module)
            self.digest = self.digest or sha256({name: value.float().cpu().numpy() for name, value in state.items()})
        return self._policy

    def _estimate(self, before: Sequence[int], ids: Sequence[int]) -> float:
        """Choices of one question hide alike: the seed is the run's, and not the request's."""
        return log_likelihood(self._loaded(), before, ids, self.draws, derive_seed(self.config.seed, "likelihood"))

    def _tell(self, done: int, total: int, what: str) -> None:
        if done == total or done >= self._read + BATCH or done < self._read:
            self._read = done
            self.tracker.phase(f"lm-eval: {done:,} of {total:,} {what}")
