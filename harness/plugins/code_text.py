"""Code as canonical text: equal for equal syntax trees, for any Python version that parsed them.

`ast.dump` prints fields that exist in some versions only, and Python 3.12 splits f-strings in another way. Here an
empty field is not printed, the fields are sorted by name, and f-strings are joined before they are printed.
"""

from __future__ import annotations

import ast
from collections.abc import Collection
from types import EllipsisType

Literal = str | bytes | int | float | complex | bool | EllipsisType | None
Field = ast.AST | Literal
"""Value of a field of a syntax tree, or an element of one that is a list."""
_IGNORED = frozenset({"ctx", "kind", "type_comment", "type_ignores"})
"""Fields that follow from others (`ctx`), and spelling: the prefix of `u"..."`, comments."""


def code_text(tree: ast.AST, left_out: Collection[int] = frozenset()) -> str:
    """A syntax tree as ASCII text without comments, docstrings, no-op statements and positions.

    A statement that is a bare literal (a docstring at any place) or `pass` does nothing and is left out. Everything
    else counts: annotations too, because dataclasses and dispatch by type read them.

    Args:
        tree: Of a module.
        left_out: `id`s of nodes to leave out: statements, imported names and keywords are removed, expressions become
            `-`.
    """
    printed: list[str] = []
    pending: list[str | ast.AST] = [tree]  # not recursive: expressions may be deeper than Python's stack
    while pending:
        item = pending.pop()
        if isinstance(item, str):
            printed.append(item)
        else:
            pending.extend(reversed(_parts(item, left_out)))
    return "".join(printed)


def _parts(node: ast.AST, left_out: Collection[int]) -> list[str | ast.AST]:
    """The text of one node, with its children still as nodes."""
    if id(node) in left_out:
        return ["-"]
    if isinstance(node, ast.Constant):
        return [_literal(node.value)]
    if isinstance(node, ast.JoinedStr):
        return _joined(node)
    parts: list[str | ast.AST] = [type(node).__name__, "("]
    for name in sorted(set(node._fields) - _IGNORED):
        value = getattr(node, name, None)
        if isinstance(value, list):
            value = [item for item in value if not _vanishes(item, left_out)]
        # Fields that a later Python added are empty in code that an earlier one can parse.
        if value is None or value == [] or (type(value) is int and value == 0):
            continue  # `False` is printed: in a `case` it is not `None`
        parts += [f"{name}=", *_value(value), ";"]
    return [*parts, ")"]


def _vanishes(item: Field, left_out: Collection[int]) -> bool:
    """Whether an element of a list is not printed: a statement without effect, or one of the nodes to leave out."""
    if isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant):
        return True
    return isinstance(item, ast.Pass) or (isinstance(item, (ast.stmt, ast.alias, ast.keyword)) and id(item) in left_out)


def _value(value: Field | list[Field]) -> list[str | ast.AST]:
    if isinstance(value, list):
        return ["[", *(part for item in value for part in (*_item(item), ",")), "]"]
    return [value] if isinstance(value, ast.AST) else [_literal(value)]


def _item(item: Field) -> list[str | ast.AST]:
    """An element of a list; `~` where there is none, as for the key of `**x` in a dictionary."""
    return ["~"] if item is None else _value(item)


def _literal(value: Literal) -> str:
    """A literal with its type. Not `repr`: which characters it escapes depends on the version's Unicode tables."""
    if isinstance(value, int) and not isinstance(value, bool):
        # Not decimal: Python limits the digits of numbers that it converts to text.
        return hex(value)
    return ascii(value)


def _joined(node: ast.JoinedStr) -> list[str | ast.AST]:
    """An f-string with neighbouring texts merged and empty ones left out; a plain literal if it inserts nothing."""
    pieces: list[str | ast.AST] = []
    pending: list[ast.expr] = node.values[::-1]
    while pending:
        value = pending.pop()
        if isinstance(value, ast.JoinedStr):
            pending += value.values[::-1]
        elif not isinstance(value, ast.Constant):
            pieces.append(value)
        elif pieces and isinstance(pieces[-1], str):
            pieces[-1] += str(value.value)
        else:
            pieces.append(str(value.value))
    kept = [_literal(piece) if isinstance(piece, str) else piece for piece in pieces if piece != ""]
    if not any(isinstance(piece, ast.AST) for piece in kept):
        return [_literal("".join(piece for piece in pieces if isinstance(piece, str)))]
    return ["JoinedStr(", *(part for piece in kept for part in (piece, ",")), ")"]
