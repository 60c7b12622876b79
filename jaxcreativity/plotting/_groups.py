"""What the figures take: a mapping from name to content, in which a mapping is a group of members."""

from collections.abc import Mapping
from typing import Any

Row = tuple[str, str | None]


def groups_of(argument: str, content: Mapping[str, Any]) -> dict[str, dict[str | None, Any]]:
    """Name -> members; what stands alone is its own group's member `None`.

    Args:
        argument: its name, for the message.
        content: name -> content, or name of a group -> {name: content}.

    Raises:
        ValueError: if there is nothing, or a group has no members.
    """
    if not content:
        raise ValueError(f"{argument} is empty: nothing to draw")
    groups = {name: dict(x) if isinstance(x, Mapping) else {None: x} for name, x in content.items()}
    if empty := [name for name, members in groups.items() if not members]:
        raise ValueError(f"{argument} has groups without members: {', '.join(empty)}")
    return groups


def full_name(row: Row) -> str:
    """`"group: member"`, or the name alone."""
    return row[0] if row[1] is None else f"{row[0]}: {row[1]}"


def roles_of(groups: dict[str, dict[str | None, Any]]) -> list[str]:
    """Names of members, each once, in the order in which they appear: one colour per name in all groups."""
    return list(dict.fromkeys(name for members in groups.values() for name in members if name is not None))
