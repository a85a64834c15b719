"""docs/estimators.md names what there is, and its example runs."""

import re
from pathlib import Path

import pytest

from replay import diagnostics
from replay.diagnostics import rules
from replay.estimators import ESTIMATORS, SlateEstimator

PAGE = (Path(__file__).parents[3] / "docs" / "estimators.md").read_text()
SLATES = [kind.name for kind in SlateEstimator.__subclasses__()]
CODES = re.findall(
    r'(?:Finding\(|\(\()?"([a-z_]+)", (?:serious|counts\.(?:missing|late))', Path(rules.__file__).read_text()
)


@pytest.mark.parametrize("name", [*ESTIMATORS, *SLATES])
def test_every_estimator_is_documented(name: str) -> None:
    """Each name that an estimator goes by stands in the page's tables."""
    assert f"`{name}`" in PAGE


def test_every_finding_is_documented() -> None:
    """Each code that the rules can find stands in the page's tables, and the page has no others."""
    assert len(CODES) == 13
    table = PAGE[PAGE.index("## What is looked at") : PAGE.index("- The 99 % weight")]
    documented = {
        code for row in re.findall(r"^\|([^|]*)\|", table, re.MULTILINE) for code in re.findall("`(.*?)`", row)
    }
    assert documented == set(CODES)


def test_the_page_has_the_thresholds_of_the_rules() -> None:
    """A threshold that is changed in the rules has to be changed in the page."""
    said = {
        f"effective sample below {rules.ENOUGH_ESS:,.0f} | below {rules.FEWEST_ESS:.0f}",
        f"more than {rules.MOST_TOP_SHARE:.0%}".replace("%", " %"),
        f"over {rules.NOTED_UNSUPPORTED:.0%} of the candidate's".replace("%", " %"),
        f"p < {rules.NOTED_P:g} | p < {rules.LEAST_P:.6f}",
        f"{rules.MOST_APART:.0%} and {rules.MOST_Z:.0f} standard errors".replace("%", " %"),
        f"below {rules.SMALL_PROPENSITY}",
        f"{diagnostics.Duplicates().limit:,} different event ids",
    }

    assert {each for each in said if each not in PAGE} == set()


def test_the_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """The first example does what it says."""
    [example] = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)

    exec(compile(example, "docs/estimators.md", "exec"), {})  # noqa: S102 - the page is ours

    assert "effective rows" in capsys.readouterr().out
