"""What every file of the package must be: short, of one subject, and documented where users look.

Read from the source, not imported. Each test lists all offenders at once.
"""

import ast
import re
import statistics
from collections import defaultdict
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "jaxcreativity"
FILES = sorted(PACKAGE.rglob("*.py"))
SECTIONS = "Args|Attributes|Raises|Returns|Yields|Example|Examples|Note|Notes|Source|Sources"
ERRORS = {"ImportError", "ValueError", "TypeError", "FloatingPointError", "NotImplementedError"}


def is_public(name):
    return not name.startswith("_") or name == "__call__"


def definitions(tree, prefix=""):
    """`(qualified name, node, class that it is a method of or None)` of every public definition, none in functions."""
    parent = tree if isinstance(tree, ast.ClassDef) else None
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and is_public(node.name):
            yield prefix + node.name, node, parent
            if isinstance(node, ast.ClassDef):
                yield from definitions(node, f"{prefix}{node.name}.")


def everything():
    """All public definitions of the package, each with its place."""
    for path in FILES:
        for name, node, parent in definitions(ast.parse(path.read_text())):
            yield f"{path.relative_to(PACKAGE.parent)}:{node.lineno} {name}", node, parent


def method(node, name):
    return next((n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == name), None)


def parameters(node, is_method):
    """Names of the arguments of a function or method, or of what builds a class."""
    if isinstance(node, ast.ClassDef):
        initialiser = method(node, "__init__")
        if initialiser:
            return parameters(initialiser, True)
        fields = [n for n in node.body if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)]
        return [n.target.id for n in fields if "ClassVar" not in ast.unparse(n.annotation)]
    arguments = node.args
    named = [a.arg for a in (*arguments.posonlyargs, *arguments.args)]
    static = any(ast.unparse(d) == "staticmethod" for d in node.decorator_list)
    named = named[1:] if is_method and not static else named
    rest = [a.arg for a in (arguments.vararg, arguments.kwarg) if a]
    return [*named, *(a.arg for a in arguments.kwonlyargs), *rest]


def section(node, names):
    """Text of a section of the docstring, or `None`."""
    pattern = rf"^(?:{names}):\s*$\n?(.*?)(?=^(?:{SECTIONS}):\s*$|\Z)"
    found = re.search(pattern, ast.get_docstring(node) or "", re.MULTILINE | re.DOTALL)
    return found and found.group(1)


def raised(node):
    """Kinds of errors that the source of a function raises, or that of the constructor of a class."""
    if isinstance(node, ast.ClassDef):
        constructors = [method(node, name) for name in ("__init__", "__post_init__")]
        return set().union(*(raised(n) for n in constructors if n))
    kinds = set()
    for child in ast.walk(node):
        if isinstance(child, ast.Raise) and child.exc is not None:
            kind = child.exc.func if isinstance(child.exc, ast.Call) else child.exc
            kinds.add(ast.unparse(kind))
        # A check of arguments: all of `_checks` but one raise ValueError.
        if isinstance(child, ast.Call) and ast.unparse(child.func) in CHECKS:
            kinds.add("ImportError" if ast.unparse(child.func) == "_checks.needs" else "ValueError")
    return kinds & ERRORS


def _raising_checks():
    CHECKS = set()
    tree = ast.parse((PACKAGE / "_checks.py").read_text())
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and any(isinstance(child, ast.Raise) for child in ast.walk(node)):
            CHECKS.add(f"_checks.{node.name}")
    return CHECKS


CHECKS = _raising_checks()


def report(offenders):
    return f"{len(offenders)} of the package:\n" + "\n".join(offenders)


def test_everything_public_has_a_docstring():
    offenders = [str(p) for p in FILES if not ast.get_docstring(ast.parse(p.read_text()))]
    offenders += [place for place, node, _ in everything() if not ast.get_docstring(node)]
    assert not offenders, report(offenders)


def test_three_arguments_or_more_are_documented():
    offenders = []
    for place, node, parent in everything():
        names = parameters(node, parent is not None)
        if len(names) < 3:
            continue
        text = section(node, "Args|Attributes")
        if text is None:
            offenders.append(f"{place}: no Args")
            continue
        # `name: ...`, `*names: ...`, `name (type): ...` or `one, another: ...`, at the start of a line.
        documented = set()
        for heads in re.findall(r"^\s*((?:[\w*`]+(?:\s*\([^)]*\))?(?:,\s*)?)+):", text, re.MULTILINE):
            documented |= set(re.findall(r"\w+", heads))
        missing = [name for name in names if name not in documented]
        if missing:
            offenders.append(f"{place}: {', '.join(missing)}")
    assert not offenders, report(offenders)


def test_what_raises_says_so():
    offenders = []
    for place, node, _ in everything():
        kinds, text = raised(node), section(node, "Raises") or ""
        silent = sorted(kind for kind in kinds if kind not in text)
        if silent:
            offenders.append(f"{place}: {', '.join(silent)}")
    assert not offenders, report(offenders)


def test_files_are_short():
    lengths = {str(path.relative_to(PACKAGE.parent)): len(path.read_text().splitlines()) for path in FILES}
    offenders = [f"{name}: {length} lines" for name, length in lengths.items() if length > 300]
    assert not offenders, report(offenders)
    assert statistics.median(lengths.values()) <= 150


def test_no_two_classes_share_a_name():
    places = defaultdict(list)
    for place, node, _ in everything():
        if isinstance(node, ast.ClassDef):
            places[node.name].append(place)
    offenders = [f"{name}: {', '.join(found)}" for name, found in places.items() if len(found) > 1]
    assert not offenders, report(offenders)
