"""Learn to read handwriting from nothing but right and wrong.

1,797 images of digits, 8 × 8 pixels each, are the contexts, and the ten digits the actions. The
reward is 1 for the right digit and 0 for any other; which one would have been right is never said.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import orjson
from rich.markup import escape
from rich.table import Table
from sklearn.datasets import load_digits

from banditd.demo.client import Client, RankRequest, connected
from banditd.demo.screen import Screen, sparkline, table
from banditd.demo.server import POLICIES, running_server
from banditd.demo.tally import WINDOW, Tally

__all__ = ["play"]

ROUNDS = 10_000
ONE_BY_ONE = 1_000  # images at the start, each learned from before the next: slow enough to watch the climb
BATCH_IMAGES = 10  # a batch is decided before any of it is learned: few, so that the next ones profit
SEED = 1
TARGET = 0.9
_FIXED = "best fixed digit"
_ACTIONS = orjson.dumps([{"id": str(digit)} for digit in range(10)])
_CURVE_WIDTH = 30


@dataclass(frozen=True, slots=True)
class Image:
    """One image: its pixels as a context in JSON, and the digit it shows."""

    context: bytes
    digit: str


async def play(*, rounds: int | None, seconds: float | None, port: int) -> None:
    """Play the scene; return when the rounds or the seconds are over."""
    images = load_images()
    n_rounds = rounds or ROUNDS
    async with running_server(port=port) as address, connected(address) as client:
        with Screen("images", n_rounds) as screen:
            screen.say(
                f"\n{len(images):,} images of handwritten digits, ten possible answers, reward 1 for the right one.\n"
                "Four policies of one server decide on the same images; look into it meanwhile:\n"
                f"{address}/docs   {address}/v1/segments\n"
            )
            scene = _Scene(images, client, screen)
            try:
                await scene.play(n_rounds, seconds=seconds)
            finally:
                screen.finish(scene.done, scene.table())
            screen.say(scene.summary())


def load_images() -> list[Image]:
    """Return the images that scikit-learn ships, in its order."""
    data = load_digits()
    return [
        Image(orjson.dumps({"pixels": pixels.astype(int).tolist()}), str(digit))
        for pixels, digit in zip(data.data, data.target, strict=True)
    ]


def shuffled(images: Sequence[Image]) -> Iterator[Image]:
    """Yield all images in a new order, over and over; the orders are the same at every run."""
    generator = np.random.default_rng(SEED)
    while True:
        for i in generator.permutation(len(images)):
            yield images[i]


class _Scene:
    """The tallies, and the loop that fills them."""

    def __init__(self, images: Sequence[Image], client: Client, screen: Screen) -> None:
        digits = [image.digit for image in images]
        self._best_digit = max(sorted(set(digits)), key=digits.count)
        self._images = shuffled(images)
        self._client = client
        self._screen = screen
        self._tallies = {name: Tally(name) for name in (*POLICIES, _FIXED)}
        self._reached: tuple[int, float] | None = None  # images and seconds at which vw reached the target
        self.done = 0

    async def play(self, rounds: int, *, seconds: float | None) -> None:
        while self.done < rounds and (seconds is None or self._screen.elapsed_s < seconds):
            n = 1 if self.done < ONE_BY_ONE else BATCH_IMAGES
            batch = list(islice(self._images, min(n, rounds - self.done)))
            await self._decide(batch)
            self.done += len(batch)
            vw = self._tallies["vw"]
            if self._reached is None and vw.n >= WINDOW and vw.moving_mean > TARGET:
                self._reached = self.done, self._screen.elapsed_s
            if self._screen.due:
                await self._look()
        await self._look()

    async def _decide(self, batch: Sequence[Image]) -> None:
        requests = [
            RankRequest(f"digits-{name}-{self.done + i}", name, image.context, _ACTIONS)
            for i, image in enumerate(batch)
            for name in POLICIES
        ]
        digits = [image.digit for image in batch for _ in POLICIES]
        answers = await self._client.rank(requests)
        rewards = [float(answer == digit) for answer, digit in zip(answers, digits, strict=True)]
        await self._client.reward({request.event_id: reward for request, reward in zip(requests, rewards, strict=True)})
        for request, reward in zip(requests, rewards, strict=True):
            self._tallies[request.segment].add(reward)
        for image in batch:
            self._tallies[_FIXED].add(float(image.digit == self._best_digit))

    async def _look(self) -> None:
        intervals = await self._client.reward_intervals()
        for name, tally in self._tallies.items():
            tally.interval = intervals.get(name)
        self._screen.show(
            self.done,
            self.table(),
            plain="   ".join(f"{name} {tally.moving_mean:.3f}" for name, tally in self._tallies.items()),
        )

    def table(self) -> Table:
        made = table(
            left=["policy", "since the start"],
            right=[f"last {WINDOW:,}", "all: mean", "95 % interval", "decisions/s"],
        )
        for name, tally in self._tallies.items():
            computed = name == _FIXED
            interval = tally.interval
            made.add_row(
                escape(f"{name} ({self._best_digit})" if computed else name),
                sparkline(tally.curve, width=_CURVE_WIDTH),
                f"[bold]{tally.moving_mean:.3f}[/bold]",
                f"{tally.mean:.3f}",
                f"{interval[0]:.3f} – {interval[1]:.3f}" if interval else "",
                "computed" if computed else f"{tally.n / self._screen.elapsed_s:,.0f}",
            )
        return made

    def summary(self) -> str:
        """Say what was seen, and where to go from here."""
        vw = self._tallies["vw"]
        if self._reached:
            seen = (
                f"vw was right in more than {TARGET:.0%} of the last {WINDOW:,} images "
                f"after {self._reached[0]:,} images, {self._reached[1]:.0f} s."
            )
        else:
            seen = (
                f"vw was right in {vw.moving_mean:.0%} of the last {min(WINDOW, vw.n):,} images; give it more rounds."
            )
        return (
            f"\n{seen}\n"
            "The others do not look at the pixels: the best they can find is the most frequent digit.\n"
            "Your own traffic: README.md shows the two calls, rank and reward. Real logs: banditd demo obd\n"
        )
