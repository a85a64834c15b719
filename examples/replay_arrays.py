"""From arrays alone, with the truth at hand: handwritten digits as decisions.

    python examples/replay_arrays.py

An image is a context, the ten digits are actions, and the right one earns 1. A weak classifier, softened, chooses and
is logged; a better one is to be judged by that log. Since we know every label, we also know what each really earns.
"""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB

import replay

# %% Two policies, both fitted on a third of the images.
images, labels = load_digits(return_X_y=True)
train = np.arange(len(labels)) % 3 == 0
old = GaussianNB().fit(images[train] > 8, labels[train])  # noqa: PLR2004 - half as dark as can be
new = LogisticRegression(max_iter=5_000).fit(images[train], labels[train])

# %% What each would play, as probabilities: mostly its favourite, and each digit now and then.
test, truth = images[~train], labels[~train]
n = len(truth)
EXPLORED = 0.3
logging = np.full((n, 10), EXPLORED / 10)
logging[np.arange(n), old.predict(test > 8)] += 1 - EXPLORED  # noqa: PLR2004 - as above
target = np.full((n, 10), 0.02 / 10)
target[np.arange(n), new.predict(test)] += 0.98

# %% The log: one digit drawn for each image, with the probability it was drawn with, and whether it was right.
rng = np.random.default_rng(7)
chosen = (logging.cumsum(axis=1) > rng.random((n, 1))).argmax(axis=1)
rewards = (chosen == truth).astype(float)
propensities = logging[np.arange(n), chosen]
target_of_chosen = target[np.arange(n), chosen]

# %% A reward model for the doubly robust estimator; any will do that has not seen the rows that it predicts.
predicted = old.predict_proba(test > 8)  # noqa: PLR2004 - as above
q_logged, q_target = predicted[np.arange(n), chosen], (predicted * target).sum(axis=1)

# %% The estimates, beside what nobody could know from the log.
really = target[np.arange(n), truth].mean()
print(f"{n} logged choices earned {rewards.mean():.3f} each; the new policy would really earn {really:.3f}\n")
print(f"{'':<8}{'value':>7}{'lower':>8}{'upper':>8}  interval")
found = replay.estimate(
    rewards, propensities, target_of_chosen, q_logged=q_logged, q_target=q_target, estimators=("ips", "snips", "dr")
)
for name, one in found.items():
    print(f"{name:<8}{one.value:>7.3f}{one.lower:>8.3f}{one.upper:>8.3f}  {one.method}")

# %% Is it better than what made the log? The paired difference says.
more = replay.estimate_difference(rewards, propensities, target_of_chosen, propensities, estimators=("snips",))["snips"]
print(f"\nmore than the logging policy: {more.value:+.3f}, from {more.lower:+.3f} to {more.upper:+.3f}")
