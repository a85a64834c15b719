"""`banditd replay` as its users run it: on a log that is shipped, on a store, in a pipeline."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.tree import ROOT

pytestmark = pytest.mark.timeout(300)

CLICKS = str(ROOT / "examples" / "clicks.dsjson.gz")
VW_ARGUMENTS = "vw --cb_explore_adf --epsilon 0.1 -q ua"


def run(*arguments: str, code: int = 0, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the command and demand its exit code."""
    done = subprocess.run(
        [sys.executable, "-m", "banditd", "replay", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
        **options,
    )
    assert done.returncode == code, done.stderr
    return done


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any], str]:
    """Return what one run prints, writes as JSON and writes as a page."""
    folder = tmp_path_factory.mktemp("replay")
    done = run(
        CLICKS,
        *("--policy", 'taste={kind = "vw"}', "--policy", f"raw={VW_ARGUMENTS}", "--by", "day"),
        *("--json", str(folder / "out.json"), "--report", str(folder / "out.html")),
        *("--require", "taste.lift_lower > 0"),
    )
    return done.stdout, json.loads((folder / "out.json").read_text()), (folder / "out.html").read_text()


def test_log_that_is_shipped_is_what_its_program_makes(tmp_path: Path) -> None:
    """examples/clicks.py writes examples/clicks.dsjson.gz again, byte for byte."""
    made = tmp_path / "made.gz"
    subprocess.run([sys.executable, ROOT / "examples" / "clicks.py", made], check=True, timeout=60)

    assert made.read_bytes() == Path(CLICKS).read_bytes()


def test_policies_that_learn_what_readers_like_are_found_better(evaluated: tuple[str, dict[str, Any], str]) -> None:
    """Both VW candidates earn more than the log, beyond doubt; showing anything at random does not."""
    _, result, _ = evaluated
    policies = result["policies"]

    assert result["events"] == 6_000
    assert result["dropped"] == {}
    assert {name: one["verdict"] for name, one in policies.items() if name != "logged"} == {
        "baseline1": "not enough data",
        "uniform": "not enough data",
        "taste": "better",
        "raw": "better",
    }
    assert policies["taste"]["question"] == "progressive"
    assert policies["logged"]["estimates"]["ips"]["value"] == pytest.approx(577 / 6_000)
    assert policies["taste"]["slices"]["day"][0]["name"] == "2026-03-02"


def test_value_of_vw_options_is_the_average_loss_of_vw(evaluated: tuple[str, dict[str, Any], str]) -> None:
    """A candidate that is VW's own options earns what VW's driver prints, to 1e-5."""
    vowpalwabbit = pytest.importorskip("vowpalwabbit")
    _, result, _ = evaluated

    driver = vowpalwabbit.Workspace(f"--quiet --dsjson -d {CLICKS} {VW_ARGUMENTS.removeprefix('vw ')}")
    loss = driver.get_sum_loss() / driver.get_weighted_examples()
    driver.finish()

    assert result["policies"]["raw"]["estimates"]["ips"]["value"] == pytest.approx(-loss, abs=1e-5)


def test_table_and_page_show_what_the_json_says(evaluated: tuple[str, dict[str, Any], str]) -> None:
    """The three views agree on who is better, and name everybody."""
    printed, result, page = evaluated

    for name in result["policies"]:
        assert name in printed
        assert name in page
    assert "better" in printed
    assert "6,000 decisions" in printed


def test_requirement_that_is_not_met_ends_with_1() -> None:
    """A pipeline tells a candidate that is no better from a mistake in the command."""
    done = run(CLICKS, "--policy", "any=uniform", "--require", "lift_lower > 0", code=1)

    assert "not met: any: lift_lower is" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nowhere.json",), "nowhere.json"),
        ((CLICKS, "--policy", "thompson"), "--policy: must be NAME=SPEC"),
        ((CLICKS, "--policy", "a={kind='nothing'}"), "kind: must be one of"),
        ((CLICKS, "--policy", "a={kind='vw', exploration='wild'}"), "exploration"),
        ((CLICKS, "--policy", "a=uniform", "--policy", "a=logged"), "given twice"),
        ((CLICKS, "--estimator", "magic"), "magic"),
        ((CLICKS, "--require", "lift"), "lift_lower > 0"),
        ((CLICKS, "--policy", "a=uniform", "--require", "loft > 0"), "loft"),
        ((CLICKS, "--since", "2026-01-01"), "--since"),
        ((CLICKS, "--reward-range", "1"), "--reward-range"),
        ((CLICKS, "--grid", "{kind='vw'", "--by", "day"), "--by"),
        ((CLICKS, "--grid", "{kind='vw'"), "--grid"),
        ((CLICKS, "--level", "95"), "level"),
        ((CLICKS, "--baseline", "me"), "me"),
        ((CLICKS, "--report", "nowhere/report.html"), "--report: nowhere/report.html cannot be written"),
    ],
)
def test_mistake_is_named_and_ends_with_2(arguments: tuple[str, ...], said: str) -> None:
    """Whatever is written wrong is answered with one line that names it, and no traceback."""
    done = run(*arguments, code=2)

    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_sweep_confirms_the_winner_on_what_it_was_not_chosen_by(tmp_path: Path) -> None:
    """A grid is compared on the first part, and its winner alone is shown on the rest."""
    out = tmp_path / "out.json"
    run(CLICKS, "--grid", '{kind = "epsilon_greedy", epsilon = [0.05, 0.2]}', "--json", str(out))
    result = json.loads(out.read_text())

    assert result["sweep"]["n_tried"] == 2
    assert result["sweep"]["winner"] in {"epsilon=0.05", "epsilon=0.2"}
    assert set(result["policies"]) == {"logged", "baseline1", "uniform", result["sweep"]["winner"]}
    assert result["events"] + result["sweep"]["compared"]["events"] == 6_000


def test_file_that_is_there_is_not_overwritten(tmp_path: Path) -> None:
    """Without --force the run ends with 2, and the file is as it was."""
    out = tmp_path / "out.json"
    out.write_text("mine")

    done = run(CLICKS, "--policy", "any=uniform", "--json", str(out), code=2)

    assert "--json: " in done.stderr
    assert "--force" in done.stderr
    assert out.read_text() == "mine"


def test_log_without_any_decision_ends_with_2(tmp_path: Path) -> None:
    """A log of which every line was left out has no answer, and the reasons are told."""
    log = tmp_path / "log.json"
    log.write_text('{"Timestamp": broken\n' * 3)

    done = run(str(log), "--policy", "any=uniform", code=2)

    assert "holds no decision that can be evaluated (left out: 3 parse error)" in done.stderr
    assert done.stdout == ""


def test_vw_options_that_do_not_fit_the_log_end_with_2(tmp_path: Path) -> None:
    """Decisions with slots are no lines for --cb_explore_adf, and the option for them is named."""
    log = tmp_path / "log.json"
    log.write_text(
        '{"Timestamp":"2026-03-02T08:00:00Z","EventId":"a","Version":"1","c":{"_multi":[{"f":1},{"f":2}],"_slots":[{},{}]},'
        '"_outcomes":[{"_label_cost":-1,"_a":[0,1],"_p":[0.5,0.5]},{"_label_cost":0,"_a":[1],"_p":[1.0]}]}\n'
    )

    done = run(str(log), "--policy", "raw=vw --cb_explore_adf", code=2)
    run(str(log), "--policy", "raw=vw --ccb_explore_adf")

    assert "need --ccb_explore_adf" in done.stderr
    assert "Traceback" not in done.stderr


def test_column_of_a_table_is_named_by_the_mapping(tmp_path: Path) -> None:
    """A column of probabilities is a candidate once the mapping names it; until then the error says how."""
    log = tmp_path / "log.csv"
    rows = [f"{place % 2},0.5,{'ab'[place % 2]},{0.1 + 0.8 * (place % 2)}" for place in range(400)]
    log.write_text("\n".join(["click,p,item,p_new", *rows]))
    mapping = "reward=click,propensity=p,action=item"

    lacking = run(str(log), "--mapping", mapping, "--policy", "new=column:p_new", code=2)
    done = run(str(log), "--mapping", f"{mapping},target.new=p_new", "--policy", "new=column:new")

    assert "a mapping says target.p_new=COLUMN" in lacking.stderr
    assert "0.9000" in done.stdout


def test_slices_are_in_the_table(evaluated: tuple[str, dict[str, Any], str]) -> None:
    """What the log is sliced by is printed, with each slice's rows."""
    printed, result, page = evaluated

    for part in result["policies"]["taste"]["slices"]["day"]:
        assert part["name"] in printed
        assert part["name"] in page


def test_server_starts_without_the_libraries_of_evaluations() -> None:
    """Neither `serve --help` nor `replay --help` reads Polars, pandas, Matplotlib or scikit-learn."""
    for command in ("serve", "replay"):
        program = (
            "import sys\nfrom banditd.cli import main\ntry:\n"
            f"    main(['{command}', '--help'])\nexcept SystemExit:\n"
            "    print(sorted({'polars', 'pandas', 'matplotlib', 'sklearn'} & set(sys.modules)), file=sys.stderr)"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
        assert done.stderr == "[]\n"
