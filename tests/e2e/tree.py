"""A copy of the checkout as a clone would have it: what git tracks or would add, as it is now, and nothing else."""

import os
import shutil
import subprocess
from pathlib import Path

__all__ = ["ROOT", "clean_environment", "copy_tree"]

ROOT = Path(__file__).parents[2]


def copy_tree(destination: Path) -> Path:
    """Copy every file that a commit of all changes would hold, and return the copy's folder."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():  # one that was deleted but not yet committed is still listed
            (destination / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, destination / name)
    return destination


def clean_environment() -> dict[str, str]:
    """Return the environment without what pytest, make or a virtual environment put there for themselves."""
    ours = ("MAKE", "MFLAGS", "COV", "PYTEST", "PYTHON", "VIRTUAL_ENV", "BANDITD")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours) and name != "PORT"}
