"""What `replay` raises.

ReplayError
└── InvalidLog    a logged value, or a setting, that no estimate may be made from
"""

__all__ = ["InvalidLog", "ReplayError"]


class ReplayError(Exception):
    """Base of every error that `replay` raises on purpose."""


class InvalidLog(ReplayError):
    """Refuse a value and name the field that holds it.

    Parameters
    ----------
    code
        Stable, machine-readable, e.g. ``"reward_out_of_range"``.
    field
        What the value is, e.g. ``"reward"``.
    detail
        One sentence for a person.
    """

    def __init__(self, code: str, field: str, detail: str) -> None:
        super().__init__(f"{field}: {detail}")
        self.code = code
        self.field = field
        self.detail = detail

    def __reduce__(self) -> tuple[type["InvalidLog"], tuple[str, str, str]]:
        """Let another process raise it here."""
        return type(self), (self.code, self.field, self.detail)
