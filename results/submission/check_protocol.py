"""Protocol rules (P): compare lists, labels, repeats and prescribed settings with the facts of the benchmark."""

from __future__ import annotations

from itertools import product

from harness.base.canonical import labels_sha256, row_order_sha256, row_set_sha256
from results.measurement import UNKNOWN, FieldValue, ListId, leaves, normal
from results.measurement_words import (
    EMBEDDED_ARCH,
    WRITTEN_TEXTS,
    division,
    incomplete,
    plain,
    recipe_changes,
    recipe_text,
    unknown_fields,
)
from results.submission.check_parents import parent_fits
from results.submission.check_rows import check_rows
from results.submission.facts import EvalFacts, Facts, ListFacts, ListPlace, ProtocolFacts
from results.submission.names import confusable, name_problem, one_edit_apart
from results.submission.submission import Measured, Submission

CLASS_TEXTS = ("names", "templates", *WRITTEN_TEXTS, "learned", "none")
BAD_TABLE = frozenset(("A000", "A001", "A002", "A003", "A004", "A005"))
"""Rules whose findings make a predictions table unfit for a comparison with the published list."""


def check_protocol(submission: Submission, facts: Facts) -> None:
    """Add the findings of all P rules."""
    _method(submission, facts)
    _names(submission, facts)
    for measured in submission.measured:
        _claims(submission, measured)
        name, dataset = measured.m.protocol.name, measured.m.evaluation.list.dataset
        known = facts.pairs.get((name, dataset))
        if name not in facts.protocols:
            submission.note_of(measured, "P001", f"protocol {name}", f"one of {', '.join(facts.protocols)}")
        elif known is None:
            submission.note_of(measured, "P002", f"dataset {dataset}", f"a dataset of {name}")
        elif measured.m.protocol.version != known.version:
            submission.note_of(
                measured, "P001", f"{name} version {measured.m.protocol.version}", f"version {known.version}"
            )
        else:
            _against(submission, measured, known, facts)
    check_rows(submission, facts)


def _method(submission: Submission, facts: Facts) -> None:
    """Check that there is one method in one version with a valid name (rules P016, P017)."""
    manifest = submission.manifest
    methods = [measured.m.method for measured in submission.measured]
    # One program, because a board lists one method and version per folder.
    programs = sorted({f"{method.name} version {method.version} code {method.code}" for method in methods})
    if len(programs) > 1:
        submission.note("P017", "records/", f"{len(programs)} programs: {'; '.join(programs)}", "one")
    elif methods and manifest is not None:
        stated = (manifest.method, manifest.version)
        if stated != (methods[0].name, methods[0].version):
            found, expected = "{} version {}".format(*stated), f"{methods[0].name} version {methods[0].version}"
            submission.note("P017", "submission.json", found, f"{expected}, as the records state")
    for name, origin in sorted(
        {(measured.m.method.name, measured.record.method.origin) for measured in submission.measured}
    ):
        # Under the name of a built-in method a changed method would be ranked as the original.
        if (name in facts.builtin) != (origin == "built-in"):
            expected = "a name that is not built in" if name in facts.builtin else "a built-in method"
            submission.note("P016", f"method {name}", f"origin {origin}", expected)


def _names(submission: Submission, facts: Facts) -> None:
    """Check that name, title and submitter can be read and told apart from those of other methods (P027, P028)."""
    manifest = submission.manifest
    if manifest is None:
        return
    titles = {manifest.title, *(measured.record.method.title for measured in submission.measured)}
    shown = [("method", manifest.method), *(("title", title) for title in sorted(titles))]
    for field, text in [*shown, *([("submitter", manifest.submitter)] if manifest.submitter else [])]:
        if problem := name_problem(text):
            submission.note("P027", f"submission.json {field}", f"{text!r}: {problem}", "visible characters")
    others = {method: title for method, title in facts.titles.items() if method != manifest.method}
    for (field, text), (method, title) in product(shown, others.items()):
        for other in dict.fromkeys((method, title)):
            close = "one character away from" if method in facts.builtin and one_edit_apart(text, other) else ""
            if confusable(text, other) or close:
                found = f"{text!r} is {close or 'confusable with'} {other!r} of the method {method}"
                submission.note("P028", f"submission.json {field}", found, "another name")


def _claims(submission: Submission, measured: Measured) -> None:
    """Check a record without facts of its dataset."""
    record, m = measured.record, measured.m
    # Only acceptance on a board gives a status; a submitter could claim one.
    if record.status != "submitted" or record.remarks:
        remarks = f" with the remark {record.remarks[0]!r}" if record.remarks else ""
        submission.note_of(measured, "P015", f"status {record.status}{remarks}", "submitted, without remarks")
    reasons = [*incomplete(m), *([f"a sample: {m.evaluation.sample}"] if m.evaluation.sample else [])]
    if reasons:
        submission.note_of(measured, "P019", "; ".join(reasons), "every video of both lists, and trained weights")
    if record.overlap.train_videos:
        submission.note_of(measured, "P009", f"{record.overlap.train_videos} evaluation videos trained on", "none")
    if unknown := unknown_fields(m):
        submission.note_of(measured, "P023", f"unknown: {', '.join(unknown)}", "a value for every setting")
    elif (m.training is None) != (record.method.params_trained == 0):
        fitted = "no fit" if m.training is None else "a fit"
        submission.note_of(
            measured, "P022", f"{fitted} and {record.method.params_trained} trained parameters", "both or neither"
        )
    if m.method.class_text not in CLASS_TEXTS and "P023" not in measured.failed:
        submission.note_of(measured, "P011", f"class text {m.method.class_text!r}", f"one of {', '.join(CLASS_TEXTS)}")
    elif m.method.options.get("class_texts") and m.method.class_text not in WRITTEN_TEXTS:
        found = f"class text {m.method.class_text!r} with a file of class texts"
        submission.note_of(measured, "P011", found, f"one of {', '.join(WRITTEN_TEXTS)}")
    if m.method.class_text_sha256 not in ("", UNKNOWN):
        # No version of the harness writes it: a method with a file of class texts has an option that names the file.
        submission.note_of(measured, "P011", f"a class text file {m.method.class_text_sha256}", "none")
    if division(m) == "closed":
        _closed(submission, measured)


def _closed(submission: Submission, measured: Measured) -> None:
    """Check initial weights and recipes of a fit and its parent fits in the closed division (rules P014, P025)."""
    model, training = measured.m.model, measured.m.fitted
    trainings = (
        [training, *(parent.described.training for parent in parent_fits(submission, measured))] if training else []
    )
    if any(fitted.start.kind == "checkpoint" for fitted in trainings):
        submission.note_of(measured, "P014", "a fit that starts from a file", "CLIP, or a fit of the submission")
    # The embedded tiny CLIP is a file, too; rule P021 checks its hash. `check_claims` refuses models other than CLIP.
    elif model.weights.startswith(("sha256:", "hf-hub:")) and model.arch != EMBEDDED_ARCH and not model.config:
        submission.note_of(measured, "P014", f"{model.arch} of a file {model.weights}", "weights of a pretrained tag")
    for fitted in trainings:
        if changes := recipe_changes(fitted):
            found = f"changed recipe on {fitted.list.dataset}/{fitted.list.name}: {recipe_text(changes)}"
            submission.note_of(measured, "P025", found, "the declared recipe")


def _against(submission: Submission, measured: Measured, known: ProtocolFacts, facts: Facts) -> None:
    """Check one record against the facts of its protocol and dataset."""
    record = measured.record
    if record.embedded != known.embedded:
        submission.note_of(measured, "P020", f"embedded {record.embedded}", str(known.embedded))
    if record.columns != known.columns:
        found, expected = ([column.name for column in columns] for columns in (record.columns, known.columns))
        submission.note_of(
            measured, "P018", f"column rules of {', '.join(found)}", f"the rules of {', '.join(expected)}"
        )
    expected_eval = known.expected(measured.m).get(measured.place)
    if expected_eval is None:
        return  # rule P007 on rows reports an evaluation that the protocol does not prescribe
    _list(submission, measured, expected_eval.test, known)
    _label_set(submission, measured, expected_eval.test, known)
    _prescribed(submission, measured, expected_eval, known)
    _training(submission, measured, expected_eval, known)
    _declared(submission, measured, expected_eval, facts)


def _list(submission: Submission, measured: Measured, prescribed: ListPlace, known: ProtocolFacts) -> None:
    """Check that the evaluation list is the published list, in its order (rule P003)."""
    listed = measured.m.evaluation.list
    pinned = known.lists[prescribed.dataset, prescribed.name]
    if listed.origin == "own" or listed.root:
        submission.note_of(measured, "P003", "a list of a custom dataset", "the published list")
    elif (listed.dataset, listed.name) != (prescribed.dataset, prescribed.name):
        submission.note_of(
            measured, "P003", f"the list {listed.dataset}/{listed.name}", f"{prescribed.dataset}/{prescribed.name}"
        )
    elif listed.content != pinned.content:
        submission.note_of(measured, "P003", _videos(listed.content), _videos(pinned.content))
    # A table that failed an arithmetic rule says nothing about the list.
    elif not measured.failed & BAD_TABLE and not _is_list(measured, listed, pinned):
        found = f"{listed.n} videos, sha256 {listed.sha256}"
        submission.note_of(measured, "P003", found, f"{pinned.n} videos, sha256 {pinned.sha256}")
    elif measured.frame is not None:
        rows = zip(measured.frame["video"].tolist(), measured.frame["cluster"].tolist(), strict=True)
        wrong = next(((video, stated) for video, stated in rows if stated != known.cluster(video)), None)
        if wrong is not None:
            found, expected = f"cluster {wrong[1]!r} of {wrong[0]}", repr(known.cluster(wrong[0]))
            submission.note_of(measured, "P003", found, expected)


def _is_list(measured: Measured, listed: ListId, pinned: ListFacts) -> bool:
    # Copies of a dataset have other folders and extensions; then only names and labels can be compared, and only if the
    # table has every video of the list.
    if listed.sha256 == pinned.sha256:
        return listed.n == pinned.n
    if measured.frame is None or not pinned.set_sha256 or measured.m.evaluation.evaluated != listed.n:
        return False
    rows = list(zip(measured.frame["video"], measured.frame["label"], strict=True))
    # Rows in another order are another list for the row key: all rows of the table would lose their ranks.
    if pinned.order_sha256:
        return row_order_sha256(rows) == pinned.order_sha256
    return row_set_sha256(rows) == pinned.set_sha256


def _label_set(submission: Submission, measured: Measured, prescribed: ListPlace, known: ProtocolFacts) -> None:
    """Check that the class names are the published names of the prescribed label set, in order (rule P004)."""
    listed, classes = measured.m.evaluation.list, measured.record.classes
    names = known.labels.get((prescribed.dataset, prescribed.labels, listed.label_variant))
    if listed.labels != prescribed.labels or names is None:
        found = f"label set {listed.labels}, {listed.label_variant}"
        submission.note_of(measured, "P004", found, f"label set {prescribed.labels} of {prescribed.dataset}")
    elif names != classes and "A014" not in measured.failed:
        # Of different lengths: the message then states the number of names.
        pairs = zip(classes, names, strict=False)
        first = next((f"{a!r} for {b!r}" for a, b in pairs if a != b), f"{len(classes)} names")
        submission.note_of(measured, "P004", first, f"the {len(names)} names of {prescribed.labels}")


def _prescribed(submission: Submission, measured: Measured, item: EvalFacts, known: ProtocolFacts) -> None:
    """Check the prescribed settings, from which the division follows, and the dataset of the row (rule P010)."""
    # No protocol of the benchmark has columns over several datasets; another table would take the row out of its rank.
    if table := measured.m.protocol.table or measured.m.protocol.table_root:
        submission.note_of(measured, "P010", f"a row of {table}", f"a row of {measured.m.evaluation.list.dataset}")
    expected = known.prescribed(item, measured.m.model, measured.m.protocol.prescribed.views)
    if expected is not None and measured.m.protocol.prescribed != expected:
        wanted = dict(leaves(expected))
        for name, value in leaves(measured.m.protocol.prescribed):
            if value != wanted[name]:
                submission.note_of(measured, "P010", f"prescribed {name} {plain(value) or 'none'}", plain(wanted[name]))


def _training(submission: Submission, measured: Measured, expected: EvalFacts, known: ProtocolFacts) -> None:
    """Check the training list and the lists of parent fits (rules P005, W010)."""
    training, fit = measured.m.fitted, measured.record.fit
    if training is None or fit is None or expected.train is None:
        return
    if fit.shots != expected.shots:
        submission.note_of(measured, "P005", f"{fit.shots} shots", f"{expected.shots} shots")
    _training_list(submission, measured, training.list, expected.train, known)
    for listed in (parent.described.training.list for parent in parent_fits(submission, measured)):
        if known.parent is None:
            submission.note_of(
                measured, "P005", f"a parent fit on {listed.dataset}/{listed.name}", "a fit without parents"
            )
        else:
            _training_list(submission, measured, listed, known.parent, known)


def _videos(content: str) -> str:
    """The videos of a list in a finding."""
    return f"videos of sha256 {content}" if content else "the videos of the published paths"


def _training_list(
    submission: Submission, measured: Measured, found: ListId, expected: ListPlace, known: ProtocolFacts
) -> None:
    """Check a training list by name, label set and content (rules P005, W010)."""
    pinned = known.lists.get((expected.dataset, expected.name))
    names = known.labels.get((expected.dataset, expected.labels, found.label_variant), ())
    if (found.dataset, found.name, found.labels) != (expected.dataset, expected.name, expected.labels):
        used = ListPlace(found.dataset, found.name, found.labels)
        submission.note_of(measured, "P005", str(used), str(expected))
    elif found.origin == "own" or found.root:
        submission.note_of(measured, "P005", f"a list {expected} of a custom dataset", "the published list")
    elif found.content != (pinned.content if pinned else ""):
        submission.note_of(measured, "P005", _videos(found.content), _videos(pinned.content if pinned else ""))
    elif not names or found.labels_sha256 != labels_sha256(names):
        submission.note_of(
            measured, "P005", f"labels of sha256 {found.labels_sha256}", f"the names of {expected.labels}"
        )
    elif pinned is None or not pinned.sha256:
        submission.note_of(measured, "W010", f"{expected} of sha256 {found.sha256}", "a list whose hash is published")
    elif (found.sha256, found.n) != (pinned.sha256, pinned.n):
        shown = f"{found.n} clips, sha256 {found.sha256}"
        submission.note_of(measured, "P005", shown, f"{pinned.n} clips, sha256 {pinned.sha256}")


def _declared(submission: Submission, measured: Measured, expected: EvalFacts, facts: Facts) -> None:
    """Check the declared recipe and the default options of a built-in method (rule P025)."""
    declared = facts.declared(measured.m, expected.shots) if measured.record.method.origin == "built-in" else None
    if declared is None:
        return
    stated: dict[str, FieldValue] = dict(measured.record.method.defaults)
    wanted: dict[str, FieldValue] = dict(declared.defaults)
    if measured.m.fitted is not None and declared.recipe is not None:
        stated |= {f"recipe.{name}": value for name, value in leaves(measured.m.fitted.declared)}
        wanted |= {f"recipe.{name}": value for name, value in leaves(declared.recipe)}
    for name in wanted:
        if name not in stated or normal(stated[name]) != normal(wanted[name]):
            found = plain(stated[name]) if name in stated else "none"
            as_declared = f"{plain(wanted[name])}, as the method declares"
            submission.note_of(measured, "P025", f"declared {name} {found}", as_declared)
