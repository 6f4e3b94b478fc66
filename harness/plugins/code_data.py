"""The parts of a plugin's code that are data: cards, recipes, and help texts and bounds of options.

The values of a recipe, of options and of a parent fit are fields of a measurement, and cards, help texts and bounds
change no number. Their text is therefore left out of the code hash, as long as no other code can read it:

* A *field* is an assignment in a class body to `card`, `recipe`, `recipes`, `parent`, `protocol_options` or
  `parameters_vit_b16`.
* A *constant* is a top-level assignment of a name, `NAME = ...` or `NAME |= ...`.
* An *imported name* is a name in `from module import NAME`; the module itself stays in the hash.
* A *help text* is the second argument of `option(default, help, choices)`, *bounds* are its arguments `bounds` and
  `unused_with`, which only refuse values. Default and choices stay in the hash.

Each is data if its value only builds values (literals, names, operators, comprehensions, and calls of `MethodCard`,
`Recipe`, `ParentFit`, `replace`, `dict`, `tuple`), and if no code reads it: names and attributes are compared by their
spelling in all files of the plugin, and one occurrence outside of data makes it code. So does code that may read
anything, such as `vars` or `globals`. A field must moreover be made of cards, recipes or parent fits, and a constant or
imported name must be made of these or be read by data. The one reader that a field may have is the hook that hands it
to the harness: `card_for`, `recipe_for`, `parent_fit`, `options_for`.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

_HOOKS = {
    "card": "card_for", "recipe": "recipe_for", "recipes": "recipe_for", "parent": "parent_fit",
    "protocol_options": "options_for", "parameters_vit_b16": "",
}  # fmt: skip
"""The fields of a method that are data, and the class method that may read each."""
_PLAIN_FIELDS = ("protocol_options", "parameters_vit_b16")
"""Fields that hold neither a card nor a recipe."""
_MAKERS = frozenset({"MethodCard", "Recipe", "ParentFit"})
_BUILDERS = _MAKERS | {"replace", "dict", "fromkeys", "tuple", "MappingProxyType"}
_BY_NAME = frozenset({"getattr", "setattr", "hasattr", "delattr", "attrgetter", "methodcaller"})
_ANYTHING = frozenset({"__dict__", "getmembers"})
_ANYTHING_NAMES = frozenset({"eval", "exec", "globals", "locals", "vars", "dir"})
"""Code with one of these words, or of these names without a dot before them, may read anything."""
_PLAIN = (
    ast.Constant, ast.Name, ast.Attribute, ast.Tuple, ast.List, ast.Set, ast.Dict, ast.Starred, ast.JoinedStr,
    ast.FormattedValue, ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.IfExp, ast.Subscript, ast.Slice,
    ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp, ast.comprehension, ast.Call, ast.keyword,
    ast.operator, ast.unaryop, ast.boolop, ast.cmpop, ast.expr_context,
)  # fmt: skip


@dataclass
class _Reads:
    """Occurrences of names in code.

    Args:
        names: Bare names.
        in_class: Bare names in a class body, where they may refer to a field.
        attributes: (attribute, hook that it occurs in).
        texts: Literals that name an attribute: arguments of `getattr` and the like.
    """

    names: set[str] = field(default_factory=set)
    in_class: set[str] = field(default_factory=set)
    attributes: set[tuple[str, str]] = field(default_factory=set)
    texts: set[str] = field(default_factory=set)

    def add(self, other: _Reads) -> None:
        """Add the occurrences in other code."""
        self.names |= other.names
        self.in_class |= other.in_class
        self.attributes |= other.attributes
        self.texts |= other.texts

    def words(self) -> set[str]:
        """All words that may refer to a top-level name."""
        return self.names | self.texts | {attribute for attribute, _ in self.attributes}

    def read_field(self, name: str) -> bool:
        """Whether a field is read outside of its hook, or through it."""
        hook = _HOOKS[name]
        outside = {attribute for attribute, inside in self.attributes if not (hook and inside == hook)}
        return name in self.in_class | self.texts | outside or hook in outside | self.texts


@dataclass(frozen=True, eq=False)
class _Candidate:
    """A part of the code that may be data.

    Args:
        kind: `field`, `constant`, `import` or `help`, which bounds are, too.
        name: Bound name; empty for a help text.
        nodes: Statements, the imported name, the argument, or the keyword of a bound.
        reads: Names that it reads.
        makes: Whether it calls `MethodCard`, `Recipe` or `ParentFit`.
    """

    kind: str
    name: str
    nodes: tuple[ast.AST, ...]
    reads: _Reads
    makes: bool = False

    def stays(self, code: _Reads, used: set[str], made: set[str]) -> bool:
        """Whether the candidate is data.

        Args:
            code: Names that code reads.
            used: Names that data reads.
            made: Names that hold cards, recipes or parent fits.
        """
        if self.kind == "help":  # no name refers to it, so that no code can read it
            return True
        if code.words() & _ANYTHING or code.names & _ANYTHING_NAMES:
            return False
        if self.kind == "field":
            of_makers = self.makes or bool(made & self.reads.names) or self.name in _PLAIN_FIELDS or _is_empty(self)
            return of_makers and not code.read_field(self.name)
        return self.name not in code.words() and (self.name in used or (self.kind == "constant" and self.name in made))


def data_nodes(trees: Sequence[ast.Module]) -> frozenset[int]:
    """`id`s of the statements, imported names and arguments that are data in the files of one plugin.

    Args:
        trees: Trees of all its files: a name that another file reads is not data.
    """
    own = {stmt.name for tree in trees for stmt in tree.body if isinstance(stmt, (ast.FunctionDef, ast.ClassDef))}
    candidates = [candidate for tree in trees for candidate in _candidates(tree, own)]
    candidate_ids = {id(node) for candidate in candidates for node in candidate.nodes}
    rest = _Reads()
    for tree in trees:
        rest.add(_reads([tree], candidate_ids))
    made = _made(candidates)
    data = candidates
    while True:  # a candidate that turns out to be code may read another candidate
        code = _Reads()
        code.add(rest)
        for candidate in candidates:
            if candidate not in data:
                code.add(candidate.reads)
        used = _used(data, made)
        kept = [candidate for candidate in data if candidate.stays(code, used, made)]
        if len(kept) == len(data):
            return frozenset(id(node) for candidate in kept for node in candidate.nodes)
        data = kept


def _made(candidates: Sequence[_Candidate]) -> set[str]:
    """Names that hold a card, a recipe or a parent fit, directly or through other names."""
    made: set[str] = set()
    while more := {c.name for c in candidates if c.name and (c.makes or c.reads.names & made)} - made:
        made |= more
    return made


def _used(data: Sequence[_Candidate], made: set[str]) -> set[str]:
    """Names that fields, help texts and made constants read, directly or through other names."""
    used: set[str] = set()
    while (
        more := {
            word
            for c in data
            if c.kind in ("field", "help") or c.name in used or (c.kind == "constant" and c.name in made)
            for word in c.reads.words()
        }
        - used
    ):
        used |= more
    return used


def _is_empty(candidate: _Candidate) -> bool:
    """Whether a field is `None` or `{}`: a method without recipe."""
    values = [getattr(node, "value", None) for node in candidate.nodes]
    nothing = [isinstance(value, ast.Constant) and value.value is None for value in values]
    return all(n or (isinstance(v, ast.Dict) and not v.keys) for n, v in zip(nothing, values, strict=True))


def _candidates(tree: ast.Module, own: set[str]) -> Iterator[_Candidate]:
    """Parts of a file that may be data.

    Args:
        tree: Of the file.
        own: Functions and classes of the plugin; a call of them is code, whatever their name.
    """
    bound = _bound(tree.body)
    for name, statements in _assigned(tree.body, own).items():
        # Another binding, such as a loop or an import, could give the name a value that is not plain.
        if bound[name] == len(statements):
            yield _candidate("constant", name, statements, own)
    for imported in tree.body:
        for alias in imported.names if isinstance(imported, ast.ImportFrom) else ():
            name = alias.asname or alias.name
            if alias.name != "*" and bound[name] == 1:
                yield _Candidate("import", name, (alias,), _Reads({alias.name}))
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            in_class = _bound(node.body, functions=False)
            for name, statements in _assigned(node.body, own).items():
                if name in _HOOKS and in_class[name] == len(statements):
                    yield _candidate("field", name, statements, own)
        elif isinstance(node, ast.Call) and _is_option(node, tree):
            texts = [*node.args[1:2], *(k.value for k in node.keywords if k.arg == "help")]
            for text in texts:
                if _is_plain(text, own):
                    yield _candidate("help", "", [text], own)
            for keyword in node.keywords:
                if keyword.arg in ("bounds", "unused_with") and _is_plain(keyword.value, own):
                    yield _candidate("help", "", [keyword], own)


def _candidate(kind: str, name: str, nodes: Sequence[ast.AST], own: set[str]) -> _Candidate:
    calls = {_called(node) for top in nodes for node in ast.walk(top) if isinstance(node, ast.Call)}
    reads = _reads(nodes, set())
    return _Candidate(kind, name, tuple(nodes), reads, bool(calls & (_MAKERS - own)))


def _assigned(body: Iterable[ast.stmt], own: set[str]) -> dict[str, list[ast.stmt]]:
    """The statements of a body that assign one plain value to one name, by name."""
    assigned: dict[str, list[ast.stmt]] = {}
    for statement in body:
        if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
            target = statement.targets[0]
        elif isinstance(statement, (ast.AnnAssign, ast.AugAssign)):
            target = statement.target
        else:
            continue
        if isinstance(target, ast.Name) and statement.value is not None and _is_plain(statement.value, own):
            assigned.setdefault(target.id, []).append(statement)
    return assigned


def _is_plain(value: ast.expr, own: set[str]) -> bool:
    """Whether an expression only builds a value."""
    nodes = list(ast.walk(value))
    calls = {_called(node) for node in nodes if isinstance(node, ast.Call)}
    return all(isinstance(node, _PLAIN) for node in nodes) and calls <= _BUILDERS - own


def _called(call: ast.Call) -> str:
    """The last word of the called name: `replace` of `dataclasses.replace(...)`."""
    if isinstance(call.func, ast.Attribute):
        return call.func.attr
    return call.func.id if isinstance(call.func, ast.Name) else ""


def _is_option(call: ast.Call, tree: ast.Module) -> bool:
    """Whether a call is one of `harness.api.option`."""
    if isinstance(call.func, ast.Attribute):
        owner = call.func.value
        of_api = (isinstance(owner, ast.Name) and owner.id == "api") or (
            isinstance(owner, ast.Attribute) and owner.attr == "api"
        )
        return call.func.attr == "option" and of_api
    # The name first: this runs for every call of a file, and few are calls of `option`.
    if not isinstance(call.func, ast.Name) or call.func.id != "option":
        return False
    imported = [node for node in tree.body if isinstance(node, ast.ImportFrom) and (node.module or "") == "harness.api"]
    return "option" in {alias.name for node in imported for alias in node.names if alias.asname is None}


def _named(call: ast.Call) -> Iterator[str]:
    """The attributes that a `getattr` or similar call names; `__dict__` for a computed name on the plugin itself."""
    texts = [a.value for a in call.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
    for text in texts:
        yield from text.split(".")
    target = call.args[0] if call.args else call
    # `getattr(self, name)` with a computed name can read every field.
    of_plugin = isinstance(target, ast.Call) or (isinstance(target, ast.Name) and target.id in ("self", "cls"))
    if not texts and of_plugin:
        yield "__dict__"


def _bound(body: Iterable[ast.stmt], functions: bool = True) -> Counter[str]:
    """The number of statements of a body that bind each name.

    Args:
        body: Of a module or class.
        functions: Count bindings inside functions and classes as well. The name may be another variable there, but a
            binding counted too much only makes a constant code.
    """
    bindings: Counter[str] = Counter()
    # A loop, because generated code may be nested deeper than Python's recursion limit.
    pending: list[ast.AST] = list(body)
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            bindings[node.id] += 1
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            bindings[node.name] += 1
            if not functions:
                continue
        elif isinstance(node, ast.alias):
            bindings[node.asname or node.name.partition(".")[0]] += 1
        elif isinstance(node, (ast.Global, ast.Nonlocal)):
            bindings.update(node.names)
        elif isinstance(node, ast.arg):
            bindings[node.arg] += 1
        elif isinstance(node, (ast.ExceptHandler, ast.MatchAs, ast.MatchStar)) and node.name:
            bindings[node.name] += 1
        pending.extend(ast.iter_child_nodes(node))
    return bindings


def _reads(tops: Iterable[ast.AST], candidate_ids: set[int]) -> _Reads:
    """The names that occur in nodes, except inside the nodes whose `id` is in `candidate_ids`."""
    reads = _Reads()
    pending = [(top, False, "") for top in tops]
    while pending:
        node, in_class, hook = pending.pop()
        if id(node) in candidate_ids:
            continue
        if isinstance(node, ast.Name):
            if isinstance(node.ctx, ast.Load):
                reads.names.add(node.id)
                if in_class:
                    reads.in_class.add(node.id)
        elif isinstance(node, ast.Attribute):
            reads.attributes.add((node.attr, hook))
        elif isinstance(node, ast.alias):
            reads.names.add(node.name)
        elif isinstance(node, ast.Call) and _called(node) in _BY_NAME:
            reads.texts.update(_named(node))
        elif isinstance(node, ast.MatchClass):
            reads.attributes.update((attribute, hook) for attribute in node.kwd_attrs)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            inside = hook or (node.name if in_class else "")
            # A bare name in the body of a method never refers to a field; in decorators, defaults and annotations it
            # can.
            body = {id(statement) for statement in node.body}
            children = [(child, in_class and id(child) not in body, inside) for child in ast.iter_child_nodes(node)]
        else:
            enters = in_class or isinstance(node, ast.ClassDef)
            children = [(child, enters, hook) for child in ast.iter_child_nodes(node)]
        pending.extend(children)
    return reads
