"""What is changed: every mutant of a file."""

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PROJECT = Path(__file__).resolve().parents[2]

EQUIVALENT = {
    (entry["file"], line): entry["why"]
    for entry in tomllib.loads(Path(__file__).with_name("equivalent.toml").read_text())["equivalent"]
    for line in entry["lines"]
}
"""File and changed line of a mutant -> why no test can notice it."""

SWAPPED_OPERATORS = {ast.Add: "-", ast.Sub: "+", ast.Mult: "/", ast.Div: "*", ast.Pow: "*", ast.FloorDiv: "*"}
NEGATED = {
    ast.Lt: ">=", ast.LtE: ">", ast.Gt: "<=", ast.GtE: "<", ast.Eq: "!=", ast.NotEq: "==",
    ast.Is: "is not", ast.IsNot: "is", ast.In: "not in", ast.NotIn: "in",
}  # fmt: skip
SWAPPED_CALLS = {
    "maximum": "minimum", "minimum": "maximum", "max": "min", "min": "max", "sum": "mean", "mean": "sum",
    "argmin": "argmax", "argmax": "argmin", "ones": "zeros", "any": "all", "all": "any",
}  # fmt: skip


class Mutant(NamedTuple):
    """Characters `start` to `end` of a file of the package are to be replaced."""

    file: str
    line: int
    start: int
    end: int
    old: str
    new: str
    changed: str  # the line as it becomes, or several lines in one

    @property
    def name(self) -> str:
        """Unique while the file does not change."""
        return f"{self.file}:{self.line}:{self.start}: {self.old} -> {self.new}"

    @property
    def is_equivalent(self) -> bool:
        """Whether it is known that no test can notice it."""
        return (self.file, self.changed) in EQUIVALENT


def mutants(file: str) -> list[Mutant]:
    """All mutants of one file of the package."""
    source = (PROJECT / "jaxcreativity" / file).read_text()
    lines = [0]
    for line in source.splitlines(keepends=True):
        lines.append(lines[-1] + len(line.encode()))
    encoded = source.encode()
    span = lambda node: (lines[node.lineno - 1] + node.col_offset, lines[node.end_lineno - 1] + node.end_col_offset)  # noqa: E731
    text = lambda node: encoded[slice(*span(node))].decode()  # noqa: E731

    def changed(node, new):
        (start, end), (before, after) = (lines[node.lineno - 1], lines[node.end_lineno]), span(node)
        return " ".join((encoded[start:before].decode() + new + encoded[after:end].decode()).split())

    return [
        Mutant(file, node.lineno, *span(node), text(node), new, changed(node, new))
        for node in _code(ast.parse(source))
        for new in _changes(node, text)
    ]


def _code(tree: ast.AST) -> Iterator[ast.AST]:
    """Nodes that compute: no annotations, defaults, decorators, messages, imports, strings."""
    for name, value in ast.iter_fields(tree):
        if name in ("annotation", "returns", "decorator_list", "args") and not isinstance(tree, ast.Call):
            continue
        for child in value if isinstance(value, list) else [value]:
            skipped = ast.Raise | ast.JoinedStr | ast.Import | ast.ImportFrom
            if not isinstance(child, ast.AST) or isinstance(child, skipped) or _is_type_alias(child):
                continue
            if isinstance(tree, ast.ClassDef) and isinstance(child, ast.AnnAssign):  # a default, too
                continue
            if isinstance(child, ast.keyword) and child.arg == "strict":  # of what has one length
                continue
            yield child
            yield from _code(child)


def _is_type_alias(node):
    return isinstance(node, ast.AnnAssign) and "TypeAlias" in ast.unparse(node.annotation)


def _changes(node: ast.AST, text) -> Iterator[str]:
    """What a node's text may be replaced with."""
    if isinstance(node, ast.BinOp) and type(node.op) in SWAPPED_OPERATORS:
        yield f"({text(node.left)}) {SWAPPED_OPERATORS[type(node.op)]} ({text(node.right)})"
        if isinstance(node.op, ast.Add):
            yield f"({text(node.left)})"
            yield f"({text(node.right)})"
    elif isinstance(node, ast.Compare) and len(node.ops) == 1:
        yield f"({text(node.left)}) {NEGATED[type(node.ops[0])]} ({text(node.comparators[0])})"
    elif isinstance(node, ast.BoolOp):
        yield (" or " if isinstance(node.op, ast.And) else " and ").join(f"({text(value)})" for value in node.values)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub):
        yield f"({text(node.operand)})"
    elif isinstance(node, ast.IfExp):
        yield f"({text(node.body)})"
        yield f"({text(node.orelse)})"
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield str(not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        yield repr(node.value + 1 if isinstance(node.value, int) else 2 * node.value or 1.0)
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute | ast.Name):
        function = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
        if function in SWAPPED_CALLS:
            head = text(node.func).removesuffix(function) + SWAPPED_CALLS[function]
            yield head + text(node)[len(text(node.func)) :]
        elif function in ("stop_gradient", "square", "abs", "sqrt", "log", "exp") and len(node.args) == 1:
            yield f"({text(node.args[0])})"
