"""Features as VW's JSON parser has to be told them, so that it makes of them what banditd's own policies see.

A policy of kind ``vw`` sees the text of `Context.line` and `Action.line`: namespaces, in them names that stand for one
feature each, and numbers. The JSON here has a key for each of those namespaces, and in it a key for each of those
names, with its number or with ``true``, which VW reads as 1. So a string, an element of a list and a path to a nested
object each become a feature or a namespace with a name of its own, where VW's reading of the plain JSON would drop
some, merge others, or refuse the line.

One name is another than banditd's: VW drops keys that begin with ``_``, so that ``_`` is written as ``%5F``. No name of
a client can be that already, since their ``%`` is written as ``%25``.
"""

__all__ = ["features_of"]


def features_of(line: str) -> dict[str, dict[str, float | bool]]:
    """Return the namespaces of VW text as JSON objects.

    Parameters
    ----------
    line
        `Context.line`, `Action.line` or `Slot.line`.
    """
    namespaces: dict[str, dict[str, float | bool]] = {}
    current: dict[str, float | bool] = {}
    for token in line.split(" "):
        if token.startswith("|"):
            current = namespaces.setdefault(_kept(token[1:]), {})
        else:
            name, colon, number = token.partition(":")
            current[_kept(name)] = float(number) if colon else True
    return namespaces


def _kept(name: str) -> str:
    return f"%5F{name[1:]}" if name.startswith("_") else name
