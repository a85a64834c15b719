"""Free VW options: which are refused outright, and what VW itself makes of the rest.

A bad option can end the process (``--bag 0``) or spoil every prediction in silence, so that no list of ours would
be enough: what passes the list is tried out in a process of its own (`policies.vw_probe`) before it is used.
"""

import functools
import json
import re
import subprocess
import sys
from typing import Final

from policies.errors import InvalidInput
from policies.vw_probe import Trial

__all__ = ["REFUSED", "RESUMABLE", "check_options", "joined", "resumes"]

_REASONS: Final = {
    "reads or writes files": """
        audit_regressor cache cache_file csv_trace data dictionary dictionary_path dump_json_weights_experimental
        dump_json_weights_include_extra_online_state_experimental dump_json_weights_include_feature_names_experimental
        epsilon_decay_audit extra_metrics feature_mask final_regressor hexfloat_weights id initial_regressor
        input_feature_regularizer invert_hash kill_cache output_feature_regularizer_binary
        output_feature_regularizer_text predict_only_model predictions raw_predictions readable_model save_per_pass
        save_resume""",
    "opens connections or starts processes": """
        daemon foreground no_daemon node num_children onethread pid_file port port_file sendto span_server
        span_server_port total unique_id""",
    "changes how the text is read, which is ours to write": """
        affix chain_hash compressed csv csv_header csv_no_file_header csv_ns_value csv_separator dsjson
        example_queue_limit experimental_full_name_interactions feature_limit flatbuffer
        ignore_features_dsjson_experimental json named_labels ngram no_stdin redefine ring_size skips spelling
        strict_parse""",
    "only changes what VW prints": """
        audit driver_output driver_output_off help limit_output log_level log_output progress quiet version""",
    "belongs to VW's own command line, which runs over a file": """
        dry_run early_terminate examples holdout_after holdout_off holdout_period initial_pass_length passes
        testonly""",
    "is set by banditd": """
        cb_adf cb_explore_adf csoaa_ldf csoaa_rank ignore_linear initial_denominator initial_numerator initial_t
        l1_state l2_state no_predict per_model_save_load preserve_performance_counters random_seed""",
    "is a setting of its own, or belongs to an exploration that is": """
        bag bit_precision cb_max_cost cb_min_cost cb_type cover epsilon first gamma_scale greedify lambda
        learning_rate marginal mellowness nounif power_t psi regcb regcbopt rnd rnd_alpha rnd_invlambda softmax
        squarecb synthcover synthcoverpsi synthcoversize""",
    "belongs to --large_action_space, which is slower than to do without, and answers by what was asked before": """
        block_size large_action_space las_hint_explicit_simd max_actions spanner_c thread_pool_size two_pass_svd""",
    "belongs to --bfgs, which goes over a file several times": "bfgs conjugate_gradient hessian_on mem termination",
    "measures policies on a log instead of serving one": "eval exclude_eval explore_eval",
    "belongs to VW's search for structures, which reads files": """
        search search_active_verify search_allowed_transitions search_alpha search_beta search_history_length
        search_interpolation search_linear_ordering search_metatask search_neighbor_features search_no_caching
        search_passes_per_policy search_perturb_oracle search_rollin search_rollout search_rollout_num_steps
        search_save_every_k_runs search_subsample_time search_task search_total_nb_policies search_trained_nb_policies
        search_xv""",
    "makes VW learn something else than the mean reward, such as its median": """
        expectile_q logistic_max logistic_min loss_function quantile_tau""",
    "bounds predictions of cost, which banditd measures in deviations of its own": "max_prediction min_prediction",
    "makes VW answer with what is no distribution, or play only the first of equal actions": "elim first_only",
    "lays its model file out otherwise, so that no snapshot of it is the same twice": "invariant sgd",
    "gives every weight a value, so that a snapshot would hold them all": """
        initial_weight normal_weights random_weights truncated_normal_weights""",
    "is a setting of its own (interactions); products of three numbers overflow in VW": """
        cubic interactions permutations quadratic""",
}
REFUSED: Final = {name: reason for reason, names in _REASONS.items() for name in names.split()}

# With these alone a loaded state goes on bit for bit: tests hold each of them with every exploration.
RESUMABLE: Final = frozenset(
    {"adax", "clip_p", "coin", "ftrl", "ftrl_alpha", "ftrl_beta", "gamma_exponent", "l1", "l2", "noconstant", "pistol"}
)

_LONGEST: Final = 1_000  # characters
_NAME = re.compile(r"--([a-z][a-z0-9_]*)(?:=(.*))?", re.IGNORECASE)
_VALUE = re.compile(r"(?!-[a-z-])[a-z0-9_.,:+~-]+", re.IGNORECASE)
_PROBE_TIMEOUT_S: Final = 60.0
_PROBE: Final = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); import policies.vw_probe as p; p.main()"


def check_options(options: str, settings: str) -> None:
    """Refuse options that could hurt, and try out the others.

    Parameters
    ----------
    options
        What a user gave; nothing is tried out for the empty text.
    settings
        The VW options that would be used without them.

    Raises
    ------
    InvalidInput
        They are no VW options, are refused by the list above, or fail when they are tried out.
    """
    if not options:
        return
    if len(options) > _LONGEST:
        raise _refused(f"must be at most {_LONGEST} characters long")
    for name in _names(options):
        if name in REFUSED:
            raise _refused(f"--{name} {REFUSED[name]}")
    trial = _tried(settings, joined(options))
    if trial.problem is not None:
        raise _refused(f"do not work: {trial.problem}")


def joined(options: str) -> str:
    """Return options with each value tied to its option, as in ``--l2=1e-6``: alone VW may take it for a file to read.

    Raises
    ------
    InvalidInput
        A word is neither an option nor a plain value that follows one.
    """
    words: list[str] = []
    for word in options.split():
        named = _NAME.fullmatch(word)
        if named is not None and (named.group(2) is None or _VALUE.fullmatch(named.group(2))):
            words.append(word)
        elif named is None and _VALUE.fullmatch(word) and words and "=" not in words[-1]:
            words[-1] += f"={word}"
        else:
            raise _refused(f"hold {word[:50]!r}, which is neither an option such as --l2 nor the plain value of one")
    return " ".join(words)


def resumes(options: str, settings: str) -> bool:
    """Return whether a state with such options goes on bit for bit once loaded: tests say so, and the trial, too."""
    if not options:
        return True
    return all(name in RESUMABLE for name in _names(options)) and _tried(settings, joined(options)).resumes


def _names(options: str) -> list[str]:
    return [word[2:].partition("=")[0] for word in joined(options).split()]


@functools.lru_cache(maxsize=256)
def _tried(settings: str, options: str) -> Trial:
    """Return what came of VW options, having used them in another process."""
    try:
        done = subprocess.run(  # noqa: S603 - our own module, and the options go in as data
            [sys.executable, "-c", _PROBE, json.dumps(sys.path)],
            input=json.dumps([settings, options]).encode(),
            capture_output=True,
            check=False,
            timeout=_PROBE_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        return _failed(f"VW was not done after {_PROBE_TIMEOUT_S:g} s")
    if done.returncode < 0:
        return _failed(f"VW ended its process (signal {-done.returncode})")
    try:
        return Trial(**json.loads(done.stdout.splitlines()[-1]))
    except (IndexError, TypeError, ValueError):
        return _failed(f"VW ended its process (code {done.returncode})")


def _failed(problem: str) -> Trial:
    return Trial(problem, resumes=False)


def _refused(detail: str) -> InvalidInput:
    return InvalidInput("bad_options", "options", detail)
