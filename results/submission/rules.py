"""The rules for submissions as data: id, requirement, reason and fix. The checks are in the `check_*` modules.

The letter of an id names the group: F format, A arithmetic, P protocol, D changes of a repository, W plausibility.
A finding of a W rule is a warning; a finding of any other rule refuses the submission.
"""

from __future__ import annotations

from dataclasses import dataclass

GROUPS = {
    "F": "Format: can the files be read safely?",
    "A": "Arithmetic: does every number follow from the predictions?",
    "P": "Protocol: was every row measured as the protocol prescribes?",
    "D": "Changes: does a pull request leave earlier results unchanged?",
    "W": "Plausibility: are the results plausible? (warnings)",
}


@dataclass(frozen=True)
class Rule:
    """One rule.

    Args:
        id: A letter of `GROUPS` and three digits; never reused for another rule.
        requirement: The requirement that a submission must meet, as a sentence.
        reason: Reason for the requirement.
        fix: Action or command that fixes a finding.
    """

    id: str
    requirement: str
    reason: str
    fix: str

    @property
    def is_warning(self) -> bool:
        """True if findings of the rule are warnings."""
        return self.id.startswith("W")


@dataclass(frozen=True)
class Finding:
    """A violation of a rule.

    Args:
        rule: Id of the rule.
        where: The file, table cell or row that violates the rule.
        found: Value found.
        expected: Value expected.
    """

    rule: str
    where: str
    found: str
    expected: str

    @property
    def refuses(self) -> bool:
        """True if the finding refuses the submission."""
        return not RULES[self.rule].is_warning

    def as_dict(self) -> dict[str, str]:
        """The finding with the reason and the fix of its rule, JSON-ready."""
        rule = RULES[self.rule]
        kind = "warning" if rule.is_warning else "error"
        return {
            "rule": self.rule, "severity": kind, "where": self.where, "found": self.found,
            "expected": self.expected, "reason": rule.reason, "fix": rule.fix,
        }  # fmt: skip

    def __str__(self) -> str:
        rule = RULES[self.rule]
        return (
            f"{self.rule} {rule.requirement}\n  {self.where}: found {self.found}, expected {self.expected}\n"
            f"  reason: {rule.reason}\n  fix: {rule.fix}"
        )


_PACK = "Pack again: python -m harness submit pack METHOD --out FILE.zip"
_RUN = "Run the cells again with this version of the harness and pack again; do not edit records."
_OPEN = "Measure as the protocol prescribes, or submit the row in the open division."

_TABLE = (
    # format
    ("F001", "The container can be read.", "The checker cannot judge a damaged or disguised archive.", _PACK),
    ("F002", "File sizes stay within the limits.",
     "Archives that expand without limit stop the checker and fill the repository.",
     "Submit only the files that `submit pack` collects; weights are safetensors files of at most 8 GiB per fit."),
    ("F003", "All files are regular files.", "Links and devices point outside the submission.",
     "Replace links by the files that they point to."),
    ("F004", "All paths are plain relative paths.",
     "Unpacking absolute paths or `..` would write files outside the folder.", _PACK),
    ("F005", "Each file name occurs once.",
     "Different programs choose different files when two archive members have the same name.", _PACK),
    ("F006", "The submission contains no other files.", "No rule checks the content of other files.",
     "Remove the file; write notes into the pull request."),
    ("F007", "No file can be executed.", "Pickles, scripts and libraries can run code on the machine of the reader.",
     "Remove the file; submit weights as safetensors and name public code by --code URL."),
    ("F008", "All required files are present.",
     "A number cannot be recomputed without its record, its predictions and its fit.",
     _PACK + "; submission.json must be at the top level of the archive."),
    ("F009", "JSON files are valid JSON.",
     "Programs interpret repeated keys, NaN and damaged text differently.", _PACK),
    ("F010", "The layout version is known to this checker.",
     "The same key can have another meaning in another layout version.",
     "Pack with the version of the harness that the board uses."),
    ("F011", "JSON files contain no unknown entries.", "An entry that no rule checks can state anything.", _PACK),
    ("F012", "All entries are present, have the right type and are finite.",
     "A report that reads NaN, or text instead of a number, shows wrong results.", _PACK),
    ("F013", "All files match their entries in submission.json.",
     "The hashes in submission.json prove that the files belong together.", _PACK),
    ("F014", "Weight files are valid safetensors files.",
     "safetensors is the only weight format that can be read without executing code.",
     "Pack with --weights; do not convert files by hand."),
    ("F015", "Prediction files are gzipped tables with the known columns.",
     "Every number is recomputed from these tables.", _RUN),
    ("F016", "File names agree with file contents.", "A reader finds records by their file names.", _PACK),
    ("F999", "The checker has no internal error.", "A submission must not pass because of an error in the checker.",
     "Report the error and attach the submission."),
    # arithmetic
    ("A001", "The predictions file is the file that the record names.",
     "Another predictions file belongs to another measurement.", _RUN),
    ("A002", "Each video occurs once in the predictions.",
     "A repeated or missing video changes every metric.", _RUN),
    ("A003", "The number of evaluated videos follows from the predictions.",
     "The number of videos must be counted and not only stated.", _RUN),
    ("A004", "The hash of the list follows from the predictions.",
     "Other videos, another order or other labels are another benchmark.", _RUN),
    ("A005", "Labels and predicted ids are valid class ids.", "An id outside the label set is not a class.", _RUN),
    ("A006", "Probabilities are valid.",
     "The five probabilities of a video lie between 0 and 1, are sorted, and sum to at most 1; the probability of each "
     "other class is at most the fifth.", _RUN),
    ("A007", "Metrics follow from the predictions.", "The metrics are the published numbers.", _RUN),
    ("A008", "Undecodable videos are named and count as wrong.",
     "Excluding videos that cannot be decoded would raise the score.", _RUN),
    ("A009", "Means, spreads, intervals and harmonic means follow from the predictions.",
     "Tables print these numbers; a harmonic mean is computed from unrounded means.", _PACK),
    ("A010", "The strict score follows from the predictions.",
     "The strict score excludes the classes that were seen in training.", _RUN),
    ("A011", "Keys follow from the measurement.", "Reuse and ranking depend on the keys.", _RUN),
    ("A013", "The signature follows from the measurement.", "The signature is printed beside the score.", _RUN),
    ("A014", "The hash of the label set follows from the class names.",
     "Class ids have no meaning without the class names.", _RUN),
    ("A015", "Records agree with their fits, and fits with their parent fits.",
     "The stated recipe and weights must be the recipe and weights that were used.", _RUN),
    ("A016", "Title, card.json and environment.json agree with the records, and the records of a row with each other.",
     "Readers use these summaries instead of the records.", _PACK),
    ("A017", "Numbers of parameters, updates and costs are possible.",
     "Tables print these numbers; parameters follow from the weights, updates from the training list and the recipe.",
     "Register tensors that a fit sets as parameters, and constants with persistent=False; then run the cells again."),
    ("A018", "Precisions agree, and dates are possible.",
     "The tolerance of a reproduction follows from the precision; a fit precedes its records.", _RUN),
    # protocol
    ("P001", "The protocol belongs to the benchmark and has its current version.",
     "Rows measured by different protocol rules are not comparable.",
     "Update the harness and run the cells again."),
    ("P002", "The dataset belongs to the benchmark.",
     "Lists and labels of a custom dataset are not known to the board.",
     "Measure on an official dataset or on the embedded benchmark."),
    ("P003", "The evaluation list and the clusters of its videos are those of the protocol.",
     "All rows of a table are scored on the same videos; intervals depend on the clusters of related videos.",
     "Run python -m harness data prepare DATASET; then run the cells again."),
    ("P004", "The label set is the published label set.",
     "Other class names change the prompts; another order changes the class ids.",
     "Use the label set `published` (or `corrected`) of the dataset."),
    ("P005", "The training list is the training list of the protocol.",
     "Training on more or on different clips is another experimental setting.",
     "Run python -m harness data prepare DATASET or data import-lists; then run the cells again."),
    ("P006", "All repeats, parts and shots are present.", "Omitting repeats allows a selection of results.",
     "Run the whole protocol: python -m harness run --method METHOD --protocol PROTOCOL"),
    ("P007", "The submission contains only evaluations that the protocol prescribes, each once.",
     "With two records of one evaluation, the better result could be selected.",
     "Submit one record for each part and repeat."),
    ("P008", "Repeats come from different fits.", "Copies of one fit hide the spread over repeats.",
     "Fit each repeat on its own training list or with its own seed. Fits near their start need more epochs."),
    ("P009", "No evaluation video was trained on, and the seen classes are named exactly.",
     "Leakage makes a score meaningless; naming classes that were not seen raises the strict score.",
     "Train on the lists of the protocol; keep the leakage check that the harness writes."),
    ("P010", "The prescribed settings in the record are those of the protocol.",
     "The division follows from the prescribed settings; more frames and views raise the score of every method.",
     "Run the cells again with this version of the harness; rows with other settings belong to the open division."),
    ("P011", "The source of the class texts is known.",
     "Texts about a class, by a language model or by people, add knowledge that the method does not have.",
     "State names, templates, llm-rewritten, human-written, learned or none on the card of the method, and run the "
     "cells again."),
    ("P014", "Closed division: the model is CLIP, and the source of its initial weights is known.",
     "Weights from a file can be trained on any data.", _OPEN),
    ("P015", "The status is `submitted`, and there are no remarks.",
     "Only the board sets another status and adds remarks.", "Submit records as `run` wrote them."),
    ("P016", "A method has a built-in name if and only if it is built in.",
     "A changed method under a built-in name would be read as the built-in method.",
     "Register the method under a custom name."),
    ("P017", "All records are of one method in one version.", "A row must describe one program.",
     "Make one submission for each method and version."),
    ("P018", "The columns are the columns of the protocol.", "The protocol defines how repeats are averaged.", _RUN),
    ("P019", "All videos of the training list and of the evaluation list were used.",
     "A row with missing videos, or with a sample of the videos, is not ranked.",
     "Complete the dataset (python -m harness check data DATASET) and run without --allow-missing."),
    ("P020", "Rows of the embedded benchmark are marked as embedded.",
     "Numbers of the embedded benchmark say nothing about CLIP.", _RUN),
    ("P021", "The embedded tiny CLIP has its released weights and sizes.",
     "The same name with other weights is another model.",
     _RUN),
    ("P022", "A trained method has trained parameters, and an untrained method has none.",
     "Rows are sorted by the parameters that they train.", _RUN),
    ("P023", "No setting is unknown.", "Rows with unknown settings cannot be compared.", _RUN),
    ("P024", "Each training list and repeat has one fit, and each column has one recipe.",
     "Combining parts of several fits, or repeats with several recipes, allows a selection of results.",
     "Run the whole row with one recipe and pack again; `submit pack` takes whole rows."),
    ("P025", "Closed division: the recipe is the declared recipe, recorded as the method declares it.",
     "A recipe that was tuned for one row is another method.",
     "Run without --recipe, or declare the recipe in the method and raise the version of the method."),
    ("P026", "The scope of the row is the scope that the protocol prescribes.",
     "The scope covers all lists, views and recipes of a row; rows are compared by it.", _RUN),
    ("P027", "Name and title are visible text.",
     "Invisible characters, characters that change the reading direction, and stacked marks make two names look equal.",
     "Register the method with a name and a title of letters, digits and single blanks."),
    ("P028", "Name and title cannot be confused with those of another method.",
     "Readers of a board identify a row by the title of its method.",
     "Register the method under another name and title; only the first submitter of a name can use it again."),
    ("P029", "The CLIP model exists, with the sizes and the activation of its architecture and tag.",
     "Tables group rows by the model that they name.", _RUN),
    ("P030", "The options are the options of the method.",
     "Options are printed with the score; an unknown option can state anything.",
     "Declare every option in the options_type of the method, and run the cells again."),
    ("P031", "Card and numbers of parameters of a built-in method are those that it declares.",
     "Readers take the card of a built-in method for its description.", "Submit records as `run` wrote them."),
    ("P032", "Closed division: training clips have the prescribed frames, input statistics and reader.",
     "More training frames raise the score; the evaluation views do not show them.", _OPEN),
    ("P033", "The engine version is that of the checker, and the version of the harness is not newer.",
     "Another version of the engine can compute other numbers.",
     "Run the cells again and pack with the version of the harness that the board uses."),
    ("P034", "A built-in method has its released version and code.",
     "Changed code under the name of a built-in method is another method.",
     "Run the released version, or register the changed method under another name."),
    # changes of a repository
    ("D001", "Records on the board are not changed.", "Published numbers are cited.",
     "Raise the version of the method (register_method(NAME, version=2)), run the cells again, and add a new folder."),
    ("D002", "Records on the board are not removed.", "Published numbers must stay available.",
     "Keep the files; mark a withdrawn method in an issue."),
    ("D003", "A pull request with a submission changes only submissions.",
     "A pull request with results must not change the rules.", "Make a separate pull request for other changes."),
    ("D004", "Submission folders are named submissions/METHOD/vVERSION.",
     "The path of a record must agree with its method and version.",
     "Unpack the archive to submissions/METHOD/vVERSION/."),
    ("D005", "The version is higher than all earlier versions.", "The board shows the newest version.",
     "Raise the version of the method and run the cells again."),
    ("D006", "All files in the repository are plain files.",
     "Links, submodules and executable files are not data.",
     "Run git update-index --chmod=-x FILE; replace links by the files that they point to."),
    ("D007", "A method is submitted by its owner.", "A name belongs to its first submitter.",
     "Submit from the account that `owners.json` names for the method, or under another name."),
    # plausibility
    ("W001", "No class has zero accuracy.",
     "If one class is nearly always predicted as another, the class names are probably in the wrong order.",
     "Compare the order of the class names with the label file."),
    ("W002", "Accuracy is not below chance.",
     "Accuracy below chance indicates wrong labels or frames, as in published issues.",
     "Check the label order, the normalisation and the class texts."),
    ("W003", "Repeats have different scores.", "A spread of exactly zero indicates one fit that was counted twice.",
     "Check that the repeats have different lists or seeds."),
    ("W004", "The predictions differ from the predictions of all other rows.",
     "Equal predictions in two rows indicate a copy.", "Explain the equal predictions in the pull request."),
    ("W005", "Accuracy does not fall significantly with more shots.",
     "More training clips rarely lower the accuracy.", "Check the lists and the epochs of the larger K."),
    ("W006", "The score is not significantly above all published scores.",
     "A score above all published scores by more than the noise is either progress or a leak.",
     "Submit weights (--weights), so that the row can be reproduced."),
    ("W007", "Almost all videos can be decoded.", "Many undecodable videos indicate a damaged copy of the dataset.",
     "Run python -m harness check data DATASET --decode"),
    ("W009", "Probabilities differ between videos and have six decimals.",
     "A classifier does not give all videos the same confidence; rounded probabilities are not the computed ones.",
     "Submit predictions as `run` wrote them."),
    ("W010", "The training list can be compared with the published list.",
     "Only the git blob id of two K-400 lists is published.",
     "No action is needed; the maintainers of the board compare the lists by hand."),
    ("W011", "The code of the harness is committed.", "Readers cannot look up uncommitted changes.",
     "Commit the changes, or run a released version of the harness."),
    ("W012", "A published recipe belongs to a built-in method.",
     "The checker does not know the recipes of other publications.",
     "Name the publication in the pull request, or begin the source of the recipe with `own`."),
)  # fmt: skip

RULES = {id: Rule(id, requirement, reason, fix) for id, requirement, reason, fix in _TABLE}
