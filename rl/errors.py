"""Errors. They share a root, also inherit the standard error of their kind, and pickle (they cross process borders)."""

from rl.output.secrets import redact


class UniGRPOError(Exception):
    """Root of every error that this project raises on purpose. Its text is one line meant for the user."""


class ConfigError(UniGRPOError, ValueError):
    """A setting is unknown, has the wrong type, is out of range, or contradicts another one."""


class DataError(UniGRPOError, ValueError):
    """A data file or row cannot be used: empty, unreadable, a missing reference, a corrupt image."""


class PolicyError(UniGRPOError, ValueError):
    """A model folder is missing, incomplete, or does not match its config."""


class RewardError(UniGRPOError, ValueError):
    """A reward is unknown, cannot be loaded, or broke its contract."""


class CheckpointError(UniGRPOError, RuntimeError):
    """A checkpoint is missing, not whole, or not the one that this run needs."""


class WorkerError(UniGRPOError, RuntimeError):
    """A worker died or raised; the text names the worker and what it was doing."""


class DeadlineError(UniGRPOError, TimeoutError):
    """A wait ran into its deadline; the text names what was waited for."""


class TrainingError(UniGRPOError, RuntimeError):
    """Training cannot go on: too many non-finite or empty steps in a row, ratios off 1 where they must be 1."""


class LearnerLostError(WorkerError):
    """A learner's process is gone. Its next call starts a new one, from the policy that the run began with."""


def first_line(error: BaseException) -> str:
    """The first line of an error's message without secrets, or the name of its class where it has none."""
    lines = redact(str(error)).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def one_line(error: BaseException, limit: int = 300) -> str:
    """``ValueError: first line of its message``, cut to ``limit`` characters."""
    name, first = type(error).__name__, first_line(error)
    text = name if first == name else f"{name}: {first}"
    return text if len(text) <= limit else text[: limit - 3] + "..."
