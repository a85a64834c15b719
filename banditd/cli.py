"""The command line."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import uvloop

from banditd import demo, logs
from banditd.build import banditd_version
from banditd.config import Config, check_exposure, load_config, render
from banditd.errors import ConfigError, JournalCorrupt, JournalUnavailable
from banditd.evaluating import export, replay, verify
from banditd.evaluating.errors import EvaluatingError
from banditd.server import EXIT_CONFIG, serve

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code: 0, or 2 if it cannot be carried out as it is written."""
    options = _parser().parse_args(arguments)
    try:
        code: int = options.run(options)
    except (ConfigError, EvaluatingError, JournalCorrupt, JournalUnavailable) as error:
        print(f"banditd: {f'{error.field}: ' if error.field else ''}{error.detail}", file=sys.stderr)
        return EXIT_CONFIG
    except KeyboardInterrupt:
        return 130
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="banditd", description="An online-learning contextual-bandit server: decides, learns, proves it."
    )
    parser.add_argument("--version", action="version", version=f"banditd {banditd_version()}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    server = commands.add_parser("serve", help="run the server")
    server.add_argument("--config", type=Path, metavar="FILE", help="TOML file; without it, the defaults")
    server.add_argument("--host", help="address to listen on (server.host)")
    server.add_argument("--port", type=int, help="port to listen on; 0 picks a free one (server.port)")
    server.add_argument("--uds", metavar="PATH", help="listen on a Unix socket instead (server.uds)")
    server.add_argument("--insecure", action="store_true", help="allow other machines in without an API key")
    server.set_defaults(run=_serve)

    config = commands.add_parser("config", help="look at a configuration")
    actions = config.add_subparsers(required=True, metavar="ACTION")
    check = actions.add_parser("check", help="check a file and show what is in force with it")
    check.add_argument("file", type=Path, nargs="?", metavar="FILE")
    check.set_defaults(run=_check)

    exporting = commands.add_parser("export", help="write decisions and their rewards for other tools")
    export.add_arguments(exporting)
    exporting.set_defaults(run=export.main)

    replaying = commands.add_parser("replay", help="say what other policies would have earned")
    replay.add_arguments(replaying)
    replaying.set_defaults(run=replay.main)

    verifying = commands.add_parser("verify", help="fold the journal again and check every decision in it")
    verify.add_arguments(verifying)
    verifying.set_defaults(run=verify.main)

    demonstration = commands.add_parser("demo", help="watch policies learn from real data")
    demo.add_arguments(demonstration)
    demonstration.set_defaults(run=demo.main)
    return parser


def _serve(options: argparse.Namespace) -> int:
    given: dict[str, Any] = {
        f"server.{name}": getattr(options, name)
        for name in ("host", "port", "uds")
        if getattr(options, name) is not None
    }
    if options.insecure:
        given["server.insecure"] = True

    def read() -> Config:
        return load_config(options.config, os.environ, options=given)

    config = read()
    check_exposure(config)
    logs.configure(level=config.log.level)
    return uvloop.run(serve(config, reread=read))


def _check(options: argparse.Namespace) -> int:
    config = load_config(options.file, os.environ)
    check_exposure(config)
    print(render(config), end="")
    return 0
