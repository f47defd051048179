"""A custom reward that waits: what a slow verifier or a remote service costs a run, without the CPU that they would use."""

import time


def reward(prompts, completions, wait_s=0.05, **columns):
    time.sleep(wait_s * len(completions))
    return [float(len(set(text))) for text in completions]
