r"""The envelope round every policy's state: what it is, and that it is whole.

=======  =====================================================================
bytes    meaning
=======  =====================================================================
8        magic, ``b"banditd\x01"``: the last byte is the version of this format
16       BLAKE2b of the body
…        body: the policy kind, LF, its spec as JSON, LF, the payload
=======  =====================================================================
"""

import hashlib
import json
from dataclasses import fields, is_dataclass
from typing import Any, cast

from policies.errors import StateInvalid
from policies.protocol import PolicySpec

__all__ = ["seal", "spec_bytes", "spec_settings", "unseal"]

_MAGIC = b"banditd\x01"
_CHECKSUM_BYTES = 16


def spec_bytes(spec: PolicySpec) -> bytes:
    """Return the spec as canonical JSON, every default written out."""
    return json.dumps(spec_settings(spec), sort_keys=True, separators=(",", ":")).encode()


def spec_settings(spec: PolicySpec) -> dict[str, Any]:
    """Return the spec as a table that `parse_spec` reads: its kind, then every setting; specs inside it likewise."""
    settings = cast("Any", spec)
    return {"kind": spec.kind, **{field.name: _plain(getattr(spec, field.name)) for field in fields(settings)}}


def seal(spec: PolicySpec, payload: bytes) -> bytes:
    """Return `payload` in an envelope that `unseal` accepts for the same spec."""
    body = b"\n".join((spec.kind.encode(), spec_bytes(spec), payload))
    return _MAGIC + _checksum(body) + body


def unseal(spec: PolicySpec, state: bytes) -> bytes:
    """Return the payload of an envelope.

    Raises
    ------
    StateInvalid
        It is cut short or altered, of another format, or of another kind or spec.
    """
    body_at = len(_MAGIC) + _CHECKSUM_BYTES
    if not state.startswith(_MAGIC):
        raise StateInvalid("not a policy state of this format")
    body = state[body_at:]
    if state[len(_MAGIC) : body_at] != _checksum(body):
        raise StateInvalid("the state is damaged: its checksum does not match")
    head = b"%b\n%b\n" % (spec.kind.encode(), spec_bytes(spec))
    if not body.startswith(head):
        raise StateInvalid("the state belongs to another policy or spec")
    return body[len(head) :]


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return spec_settings(cast("PolicySpec", value)) if is_dataclass(value) else value


def _checksum(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=_CHECKSUM_BYTES).digest()
