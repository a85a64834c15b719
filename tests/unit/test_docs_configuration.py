"""docs/configuration.md and examples/banditd.toml against the configuration they describe."""

import re
import tomllib
from pathlib import Path
from typing import Any, get_args, get_origin

import msgspec
import pytest

from banditd.config import load_config
from banditd.config.reload import is_reloadable
from banditd.config.tables import File
from banditd.segments.rules import Rule

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "configuration.md").read_text()
ROWS = {
    match["key"]: match.groupdict()
    for match in re.finditer(
        r"^\| `(?P<key>[a-z_\[\]]+\.[a-z_]+)` \| (?P<default>.+?) \| (?P<meaning>.+) \| (?P<reload>\w+) \|$",
        PAGE,
        re.MULTILINE,
    )
}
# Rows of the table of rules: code between one or two backticks, then words.
RULES = [
    (match[2] or match[1]).strip()
    for match in re.finditer(r"^\| (?:`([^`]+)`|``(.+?)``) \| (?:requests|numbers) .+\|$", PAGE, re.MULTILINE)
]


def keys_of_the_file() -> dict[str, Any]:
    """Return the path and the type of every key that the file may hold."""
    keys: dict[str, Any] = {}
    for table in msgspec.structs.fields(File):
        is_array = get_origin(table.type) is tuple
        struct = get_args(table.type)[0] if is_array else table.type
        prefix = f"{table.name}[]" if is_array else table.name
        keys |= {f"{prefix}.{field.encode_name}": field.type for field in msgspec.structs.fields(struct)}
    return keys


def test_page_has_every_key_and_no_other() -> None:
    """A key without a row, or a row without a key, fails."""
    assert set(ROWS) == set(keys_of_the_file())


@pytest.mark.parametrize("key", ROWS)
def test_documented_default_is_the_default(key: str) -> None:
    """Setting a key to the default that the page gives changes nothing."""
    default = ROWS[key]["default"].strip("`")
    table, _, name = key.partition(".")

    if table == "segments[]":
        required = default == "required"
        assert required == (name == "name")
        if not required:
            without = load_config(None, {"BANDITD_SEGMENTS": "[{ name = 'a' }]"})
            assert load_config(None, {"BANDITD_SEGMENTS": f"[{{ name = 'a', {name} = {default} }}]"}) == without
    else:
        value = tomllib.loads(f"value = {default}")["value"]
        assert load_config(None, {}, options={key: value}) == load_config(None, {})


@pytest.mark.parametrize("key", ROWS)
def test_documented_reload_is_what_reload_does(key: str) -> None:
    """The last column says yes exactly for what a running server takes over."""
    assert ROWS[key]["reload"] == ("yes" if is_reloadable(key) else "no")


@pytest.mark.parametrize("key", [key for key, type_ in keys_of_the_file().items() if "Literal" in str(type_)])
def test_documented_choices_are_the_choices(key: str) -> None:
    """Each value that a choice allows stands in its row."""
    assert all(f"`{choice}`" in ROWS[key]["meaning"] for choice in get_args(keys_of_the_file()[key]))


@pytest.mark.parametrize("key", [key for key, type_ in keys_of_the_file().items() if "ge=" in str(type_)])
def test_documented_bounds_are_the_bounds(key: str) -> None:
    """The least and the largest value stand in the row of each bounded number."""
    bounds = get_args(keys_of_the_file()[key])[1]

    assert f"{bounds.ge:g} to " in ROWS[key]["meaning"]
    assert float(re.findall(r"to ([0-9e]+)", ROWS[key]["meaning"])[0]) == bounds.le


def test_page_shows_rules() -> None:
    """The table of rules is found, so that the next test is about something."""
    assert len(RULES) == 5


@pytest.mark.parametrize("text", RULES)
def test_documented_rule_compiles(text: str) -> None:
    """Each rule on the page is one that a segment may have."""
    assert Rule.of(text).text == text


def test_example_loads_and_differs_from_the_defaults() -> None:
    """The example file is a configuration with three segments and a default one."""
    config = load_config(ROOT / "examples" / "banditd.toml", {})

    assert [segment.name for segment in config.segments] == ["mobile", "checkout", "newsletter", "default"]
