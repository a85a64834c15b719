"""What `policies` raises.

PolicyError
├── InvalidInput    a context, action, outcome or spec that no policy may see
└── StateInvalid    bytes that are not a state this policy can go on from
"""

__all__ = ["InvalidInput", "PolicyError", "StateInvalid"]


class PolicyError(Exception):
    """Base of every error that `policies` raises on purpose."""


class InvalidInput(PolicyError):
    """Refuse a value and name the field that holds it.

    Parameters
    ----------
    code
        Stable, machine-readable, e.g. ``"number_out_of_range"``.
    field
        Path of the value, e.g. ``"context.user.age"`` or ``"actions[3].id"``.
    detail
        One sentence for a person.
    """

    def __init__(self, code: str, field: str, detail: str) -> None:
        super().__init__(f"{field}: {detail}")
        self.code = code
        self.field = field
        self.detail = detail

    def under(self, prefix: str) -> "InvalidInput":
        """Return the same error with `prefix` before its field."""
        joiner = "" if self.field.startswith("[") or not self.field else "."
        return InvalidInput(self.code, f"{prefix}{joiner}{self.field}", self.detail)


class StateInvalid(PolicyError):
    """The bytes are damaged, or another policy, spec or format wrote them."""
