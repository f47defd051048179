"""Errors after which the same work may succeed elsewhere. They have a file of their own, so that no Ray is needed."""

from __future__ import annotations

from rl.errors import WorkerError


class LostWorkerError(WorkerError):
    """The worker is gone, or its answer is: the same call may succeed on another one."""


class TransferError(LostWorkerError):
    """A transfer broke off, because somebody in it is gone: it may be somebody else than who says so."""
