"""`results.measurement` is the only place that lists the fields which decide a number, a row or a group.

The test reads the syntax tree of every product file and finds five shapes of another list:

    names       a tuple, list or set of field names as texts: ROW_FACTS = ("engine", "options", "views")
    hashed      fields of a record or a cell that are put together and hashed: fingerprint([m.code, m.views, m.options])
    keyed       fields that a mapping is keyed by: found[m.code, m.arch, m.views, m.dataset]
    compared    fields of two records compared one by one: a.code == b.code and a.views == b.views and ...
    identity    a function named identity, row_key, group_key or signature that puts fields together

and a second hash of a plugin's source code.
"""

from __future__ import annotations

import ast
import dataclasses
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import pytest

from harness.spec import Recipe
from results.measurement import FIELDS

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("harness", "results", "reports", "methods", "protocols")
DEFINITION = (
    "results/measurement.py", "results/measurement_parts.py", "results/measurement_words.py",
    "harness/spec/*.py", "harness/plugins/code_hash.py",
    "harness/engine/*features*.py", "harness/engine/features/*.py",
)  # fmt: skip
"""The definition; the dataclasses Views and Recipe with the checks of their values; the hash of source code; and the
key of cached frame features, on which no number and no row depends."""
FEW = 3
"""Fields from which on a list is a definition."""

GENERIC = {"name", "version", "n", "kind", "index", "key", "part", "source", "used", "complete", "root", "labels"}
"""Last words of fields that mean many other things in code."""
OTHER_WORDS = {
    "init", "backbone", "division", "views", "recipe", "train", "test", "variant", "list_sha256", "list_origin",
    "source_sha256", "protocol_version", "method_version", "checkpoint_sha256", "n_expected", "content_sha256",
}  # fmt: skip
"""Words that code has had for fields of a measurement, or for parts of one."""
RECIPE = {f.name for f in dataclasses.fields(Recipe)} - {"selection"}
"""Settings of a recipe. Some of them together are arithmetic or a caption; recipes are compared by `recipe_changes`."""
WORDS = ({path.rpartition(".")[2] for path in FIELDS} | OTHER_WORDS) - GENERIC - RECIPE
PLACES = WORDS | {"name", "version", "part", "kind", "index", "id", "protocol", "method", "slug"}
"""Words that count where fields are read from a record or a cell: `record.protocol.name`."""

HASHES = {"fingerprint", "sha256", "sha1", "md5", "blake2b", "hash", "_key", "canonical_json", "digest"}
DECIDING = re.compile("(^|_)(identity|(row|group|line|cell)_(key|facts)|signature)(_|$)")


def other_definitions(source: str) -> list[str]:
    """`line N: shape: fields` of every list of measurement fields in Python source."""
    tree = ast.parse(source)
    found = [*_names(tree), *_hashed(tree), *_keyed(tree), *_compared(tree), *_deciding(tree), *_code_hash(tree)]
    return [f"line {line}: {shape}: {', '.join(fields)}" for line, shape, fields in sorted(set(found))]


Found = tuple[int, str, tuple[str, ...]]


@lru_cache(maxsize=64)
def walk(node: ast.AST) -> tuple[ast.AST, ...]:
    """`ast.walk`, once for the five shapes."""
    return tuple(ast.walk(node))


def _found(node: ast.AST, shape: str, fields: set[str], least: int = FEW) -> Iterator[Found]:
    if len(fields) >= least:
        yield getattr(node, "lineno", 0), shape, tuple(sorted(fields))


def _names(tree: ast.AST) -> Iterator[Found]:
    """Displays of field names as texts, paths such as `method.options` included."""
    for node in walk(tree):
        if isinstance(node, (ast.Tuple, ast.List, ast.Set)):
            texts = [e.value for e in node.elts if isinstance(e, ast.Constant) and isinstance(e.value, str)]
            named = {text for text in texts if text in FIELDS or text.rpartition(".")[2] in WORDS}
            yield from _found(node, "names", named)


def _read(node: ast.AST) -> set[str]:
    """Fields that an expression reads: attributes and constant subscripts, with the word before."""
    fields = set()
    for one in walk(node):
        if isinstance(one, ast.Attribute) and one.attr in PLACES:
            fields.add(f"{_last(one.value)}.{one.attr}")
        elif isinstance(one, ast.Subscript) and isinstance(one.slice, ast.Constant) and one.slice.value in PLACES:
            fields.add(f"{_last(one.value)}.{one.slice.value}")
    return {field for field in fields if field.rpartition(".")[2] in WORDS or field.partition(".")[0] in _OWNERS}


_OWNERS = {"protocol", "method", "row", "cls", "repeat", "test", "train", "list", "fit", "backbone", "data", "cell"}


def _last(node: ast.AST) -> str:
    """Last word of an expression: `protocol` of `record.protocol`."""
    if isinstance(node, ast.Attribute):
        return node.attr
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
        return str(node.slice.value)
    return node.id if isinstance(node, ast.Name) else ""


def _displayed(node: ast.AST) -> set[str]:
    """Fields that a display puts together: names of keys, and fields that are read."""
    fields = _read(node)
    for one in walk(node):
        if isinstance(one, ast.Dict):
            fields |= {str(key.value) for key in one.keys if isinstance(key, ast.Constant) and key.value in PLACES}
        elif isinstance(one, ast.Call) and _last(one.func) == "dict":
            fields |= {keyword.arg for keyword in one.keywords if keyword.arg in PLACES}
    return fields


def _functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)))


def _hashed(tree: ast.AST) -> Iterator[Found]:
    """Displays that are hashed, directly or through a name of the same function."""
    for function in _functions(tree):
        assigned: dict[str, ast.expr] = {}
        for node in walk(function):
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                assigned[node.targets[0].id] = node.value
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
                assigned[node.target.id] = node.value
        for node in walk(function):
            if isinstance(node, ast.Call) and _last(node.func) in HASHES:
                for argument in node.args:
                    chosen = assigned.get(argument.id, argument) if isinstance(argument, ast.Name) else argument
                    if isinstance(chosen, (ast.Dict, ast.List, ast.Tuple, ast.Call, ast.GeneratorExp, ast.JoinedStr)):
                        yield from _found(chosen, "hashed", _displayed(chosen))


def _words(node: ast.AST) -> set[str]:
    """Last words of the fields that an expression reads."""
    return {field.rpartition(".")[2] for field in _read(node)}


def _keyed(tree: ast.AST) -> Iterator[Found]:
    """Tuples of fields that a mapping is keyed by. Three of them are the place of a table: protocol, dataset, part."""
    for node in walk(tree):
        chosen: list[ast.expr] = []
        if isinstance(node, ast.Assign) and re.search("(^|_)(key|identity|group)$", _last(node.targets[0])):
            chosen = [node.value]
        elif isinstance(node, ast.Subscript):
            chosen = [node.slice]
        elif isinstance(node, ast.Call) and _last(node.func) in ("setdefault", "get"):
            chosen = node.args[:1]
        for one in chosen:
            if isinstance(one, (ast.Tuple, ast.List, ast.JoinedStr)):
                yield from _found(one, "keyed", _read(one), 4)


def _compared(tree: ast.AST) -> Iterator[Found]:
    """`(a.x, a.y, a.z) == (b.x, b.y, b.z)`, and chains of comparisons of the same fields joined by and, or."""
    for node in walk(tree):
        if isinstance(node, ast.Compare) and isinstance(node.left, (ast.Tuple, ast.List)):
            sides = [_words(side) for side in (node.left, *node.comparators)]
            yield from _found(node, "compared", set.intersection(*sides))
        if isinstance(node, ast.BoolOp):
            pairs = [v for v in node.values if isinstance(v, ast.Compare) and len(v.comparators) == 1]
            same = [_words(v.left) & _words(v.comparators[0]) for v in pairs]
            yield from _found(node, "compared", set().union(*same))


def _deciding(tree: ast.AST) -> Iterator[Found]:
    """Functions whose name says that they decide, and that return or yield fields put together."""
    for function in _functions(tree):
        if not DECIDING.search(function.name):
            continue
        displays = [
            node for node in walk(function)
            if isinstance(node, (ast.Dict, ast.Tuple, ast.List, ast.JoinedStr)) and isinstance(
                getattr(node, "ctx", ast.Load()), ast.Load)
        ]  # fmt: skip
        fields = set().union(*(_displayed(node) for node in displays))
        yield from _found(function, f"function {function.name}", fields, 2)


def _code_hash(tree: ast.AST) -> Iterator[Found]:
    """A module that hashes syntax trees or tokens of source code."""
    modules = {alias.name for node in walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    if "hashlib" in modules and modules & {"ast", "tokenize"}:
        yield 1, "hash of source code", tuple(sorted(modules & {"ast", "tokenize"}))


# --- the shapes of the seven places that this project once had, shortened

SHAPES = {
    "expand.py, the identity of a fit": '''
def fit_cell(row, dataset, train, labels, recipe, views, parent):
    identity = {
        "engine": ENGINE, "method": row.identity(), "train": list_identity(dataset, train, labels),
        "recipe": recipe.as_dict(), "views": asdict(views), "init": parent.key if parent else "clip",
    }
    return fingerprint(identity, 16)
''',
    "expand.py, the identity of a list": '''
def _list_identity(dataset, rows, labels):
    return {"dataset": dataset.name, "list": rows.name, "sha256": rows.sha256, "labels": labels.sha256, "n": len(rows)}
''',
    "expand.py, the division": '''
def place(cell):
    measured = {"engine": ENGINE, "fit": cell.fit.key, "method": cell.row.identity(), "views": asdict(cell.views)}
    return fingerprint({**measured, "protocol": {"id": cell.protocol.name, "version": cell.protocol.version}}, 16)
''',
    "cells.py, the identity of a method": '''
class MethodRow:
    def identity(self):
        return {"name": self.name, "version": self.cls.version, "code": self.source_sha256,
                "options": self.options.as_dict(), "backbone": self.backbone.identity()}
''',
    "request.py, the identity of a backbone": '''
class BackboneChoice:
    def identity(self):
        if self.is_mini:
            return {"arch": MINI, "weights": file_sha256(WEIGHTS)}
        return {"arch": self.arch or "ViT-B-16", "weights": self.weights}
''',
    "code_identity.py, a hash of syntax trees": '''
import ast
import hashlib

def code_sha256(path):
    return hashlib.sha256(ast.dump(ast.parse(path.read_text())).encode()).hexdigest()
''',
    "signature.py": '''
def signature(cell):
    return "|".join((
        f"{cell.protocol.name}.{cell.protocol.version}", f"{cell.dataset.name}.{cell.test.name}", str(cell.views),
        f"select:{cell.fit.recipe.selection}", cell.division,
    ))
''',
    "frame.py, facts of a row": '''
ROW_FACTS = (
    "protocol", "protocol_version", "division", "dataset", "method", "source_sha256", "options", "backbone",
    "weights_sha256", "label_variant", "class_text", "views", "init", "selection",
)
''',
    "frame.py, facts of a group": '''
def _group_facts(facts):
    names = ["protocol", "division", "dataset", "backbone", "weights_sha256", "label_variant", "views"]
    return [*(facts[name] for name in names), facts["selection"] or "last"]
''',
    "submission.py, a row key": '''
def of_row(record):
    fit = record.fit or {}
    return fingerprint([
        record.protocol["id"], record.protocol["version"], record.data["dataset"], record.data["label_variant"],
        record.method["class_text"], fit.get("init"), bool(fit),
    ], 12)
''',
    "check_records.py, the identity that a record implies": '''
def identity_of(record):
    data, method = record.data, record.method
    return {
        "engine": record.identity.get("engine"),
        "method": {"name": method["name"], "version": method["version"], "options": method["options"]},
        "test": {"dataset": data["dataset"], "list": data["list"], "sha256": data["list_sha256"]},
    }
''',
    "check_records.py, the parts of a signature": '''
def signature_of(record):
    data = record.data
    return f"{record.protocol['id']}.{record.protocol['version']}|{data['dataset']}.{data['list']}"
''',
    "compare.py, settings that differ": '''
def differing(a, b):
    for section, names in (("views", ("frames", "clips", "crops", "sampling")), ("backbone", ("arch", "weights"))):
        yield from (n for n in names if getattr(a, section)[n] != getattr(b, section)[n])
''',
    "attributes compared as tuples": '''
def same(a, b):
    return (a.code, a.options, a.evaluation.views) == (b.code, b.options, b.evaluation.views)
''',
    "attributes compared one by one": '''
def same(a, b):
    return a.method.code == b.method.code and a.model.arch == b.model.arch and a.evaluation.views == b.evaluation.views
''',
    "compare.py, records by what must be equal": '''
def side(records):
    found = {}
    for record in records:
        key = (record.protocol["id"], record.data["dataset"], record.protocol["part"], record.data["list_sha256"])
        found.setdefault(key, []).append(record)
    return found
''',
    "a mapping with keywords": '''
def of_row(m):
    return fingerprint(dict(code=m.code, views=str(m.views), options=m.options))
''',
    "a set of paths": 'BESIDES = {"method.options", "training.recipe.lr", "evaluation.views.frames"}',
}  # fmt: skip

FINE = {
    "a measurement is made": """
def measured(cell):
    return MethodId(name=cell.row.name, version=cell.cls.version, code=code_hash(cell.cls), options=cell.options)
""",
    "a caption": """
def caption(m):
    return f"{m.protocol.name} on {m.evaluation.list.dataset}, {m.evaluation.views.frames} frames, {m.model.arch}"
""",
    "the keys are compared": """
def same(a, b):
    return keys_of(a).row == keys_of(b).row and keys_of(a).group == keys_of(b).group and a.time == b.time
""",
    "a name of a part": """
def part_name(m):
    return "/".join([m.protocol.name, m.evaluation.list.dataset, m.protocol.part])
""",
    "columns to show": 'ORDER = ["protocol", "dataset", "method", "part", "repeat"]',
    "a hash of rows": """
def rows_hash(rows):
    return fingerprint([(row.path, row.label) for row in rows])
""",
}


@pytest.mark.parametrize("name", SHAPES)
def test_each_shape_of_another_definition_is_found(name: str) -> None:
    assert other_definitions(SHAPES[name]), name


@pytest.mark.parametrize("name", FINE)
def test_what_only_shows_or_makes_a_measurement_is_left_alone(name: str) -> None:
    assert other_definitions(FINE[name]) == []


@pytest.mark.slow
def test_no_other_file_defines_a_measurement() -> None:
    files = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
    found = [
        f"{name}, {text}"
        for path in files
        if not any((name := path.relative_to(ROOT)).match(pattern) for pattern in DEFINITION)
        for text in other_definitions(path.read_text(encoding="utf-8"))
    ]
    assert not found, "lists of measurement fields outside results/measurement.py:\n" + "\n".join(found)
