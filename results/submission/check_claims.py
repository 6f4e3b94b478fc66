"""Rules on statements that follow from the benchmark, the method or the installation (P029 to P034, and others)."""

from __future__ import annotations

import re
from dataclasses import asdict, replace

from results.measurement import ListId
from results.measurement_words import division, own_recipe, views_text
from results.record import AuditFacts
from results.submission.check_costs import check_costs
from results.submission.check_parents import check_parents
from results.submission.facts import Declared, Facts, ProtocolFacts
from results.submission.submission import Measured, Submission, parent_of

BUILT_IN = "built-in"
OTHER_CLASSES = frozenset(("P003", "P004", "P005", "A014"))
"""Rules whose findings explain a wrong leakage check in more detail."""
# The forms that `harness.plugins.registry` writes: a loose file, a distribution with its version, or one without name.
_ORIGIN = re.compile(r"file [^/\\]+|[A-Za-z0-9][A-Za-z0-9._-]* [0-9][A-Za-z0-9.+!_-]*|an unnamed distribution")
_VERSION = re.compile(r"\d{1,4}(\.\d{1,4}){1,3}([a-z.+-][a-z0-9.+-]{0,40})?")


def check_claims(submission: Submission, facts: Facts) -> None:
    """Add the findings on statements of all records and fits."""
    check_costs(submission, facts)
    _versions(submission, facts)
    for measured in submission.measured:
        _origin(submission, measured)
        _model(submission, measured, facts)
        _options(submission, measured)
        known = facts.pairs.get((measured.m.protocol.name, measured.m.evaluation.list.dataset))
        if known is not None and measured.m.protocol.version == known.version:
            _audits(submission, measured, known)
            _training_views(submission, measured)
        if measured.record.method.origin == BUILT_IN:
            _built_in(submission, measured, facts)
        check_parents(submission, measured, facts)
    published = [
        measured for measured in submission.measured
        if measured.m.fitted and not own_recipe(measured.m.fitted) and measured.record.method.origin != BUILT_IN
    ]  # fmt: skip
    if published:
        fitted = published[0].m.fitted
        source = fitted.declared.source if fitted else ""
        submission.note("W012", published[0].name, f"the recipe of {source!r}", "a recipe of the method's own")


def parents_of(submission: Submission, measured: Measured) -> list[ListId] | None:
    """Training lists of the parent fit of the evaluated fit, of its parent fit, and so on; None if a fit is missing."""
    lists: dict[str, ListId] = {}
    # A key that occurs twice ends a circle of fits, which a forged submission can contain.
    key = measured.keys.fit
    while key and key not in lists:
        fit = submission.fits.get(key)
        if fit is None:
            return None
        lists[key] = fit.described.training.list
        key = parent_of(fit)
    return list(lists.values())[1:]


def _versions(submission: Submission, facts: Facts) -> None:
    """Check the versions of engine and harness (rule P033)."""
    manifest = submission.manifest
    # A submission that was packed by a script may leave the version out.
    stated = manifest.harness if manifest is not None else ""
    if stated and facts.harness and not _not_newer(stated, facts.harness):
        found, expected = f"harness {stated!r}", f"{facts.harness} or an earlier version"
        submission.note("P033", "submission.json", found, expected)
    # Records and fits are compared with each other by A015; a parent fit has no record.
    engines = [(measured.name, measured.m.engine) for measured in submission.measured]
    engines += [(f"fits/{key}.json", fit.described.engine) for key, fit in sorted(submission.fits.items())]
    for name, engine in engines:
        if facts.engine and engine != facts.engine:
            submission.note("P033", name, f"engine version {engine}", f"{facts.engine}")


def _not_newer(version: str, newest: str) -> bool:
    if not _VERSION.fullmatch(version):
        return False
    # Only the numbers are compared: a development version counts as its release.
    numbers = [[int(n) for n in re.findall(r"\d+", re.split(r"[a-z+-]", text)[0])] for text in (version, newest)]
    return numbers[0] <= numbers[1]


def _origin(submission: Submission, measured: Measured) -> None:
    """Check that the origin is one that the registry of plugins writes (rule P016)."""
    origin = measured.record.method.origin
    if origin != BUILT_IN and not (_ORIGIN.fullmatch(origin) and origin.isprintable()):
        expected = "built-in, file NAME, or name and version of a distribution"
        submission.note_of(measured, "P016", f"origin {origin!r}", expected)


def _model(submission: Submission, measured: Measured, facts: Facts) -> None:
    """Check the model against its architecture and tag (rules P014, P021, P029)."""
    model = measured.m.model
    if facts.mini is not None and model.arch == facts.mini.arch and "A015" not in measured.failed:
        for name, expected in asdict(facts.mini).items():
            if (found := getattr(model, name)) != expected:
                submission.note_of(measured, "P021", f"{model.arch} with {name} {found or 'none'}", str(expected))
    for found, expected in facts.model_problems(model):
        submission.note_of(measured, "P029", found, expected)
    # Nobody knows on which data such a model was trained, and the protocol's views do not bind it.
    if model.config and division(measured.m) == "closed":
        submission.note_of(measured, "P014", f"{model.arch}, a model other than CLIP", "a CLIP model")


def _options(submission: Submission, measured: Measured) -> None:
    """Check that the method has the recorded options and no other (rule P030)."""
    method, defaults = measured.m.method, measured.record.method.defaults
    if both := sorted(set(method.options) & set(method.evaluation_options)):
        submission.note_of(measured, "P030", f"{', '.join(both)} as options of fit and evaluation", "one of them")
    named = {*method.options, *method.evaluation_options}
    if named != set(defaults):
        found = f"options {', '.join(sorted(named)) or 'none'}"
        submission.note_of(measured, "P030", found, f"{', '.join(sorted(defaults)) or 'none'}, which have defaults")


def _audits(submission: Submission, measured: Measured, known: ProtocolFacts) -> None:
    """Check the seen classes and the leakage checks against all training lists (rule P009)."""
    test, training, overlap = measured.m.evaluation.list, measured.m.fitted, measured.record.overlap
    # Rule P023 reports a training that is `unknown`.
    if measured.failed & OTHER_CLASSES or (training is None and measured.m.training is not None):
        return
    parents = parents_of(submission, measured)
    if parents is None:
        return  # F008 reports a missing parent fit
    trained = [training.list, *parents] if training else [None]
    audits = [known.audit(listed, test) for listed in trained]
    if any(audit is None for audit in audits):
        return  # P004 or P005 reports a label set that is not known
    expected = tuple(audit for audit in audits if audit is not None)
    needed = {seen.name for audit in expected for seen in audit.seen if seen.id in audit.seen_ids}
    if set(overlap.seen_classes) != needed:
        hidden, padded = sorted(needed - {*overlap.seen_classes}), sorted({*overlap.seen_classes} - needed)
        texts = ("not named", hidden) if hidden else ("not seen in training", padded)
        found = f"classes {texts[0]}: {', '.join(texts[1][:8])}"
        submission.note_of(measured, "P009", found, f"the {len(needed)} seen classes")
    elif list(overlap.seen_classes) != [name for name in measured.record.classes if name in needed]:
        submission.note_of(measured, "P009", "seen classes repeated or in another order", "each once, by class id")
    if measured.m.method.checkpoint and len(overlap.audits) == len(expected):
        # The training data of a checkpoint are not known; its row is in the open division.
        pairs = zip(expected, overlap.audits, strict=True)
        expected = tuple(replace(audit, source=stated.source) for audit, stated in pairs)
    if overlap.audits != expected:
        found, wanted = (_shown(audits) for audits in (overlap.audits, expected))
        submission.note_of(measured, "P009", f"leakage checks {found}", wanted)


def _shown(audits: tuple[AuditFacts, ...]) -> str:
    texts = [f"{audit.train or 'no training'} against {audit.test}, {len(audit.seen_ids)} seen" for audit in audits]
    return "; ".join(texts) or "none"


def _training_views(submission: Submission, measured: Measured) -> None:
    """Check the views of training clips in the closed division (rule P032)."""
    training, prescribed = measured.m.fitted, measured.m.protocol.prescribed.views
    if training is None or division(measured.m) != "closed" or "P010" in measured.failed:
        return
    if training.views != (expected := prescribed.training):
        found = f"training views {views_text(training.views)}"
        submission.note_of(measured, "P032", found, views_text(expected))


def _built_in(submission: Submission, measured: Measured, facts: Facts) -> None:
    """Check code, options, card and parameters of a built-in method (rules P022, P030, P031, P034)."""
    method, program = measured.m.method, facts.builtin.get(measured.m.method.name)
    if program is None:
        return  # P016 reports a name that is not built in
    if (method.version, method.code) != (program.version, program.code):
        found = f"{method.name} version {method.version}, code {method.code}"
        submission.note_of(measured, "P034", found, f"version {program.version}, code {program.code}")
        return  # another program can have other options and another card
    fit = measured.record.fit
    declared = facts.declared(measured.m, fit.shots if fit else None)
    if declared is None:
        return
    if measured.m.training is None and declared.trained and not method.checkpoint:
        submission.note_of(measured, "P022", f"no fit of {method.name}", "a fit, or the weights of a checkpoint")
    if measured.m.training is not None and not declared.trained:
        submission.note_of(measured, "P022", f"a fit of {method.name}", "no fit: the method is not trained")
    # The harness sets `frames` from the views, and `_frames_option` checks it.
    names = {*method.options, *method.evaluation_options} - {"frames"}
    if declared.option_problem or names != set(declared.defaults):
        found = declared.option_problem or f"options {', '.join(sorted(names))}"
        submission.note_of(measured, "P030", found, f"valid values of {', '.join(sorted(declared.defaults))}")
    elif set(method.evaluation_options) != declared.evaluation_options:
        found = f"evaluation options {', '.join(sorted(method.evaluation_options)) or 'none'}"
        submission.note_of(measured, "P030", found, ", ".join(sorted(declared.evaluation_options)) or "none")
    _frames_option(submission, measured)
    _card(submission, measured, declared)


def _frames_option(submission: Submission, measured: Measured) -> None:
    """Check the option `frames`, which the harness sets from the views (rule P030)."""
    views = measured.m.fitted.views if measured.m.fitted else measured.m.evaluation.views
    found = measured.m.method.options.get("frames", views.frames)
    if found != views.frames:
        submission.note_of(measured, "P030", f"option frames {found}", f"{views.frames}, as in the views")


def _card(submission: Submission, measured: Measured, declared: Declared) -> None:
    """Check card and parameters against the declared ones (rule P031)."""
    method, card, expected = measured.m.method, measured.record.method, declared.card
    if expected is None:
        return
    stated = {
        "title": card.title if expected.title else "", "family": card.family, "class_text": method.class_text,
        "extra_data": method.extra_data, "unverified": card.unverified, "paper": card.paper, "source": card.source,
    }  # fmt: skip
    for name, found in stated.items():
        if found != (wanted := getattr(expected, name)):
            submission.note_of(measured, "P031", f"{name} {found!r}", repr(wanted))
    counts = (card.params_total, card.params_trained if measured.m.fitted else 0)
    wanted_counts = declared.parameters and (declared.parameters[0], declared.parameters[1] if measured.m.fitted else 0)
    if wanted_counts is not None and counts != wanted_counts:
        found = "{} parameters, {} trained".format(*counts)
        submission.note_of(measured, "P031", found, "{} and {}".format(*wanted_counts))
