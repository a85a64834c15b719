"""Why an export or a verification stops before its end; each ends the command with exit code 2.

BanditdError
└── EvaluatingError
    ├── OptionInvalid     an option says what cannot be done
    ├── ExtrasMissing     a package that only this needs is not installed
    ├── OutputExists      the file is there already, and nobody said that it may go
    └── LogGap            a part of the log was dropped while it was read
"""

from banditd.errors import BanditdError

__all__ = ["EvaluatingError", "ExtrasMissing", "LogGap", "OptionInvalid", "OutputExists"]


class EvaluatingError(BanditdError):
    """Base of what stops an export or a verification."""


class OptionInvalid(EvaluatingError):
    """An option says what cannot be done; names the option."""


class ExtrasMissing(EvaluatingError):
    """A package that only this needs is not installed."""


class OutputExists(EvaluatingError):
    """The file is there already."""


class LogGap(EvaluatingError):
    """The server dropped what was about to be read; doing it again helps."""
