"""The argument parser of the command line: error style, suggestions for unknown words, exit code."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from typing import NoReturn, TypeAlias

from harness.base.errors import EXIT_USAGE, near_hint

Verbs: TypeAlias = "argparse._SubParsersAction[Parser]"
"""Type of the object that verbs are added to; `argparse` has no public name for it."""
_CHOICES = re.compile(r"invalid choice: '?(.*?)'? \(choose from (.*)\)$", re.DOTALL)


class Parser(argparse.ArgumentParser):
    """argparse with full option names only, one-line errors, and the nearest name for an unknown word."""

    def __init__(
        self,
        prog: str | None = None,
        description: str | None = None,
        epilog: str | None = None,
        help: str | None = None,  # of the line in the list of verbs, which argparse keeps itself
    ) -> None:
        super().__init__(
            prog=prog,
            description=description,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,  # an abbreviation would break when an option with the same beginning is added
        )
        self.set_defaults(parser=self)  # the innermost verb's parser wins: `main` asks it for the known options

    def error(self, message: str) -> NoReturn:
        """Write the error with the nearest name and the command for help, and exit with code 2."""
        choices = _CHOICES.search(message)
        near = nearest(choices[1], re.findall(r"[\w-]+", choices[2])) if choices else ""
        self.exit(EXIT_USAGE, f"error: {message}{near}\n  See: {self.prog} --help\n")

    def refuse_unknown(self, words: Sequence[str]) -> NoReturn:
        """Exit with an error for the words of a command line that no argument takes."""
        # From the usage text, because argparse has no public list of options; hidden options stay hidden.
        options = sorted(set(re.findall(r"(?<![\w-])--[\w-]+", self.format_usage())) | {"--help"})
        word = next((word for word in words if word.startswith("-")), words[0])
        near = nearest(word.partition("=")[0], options) if word.startswith("-") else ""
        self.error(f"unrecognized arguments: {' '.join(words)}{near}")


def nearest(word: str, names: Sequence[str]) -> str:
    """The name nearest to an unknown word as the end of a message; empty if no name is near."""
    near = near_hint(word, names)
    return f"\n  {near}" if near else ""


def parse(parser: Parser, argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse a command line; exits with code 2 if it is not valid."""
    arguments, unknown = parser.parse_known_args(argv)
    if unknown:
        arguments.parser.refuse_unknown(unknown)
    arguments.typed = list(sys.argv[1:] if argv is None else argv)
    return arguments


def verb_parser(verbs: Verbs, name: str, help: str, description: str, epilog: str = "") -> Parser:
    """Add the parser of a verb; line breaks of description and epilog are kept."""
    return verbs.add_parser(name, help=help, description=description, epilog=epilog)
