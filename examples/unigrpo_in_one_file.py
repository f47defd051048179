"""UniGRPO in one file: reinforcement learning for a masked-diffusion language model, in plain PyTorch.

Read this before the real thing. It trains the shipped policy ``tiny`` to solve 4x4 sudokus in one process:

    python examples/unigrpo_in_one_file.py                  # some four CPU-minutes on one thread
    python examples/unigrpo_in_one_file.py --schedule full  # d1's mask ratio: everything is masked

It prints the share of held-out puzzles that the policy solves, before and after. Of 100 puzzles it solves 46 before. After 60
steps it solved 52, 46 and 50 with seeds 0, 1 and 2, and 56, 57 and 56 with ``--schedule full``: with four denoising steps a
full mask is nearest to how rollouts are sampled. docs/tiny.md has the library's recipe. Equations are those of the MMaDA paper
(arXiv 2505.15809). The library does the same with text, images and drawing, over many processes: ``rl/loop.py``.

Shapes: B rollouts, G of them a prompt, L tokens of a padded sequence, N (mu) inner updates, V vocabulary.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from policies import load_policy
from rl.tasks import GENERATORS

CANVAS, BLOCK, STEPS = 36, 18, 4  # tokens of a response, tokens of a block, denoising steps of the whole canvas
TEMPERATURE = 1.0
CLIP, KL_COEF = 0.2, 0.01  # epsilon and beta of equation 4; the paper gives no values
T = 1000  # timesteps of the mask schedule


@dataclass(frozen=True)
class Batch:
    """B rollouts, padded on the right.

    tokens      [B, L] int64: prompt, response, padding
    response    [B, L] bool: the response up to its first end-of-text token. Nothing behind that is scored or attended to
    attention   [B, L] bool: False at padding
    advantages  [B] float32
    """

    tokens: Tensor
    response: Tensor
    attention: Tensor
    advantages: Tensor


# 1. Rollouts: semi-autoregressive masked diffusion (LLaDA, arXiv 2502.09992, appendix B) ------------------------------


@torch.no_grad()
def sample(policy, prompt: list[int], count: int, generator: torch.Generator) -> list[list[int]]:
    """``count`` responses to one prompt: token ids up to and with the first end-of-text.

    The canvas of mask tokens is filled block by block, left to right. At each step every masked position of the block gets
    a candidate. The candidates that the policy is surest of are kept, and the others stay masked (low-confidence remasking).
    """
    mask_id, eos_id, start = policy.vocabulary.mask_id, policy.vocabulary.eos_id, len(prompt)
    ids = torch.tensor(prompt + [mask_id] * CANVAS).repeat(count, 1)
    for first in range(start, start + CANVAS, BLOCK):
        steps = STEPS * BLOCK // CANVAS
        for step in range(steps):
            masked = ids == mask_id
            masked[:, :first] = masked[:, first + BLOCK :] = False
            logits = policy.logits(ids)
            logits[..., mask_id] = -math.inf  # a mask token is never an answer
            probabilities = logits.softmax(-1)
            tempered = (logits / TEMPERATURE).softmax(-1)
            candidate = torch.multinomial(tempered.flatten(0, 1), 1, generator=generator).view_as(ids)
            confidence = probabilities.gather(-1, candidate[..., None])[..., 0].masked_fill(~masked, -1.0)
            keep = math.ceil(int(masked[0].sum()) / (steps - step))
            surest = confidence.topk(keep, dim=1).indices
            ids.scatter_(1, surest, candidate.gather(1, surest))
    responses = [row[start:].tolist() for row in ids]
    return [row[: row.index(eos_id) + 1] if eos_id in row else row for row in responses]


# 2. Rewards: verifiable, from the text alone --------------------------------------------------------------------------


def split_answer(text: str) -> tuple[bool, str]:
    """Whether the text is ``<think>...</think>ANSWER``, and what stands behind the thought."""
    thought, closed, answer = text.partition("</think>")
    return bool(closed and thought.startswith("<think>") and answer.strip()), answer.strip() if closed else text.strip()


def reward(text: str, puzzle: str, solution: str) -> float:
    """2 for the right grid, 0.5 for the format, and up to 2 for the share of blanks that are filled rightly."""
    well_formed, answer = split_answer(text)
    blanks = [cell for cell, clue in enumerate(puzzle) if clue == "0"]
    right = sum(answer[cell : cell + 1] == solution[cell] for cell in blanks) / len(blanks)
    return 2.0 * (answer == solution) + 0.5 * well_formed + 2.0 * right


# 3. Advantages: each response against its own group (equation 3) ------------------------------------------------------


def group_advantages(rewards: Tensor) -> Tensor:
    """rewards [P, G] of P prompts -> [P, G]: (r - mean) / std. A group of equals teaches nothing: 0."""
    centred = rewards - rewards.mean(1, keepdim=True)
    std = rewards.std(1, keepdim=True, correction=0)
    return torch.where(std > 1e-8, centred / std.clamp(min=1e-8), 0.0)


# 4. Structured masks: how much of a response each inner update hides ---------------------------------------------------


def mask_ratios(schedule: str, mu: int, first: int) -> list[float]:
    """The ratios of the mu inner updates. first: the timestep of the first one, 1..T.

    Section 5.2 spaces timesteps evenly and wraps at T: ``t_n = (t_1 + (n - 1) * T / mu) mod T``, where 0 is T. The ratio is
    t_n / T. For t_1 = 100 and mu = 5: 100, 300, 500, 700, 900. Algorithm 1 of the same paper: 100, 325, 550, 775, 1000. We follow
    section 5.2, as the library does by default.
    """
    if schedule == "full":
        return [1.0] * mu
    return [((first + n * T // mu) % T or T) / T for n in range(mu)]


def structured_mask(response: Tensor, ratio: float, generator: torch.Generator) -> Tensor:
    """response [B, L] bool -> mask [B, L] bool: of each response a random ``ratio``, at least one token; of the prompt none."""
    keys = torch.rand(response.shape, generator=generator).masked_fill(~response, math.inf)
    counts = (ratio * response.sum(1) + 0.5).floor().clamp(min=1)
    return keys.argsort(dim=1).argsort(dim=1) < counts[:, None]


def log_probs(policy, batch: Batch, mask: Tensor) -> Tensor:
    """[B, L] log p(token | prompt, what the mask leaves of the response), 0 where the mask is False.

    This is the likelihood of the paper: new, old and reference policies are all asked under the same mask.
    """
    shown = batch.tokens.masked_fill(mask, policy.vocabulary.mask_id)
    logp = policy.logits(shown, batch.attention).log_softmax(-1)
    chosen = logp.gather(-1, batch.tokens[..., None])[..., 0]
    return torch.where(mask, chosen, 0.0)


# 5. The loss (equation 4, with the KL term of equation 5) --------------------------------------------------------------


def unigrpo_loss(logp: Tensor, old: Tensor, ref: Tensor, advantages: Tensor, mask: Tensor) -> Tensor:
    """logp, old, ref, mask [B, L], advantages [B] -> scalar: the mean over rollouts of the mean over masked tokens of

    ``-min(ratio * A, clip(ratio, 1 - eps, 1 + eps) * A) + beta * KL``, with ``ratio = exp(logp - old)``. KL(policy || ref)
    is estimated by k3 = r - 1 - log r, with r = ref / policy (J. Schulman, http://joschu.net/blog/kl-approx.html).
    """
    ratio, advantage = (logp - old).exp(), advantages[:, None]
    surrogate = torch.minimum(ratio * advantage, ratio.clamp(1 - CLIP, 1 + CLIP) * advantage)
    kl = (ref - logp).expm1() - (ref - logp)
    per_token = torch.where(mask, KL_COEF * kl - surrogate, 0.0)
    return (per_token.sum(1) / mask.sum(1)).mean()


# 6. One step: prompts -> rollouts -> scores -> advantages -> masked log-probs -> loss -> weights -----------------------


def rollouts(
    policy, prompts, group: int, generator: torch.Generator
) -> tuple[list[list[int]], list[list[int]], Tensor]:
    """Sequences, the prompt of each, and rewards [P, G]."""
    questions, answers, rewards = [], [], []
    for prompt in prompts:
        question = list(policy.encode_prompt(prompt).prefix)
        responses = sample(policy, question, group, generator)
        texts = [policy.tokenizer.decode(response) for response in responses]
        rewards.append([reward(text, prompt.metadata["puzzle"], prompt.reference) for text in texts])
        questions += [question] * group
        answers += responses
    return questions, answers, torch.tensor(rewards)


def collate(questions: list[list[int]], answers: list[list[int]], advantages: Tensor) -> Batch:
    """Prompt and response side by side, padded on the right to the longest of the batch."""
    lengths = torch.tensor([len(q) + len(a) for q, a in zip(questions, answers, strict=True)])
    starts = torch.tensor([len(q) for q in questions])
    tokens = torch.zeros(len(lengths), int(lengths.max()), dtype=torch.int64)
    for row, (question, answer) in enumerate(zip(questions, answers, strict=True)):
        tokens[row, : lengths[row]] = torch.tensor(question + answer)
    position = torch.arange(tokens.shape[1])
    attention = position < lengths[:, None]
    return Batch(tokens, attention & (position >= starts[:, None]), attention, advantages)


def inner_updates(policy, reference, optimizer, batch: Batch, masks: list[Tensor]) -> float:
    """mu updates on one batch, each under its own mask. Old log-probs are taken before the first of them."""
    with torch.no_grad():
        old = [log_probs(policy, batch, mask) for mask in masks]
        ref = [log_probs(reference, batch, mask) for mask in masks]
    losses = []
    for n, mask in enumerate(masks):
        loss = unigrpo_loss(log_probs(policy, batch, mask), old[n], ref[n], batch.advantages, mask)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(policy.module.parameters(), 1.0)
        optimizer.step()
        losses.append(float(loss.detach()))
    return sum(losses) / len(losses)


def solved(policy, prompts, generator: torch.Generator) -> float:
    """Share of prompts whose one sampled answer is the right grid."""
    right = 0
    for prompt in prompts:
        (response,) = sample(policy, list(policy.encode_prompt(prompt).prefix), 1, generator)
        right += split_answer(policy.tokenizer.decode(response))[1] == prompt.reference
    return right / len(prompts)


def train(options: argparse.Namespace) -> tuple[float, float]:
    """Held-out scores before and after."""
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    generator = torch.Generator().manual_seed(options.seed)
    puzzles = GENERATORS["sudoku4x4"]("train", size=options.steps * options.prompts, seed=options.seed, blanks=[4, 8])
    held_out = GENERATORS["sudoku4x4"]("val", size=options.held_out, blanks=[4, 8])
    policy = load_policy("tiny")
    reference = policy.with_frozen_copy()
    optimizer = torch.optim.AdamW(policy.module.parameters(), lr=options.lr, betas=(0.9, 0.95), weight_decay=0.0)

    before = solved(policy, held_out, torch.Generator().manual_seed(1))
    print(f"held out, before: {before:.1%} of {len(held_out)} puzzles solved", flush=True)
    for step in range(options.steps):
        prompts = puzzles[step * options.prompts : (step + 1) * options.prompts]
        questions, answers, rewards = rollouts(policy, prompts, options.group, generator)
        batch = collate(questions, answers, group_advantages(rewards).flatten())
        first = int(torch.randint(1, T + 1, (1,), generator=generator))
        ratios = mask_ratios(options.schedule, options.mu, first)
        masks = [structured_mask(batch.response, ratio, generator) for ratio in ratios]
        loss = inner_updates(policy, reference, optimizer, batch, masks)
        print(f"step {step + 1}/{options.steps}  reward {float(rewards.mean()):.3f}  loss {loss:+.4f}", flush=True)
    after = solved(policy, held_out, torch.Generator().manual_seed(1))
    print(f"held out, after: {after:.1%} of {len(held_out)} puzzles solved")
    return before, after


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--prompts", type=int, default=8, help="prompts of a step")
    parser.add_argument("--group", type=int, default=8, help="rollouts of a prompt")
    parser.add_argument("--mu", type=int, default=2, help="inner updates of a step")
    parser.add_argument("--lr", type=float, default=3e-4)
    parser.add_argument("--schedule", choices=("stratified", "full"), default="stratified")
    parser.add_argument("--held-out", type=int, default=100, help="held-out puzzles")
    parser.add_argument("--seed", type=int, default=0)
    train(parser.parse_args())


if __name__ == "__main__":
    main()
