"""VW's own options, as its command line takes them: which may run inside an evaluation, and which are tried out first.

An evaluation reads its log itself, so options that read or write files, open connections or belong to VW's own loop
over a file have no place. A wrong value can end the process (``--bag 0``); options beyond those known to be safe are
therefore used once in a process of their own before the evaluation does.
"""

import functools
import json
import re
import subprocess
import sys
from typing import Final

from policies.vw_options import REFUSED
from replay.errors import InvalidLog

__all__ = ["vw_arguments"]

_ALWAYS: Final = ("--dsjson", "--quiet")
_SHORT: Final = {"q": "quadratic", "b": "bit_precision", "l": "learning_rate"}
# Options that policies may not have, since banditd sets them or has settings for them, but that mean no harm here.
_FINE_NAMES: Final = """
    adf_only affix all_slots_loss bag bit_precision block_size cb_explore_adf cb_max_cost cb_min_cost cb_type
    ccb_explore_adf chain_hash clip_p cover cubic dsjson elim epsilon feature_limit first first_only gamma_scale
    greedify ignore_features_dsjson_experimental ignore_linear initial_denominator initial_numerator initial_t
    initial_weight interactions invariant lambda large_action_space learning_rate loss_function marginal
    max_actions max_prediction mellowness min_prediction ngram normal_weights nounif permutations power_t
    preserve_performance_counters psi quadratic quiet random_seed random_weights regcb regcbopt ring_size rnd
    rnd_alpha rnd_invlambda sgd skips softmax spanner_c squarecb synthcover synthcoverpsi synthcoversize
    two_pass_svd
"""
_SAFE_NAMES: Final = """
    all_slots_loss bit_precision cb_explore_adf cb_type ccb_explore_adf dsjson epsilon gamma_exponent
    gamma_scale ignore ignore_linear interactions keep l1 l2 lambda learning_rate noconstant power_t quadratic
    quiet random_seed softmax squarecb
"""
_FINE: Final = frozenset(_FINE_NAMES.split())
_KNOWN_SAFE: Final = frozenset(_SAFE_NAMES.split())
_LONGEST: Final = 4_000  # characters
_NAME: Final = re.compile(r"--([a-z][a-z0-9_]*)(?:=(.*))?", re.IGNORECASE)
_GLUED: Final = re.compile(r"-([qbl])=?(.+)?")
_VALUE: Final = re.compile(r"(?!-[a-z-])[^\s/\\]+", re.IGNORECASE)
_TRIAL_TIMEOUT_S: Final = 60.0
_LINE: Final = (
    b'{"_label_cost":-1,"_label_probability":0.5,"_label_Action":1,"_labelIndex":0,"a":[1,2],"p":[0.5,0.5],'
    b'"c":{"s":{"x":"1"},"_multi":[{"a":{"i":"1"}},{"a":{"i":"2"}}]}}'
)
_TRIAL: Final = f"""
import json, sys
from vowpalwabbit import Workspace
workspace = Workspace(json.loads(sys.argv[1]))
for _ in range(20):
    examples = workspace._parse({_LINE!r})
    workspace.learn_multi(examples)
    workspace._finish_example_multi_ex(examples)
"""


def vw_arguments(text: str) -> str:
    """Return VW's options for an evaluation: long names, values tied to them, ``--dsjson --quiet`` among them.

    Parameters
    ----------
    text
        As on VW's command line, with or without the word ``vw`` before.

    Raises
    ------
    InvalidLog
        A word is no option, an option has no place in an evaluation, none says ``--cb_explore_adf`` or
        ``--ccb_explore_adf``, or VW refuses them.
    """
    if len(text) > _LONGEST:
        raise _refused(f"must be at most {_LONGEST} characters long")
    words = _joined(text.removeprefix("vw "))
    names = {_name(word) for word in words}
    for name in sorted(names):
        if name in REFUSED and name not in _FINE:
            raise _refused(f"must not hold --{name}, which {REFUSED[name]}")
    if not names & {"cb_explore_adf", "ccb_explore_adf"}:
        raise _refused("must hold --cb_explore_adf or --ccb_explore_adf: without, VW says no probabilities")
    arguments = " ".join([*(word for word in words if word not in _ALWAYS), *_ALWAYS])
    if not names <= _KNOWN_SAFE:
        problem = _tried(arguments)
        if problem:
            raise _refused(f"do not work: {problem}")
    return arguments


def _joined(text: str) -> list[str]:
    words: list[str] = []
    for word in text.split():
        glued, named = _GLUED.fullmatch(word), _NAME.fullmatch(word)
        if glued is not None:
            words.append(f"--{_SHORT[glued[1]]}" + (f"={glued[2]}" if glued[2] else ""))
        elif named is not None:
            words.append(word)
        elif words and "=" not in words[-1] and _VALUE.fullmatch(word):
            words[-1] += f"={word}"
        else:
            raise _refused(f"must not hold {word[:50]!r}, no long option such as --epsilon and no value of one")
    return words


def _name(word: str) -> str:
    return word[2:].partition("=")[0]


@functools.lru_cache(maxsize=1_024)
def _tried(arguments: str) -> str:
    """Return what went wrong when options were used in another process; "" if nothing did."""
    try:
        done = subprocess.run(  # noqa: S603 - our own program, and the options go in as data
            [sys.executable, "-c", _TRIAL, json.dumps(arguments)],
            capture_output=True,
            check=False,
            timeout=_TRIAL_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        return f"VW was not done after {_TRIAL_TIMEOUT_S:g} s"
    if done.returncode < 0:
        return f"VW ended its process (signal {-done.returncode})"
    if done.returncode:
        return done.stderr.decode(errors="replace").strip().rpartition("\n")[2][:500]
    return ""


def _refused(detail: str) -> InvalidLog:
    return InvalidLog("bad_options", "vw", detail)
