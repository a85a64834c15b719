"""`banditd demo`: a real server, driven over HTTP with real data, while you watch."""

from banditd.demo.command import add_arguments, main, run

__all__ = ["add_arguments", "main", "run"]
