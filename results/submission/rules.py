"""The rules of submissions as data: id, what is asked, why, and the way out. The checks are in the `check_*` files.

F format, A arithmetic, P protocol, D changes of a repository, W plausibility. A W finding warns; every other one
refuses.
"""

from __future__ import annotations

from dataclasses import dataclass

GROUPS = {
    "F": "Format: can it be read without danger?",
    "A": "Arithmetic: does every number follow from the predictions?",
    "P": "Protocol: was it measured as the protocol says?",
    "D": "Changes: does a pull request leave earlier results alone?",
    "W": "Plausibility: does it look right? (warnings)",
}


@dataclass(frozen=True)
class Rule:
    """One rule.

    Args:
        id: A letter of `GROUPS` and three digits; never reused for another rule.
        asks: What a submission must be.
        reason: Why that is asked.
        fix: The way out.
    """

    id: str
    asks: str
    reason: str
    fix: str

    @property
    def is_warning(self) -> bool:
        """True for a rule whose findings warn instead of refusing."""
        return self.id.startswith("W")


@dataclass(frozen=True)
class Finding:
    """A rule that a submission does not meet.

    Args:
        rule: Id of the rule.
        where: The file, cell or row.
        found: What is there.
        expected: What should be there.
    """

    rule: str
    where: str
    found: str
    expected: str

    @property
    def refuses(self) -> bool:
        """True if the submission is refused for it."""
        return not RULES[self.rule].is_warning

    def as_dict(self) -> dict[str, str]:
        """Everything a bot needs, JSON-ready."""
        rule = RULES[self.rule]
        kind = "warning" if rule.is_warning else "error"
        return {
            "rule": self.rule, "severity": kind, "where": self.where, "found": self.found,
            "expected": self.expected, "reason": rule.reason, "fix": rule.fix,
        }  # fmt: skip

    def __str__(self) -> str:
        rule = RULES[self.rule]
        return (
            f"{self.rule} {rule.asks}\n  {self.where}: found {self.found}, expected {self.expected}\n"
            f"  why: {rule.reason}\n  fix: {rule.fix}"
        )


_PACK = "Pack again: python -m harness submit pack METHOD --out FILE.zip"
_RUN = "Run the cells with this version and pack again; never edit records."
_OPEN = "Measure as the protocol says, or hand the row in as open division."

_TABLE = (
    # format
    ("F001", "the container can be read", "A damaged or disguised archive cannot be judged.", _PACK),
    ("F002", "sizes stay within the limits", "Archives that grow without end stop the checker and the repository.",
     "Hand in what `submit pack` collects; weights as safetensors of at most 8 GiB a fit."),
    ("F003", "regular files only", "Links and devices lead out of the submission.", "Replace links by the files."),
    ("F004", "plain relative paths", "Absolute paths and `..` write outside the folder when they are unpacked.", _PACK),
    ("F005", "each name once", "Two members of one name are read differently by different programs.", _PACK),
    ("F006", "no file that is not part of a submission", "What no rule reads is not checked by any.",
     "Remove the file; notes belong into the pull request."),
    ("F007", "nothing that can be executed", "Pickles, scripts and libraries run code on the reader's machine.",
     "Remove it; weights are safetensors, code is named by --code URL."),
    ("F008", "all files that belong to it", "A number without its record, predictions or fit cannot be recomputed.",
     _PACK + "; the archive's top level holds submission.json itself."),
    ("F009", "JSON files are JSON", "Readers disagree about repeated keys, NaN and broken text.", _PACK),
    ("F010", "a layout version that this checker knows", "Another version may mean another thing by the same key.",
     "Pack with the version of the harness that the board uses."),
    ("F011", "no unknown entry", "An entry that no rule reads can claim anything.", _PACK),
    ("F012", "every entry present, of its type and finite", "A report that meets NaN or a text for a number misleads.",
     _PACK),
    ("F013", "files as listed in submission.json", "The list of hashes ties the parts to each other.", _PACK),
    ("F014", "weights are valid safetensors", "Only this format is read without running what it contains.",
     "Pack with --weights; do not convert by hand."),
    ("F015", "predictions are a gzipped table of the known columns", "Every number is recomputed from these tables.",
     _RUN),
    ("F016", "file names that agree with their content", "A name that lies hides a record from the reader.", _PACK),
    ("F999", "the checker copes", "A fault of the checker never lets a submission pass.",
     "Report the fault with the submission attached."),
    # arithmetic
    ("A001", "predictions are those of their record", "A changed prediction file is another measurement.", _RUN),
    ("A002", "each video once", "A video counted twice, or left out, moves every metric.", _RUN),
    ("A003", "counts follow from the predictions", "Coverage must be counted, not claimed.", _RUN),
    ("A004", "the list's hash follows from the predictions",
     "Another list, order or label is another benchmark.", _RUN),
    ("A005", "ids are those of the classes", "An id outside the label set is not an answer.", _RUN),
    ("A006", "probabilities are probabilities",
     "Five sorted values in 0..1 with a sum of at most 1, or made up.", _RUN),
    ("A007", "metrics follow from the predictions", "This is the number that is published.", _RUN),
    ("A008", "undecodable videos are named and count as wrong", "Leaving out what is hard to read raises the score.",
     _RUN),
    ("A009", "means, spreads, intervals and harmonic means follow from the predictions",
     "Tables print these; the harmonic mean is taken of unrounded means.", _PACK),
    ("A010", "the strict score follows from the predictions",
     "It leaves out the classes that training has seen.", _RUN),
    ("A011", "keys follow from the measurement", "The key says what was measured; reuse and ranking rely on it.", _RUN),
    ("A013", "the signature follows from the measurement", "It is printed beside the score.", _RUN),
    ("A014", "the label set's hash follows from its names", "Ids mean nothing without their names.", _RUN),
    ("A015", "records say the same as their fits, and fits as their parents",
     "The recipe and the weights that are shown must be the ones that were used.", _RUN),
    ("A016", "card and environment are those of the records", "The summary is read in place of the records.", _PACK),
    # protocol
    ("P001", "a protocol of the benchmark, in its current version", "Rows of other rules are not comparable.",
     "Update the harness and run again."),
    ("P002", "a dataset of the benchmark", "The lists and labels of a folder of one's own are known to nobody else.",
     "Measure on an official dataset or on the embedded benchmark."),
    ("P003", "the protocol's evaluation list, with its clusters of videos",
     "Every row of a table is scored on the same videos; intervals rest on which of them belong together.",
     "python -m harness data prepare DATASET; then run again."),
    ("P004", "the published label set", "Other names are other prompts, and another order other ids.",
     "Use the label set `published` (or `corrected`) of the dataset."),
    ("P005", "the protocol's training list", "More or other clips are another setting.",
     "python -m harness data prepare DATASET or data import-lists; then run again."),
    ("P006", "all repeats, parts and shots", "A selection of repeats is a selection of results.",
     "Run the whole protocol: python -m harness run --method METHOD --protocol PROTOCOL"),
    ("P007", "nothing beside the protocol's evaluations", "A second try of a cell lets the better one be chosen.",
     "Hand in one record for each part and repeat."),
    ("P008", "repeats that were really repeated", "Copies of one fit hide its spread.",
     "Fit each repeat on its own list or with its own seed."),
    ("P009", "no evaluation video in training, and exactly the seen classes named",
     "Leakage makes a score meaningless; classes named without need raise the strict score.",
     "Train on the protocol's lists; keep the audit that the harness writes."),
    ("P010", "the settings that the protocol prescribes",
     "The division follows from them; more frames and views raise every method.",
     "Run the cells with this version and pack again; other settings are named in the open division."),
    ("P011", "class texts of a known source",
     "A language model's knowledge is not the method's; an unknown source hides it.",
     "State names, templates, llm-rewritten, learned or none on the method's card, and run again."),
    ("P014", "closed division: initial weights that can be traced",
     "Weights from a file may have seen anything.", _OPEN),
    ("P015", "status `submitted`, without remarks", "A submission does not verify itself.",
     "Hand in records as `run` wrote them."),
    ("P016", "a name that is free", "A changed built-in method under its old name takes over its reputation.",
     "Register the method under a name of its own."),
    ("P017", "one method in one version", "A row must stand for one program.", "One submission for each version."),
    ("P018", "the protocol's columns", "The rules of averaging come from the protocol.", _RUN),
    ("P019", "all videos of both lists", "A row with missing videos, or of a sample, is not ranked.",
     "Complete the dataset (python -m harness check data DATASET) and run without --allow-missing."),
    ("P020", "the embedded benchmark marked as such", "Its numbers say nothing about CLIP.", _RUN),
    ("P021", "the embedded tiny CLIP as it is shipped", "Other weights under its name are another model.", _RUN),
    ("P022", "trained parameters where something is trained", "A row is filed by what it trains.", _RUN),
    ("P023", "no unknown setting", "Rows that differ in what nobody knows cannot be compared.", _RUN),
    ("P024", "one fit for each training list and repeat, and one recipe for each column",
     "Parts of several fits, or repeats of several recipes, are a choice among results.",
     "Run the whole row with one recipe, and pack again: `submit pack` takes whole rows."),
    ("P025", "closed division: the declared recipe, stated as the method declares it",
     "A recipe tuned for one row is another method.",
     "Run without --recipe, or declare the recipe in the method and raise its version."),
    ("P026", "the scope that the protocol prescribes",
     "It stands for all lists, views and recipes of the row; rows are compared by it.", _RUN),
    # changes of a repository
    ("D001", "records that are on the board stay as they are", "A number once published is quoted.",
     "Raise the method's version (register_method(NAME, version=2)), run again, and add a new folder."),
    ("D002", "records that are on the board are not removed", "A board that forgets is not believed.",
     "Leave them; mark a withdrawn method in an issue."),
    ("D003", "only submissions are changed", "A pull request that brings numbers must not bring rules.",
     "Send other changes in a pull request of their own."),
    ("D004", "folders named submissions/METHOD/vVERSION", "A record must be found where its name says.",
     "Unpack the archive to submissions/METHOD/vVERSION/."),
    ("D005", "a version above the earlier ones", "The newest version is the one that is read.",
     "Raise the method's version and run again."),
    ("D006", "plain files in the repository", "Links, submodules and execute bits do not belong to data.",
     "git update-index --chmod=-x FILE; replace links by files."),
    # plausibility
    ("W001", "no class at zero", "Nearly every hit of a class under another name is a wrong label order.",
     "Compare the order of class names with the label file."),
    ("W002", "not below chance", "Worse than guessing points to wrong labels or frames, as in published issues.",
     "Check label order, normalisation and the class texts."),
    ("W003", "repeats that differ", "A spread of exactly zero points to one fit counted several times.",
     "Check that lists and seeds of the repeats differ."),
    ("W004", "predictions of its own", "Equal predictions to another row point to a copy.",
     "Say in the pull request why they are equal."),
    ("W005", "a K-shot curve that does not fall", "More clips rarely harm; less so significantly.",
     "Check the lists and epochs of the larger K."),
    ("W006", "not too good", "Better than all published rows by more than the noise is either progress or a leak.",
     "Offer weights (--weights), so that the row can be reproduced."),
    ("W007", "videos that can be decoded", "Many undecodable videos point to a damaged copy of the dataset.",
     "python -m harness check data DATASET --decode"),
    ("W008", "a built-in method with its released code", "Changed code under the same version is another method.",
     "Run the released version, or raise the version."),
    ("W009", "probabilities that vary", "A constant confidence is not what a classifier gives.",
     "Hand in predictions as `run` wrote them."),
    ("W010", "a training list that can be compared", "Of two K-400 lists only the git blob id is published.",
     "Nothing to do; the keepers of the board compare by hand."),
    ("W011", "code that is committed", "Uncommitted changes of the harness cannot be looked up.",
     "Commit, or run from the released version."),
)  # fmt: skip

RULES = {id: Rule(id, asks, reason, fix) for id, asks, reason, fix in _TABLE}
