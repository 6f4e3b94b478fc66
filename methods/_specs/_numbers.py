"""Whole numbers in the text of an option, each number in one spelling."""


def whole_numbers(text: str, separator: str) -> tuple[int, ...]:
    """Return the numbers of a text such as `3x1x1`; empty for another form, leading zeros among them."""
    words = text.split(separator)
    return tuple(map(int, words)) if all(w.isdecimal() and str(int(w)) == w for w in words) else ()


def is_ascending(text: str) -> bool:
    """Return whether a text such as `0+2` holds numbers that rise."""
    numbers = whole_numbers(text, "+")
    return bool(numbers) and list(numbers) == sorted(set(numbers))
