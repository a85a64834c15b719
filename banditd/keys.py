"""The two secret keys: one behind every draw, one behind every pseudonym.

They are kept in a JSON file that only its owner can read::

    {"format": 1,
     "draw":    {"current": "d-0f3c…", "keys": {"d-0f3c…": "<64 hex digits>", …}},
     "subject": {"current": "s-91ab…", "keys": {"s-91ab…": "<64 hex digits>"}}}

A key's id is a digest of the key, so that a decision can never be audited with another key that took
its name. Draw keys rotate: new decisions use the current one, old ones name theirs. Whoever has the
draw key can foresee choices; whoever has the subject key can tell which pseudonym is whose.
"""

import contextlib
import fcntl
import hashlib
import hmac
import os
import secrets
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import msgspec

from banditd.errors import ConfigError

__all__ = ["Keyring"]

_KEY_BYTES = 32
_ID_DIGEST_BYTES = 8
_SUBJECT_BYTES = 16
_MAX_FILE_BYTES = 1_048_576
_FIELD = "keys.file"
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class _KeySet(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    current: str
    keys: dict[str, str]


class _KeyFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: Literal[1]
    draw: _KeySet
    subject: _KeySet


@dataclass(frozen=True, slots=True)
class Keyring:
    """The keys of one store.

    Attributes
    ----------
    path
        The file they are kept in.
    draw_id
        Id of the draw key that new decisions use.
    subject_id
        Id of the key behind pseudonyms.
    """

    path: Path
    draw_id: str
    subject_id: str
    _draw_keys: dict[str, bytes] = field(repr=False)
    _subject_key: bytes = field(repr=False)

    @classmethod
    def load_or_create(cls, path: Path) -> "Keyring":
        """Read the keys, or make them if there is no such file yet.

        Raises
        ------
        ConfigError
            The file cannot be read or written, is damaged, or others than its owner can read it.
        """
        try:
            with contextlib.suppress(FileNotFoundError):
                return cls._load(path)
            fresh = _KeyFile(format=1, draw=_new_set("d"), subject=_new_set("s"))
            with contextlib.suppress(FileExistsError):  # another process was quicker: its keys are the keys
                _write(path, fresh, replace=False)
            return cls._load(path)
        except OSError as error:
            raise ConfigError("keys_unreadable", f"{path} cannot be used: {error.strerror}", field=_FIELD) from error

    @classmethod
    def _load(cls, path: Path) -> "Keyring":
        file = _read(path)
        return cls(
            path=path,
            draw_id=file.draw.current,
            subject_id=file.subject.current,
            _draw_keys=_checked(path, file.draw, "d"),
            _subject_key=_checked(path, file.subject, "s")[file.subject.current],
        )

    def subject(self, user: str) -> str:
        """Return the pseudonym of a user: 32 hex digits of HMAC-SHA256(subject key, user)."""
        return hmac.digest(self._subject_key, user.encode(), "sha256")[:_SUBJECT_BYTES].hex()

    def draw_key(self, key_id: str) -> bytes:
        """Return the draw key with this id; of today, `draw_id`, or of a decision, its `key`.

        Raises
        ------
        ConfigError
            The file does not hold it.
        """
        key = self._draw_keys.get(key_id)
        if key is None:
            raise ConfigError("unknown_draw_key", f"{self.path} holds no draw key {key_id!r}", field=_FIELD)
        return key

    def rotate_draw(self) -> "Keyring":
        """Add a new draw key to the file, make it the current one, and return the keyring that has it.

        Raises
        ------
        ConfigError
            The file cannot be written, is damaged, or others than its owner can read it.
        """
        try:
            with _alone_in(self.path.parent):
                latest = _read(self.path)  # another process may have rotated since
                added = _new_set("d")
                draw = _KeySet(current=added.current, keys={**latest.draw.keys, **added.keys})
                _write(self.path, msgspec.structs.replace(latest, draw=draw), replace=True)
                return self._load(self.path)
        except OSError as error:
            detail = f"{self.path} cannot be changed: {error.strerror}"
            raise ConfigError("keys_unwritable", detail, field=_FIELD) from error


def _new_set(prefix: str) -> _KeySet:
    key = secrets.token_bytes(_KEY_BYTES)
    key_id = _id_of(key, prefix)
    return _KeySet(current=key_id, keys={key_id: key.hex()})


def _id_of(key: bytes, prefix: str) -> str:
    return f"{prefix}-{hashlib.blake2b(key, digest_size=_ID_DIGEST_BYTES, person=b'banditd key id').hexdigest()}"


def _read(path: Path) -> _KeyFile:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a FIFO must not hang the start
    with os.fdopen(descriptor, "rb") as stream:
        status = os.fstat(descriptor)  # of what was opened: a name can be exchanged between two calls
        if not stat.S_ISREG(status.st_mode):
            raise ConfigError("keys_invalid", f"{path} is not a regular file", field=_FIELD)
        if status.st_mode & _OTHERS:
            mode = stat.S_IMODE(status.st_mode)
            detail = f"{path} has mode {mode:04o}, so others can use it: chmod 600 it, and rotate the keys"
            raise ConfigError("keys_exposed", detail, field=_FIELD)
        content = stream.read(_MAX_FILE_BYTES)
    try:
        return msgspec.json.decode(content, type=_KeyFile)
    except (msgspec.DecodeError, UnicodeDecodeError):
        # Without the cause: its text may quote the file.
        raise _damaged(path) from None


def _checked(path: Path, keys: _KeySet, prefix: str) -> dict[str, bytes]:
    try:
        raw = {key_id: bytes.fromhex(text) for key_id, text in keys.keys.items()}
    except ValueError:
        raise _damaged(path) from None
    if keys.current not in raw or any(
        len(key) != _KEY_BYTES or key_id != _id_of(key, prefix) for key_id, key in raw.items()
    ):
        raise _damaged(path)
    return raw


def _damaged(path: Path) -> ConfigError:
    detail = (
        f"{path} is damaged: restore it from a backup; without it, audits of old draws and the link from users "
        "to their pseudonyms are lost, and moving it away makes new keys at the next start"
    )
    return ConfigError("keys_invalid", detail, field=_FIELD)


def _write(path: Path, file: _KeyFile, *, replace: bool) -> None:
    """Write the whole file or nothing: it gets its name only once its bytes are on the disk."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            os.fchmod(descriptor, 0o600)  # whatever the umask said
            stream.write(msgspec.json.format(msgspec.json.encode(file), indent=2) + b"\n")
            stream.flush()
            os.fsync(descriptor)
        if replace:
            temporary.replace(path)
        else:
            path.hardlink_to(temporary)  # unlike a rename, fails if the name is taken
    finally:
        temporary.unlink(missing_ok=True)
    with _directory(path.parent) as directory:
        os.fsync(directory)


@contextlib.contextmanager
def _directory(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _alone_in(path: Path) -> Iterator[None]:
    with _directory(path) as directory:
        fcntl.flock(directory, fcntl.LOCK_EX)
        yield
