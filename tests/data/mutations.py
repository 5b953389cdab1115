"""Damage for fuzz tests, as hypothesis strategies: what becomes of bytes, and of the lines of a text file."""

from collections.abc import Sequence

from hypothesis import strategies as st

MOST_FAULTS = 4  # of one file
MOST_LENGTH = 40  # bytes, or lines, that one fault concerns

ODD_FIELDS = (
    *("", " ", "0", "-0", "-1", "+1", "01", "1.5", "1e5", "nan", "inf", "null", "x", "\x00", "\ufeff1", "１"),
    *(str(2**bits + more) for bits in (31, 32, 53, 62, 63, 64) for more in (-1, 0)),
    *(str(-(2**63)), "9" * 18, "9" * 19, "9" * 400, "9999999999", "-9999999999", "34200.1234567890123456789"),
    *('"1"', '"', "1,1", "1;1", "1\r", "93000000", "2024-02-30", "24:00:00"),
)
GARBAGE = st.binary(max_size=MOST_LENGTH) | st.sampled_from([b"\n", b"\r\n", b"\x00", b"\xff\xfe", b",", b"\n\n"])


@st.composite
def damaged_bytes(draw: st.DrawFn, data: bytes) -> bytes:
    """A file's bytes with one to four faults: cut, overwritten, inserted, left out, or told twice."""
    for _ in range(draw(st.integers(1, MOST_FAULTS))):
        fault = draw(st.sampled_from(["cut", "overwrite", "insert", "leave out", "repeat"]))
        place = draw(st.integers(0, len(data)))
        end = min(place + draw(st.integers(1, MOST_LENGTH)), len(data))
        if fault == "cut":
            data = data[:place]
        elif fault == "overwrite":
            garbage = draw(GARBAGE)
            data = data[:place] + garbage + data[place + len(garbage) :]
        elif fault == "insert":
            data = data[:place] + draw(GARBAGE) + data[place:]
        elif fault == "leave out":
            data = data[:place] + data[end:]
        else:
            data = data[:end] + data[place:]
    return data


@st.composite
def damaged_lines(draw: st.DrawFn, lines: Sequence[str], separator: str = ",") -> list[str]:
    """Lines with one to four faults.

    A field becomes odd, or another line's (times go back, ids come again), or is nudged (prices off the tick), or
    missing, or there is one more; a line is cut or garbage; some lines leave, come twice, or change places.
    """
    lines = list(lines)
    for _ in range(draw(st.integers(1, MOST_FAULTS))):
        fault = draw(st.sampled_from(["field", "field", "field", "cut", "garbage", "leave out", "repeat", "shuffle"]))
        if fault == "garbage":
            text = draw(st.text(st.characters(codec="utf-8", exclude_characters="\n"), max_size=MOST_LENGTH))
            lines.insert(draw(st.integers(0, len(lines))), text)
        if not lines:
            continue
        place = draw(st.integers(0, len(lines) - 1))
        end = place + draw(st.integers(1, MOST_LENGTH))
        if fault == "field":
            lines[place] = separator.join(draw(_damaged_fields(lines, place, separator)))
        elif fault == "cut":
            lines[place] = lines[place][: draw(st.integers(0, len(lines[place])))]
        elif fault == "leave out":
            del lines[place:end]
        elif fault == "repeat":
            lines[place:place] = lines[place:end]
        elif fault == "shuffle":
            lines[place:end] = draw(st.permutations(lines[place:end]))
    return lines


@st.composite
def _damaged_fields(draw: st.DrawFn, lines: list[str], place: int, separator: str) -> list[str]:
    fields = lines[place].split(separator)
    column = draw(st.integers(0, len(fields) - 1))
    fault = draw(st.sampled_from(["odd", "other", "nudge", "leave out", "insert"]))
    if fault == "odd":
        fields[column] = draw(st.sampled_from(ODD_FIELDS))
    elif fault == "other":
        other = draw(st.sampled_from(lines)).split(separator)
        fields[column] = other[min(column, len(other) - 1)]
    elif fault == "nudge":
        if fields[column].lstrip("-").isascii() and fields[column].lstrip("-").isdigit():
            fields[column] = str(int(fields[column]) + draw(st.sampled_from([-100, -10, -1, 1, 10, 100])))
    elif fault == "leave out":
        del fields[column]
    else:
        fields.insert(column, draw(st.sampled_from(ODD_FIELDS)))
    return fields
