"""Protocol rules (P): were the protocol's lists, labels, repeats and division kept? Compared with `Facts` handed in."""

from __future__ import annotations

from collections.abc import Iterator

from harness.base.canonical import labels_sha256, row_set_sha256
from results.fit_file import FitFile
from results.measurement import FieldValue, ListId, leaves, normal
from results.measurement_words import (
    EMBEDDED_ARCH,
    division,
    incomplete,
    plain,
    recipe_changes,
    recipe_text,
    unknown_fields,
)
from results.submission.check_rows import check_rows
from results.submission.facts import EvalFacts, Facts, ListFacts, ListPlace, ProtocolFacts
from results.submission.submission import Measured, Submission, parent_of

CLASS_TEXTS = ("names", "templates", "llm-rewritten", "learned", "none")
BAD_TABLE = frozenset(("A000", "A001", "A002", "A003", "A004", "A005"))


def check_protocol(submission: Submission, facts: Facts) -> None:
    """Add the findings of all P rules."""
    _method(submission, facts)
    for one in submission.measured:
        _claims(submission, one, facts)
        name, dataset = one.m.protocol.name, one.m.evaluation.list.dataset
        known = facts.pairs.get((name, dataset))
        if name not in facts.protocols:
            submission.note_of(one, "P001", f"protocol {name}", f"one of {', '.join(facts.protocols)}")
        elif known is None:
            submission.note_of(one, "P002", f"dataset {dataset}", f"a dataset of {name}")
        elif one.m.protocol.version != known.version:
            submission.note_of(one, "P001", f"{name} version {one.m.protocol.version}", f"version {known.version}")
        else:
            _against(submission, one, known, facts)
    check_rows(submission, facts)


def _method(submission: Submission, facts: Facts) -> None:
    """One method in one version, under a name of its own (rules P017, P016)."""
    manifest = submission.manifest
    methods = [one.m.method for one in submission.measured]
    programs = sorted({f"{method.name} version {method.version} code {method.code}" for method in methods})
    if len(programs) > 1:
        submission.note("P017", "records/", f"{len(programs)} programs: {'; '.join(programs)}", "one")
    elif methods and manifest is not None:
        stated = (manifest.method, manifest.version)
        if stated != (methods[0].name, methods[0].version):
            found, expected = "{} version {}".format(*stated), f"{methods[0].name} version {methods[0].version}"
            submission.note("P017", "submission.json", found, f"{expected}, as the records say")
    for name, origin in sorted({(one.m.method.name, one.record.method.origin) for one in submission.measured}):
        if (name in facts.builtin) != (origin == "built-in"):
            expected = "a name that is not built in" if name in facts.builtin else "a built-in method"
            submission.note("P016", f"method {name}", f"origin {origin}", expected)


def _claims(submission: Submission, one: Measured, facts: Facts) -> None:
    """Statements of a record about itself, whatever the dataset."""
    record, m = one.record, one.m
    if record.status != "submitted" or record.remarks:
        remarks = f" with the remark {record.remarks[0]!r}" if record.remarks else ""
        submission.note_of(one, "P015", f"status {record.status}{remarks}", "submitted, without remarks")
    reasons = [*incomplete(m), *([f"a sample: {m.evaluation.sample}"] if m.evaluation.sample else [])]
    if reasons:
        submission.note_of(one, "P019", "; ".join(reasons), "every video of both lists, and trained weights")
    if record.overlap.train_videos:
        submission.note_of(one, "P009", f"{record.overlap.train_videos} evaluation videos trained on", "none")
    if unknown := unknown_fields(m):
        submission.note_of(one, "P023", f"unknown: {', '.join(unknown)}", "a value for every setting")
    elif (m.training is None) != (record.method.params_trained == 0):
        fitted = "no fit" if m.training is None else "a fit"
        submission.note_of(
            one, "P022", f"{fitted} and {record.method.params_trained} trained parameters", "both or none"
        )
    if m.method.class_text not in CLASS_TEXTS and "P023" not in one.failed:
        submission.note_of(one, "P011", f"class text {m.method.class_text!r}", f"one of {', '.join(CLASS_TEXTS)}")
    if m.model.arch == EMBEDDED_ARCH and facts.mini_weights not in ("", m.model.weights):
        submission.note_of(one, "P021", f"{EMBEDDED_ARCH} of {m.model.weights}", facts.mini_weights)
    if division(m) == "closed":
        _closed(submission, one)


def _closed(submission: Submission, one: Measured) -> None:
    """The closed division: traced initial weights, and declared recipes, in the fit and its parents (P014, P025)."""
    model, training = one.m.model, one.m.fitted
    trainings = [training, *(parent.described.training for parent in _parents(submission, one))] if training else []
    if any(fitted.start.kind == "checkpoint" for fitted in trainings):
        submission.note_of(one, "P014", "a fit that starts from a file", "CLIP, or a fit of the submission")
    elif model.weights.startswith("sha256:") and model.arch != EMBEDDED_ARCH and not model.config:
        submission.note_of(one, "P014", f"{model.arch} of a file {model.weights}", "weights known by a tag")
    for fitted in trainings:
        if changes := recipe_changes(fitted):
            found = f"changed recipe on {fitted.list.dataset}/{fitted.list.name}: {recipe_text(changes)}"
            submission.note_of(one, "P025", found, "the declared recipe")


def _parents(submission: Submission, one: Measured) -> Iterator[FitFile]:
    """The fits of the submission that the evaluated fit starts from, the nearest first."""
    key, seen = one.keys.fit, set[str]()
    while (fit := submission.fits.get(key)) is not None and key not in seen:
        seen.add(key)
        if key != one.keys.fit:
            yield fit
        key = parent_of(fit)


def _against(submission: Submission, one: Measured, known: ProtocolFacts, facts: Facts) -> None:
    """One record against the pinned facts of its protocol and dataset."""
    record = one.record
    if record.embedded != known.embedded:
        submission.note_of(one, "P020", f"embedded {record.embedded}", str(known.embedded))
    if record.columns != known.columns:
        found, expected = ([column.name for column in columns] for columns in (record.columns, known.columns))
        submission.note_of(one, "P018", f"column rules of {', '.join(found)}", f"the rules of {', '.join(expected)}")
    expected_eval = known.expected(one.m).get(one.place)
    if expected_eval is None:
        return  # an evaluation beside the protocol's: a rule on rows says so
    _list(submission, one, expected_eval.test, known)
    _label_set(submission, one, expected_eval.test, known)
    _prescribed(submission, one, expected_eval, known)
    _training(submission, one, expected_eval, known)
    _declared(submission, one, expected_eval, facts)


def _list(submission: Submission, one: Measured, place: ListPlace, known: ProtocolFacts) -> None:
    """The evaluation list is the published one, by content or as a set of clips and labels (rule P003)."""
    listed = one.m.evaluation.list
    pinned = known.lists[place.dataset, place.name]
    if listed.origin == "own":
        submission.note_of(one, "P003", "a list of one's own", "the published list")
    elif (listed.dataset, listed.name) != (place.dataset, place.name):
        submission.note_of(one, "P003", f"the list {listed.dataset}/{listed.name}", f"{place.dataset}/{place.name}")
    elif not one.failed & BAD_TABLE and not _is_list(one, listed, pinned):
        found = f"{listed.n} videos, sha256 {listed.sha256}"
        submission.note_of(one, "P003", found, f"{pinned.n} videos, sha256 {pinned.sha256}")
    elif one.frame is not None:
        rows = zip(one.frame["video"], one.frame["cluster"], strict=True)
        wrong = next(((video, stated) for video, stated in rows if stated != known.cluster(video)), None)
        if wrong is not None:
            found, expected = f"cluster {wrong[1]!r} of {wrong[0]}", repr(known.cluster(wrong[0]))
            submission.note_of(one, "P003", found, expected)


def _is_list(one: Measured, listed: ListId, pinned: ListFacts) -> bool:
    if listed.sha256 == pinned.sha256:
        return listed.n == pinned.n
    if one.frame is None or not pinned.set_sha256 or one.m.evaluation.evaluated != listed.n:
        return False
    return row_set_sha256(zip(one.frame["video"], one.frame["label"], strict=True)) == pinned.set_sha256


def _label_set(submission: Submission, one: Measured, place: ListPlace, known: ProtocolFacts) -> None:
    """The class names are the published ones of the prescribed label set, in their order (rule P004)."""
    listed, classes = one.m.evaluation.list, one.record.classes
    names = known.labels.get((place.dataset, place.labels, listed.label_variant))
    if listed.labels != place.labels or names is None:
        found = f"label set {listed.labels}, {listed.label_variant}"
        submission.note_of(one, "P004", found, f"label set {place.labels} of {place.dataset}")
    elif names != classes and "A014" not in one.failed:
        pairs = zip(classes, names, strict=False)
        first = next((f"{a!r} for {b!r}" for a, b in pairs if a != b), f"{len(classes)} names")
        submission.note_of(one, "P004", first, f"the {len(names)} names of {place.labels}")


def _prescribed(submission: Submission, one: Measured, item: EvalFacts, known: ProtocolFacts) -> None:
    """The prescribed settings, from which the division follows, are the protocol's (rule P010)."""
    expected = known.prescribed(item, one.m.model)
    if expected is not None and one.m.protocol.prescribed != expected:
        wanted = dict(leaves(expected))
        for name, value in leaves(one.m.protocol.prescribed):
            if value != wanted[name]:
                submission.note_of(one, "P010", f"prescribed {name} {plain(value) or 'none'}", plain(wanted[name]))


def _training(submission: Submission, one: Measured, expected: EvalFacts, known: ProtocolFacts) -> None:
    """The training list, that of a parent fit, and the classes that were seen (rules P005, P009, W010)."""
    training, fit = one.m.fitted, one.record.fit
    if training is None or fit is None or expected.train is None:
        return
    if fit.shots != expected.shots:
        submission.note_of(one, "P005", f"{fit.shots} shots", f"{expected.shots} shots")
    _training_list(submission, one, training.list, expected.train, known)
    parents = [parent.described.training.list for parent in _parents(submission, one)]
    for listed in parents:
        if known.parent is None:
            submission.note_of(one, "P005", f"a parent fit on {listed.dataset}/{listed.name}", "a fit without parents")
        else:
            _training_list(submission, one, listed, known.parent, known)
    ids = {*expected.seen, *(expected.parent_seen if parents else ())}
    classes, named = one.record.classes, set(one.record.overlap.seen_classes)
    needed = {classes[id] for id in ids if id < len(classes)}
    if named != needed and not one.failed & {"P004", "P005", "A014"}:
        hidden, padded = sorted(needed - named), sorted(named - needed)
        found = f"seen classes not named: {', '.join(hidden[:8])}" if hidden else f"not seen: {', '.join(padded[:8])}"
        submission.note_of(one, "P009", found, f"{len(needed)} seen classes named")


def _training_list(
    submission: Submission, one: Measured, found: ListId, expected: ListPlace, known: ProtocolFacts
) -> None:
    """A training list by name, label set and content (rules P005, W010)."""
    pinned = known.lists.get((expected.dataset, expected.name))
    names = known.labels.get((expected.dataset, expected.labels, found.label_variant), ())
    if (found.dataset, found.name, found.labels) != (expected.dataset, expected.name, expected.labels):
        place = ListPlace(found.dataset, found.name, found.labels)
        submission.note_of(one, "P005", str(place), str(expected))
    elif found.origin == "own":
        submission.note_of(one, "P005", f"an own list {expected}", "the published list")
    elif not names or found.labels_sha256 != labels_sha256(names):
        submission.note_of(one, "P005", f"labels of sha256 {found.labels_sha256}", f"the names of {expected.labels}")
    elif pinned is None or not pinned.sha256:
        submission.note_of(one, "W010", f"{expected} of sha256 {found.sha256}", "a hash to compare with")
    elif (found.sha256, found.n) != (pinned.sha256, pinned.n):
        shown = f"{found.n} clips, sha256 {found.sha256}"
        submission.note_of(one, "P005", shown, f"{pinned.n} clips, sha256 {pinned.sha256}")


def _declared(submission: Submission, one: Measured, expected: EvalFacts, facts: Facts) -> None:
    """The recipe and the defaults that a record calls declared are those of the built-in method (rule P025)."""
    declared = facts.declared(one.m, expected.shots) if one.record.method.origin == "built-in" else None
    if declared is None:
        return
    stated: dict[str, FieldValue] = dict(one.record.method.defaults)
    wanted: dict[str, FieldValue] = dict(declared.defaults)
    if one.m.fitted is not None and declared.recipe is not None:
        stated |= {f"recipe.{name}": value for name, value in leaves(one.m.fitted.declared)}
        wanted |= {f"recipe.{name}": value for name, value in leaves(declared.recipe)}
    for name in wanted:
        if name not in stated or normal(stated[name]) != normal(wanted[name]):
            found = plain(stated[name]) if name in stated else "none"
            as_declared = f"{plain(wanted[name])}, as the method declares"
            submission.note_of(one, "P025", f"declared {name} {found}", as_declared)
