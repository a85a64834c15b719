"""Why a demonstration stops; each class is an exit code.

DemoError
├── ExtrasMissing      2  a package that only the demonstration needs is not installed
├── DataUnavailable    3  the data set cannot be had
└── ServerFailed       1  the server did not start, stopped, or refused a request
"""

from typing import ClassVar

from banditd.errors import BanditdError

__all__ = ["DataUnavailable", "DemoError", "ExtrasMissing", "ServerFailed"]


class DemoError(BanditdError):
    """Base: the demonstration says one sentence and exits with `exit_code`."""

    exit_code: ClassVar[int] = 1


class ExtrasMissing(DemoError):
    """A package that only the demonstration needs is not installed."""

    exit_code = 2


class DataUnavailable(DemoError):
    """The data set cannot be downloaded, or is not the one that was expected."""

    exit_code = 3


class ServerFailed(DemoError):
    """The server did not start, stopped on the way, or refused a request."""
