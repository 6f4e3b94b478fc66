"""A predictions table has one reading: every reader understands the same ids, or refuses the file."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.base.errors import UserError
from results.outcomes import read_outcome
from results.predictions import COLUMNS, ID_COLUMNS, encode_predictions, predictions_frame, read_predictions
from results.submission.tables import decompress, parse_untrusted

N, CLASSES = 6, 7


def table(quoted: bool) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    ids = np.stack([rng.permutation(CLASSES)[:5] for _ in range(N)])
    names = [f"a/clip, {i}.mp4" if quoted else f"a/clip{i}.mp4" for i in range(N)]
    return predictions_frame(names, rng.integers(0, CLASSES, N), ids, np.full((N, 5), 0.1), [f"g{i}" for i in range(N)])


def readings(text: bytes, path: Path) -> dict[str, list[list[int]] | None]:
    """Label and five ids of each row as each reader understands them; None if it refuses the text."""
    data = gzip.compress(text, mtime=0)
    path.write_bytes(data)
    found: dict[str, list[list[int]] | None] = {}
    for name in ("check", "compare and score", "ranks"):
        try:
            if name == "ranks":
                outcome = read_outcome(path, hashlib.sha256(data).hexdigest(), N, top5=True)
                assert outcome.top5 is not None
                found[name] = [[int(hit), int(five)] for hit, five in zip(outcome.hits, outcome.top5, strict=True)]
                continue
            frame = parse_untrusted(decompress(data)) if name == "check" else read_predictions(path)
            ids, label = frame[ID_COLUMNS].to_numpy(), frame["label"].to_numpy()
            found[name] = [[int(row[0] == y), int(y in row)] for row, y in zip(ids, label, strict=True)]
        except (ValueError, UserError):
            found[name] = None
    return found


WRITINGS = {
    "plus": lambda n: b"+%d" % n, "blank before": lambda n: b" %d" % n, "blank after": lambda n: b"%d " % n,
    "tab": lambda n: b"%d\t" % n, "float": lambda n: b"%d.0" % n, "zeros": lambda n: b"00%d" % n,
    "quoted": lambda n: b'"%d"' % n, "vertical tab": lambda n: b"\x0b%d" % n, "form feed": lambda n: b"%d\x0c" % n,
    "minus zero": lambda n: b"-0", "exponent": lambda n: b"%de0" % n, "underscore": lambda n: b"1_%d" % n,
    "empty": lambda n: b"", "minus": lambda n: b"--%d" % n, "no-break": lambda n: "\u00a0".encode() + b"%d" % n,
    "fullwidth": lambda n: chr(0xFF10 + n).encode(), "hexadecimal": lambda n: b"0x%d" % n, "true": lambda n: b"True",
    "overflow": lambda n: b"%d" % (2**64 + n), "many digits": lambda n: b"0" * 60 + b"%d" % n, "nan": lambda n: b"nan",
}  # fmt: skip


@pytest.mark.slow
@given(st.booleans(), st.integers(0, N - 1), st.integers(1, 6), st.sampled_from(sorted(WRITINGS)))
def test_another_writing_of_a_number_is_refused_by_every_reader(
    tmp_path_factory: pytest.TempPathFactory, quoted: bool, row: int, column: int, writing: str
) -> None:
    frame = table(quoted)
    text = gzip.decompress(encode_predictions(frame))
    lines = text.split(b"\n")
    number = int(frame.iloc[row, column])
    head, tail = (lines[row + 1].rpartition(b'"') if quoted else (b"", b"", lines[row + 1]))[0::2]
    fields = tail.split(b",")
    fields[column] = WRITINGS[writing](number)
    lines[row + 1] = head + (b'"' if quoted else b"") + b",".join(fields)
    found = readings(b"\n".join(lines), tmp_path_factory.mktemp("one") / "a.predictions.csv.gz")
    assert found["check"] is None and found["compare and score"] is None
    # The ranks may accept the file, for example with quotes around a number, but never understand another number.
    honest = readings(text, tmp_path_factory.mktemp("honest") / "a.predictions.csv.gz")
    assert found["ranks"] in (None, honest["ranks"])


def edited(text: bytes, kind: str) -> bytes:
    header, _, rows = text.partition(b"\n")
    if kind == "carriage returns":
        return text.replace(b"\n", b"\r\n")
    if kind == "no final newline":
        return text[:-1]
    if kind == "blank line":
        return text + b"\n"
    if kind == "one more column":
        return header + b",x\n" + rows.replace(b"\n", b",1\n")
    if kind == "one more field":
        return header + b"\n" + rows.replace(b"\n", b",1\n", 1)
    if kind == "lone carriage return":
        return text.replace(b"\n", b"\r", 2)
    if kind == "byte order mark":
        return b"\xef\xbb\xbf" + text
    if kind == "other probability":
        return text.replace(b"0.100000", b"0.1", 1)
    if kind == "comment":
        return text + b"# end\n"
    assert kind == "other order of ids"
    return text.replace(b"id1,id2", b"id2,id1", 1)


KINDS = ("carriage returns", "no final newline", "blank line", "one more column", "one more field",
         "lone carriage return", "byte order mark", "other probability", "comment", "other order of ids")  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_another_encoding_of_the_table_is_refused_by_check_score_and_compare(kind: str, tmp_path: Path) -> None:
    text = edited(gzip.decompress(encode_predictions(table(False))), kind)
    found = readings(text, tmp_path / "a.predictions.csv.gz")
    assert found["check"] is None and found["compare and score"] is None


@pytest.mark.slow
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_every_reader_understands_an_honest_table_alike(
    tmp_path_factory: pytest.TempPathFactory, seed: int, quoted: bool
) -> None:
    rng = np.random.default_rng(seed)
    frame = table(quoted)
    frame[ID_COLUMNS] = np.stack([rng.permutation(CLASSES)[:5] for _ in range(N)])
    frame.loc[rng.random(N) < 0.2, ID_COLUMNS] = -1
    found = readings(gzip.decompress(encode_predictions(frame)), tmp_path_factory.mktemp("honest") / "a.csv.gz")
    assert found["check"] == found["compare and score"] == found["ranks"] is not None
    assert list(frame.columns) == COLUMNS


def test_a_gzip_header_with_a_name_is_refused() -> None:
    import io

    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0, filename="../../evil") as file:
        file.write(b"x")
    with pytest.raises(ValueError, match="gzip header"):
        decompress(buffer.getvalue())
