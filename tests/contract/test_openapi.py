"""`/openapi.json`: valid, complete, and made of what the server does; docs/http.md says the same."""

import ast
import hashlib
import json
import re
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import msgspec
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from banditd import errors, messages
from banditd.api.openapi import CODES, openapi_json
from banditd.errors import BanditdError
from banditd.evaluating import bodies

ROOT = Path(__file__).parents[2]
SPEC: dict[str, Any] = json.loads(openapi_json())
PAGE = (ROOT / "docs" / "http.md").read_text()

# The files that a request passes through: what they raise, a client sees.
RAISING = (
    *(ROOT / "banditd" / "api").glob("*.py"),
    ROOT / "banditd" / "service.py",
    ROOT / "banditd" / "deciding.py",
    ROOT / "banditd" / "evaluating" / "asking.py",
    ROOT / "banditd" / "evaluating" / "jobs.py",
    ROOT / "banditd" / "segments" / "hot.py",
    ROOT / "banditd" / "segments" / "keeper.py",
    ROOT / "banditd" / "segments" / "reading.py",
    ROOT / "banditd" / "journal" / "client.py",
    ROOT / "banditd" / "journal" / "local.py",
    ROOT / "policies" / "features.py",
)
# Raised there too, but only while the configuration is read or applied.
AT_START_ONLY = {"default_out_of_range"}
# Raised elsewhere: by the journal's process, as a value.
FROM_THE_JOURNAL = {"store_full"}
VENDORED = {
    "LICENSE": "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30",
    "NOTICE": "0d20d1adef18aee3f40dd258172155521ce702ac445cb5f7b7d60ed32dad2fb2",
    "favicon-32x32.png": "3ed612f41e050ca5e7000cad6f1cbe7e7da39f65fca99c02e99e6591056e5837",
    "swagger-ui-bundle.js": "e6a898692f2d768e807c3ba4626068a69a2c5dd960dd6c76f3e4d3a3de180af2",
    "swagger-ui-bundle.js.LICENSE.txt": "37eb6e7e59aed57b2c1acf076574b818ea07b74265717e0bd67b59e0baf9abbb",
    "swagger-ui.css": "5ed08757e53da3e026d6cbecc61fe5d43585c9560b302d534ad56692519a273d",
}
OPERATIONS = [
    pytest.param(path, method, id=f"{method} {path}") for path, item in SPEC["paths"].items() for method in item
]
# `_refused` is how policies.features makes an InvalidInput.
STATUSES = {
    error.__name__: error.status
    for error in vars(errors).values()
    if isinstance(error, type) and issubclass(error, BanditdError)
} | dict.fromkeys(("InvalidInput", "_refused"), HTTPStatus.UNPROCESSABLE_ENTITY)


def raised_codes() -> Iterator[tuple[str, str]]:
    """Yield the name of each error that is raised with a literal code, and the code."""
    for file in RAISING:
        for node in ast.walk(ast.parse(file.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or not node.args:
                continue
            first = node.args[0]
            if node.func.id in STATUSES and isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield node.func.id, first.value


def references(value: object) -> Iterator[str]:
    """Yield every `$ref` in a JSON value."""
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def test_document_is_valid_openapi_3_1() -> None:
    """The document is OpenAPI 3.1, its schemas and its references included."""
    assert SPEC["openapi"] == "3.1.0"
    assert [str(error) for error in OpenAPIV31SpecValidator(SPEC).iter_errors()] == []


def test_document_has_every_call() -> None:
    """Each path of the API is described with the method that it takes."""
    assert {(path, method) for path, item in SPEC["paths"].items() for method in item} == {
        ("/v1/rank", "post"),
        ("/v1/rank/batch", "post"),
        ("/v1/reward", "post"),
        ("/v1/reward/batch", "post"),
        ("/v1/events/{event_id}/activate", "post"),
        ("/v1/segments", "get"),
        ("/v1/segments/{name}", "get"),
        ("/v1/evaluations", "post"),
        ("/v1/evaluations", "get"),
        ("/v1/evaluations/{evaluation_id}", "get"),
        ("/v1/evaluations/{evaluation_id}", "delete"),
        ("/v1/evaluations/{evaluation_id}/report", "get"),
        ("/healthz", "get"),
        ("/readyz", "get"),
        ("/metrics", "get"),
        ("/openapi.json", "get"),
        ("/docs", "get"),
    }


def test_every_schema_is_used() -> None:
    """No schema is left over that no call refers to."""
    used = {reference.rpartition("/")[2] for reference in references(SPEC)}

    assert used == set(SPEC["components"]["schemas"])


@pytest.mark.parametrize(
    "struct",
    [
        messages.RankRequest,
        messages.SlotRequest,
        messages.Action,
        messages.RewardRequest,
        messages.RankReply,
        messages.RankedSlot,
        messages.Problem,
        bodies.EvaluationRequest,
        bodies.EvaluationInfo,
    ],
    ids=lambda struct: struct.__name__,
)
def test_schema_has_the_fields_of_its_struct(struct: type[msgspec.Struct]) -> None:
    """A schema has the fields that its struct has, and asks for those that the struct asks for."""
    schema = SPEC["components"]["schemas"][struct.__name__]
    fields = msgspec.structs.fields(struct)

    assert list(schema["properties"]) == [field.encode_name for field in fields]
    assert schema["required"] == [field.encode_name for field in fields if field.required]
    assert schema.get("additionalProperties", True) is not struct.__struct_config__.forbid_unknown_fields


@pytest.mark.parametrize(
    ("path", "struct"),
    [
        ("/v1/rank", messages.RankRequest),
        ("/v1/reward", messages.RewardRequest),
        ("/v1/evaluations", bodies.EvaluationRequest),
    ],
)
def test_examples_decode(path: str, struct: type[msgspec.Struct]) -> None:
    """What is shown as an example is what the struct decodes."""
    examples = SPEC["paths"][path]["post"]["requestBody"]["content"]["application/json"]["examples"]

    assert len(examples) > 1
    for example in examples.values():
        assert isinstance(msgspec.json.decode(json.dumps(example["value"]), type=struct), struct)


def test_every_raised_code_is_known_with_its_status() -> None:
    """Each code that a request can meet is in `CODES`, with the status of the error that carries it."""
    raised = {code: STATUSES[name] for name, code in raised_codes() if code not in AT_START_ONLY}

    assert len(raised) > 20
    assert raised == {code: CODES[code][0] for code in raised}
    assert set(CODES) == set(raised) | FROM_THE_JOURNAL | {"internal_error"}


def test_every_code_stands_in_the_reference() -> None:
    """docs/http.md has a row for each code, with its status, and no other."""
    rows = re.findall(r"^\| `([a-z_]+)` \| (\d{3}) \|", PAGE, re.MULTILINE)

    assert dict(rows) == {code: str(status.value) for code, (status, _) in CODES.items()}
    assert len(rows) == len(CODES)


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_every_call_stands_in_the_reference(path: str, method: str) -> None:
    """docs/http.md names each call."""
    assert f"`{method.upper()} {path}`" in PAGE


def test_every_documented_code_belongs_to_a_call_or_to_any_path() -> None:
    """A code is listed with some call, except those that come before a call is found."""
    listed = {
        code
        for item in SPEC["paths"].values()
        for operation in item.values()
        for response in operation["responses"].values()
        for code in re.findall(r"^- `([a-z_]+)`", response["description"], re.MULTILINE)
    }

    assert set(CODES) - listed == {"malformed_request", "method_not_allowed", "unknown_path", "unknown_asset"}


@pytest.mark.parametrize("name", VENDORED)
def test_files_of_swagger_ui_are_unchanged(name: str) -> None:
    """What is served of Swagger UI is byte for byte what its package holds."""
    content = (ROOT / "banditd" / "api" / "static" / "swagger-ui" / name).read_bytes()

    assert hashlib.sha256(content).hexdigest() == VENDORED[name]
