"""The command line of the demonstration, and its way out."""

import argparse
import asyncio
import importlib.util
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from banditd.demo.errors import DemoError, ExtrasMissing

__all__ = ["add_arguments", "main", "run"]

N = TypeVar("N", int, float)

_EXTRAS = {"digits": ("rich", "sklearn"), "obd": ("rich",)}
_INTERRUPTED = 130  # what a shell reports for a command that Ctrl-C ended
_LARGEST_PORT = 65_535
_ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `main` reads to a parser."""
    parser.add_argument(
        "scene",
        nargs="?",
        choices=sorted(_EXTRAS),
        default="digits",
        help="digits: learn to read handwriting; obd: replay logged shop traffic (default: %(default)s)",
    )
    parser.add_argument(
        "--rounds", type=_positive_int, metavar="N", help="images, or logged rows, to play (default: the scene's own)"
    )
    parser.add_argument("--seconds", type=_positive_float, metavar="S", help="stop after so many seconds")
    parser.add_argument(
        "--port", type=_port, default=0, metavar="PORT", help="port of the demonstration's server (default: a free one)"
    )


def main(namespace: argparse.Namespace) -> int:
    """Run the scene that the arguments name; return the exit code."""
    return run(namespace.scene, rounds=namespace.rounds, seconds=namespace.seconds, port=namespace.port)


def run(scene: str, *, rounds: int | None = None, seconds: float | None = None, port: int = 0) -> int:
    """Run a scene to its end or until it is interrupted.

    Parameters
    ----------
    scene
        ``"digits"`` or ``"obd"``.
    rounds
        Images, or logged rows, that each policy plays; None for the scene's own number.
    seconds
        Time after which to stop; None for no limit.
    port
        Port on 127.0.0.1 for the server; 0 for any free one.

    Returns
    -------
    Exit code: 0; 1 if the server failed; 2 if a package is missing; 3 if the data cannot be had;
    130 if it was interrupted.
    """
    try:
        play = _load(scene)
        return asyncio.run(_until_signalled(lambda: play(rounds=rounds, seconds=seconds, port=port)))
    except DemoError as error:
        print(f"banditd demo: {error.detail}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:  # it came before there was anything to clean up
        return _INTERRUPTED


def _load(scene: str) -> Callable[..., Coroutine[Any, Any, None]]:
    missing = [name for name in _EXTRAS[scene] if importlib.util.find_spec(name) is None]
    if missing:
        names = " and ".join("scikit-learn" if name == "sklearn" else name for name in missing)
        raise ExtrasMissing(
            "extras_missing", f"{names} not installed; run: pip install 'banditd[demo]', or, in a clone: make demo"
        )
    if scene == "digits":
        from banditd.demo import digits  # noqa: PLC0415 - it needs the extras, whose absence was just reported

        return digits.play
    from banditd.demo import obd  # noqa: PLC0415 - the same

    return obd.play


async def _until_signalled(play: Callable[[], Coroutine[Any, Any, None]]) -> int:
    """Play; a signal that ends the process ends the scene first, so that its server never outlives it."""
    scene = asyncio.create_task(play())

    def end() -> None:
        if not scene.cancelling():  # a second Ctrl-C does not cut the cleaning up short
            scene.cancel()

    loop = asyncio.get_running_loop()
    for number in _ENDING_SIGNALS:
        loop.add_signal_handler(number, end)
    try:
        await scene
    except asyncio.CancelledError:
        return _INTERRUPTED
    return 0


def _positive_int(text: str) -> int:
    value = _number(text, int)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, not {text}")
    return value


def _port(text: str) -> int:
    value = _number(text, int)
    if not 0 <= value <= _LARGEST_PORT:
        raise argparse.ArgumentTypeError(f"must be 0 to {_LARGEST_PORT}, not {text}")
    return value


def _number(text: str, kind: Callable[[str], N]) -> N:
    try:
        return kind(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a number, not {text!r}") from None


def _positive_float(text: str) -> float:
    value = _number(text, float)
    if not value > 0:
        raise argparse.ArgumentTypeError(f"must be more than 0, not {text}")
    return value
