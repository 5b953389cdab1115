"""DBN files, versions 1 to 3: metadata, then records of any type behind one another.

The package `databento-dbn` reads the metadata and the symbol mappings. MBO records are the same in all versions, and
are taken from the bytes as they are: a Python object for each would take most of the time.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from mars_lmm.compilation import kept_njit
from mars_lmm.data.errors import DataError
from mars_lmm.data.feeds.common.files import BLOCK, DAMAGED
from mars_lmm.data.feeds.databento.receipts import Span
from mars_lmm.data.feeds.databento.records import LARGEST, MBO, Part
from mars_lmm.data.feeds.databento.symbols import ALL_DAYS, SymbolTable
from mars_lmm.data.ledger import Ledger
from mars_lmm.data.names import is_symbol

MAGIC = b"DBN"
VERSIONS = (b"\1", b"\2", b"\3")
PREFIX_BYTES = 8  # magic, version, and the length of the metadata
MAX_METADATA = 1 << 29  # bytes
PART_BYTES = 8 * BLOCK
PIECE_BYTES = 1 << 16  # of a file that breaks off, at most so much is lost
WORD = 4
MBO_WORDS = MBO.itemsize // WORD
HEADER_WORDS = 4
MBO_TYPE, MAPPING_TYPE = 160, 22
MAPPING_BYTES = {1: 80, 2: 176, 3: 176}  # by version
EPOCH = date(1970, 1, 1).toordinal()
NOT_DBN, CUT, BAD_LENGTH = "not a DBN file", "the file is cut short", "bad record length"


class DbnFile(NamedTuple):
    """What a DBN file holds.

    Attributes:
        dataset: The dataset's name.
        span: The times of receipt that its metadata promises.
        parts: The MBO records; rows count records of all types.
    """

    dataset: str
    span: Span
    parts: Iterator[Part]


def read_dbn(stream: BinaryIO, source: Any, symbols: SymbolTable, ledger: Ledger) -> DbnFile | None:
    """Read a DBN file part by part.

    Args:
        stream: The unpacked content.
        source: The file, for messages.
        symbols: Takes the symbols that the file tells.
        ledger: Takes counts and bad rows.

    Returns:
        The file; None if the ledger took it as a whole.

    Raises:
        DataError: The package `databento-dbn` is missing; or the file is damaged, and the ledger says that this is an
            error; also while the records are read.
    """
    dbn = _package(source)
    try:
        prefix = _read(stream, PREFIX_BYTES)
        length = int.from_bytes(prefix[4:], "little")
        known = prefix.startswith(MAGIC) and prefix[3:4] in VERSIONS and length <= MAX_METADATA
        encoded = prefix + (_read(stream, length) if known else b"")
    except DAMAGED as error:
        ledger.refuse(source, None, CUT, f"it cannot be unpacked ({error}); get it again")
        return None
    if not known:
        ledger.refuse(source, None, NOT_DBN, f"it begins with {prefix!r}; versions 1 to 3 can be read")
        return None
    try:
        metadata = dbn.Metadata.decode(encoded)
    except (dbn.DBNError, ValueError, OverflowError) as error:
        ledger.refuse(source, None, NOT_DBN, f"its metadata cannot be read ({error}); get the file again")
        return None
    if metadata.schema is not None and str(metadata.schema) != "mbo":
        ledger.refuse(source, None, "another schema", f"it holds {metadata.schema}; this feed reads mbo")
        return None
    _add_symbols(metadata, symbols)
    span = Span(metadata.start, LARGEST if metadata.end is None else metadata.end)
    return DbnFile(metadata.dataset, span, _parts(dbn, prefix[3], stream, source, symbols, ledger))


def _parts(
    dbn: Any, version: int, stream: BinaryIO, source: Any, symbols: SymbolTable, ledger: Ledger
) -> Iterator[Part]:
    row, rest = 0, b""
    for block in _blocks(stream, source, ledger):
        words = np.frombuffer(rest + block, "<u4", (len(rest) + len(block)) // WORD)
        table = np.empty((len(words) // HEADER_WORDS, 3), np.int64)
        copied = np.empty((len(words) // MBO_WORDS, MBO_WORDS), np.uint32)
        count, num_mbo, used = _split(words, table, copied)
        start, rtype, length = table[:count].T
        is_mbo = (rtype == MBO_TYPE) & (length >= MBO_WORDS)
        rows = row + 1 + np.arange(count)
        ledger.check(source, rows, (rtype == MBO_TYPE) & ~is_mbo, BAD_LENGTH, "an MBO record of {} words", length)
        ledger.counts["other_records"] += int(np.count_nonzero(rtype != MBO_TYPE))
        records, rows = copied[:num_mbo].view(MBO)[:, 0], rows[is_mbo]
        # A mapping holds for the records behind it.
        first, mbo_before = 0, np.cumsum(is_mbo)
        for place in np.flatnonzero(rtype == MAPPING_TYPE).tolist():
            here = int(mbo_before[place])
            if here > first:
                yield _part(records[first:here], rows[first:here], symbols)
                first = here
            mapping = words[start[place] : start[place] + length[place]].tobytes()
            if not _add_mapping(dbn, version, mapping, symbols):
                detail = "its symbol cannot be read; the records behind it go by the instrument's number"
                ledger.refuse(source, row + 1 + place, "bad symbol mapping", detail)
        if num_mbo > first:
            yield _part(records[first:], rows[first:], symbols)
        row += count
        rest = (rest + block)[used * WORD :]
        if len(rest) >= HEADER_WORDS * WORD and rest[0] < HEADER_WORDS:
            detail = f"a record of {rest[0]} words has no room for its header; nothing behind it can be read"
            ledger.refuse(source, row + 1, BAD_LENGTH, detail)
            return
    if rest:
        ledger.refuse(source, row + 1, CUT, f"{len(rest)} bytes of a record are left at its end; get it again")


def _package(source: Any) -> Any:
    try:
        import databento_dbn
    except ImportError as error:
        reason = "DBN files need the package databento-dbn: pip install 'mars-lmm[databento]'"
        raise DataError(str(source), reason) from error
    return databento_dbn


def _read(stream: BinaryIO, size: int) -> bytes:
    """The next bytes, fewer at the end; a damaged length costs no memory."""
    parts = []
    while size > 0 and (part := stream.read(min(size, BLOCK))):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _blocks(stream: BinaryIO, source: Any, ledger: Ledger) -> Iterator[bytes]:
    ended = False
    while not ended:
        block = bytearray()
        damage = None
        try:
            while len(block) < PART_BYTES and not ended:
                piece = stream.read(PIECE_BYTES)
                block += piece
                ended = not piece
        except DAMAGED as error:
            ended, damage = True, error
        yield bytes(block)
        if damage is not None:
            ledger.refuse(source, None, CUT, f"it cannot be unpacked to its end ({damage}); get it again")


def _part(records: np.ndarray, rows: np.ndarray, symbols: SymbolTable) -> Part:
    return Part(records, rows, symbols.places(records["instrument_id"], records["ts_recv"]))


def _add_symbols(metadata: Any, symbols: SymbolTable) -> None:
    """Enter the metadata's mappings, which lead from symbols to numbers or the other way round."""
    backwards = str(metadata.stype_in) == "instrument_id"
    for name, intervals in metadata.mappings.items():
        for interval in intervals:
            number, symbol = (name, interval["symbol"]) if backwards else (interval["symbol"], name)
            first, end = (interval[key].toordinal() - EPOCH for key in ("start_date", "end_date"))
            if number.isdecimal():
                symbols.add(int(number), symbol, first, end)


def _add_mapping(dbn: Any, version: int, record: bytes, symbols: SymbolTable) -> bool:
    """Enter a mapping record of a live stream, which holds from now on; return whether it could be read."""
    if len(record) < MAPPING_BYTES[version]:
        return False
    decoder = dbn.DBNDecoder(has_metadata=False, input_version=version)
    try:
        decoder.write(record)
        (message,) = decoder.decode()
        symbol = message.stype_out_symbol
    except (dbn.DBNError, ValueError, AttributeError):
        return False
    symbols.add(message.instrument_id, symbol, *ALL_DAYS)
    return is_symbol(symbol)


@kept_njit("data")
def _split(words, table, copied):
    """Find the records; copy those of type MBO.

    Args:
        words: uint32[W].
        table: int64[R, 3], filled with each record's first word, type and length in words.
        copied: uint32[M, MBO_WORDS], filled with the MBO records.

    Returns:
        How many records are whole, how many of them were copied, and the words that they take.
    """
    count = num_mbo = place = 0
    while place + HEADER_WORDS <= len(words):
        length = np.int64(words[place] & 0xFF)
        rtype = np.int64((words[place] >> 8) & 0xFF)
        if length < HEADER_WORDS or place + length > len(words):
            break
        table[count, 0], table[count, 1], table[count, 2] = place, rtype, length
        if rtype == MBO_TYPE and length >= MBO_WORDS:
            for i in range(MBO_WORDS):
                copied[num_mbo, i] = words[place + i]
            num_mbo += 1
        count += 1
        place += length
    return count, num_mbo, place
