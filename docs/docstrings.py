"""What the API reference must know about this package's annotations, dataclasses and docstrings, for griffe."""

import ast
import re
from typing import Any

import griffe

_DATACLASSES = {"jaxcreativity._pytree.dataclass", "flax.struct.dataclass"}
_MODULES = {"flax.linen.Module", "jaxcreativity.networks.linear._LinearModule"}
_PAGE = re.compile(r"docs/([a-z_/]+)\.md")
_EXAMPLE = re.compile(r"^Example:$", re.MULTILINE)  # griffe knows the plural alone


class Docstrings(griffe.Extension):
    """Shows constructors of pytrees and Linen modules and shapes as written; links the pages that docstrings name."""

    def on_function_instance(self, *, node: ast.AST, func: griffe.Function, **kwargs: Any) -> None:
        """Keep annotations as they are written: a shape, `Float[Array, "n *shape"]`, is no expression."""
        for argument in ast.walk(node.args):
            if isinstance(argument, ast.arg) and argument.annotation is not None:
                func.parameters[argument.arg].annotation = ast.unparse(argument.annotation)
        if node.returns is not None:
            func.returns = ast.unparse(node.returns)

    def on_attribute_instance(self, *, node: ast.AST, attr: griffe.Attribute, **kwargs: Any) -> None:
        """Keep the annotation of a field or property as written, and of `_pytree.static(default=...)` the default."""
        if isinstance(node, ast.FunctionDef) and node.returns is not None:
            attr.annotation = ast.unparse(node.returns)
        if isinstance(node, ast.AnnAssign):
            attr.annotation = ast.unparse(node.annotation)
            if isinstance(node.value, ast.Call) and ast.unparse(node.value.func) == "_pytree.static":
                defaults = [ast.unparse(k.value) for k in node.value.keywords if k.arg == "default"]
                attr.value = defaults[0] if defaults else None

    def on_class_instance(self, *, cls: griffe.Class, **kwargs: Any) -> None:
        """Let griffe write the constructor that `_pytree.dataclass` and Linen write at run time."""
        decorators = {getattr(d.value, "canonical_path", str(d.value)) for d in cls.decorators}
        bases = {getattr(base, "canonical_path", str(base)) for base in cls.bases}
        if decorators & _DATACLASSES or bases & _MODULES:
            name = griffe.ExprName("dataclasses.dataclass")
            cls.decorators.append(griffe.Decorator(name, lineno=None, endlineno=None))

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Make a link of `docs/theory/linear.md`, from a page of `docs/api`, and a section of `Example:`."""
        if obj.docstring:
            text = _PAGE.sub(r"[\1](../\1.md)", obj.docstring.value)
            obj.docstring.value = _EXAMPLE.sub("Examples:", text)
