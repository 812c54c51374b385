"""The errors that end a run, each with its exit code."""


class WeakboxError(Exception):
    """An error with one clear line for the user and an exit code."""

    exit_code = 1


class UsageError(WeakboxError):
    """Wrong usage, configuration or input: exit 2."""

    exit_code = 2


class StageFailed(WeakboxError):
    """A stage gave up: exit 1."""

    exit_code = 1


class Stopped(WeakboxError):
    """The run was stopped and the same command continues it: exit 3."""

    exit_code = 3
