"""The keyring: made once, readable by its owner alone, never printed, never lost."""

import hashlib
import hmac
import json
import os
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from banditd.errors import ConfigError
from banditd.keys import Keyring


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where a keyring may be."""
    return tmp_path / "banditd.db.keys"


def secrets_of(path: Path) -> list[str]:
    """Return every secret key in the file, as hex digits."""
    document = json.loads(path.read_bytes())
    return [key for kind in ("draw", "subject") for key in document[kind]["keys"].values()]


def test_new_file_is_its_owners_alone_whatever_the_umask(path: Path) -> None:
    """The file is made with mode 0600, and nothing is left beside it."""
    before = os.umask(0)
    try:
        Keyring.load_or_create(path)
    finally:
        os.umask(before)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_second_start_has_the_keys_of_the_first(path: Path) -> None:
    """Loading what was created gives the same ids, draw key and pseudonyms."""
    first = Keyring.load_or_create(path)

    second = Keyring.load_or_create(path)

    assert second.draw_id == first.draw_id
    assert second.draw_key(second.draw_id) == first.draw_key(first.draw_id)
    assert second.subject("ada") == first.subject("ada")


def test_each_key_is_its_own_and_32_bytes_long(path: Path) -> None:
    """Draw key and subject key differ, within one keyring and between two."""
    Keyring.load_or_create(path)
    other = path.with_name("other")
    Keyring.load_or_create(other)

    keys = [bytes.fromhex(key) for key in (*secrets_of(path), *secrets_of(other))]

    assert [len(key) for key in keys] == [32] * 4
    assert len(set(keys)) == 4


def test_subject_is_the_truncated_hmac_of_the_user(path: Path) -> None:
    """A pseudonym is the first 32 hex digits of HMAC-SHA256 under the subject key."""
    keyring = Keyring.load_or_create(path)
    key = bytes.fromhex(secrets_of(path)[1])

    assert keyring.subject("Zoë") == hmac.new(key, "Zoë".encode(), hashlib.sha256).hexdigest()[:32]


def test_processes_that_start_at_once_agree_on_the_keys(path: Path) -> None:
    """Of many that create the file at the same moment one wins, and all use its keys."""
    with ThreadPoolExecutor(max_workers=8) as pool:
        keyrings = list(pool.map(lambda _: Keyring.load_or_create(path), range(32)))

    assert len({keyring.draw_id for keyring in keyrings}) == 1
    assert len({keyring.subject("ada") for keyring in keyrings}) == 1
    assert list(path.parent.iterdir()) == [path]


def test_rotation_adds_a_draw_key_and_keeps_the_old_one(path: Path) -> None:
    """After a rotation new draws use a new key, old ids still lead to their keys, pseudonyms stay."""
    before = Keyring.load_or_create(path)

    after = before.rotate_draw()

    assert after.draw_id != before.draw_id
    assert after.draw_key(after.draw_id) != before.draw_key(before.draw_id)
    assert after.draw_key(before.draw_id) == before.draw_key(before.draw_id)
    assert after.subject("ada") == before.subject("ada")
    assert Keyring.load_or_create(path) == after
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_rotations_at_once_lose_no_key(path: Path) -> None:
    """Each of several rotations from the same keyring finds its key in the file afterwards."""
    keyring = Keyring.load_or_create(path)

    with ThreadPoolExecutor(max_workers=4) as pool:
        rotated = list(pool.map(lambda _: keyring.rotate_draw(), range(8)))

    final = Keyring.load_or_create(path)
    assert len({each.draw_id for each in rotated}) == 8
    assert all(final.draw_key(each.draw_id) == each.draw_key(each.draw_id) for each in rotated)


def test_unknown_draw_key_is_refused(path: Path) -> None:
    """A decision that names a key which the file does not hold cannot be audited, and that is said."""
    with pytest.raises(ConfigError, match="holds no draw key 'd-0'") as caught:
        Keyring.load_or_create(path).draw_key("d-0")

    assert (caught.value.code, caught.value.field) == ("unknown_draw_key", "keys.file")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o644, 0o610])
def test_file_that_others_can_use_is_refused(path: Path, mode: int) -> None:
    """Any right of the group or of others is an error that says how to mend it."""
    Keyring.load_or_create(path)
    path.chmod(mode)

    with pytest.raises(ConfigError, match=f"mode {mode:04o}.*chmod 600") as caught:
        Keyring.load_or_create(path)

    assert (caught.value.code, caught.value.field) == ("keys_exposed", "keys.file")


def test_file_that_its_owner_can_only_read_is_fine(path: Path) -> None:
    """A mounted secret of mode 0400 is loaded."""
    first = Keyring.load_or_create(path)
    path.chmod(0o400)

    assert Keyring.load_or_create(path) == first


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda text: text[:0], id="empty"),
        pytest.param(lambda text: text[: len(text) // 2], id="cut-short"),
        pytest.param(lambda text: text.replace('"format": 1', '"format": 2'), id="other-format"),
        pytest.param(lambda text: text.replace('"current": "d-', '"current": "d-0'), id="current-id-without-key"),
        pytest.param(lambda text: text.replace(text.split('": "')[2][:8], "0" * 8), id="key-changed"),
        pytest.param(lambda text: text.replace("subject", "subjects"), id="unknown-field"),
        pytest.param(lambda text: text.replace(text.split('": "')[2][:8], "zzzzzzzz"), id="not-hexadecimal"),
        pytest.param(lambda text: "\udcff" + text, id="not-utf-8"),
    ],
)
def test_damaged_file_is_refused_and_kept(path: Path, damage: Callable[[str], str]) -> None:
    """A file that is not what we wrote is never replaced, and the error shows none of its keys."""
    Keyring.load_or_create(path)
    keys = secrets_of(path)
    damaged = damage(path.read_text()).encode(errors="surrogateescape")
    assert damaged != path.read_bytes()
    path.write_bytes(damaged)

    with pytest.raises(ConfigError, match="is damaged") as caught:
        Keyring.load_or_create(path)

    assert path.read_bytes() == damaged
    assert not any(key in repr(caught.value) + str(caught.value.__context__) for key in keys)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        pytest.param(Path.mkdir, "Is a directory", id="directory"),
        pytest.param(os.mkfifo, "is not a regular file", id="fifo"),
    ],
)
def test_what_is_no_regular_file_is_refused(path: Path, make: Callable[[Path], None], reason: str) -> None:
    """A directory or a FIFO in the place of the file is an error, not a hang."""
    make(path)
    path.chmod(0o600)

    with pytest.raises(ConfigError, match=reason):
        Keyring.load_or_create(path)


def test_missing_folder_is_named(tmp_path: Path) -> None:
    """A path whose folder does not exist is a `ConfigError`, not a traceback."""
    with pytest.raises(ConfigError, match="No such file or directory") as caught:
        Keyring.load_or_create(tmp_path / "missing" / "keys")

    assert caught.value.field == "keys.file"


def test_rotation_of_a_missing_file_is_named(path: Path) -> None:
    """Rotating after the file is gone is a `ConfigError`, and makes no new file."""
    keyring = Keyring.load_or_create(path)
    path.unlink()

    with pytest.raises(ConfigError, match="cannot be changed"):
        keyring.rotate_draw()

    assert not path.exists()


def test_printing_a_keyring_shows_no_key(path: Path) -> None:
    """Neither `repr` nor `str` of a keyring holds a secret, as hex or as bytes."""
    keyring = Keyring.load_or_create(path)

    shown = f"{keyring!r} {keyring}"

    assert not any(key in shown or repr(bytes.fromhex(key))[2:-1] in shown for key in secrets_of(path))
    assert keyring.draw_id in shown
