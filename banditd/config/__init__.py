"""The configuration: one TOML file and the environment, read once into one frozen value."""

from banditd.config.load import load_config
from banditd.config.reload import diff_reload, merge_reload
from banditd.config.render import render
from banditd.config.values import Config, Segment, check_exposure

__all__ = ["Config", "Segment", "check_exposure", "diff_reload", "load_config", "merge_reload", "render"]
