"""Protocol rules (P): were the protocol's lists, labels, repeats and division kept? Compared with `Facts` handed in."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

from harness.base.canonical import canonical_json, row_set_sha256
from results.record import Record
from results.submission.facts import EvalFacts, Facts, ListFacts, ProtocolFacts
from results.submission.scores import variants
from results.submission.submission import Measured, Submission, parent_of

MINI = "mini-clip"
BAD_TABLE = frozenset(("A000", "A001", "A002", "A003", "A004", "A005"))


def check_protocol(submission: Submission, facts: Facts) -> None:
    """Add the findings of all P rules."""
    _method(submission, facts)
    for one in submission.measured:
        pair = (one.record.protocol["id"], one.record.data["dataset"])
        _claims(submission, one)
        known = facts.pairs.get(pair)
        if pair[0] not in facts.protocols:
            submission.note("P001", one.name, f"protocol {pair[0]}", f"one of {', '.join(facts.protocols)}")
        elif known is None:
            submission.note("P002", one.name, f"dataset {pair[1]}", f"a dataset of {pair[0]}")
        elif one.record.protocol["version"] != known.version:
            found, expected = one.record.protocol["version"], known.version
            submission.note("P001", one.name, f"{pair[0]} version {found}", f"version {expected}")
        else:
            _against(submission, one, known, facts)
    for members in submission.rows().values():
        known = facts.pairs.get((members[0].record.protocol["id"], members[0].record.data["dataset"]))
        for variant in variants(members):
            _repeats(submission, variant)
            if known is not None and members[0].record.protocol["version"] == known.version:
                _complete(submission, variant, known)
    _backbones(submission, facts)


def _method(submission: Submission, facts: Facts) -> None:
    """One method in one version, under a name of its own (rules P017, P016)."""
    manifest = submission.manifest
    programs = Counter(
        canonical_json([m.record.method[name] for name in ("name", "version", "source_sha256")])
        for m in submission.measured
    )
    if len(programs) > 1:
        submission.note("P017", "records/", f"{len(programs)} programs: {'; '.join(sorted(programs))}", "one")
    elif submission.measured and manifest:
        method = submission.measured[0].record.method
        if (manifest["method"], manifest["version"]) != (method["name"], method["version"]):
            submission.note(
                "P017", "submission.json", f"{manifest['method']} version {manifest['version']}",
                f"{method['name']} version {method['version']}, as the records say",
            )  # fmt: skip
    for name, origin in sorted({(m.record.method["name"], m.record.method["origin"]) for m in submission.measured}):
        if (name in facts.builtin) != (origin == "built-in"):
            expected = "a name that is not built in" if name in facts.builtin else "a built-in method"
            submission.note("P016", f"method {name}", f"origin {origin}", expected)


def _claims(submission: Submission, one: Measured) -> None:
    """What a record may say of itself, whatever the dataset."""
    record = one.record
    note = submission.note
    if record.status != "submitted":
        note("P015", one.name, f"status {record.status}", "submitted")
    missing = record.data["n_expected"] - record.data["n_evaluated"]
    if missing or record.protocol["incomplete"]:
        stated = "; ".join(record.protocol["incomplete"]) or f"{missing} videos missing"
        note("P019", one.name, stated, "every video of both lists")
    if record.fit and record.fit["train"].get("n_used", record.fit["train"]["n"]) != record.fit["train"]["n"]:
        note("P019", one.name, f"fitted on {record.fit['train']['n_used']} of {record.fit['train']['n']}", "all clips")
    if record.overlap["train_videos"]:
        note("P009", one.name, f"{record.overlap['train_videos']} evaluation videos trained on", "none")
    if (record.fit is None) != (record.method["params_trained"] == 0):
        fitted = "no fit" if record.fit is None else "a fit"
        note("P022", one.name, f"{fitted} and {record.method['params_trained']} trained parameters", "both or none")
    if record.protocol["division"] == "closed":
        _closed(submission, one)


def _closed(submission: Submission, one: Measured) -> None:
    """What the closed division leaves free nowhere (rules P011 to P014); views need facts and come later."""
    method, fit = one.record.method, one.record.fit
    if method["class_text"] == "llm-rewritten":
        submission.note("P011", one.name, f"class text {method['class_text']}", "class names, or templates around them")
    if method["extra_data"]:
        submission.note("P013", one.name, f"extra data {', '.join(method['extra_data'])}", "none")
    if fit and fit["selection"] != "last":
        submission.note("P012", one.name, f"selection {fit['selection']}", "last")
    if fit and fit["init"] != "clip" and not fit["init"].startswith("fit "):
        submission.note("P014", one.name, f"init {fit['init']}", "clip, or a fit that is part of the submission")


def _against(submission: Submission, one: Measured, known: ProtocolFacts, facts: Facts) -> None:
    """One record against what is pinned of its protocol and dataset."""
    record = one.record
    if record.data["embedded"] != known.embedded:
        submission.note("P020", one.name, f"embedded {record.data['embedded']}", known.embedded)
    if canonical_json(record.protocol["columns"]) != canonical_json(list(known.columns)):
        submission.note("P018", one.name, "other column rules", canonical_json(list(known.columns)))
    _list(submission, one, known)
    _label_set(submission, one, known)
    if record.protocol["division"] == "closed":
        _views(submission, one, known)
    expected = _expected(record, known).get(one.place)
    if expected is not None:
        _training(submission, one, expected, known)


def _expected(record: Record, known: ProtocolFacts) -> dict[tuple[str, str, str, int], EvalFacts]:
    return {item.place: item for item in (known.trained if record.fit else known.untrained)}


def _list(submission: Submission, one: Measured, known: ProtocolFacts) -> None:
    """The evaluation list is the published one, by content or as a set of clips and labels (rule P003)."""
    data = one.record.data
    pinned = known.lists.get((data["dataset"], data["list"]))
    if data["list_origin"] == "own":
        submission.note("P003", one.name, "a list of one's own", "the published list")
    elif pinned is None:
        submission.note("P003", one.name, f"the list {data['list']}", f"a list of {data['dataset']}")
    elif not one.failed & BAD_TABLE and not _is_list(one, data, pinned):
        found = f"{data['n_expected']} videos, sha256 {data['list_sha256']}"
        submission.note("P003", one.name, found, f"{pinned.n} videos, sha256 {pinned.sha256}")


def _is_list(one: Measured, data: dict[str, Any], pinned: ListFacts) -> bool:
    if data["list_sha256"] == pinned.sha256:
        return True
    if one.frame is None or not pinned.set_sha256 or data["n_evaluated"] != data["n_expected"]:
        return False
    return row_set_sha256(zip(one.frame["video"], one.frame["label"], strict=True)) == pinned.set_sha256


def _label_set(submission: Submission, one: Measured, known: ProtocolFacts) -> None:
    """The class names are the published ones, in their order (rule P004)."""
    data = one.record.data
    names = known.labels.get((data["dataset"], data["labels"], data["label_variant"]))
    if names is None:
        found = f"label set {data['labels']}, {data['label_variant']}"
        submission.note("P004", one.name, found, f"a label set of {data['dataset']}")
    elif list(names) != data["classes"] and "A014" not in one.failed:
        pairs = zip(data["classes"], names, strict=False)
        first = next((f"{a!r} for {b!r}" for a, b in pairs if a != b), f"{len(data['classes'])} names")
        submission.note("P004", one.name, first, f"the {len(names)} names of {data['labels']}")


def _views(submission: Submission, one: Measured, known: ProtocolFacts) -> None:
    """The published views; on the embedded tiny CLIP with fewer frames (rule P010).

    A recogniser that is not CLIP takes frames as they are decoded, and its own number of them; such rows are never
    ranked with others.
    """
    if one.record.views["normalize"] == "raw":
        return
    backbone = one.record.backbone["arch"]
    for name, value in known.views.items():
        wanted = min(value, known.mini_frames) if name == "frames" and backbone == MINI else value
        if one.record.views[name] != wanted:
            submission.note("P010", one.name, f"views.{name} {one.record.views[name]}", wanted)


def _training(submission: Submission, one: Measured, expected: EvalFacts, known: ProtocolFacts) -> None:
    """The training list, the fit's repeat and the classes it has seen (rules P005, P009, W010)."""
    fit = one.record.fit
    if fit is None or expected.train is None:
        return
    dataset, name, labels = expected.train
    train, pinned = fit["train"], known.lists.get((dataset, name))
    stated = (train["dataset"], train["list"], train.get("labels", labels))
    if stated != expected.train or fit["shots"] != expected.shots:
        found = f"{'/'.join(map(str, stated))}, shots {fit['shots']}"
        submission.note("P005", one.name, found, f"{'/'.join(expected.train)}, shots {expected.shots}")
    elif pinned is None or not pinned.sha256:
        submission.note("W010", one.name, f"{dataset}/{name} of sha256 {train['sha256']}", "a hash to compare with")
    elif train["sha256"] != pinned.sha256 or train["n"] != pinned.n:
        found = f"{train['n']} clips, sha256 {train['sha256']}"
        submission.note("P005", one.name, found, f"{pinned.n} clips, sha256 {pinned.sha256}")
    if (fit["repeat"]["kind"], fit["repeat"]["index"]) != expected.fit_repeat:
        found = f"a fit of {fit['repeat']['kind']} {fit['repeat']['index']}"
        submission.note("P008", one.name, found, f"{expected.fit_repeat[0]} {expected.fit_repeat[1]}")
    parent = parent_of(submission.fits.get(fit["key"], {"identity": {}}))
    ids, classes = {*expected.seen, *(expected.parent_seen if parent else ())}, one.record.data["classes"]
    needed = {classes[id] for id in ids if id < len(classes)}
    hidden = sorted(needed - set(one.record.overlap["seen_classes"]))
    if hidden:
        submission.note("P009", one.name, f"seen classes not named: {', '.join(hidden[:8])}", f"{len(needed)} named")


def _repeats(submission: Submission, members: list[Measured]) -> None:
    """Different fits are different: lists and seeds, weights, predictions (rule P008)."""
    fits: dict[str, Record] = {str(m.record.fit["key"]): m.record for m in members if m.record.fit}
    for what, same in (("weights", _groups(fits, _weights)), ("training list and seed", _groups(fits, _draw))):
        for keys in same:
            shown = ", ".join(sorted(str((fits[key].fit or {}).get("name")) for key in keys))
            submission.note("P008", submission.row_name(members), f"equal {what} in {len(keys)} fits: {shown}",
                            "fits that differ")  # fmt: skip
            return
    tables = defaultdict(list)
    for one in members:
        if one.record.fit and one.table_sha256 and len(fits) > 1:
            tables[one.table_sha256, one.record.protocol["part"]].append(one)
    for (_, part), same_table in sorted(tables.items()):
        keys_of_table = {m.record.fit["key"] for m in same_table if m.record.fit}
        if len(keys_of_table) > 1:
            found = f"equal predictions of {len(keys_of_table)} fits on {part}"
            submission.note("P008", submission.row_name(members), found, "predictions that differ")
            return


def _groups(fits: dict[str, Record], key: Any) -> Iterator[list[str]]:
    """Keys of fits that agree in something, where more than one does."""
    groups = defaultdict(list)
    for name, record in fits.items():
        groups[key(record.fit)].append(name)
    yield from (names for names in groups.values() if len(names) > 1)


def _weights(fit: dict[str, Any]) -> str:
    return str(fit["weights_sha256"])


def _draw(fit: dict[str, Any]) -> str:
    return canonical_json([fit["train"]["dataset"], fit["train"]["sha256"], fit["seed"], fit["recipe"]])


def _complete(submission: Submission, members: list[Measured], known: ProtocolFacts) -> None:
    """Each of the protocol's evaluations once, and none beside them (rules P006, P007)."""
    where = submission.row_name(members)
    expected = _expected(members[0].record, known)
    counts = Counter(one.place for one in members)
    missing = [item for place, item in expected.items() if place not in counts]
    if missing and submission.complete:
        shown = ", ".join(f"{item.part} {item.kind} {item.index}" for item in missing[:6])
        submission.note("P006", where, f"{len(missing)} missing: {shown}", f"{len(expected)} evaluations")
    for place, count in sorted(counts.items()):
        if place not in expected:
            submission.note("P007", where, f"{' '.join(map(str, place))}", "an evaluation of the protocol")
        elif count > 1:
            submission.note("P007", where, f"{' '.join(map(str, place))} {count} times", "once")


def _backbones(submission: Submission, facts: Facts) -> None:
    """One set of CLIP weights a row; the embedded one is the shipped one (rule P021)."""
    for members in submission.rows().values():
        found = {str(m.record.backbone["weights_sha256"]) for m in members}
        if len(found) > 1:
            submission.note("P021", submission.row_name(members), f"weights {', '.join(sorted(found))}", "one")
    for one in submission.measured:
        method = one.record.identity.get("method")
        claimed = method.get("backbone") if isinstance(method, dict) else None
        claimed = claimed if isinstance(claimed, dict) else {}
        if one.record.backbone["arch"] == MINI and facts.mini_weights not in ("", claimed.get("weights")):
            submission.note("P021", one.name, f"{MINI} of file {claimed.get('weights')}", facts.mini_weights)
