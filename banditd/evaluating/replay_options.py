"""What `banditd replay` can be told."""

import argparse
from pathlib import Path
from typing import Final

__all__ = ["add_arguments"]

_DESCRIPTION: Final = """\
Say what other policies would have earned on a log of decisions, how sure that is, and when the log cannot say."""
_EXAMPLES: Final = """\
examples:
  banditd replay log.dsjson.gz --policy 'new={kind = "vw"}' --report report.html
  banditd replay log.csv --mapping reward=click,propensity=p,action=item,target.new=p_new --policy new=column:new
  banditd replay --store banditd.db --by segment --policy careful='{kind = "epsilon_greedy", epsilon = 0.02}'
  banditd replay log.dsjson.gz --policy 'new=vw --cb_explore_adf' --json out.json --require 'lift_lower > 0'

exit codes: 0; 1 if a requirement is not met; 2 if the command, or the log, is at fault. docs/replay.md says more.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description, parser.epilog = _DESCRIPTION, _EXAMPLES
    add = parser.add_argument
    add("log", nargs="*", metavar="LOG", help='files, folders or patterns, or "-"; a store; without it, the server\'s')
    add("--policy", action="append", default=[], metavar="NAME=SPEC", help="a candidate; docs/replay.md has the forms")
    add("--grid", action="append", default=[], metavar="SPEC", help="a spec, or a TOML file, with lists: try them all")
    add("--baseline", default="logged", metavar="NAME", help="what lifts are measured against (logged)")
    add("--estimator", action="append", default=[], metavar="NAMES", help="ips, snips, dr, ...; docs/estimators.md")
    add("--clip", type=float, metavar="W", help="of ips_clipped")
    add("--tau", type=float, metavar="W", help="of switch_dr")
    add("--lam", type=float, metavar="L", help="of dros and sub_gaussian")
    add("--reward-model", default="auto", metavar="NAME", help="of dr and its kin (auto)")
    add("--reward-range", metavar="LOW,HIGH", help="what a reward can be (0,1 if all lie in it, else as seen)")
    add("--interval", default="auto", metavar="METHOD", help="docs/intervals.md (auto)")
    add("--level", type=float, default=0.95, metavar="P", help="coverage of the intervals (0.95)")
    add("--by", action="append", default=[], metavar="WHAT", help="slices: segment, day, hour, slot")
    add("--question", default="progressive", metavar="Q", help="progressive, frozen or deployed; docs/replay.md")
    add("--split", type=float, metavar="SHARE", help="first part of the log: of frozen (0.5), and of --grid (0.7)")
    add("--per-segment", action="store_true", help="a policy of banditd for each segment, as a server keeps them")
    add("--seed", type=int, default=0, metavar="N", help="of whatever is drawn (0)")
    add("--workers", type=int, default=1, metavar="N", help="processes (1)")
    add("--engine", choices=("local", "ray"), default="local", help="where the work runs; ray needs banditd[ray]")
    add("--ray-cut", choices=("by_candidate", "finely"), default="by_candidate", help="finely: by file and segment too")
    add("--ray-address", default="auto", metavar="ADDRESS", help='of the cluster; "local" starts one (auto)')
    add("--format", default="auto", metavar="F", help="of the log: dsjson, jsonl, obd, csv, parquet (auto)")
    add("--mapping", metavar="FILE|TEXT", help="which column is what, such as reward=click,propensity=p,action=item")
    add("--report", metavar="FILE", help="write one HTML page")
    add("--json", metavar="FILE", help='write everything as JSON; "-" is standard output')
    add("--force", action="store_true", help="replace files that are there")
    add("--require", action="append", default=[], metavar="TEXT", help="'lift_lower > 0': exit with 1 if it is not so")
    add("--progress-fd", type=int, metavar="FD", help=argparse.SUPPRESS)  # for the program that started this one
    store = parser.add_argument_group("of a store")
    which = store.add_mutually_exclusive_group()
    which.add_argument("--config", type=Path, metavar="FILE", help="the server's TOML file")
    which.add_argument("--store", type=Path, metavar="PATH", help="the store's SQLite file")
    store.add_argument("--segment", default="", metavar="S", help="of this segment alone")
    store.add_argument("--since", metavar="T", help="decisions from here on")
    store.add_argument("--until", metavar="T", help="decisions before this time")
