"""Text files as spreadsheets write them, in any of their encodings and with any line ends."""

import codecs
import logging
import re

from marketplace.common.errors import MarketplaceError

log = logging.getLogger(__name__)

_BYTE_ORDER_MARKS = [
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
]
_OTHER_FORMATS = {
    b"PK\x03\x04": "an Excel or OpenDocument workbook, or another zip file",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
    b"\x1f\x8b": "a gzip file",
    b"%PDF": "a PDF",
}


def decode_text(content: bytes, name: str) -> str:
    """Return the text of a file with `\\n` for every line end; a bare `\\r` stays if `\\n` ends the lines.

    UTF-8, UTF-16 and UTF-32 are recognised. Bytes that are not UTF-8 are read as Windows-1252, which Excel writes (as
    Mac OS Roman, if `\\r` ends the lines), with a warning.

    Raises MarketplaceError if the file is not text.
    """
    for beginning, kind in _OTHER_FORMATS.items():
        if content.startswith(beginning):
            raise MarketplaceError(f"{name} is {kind}, not a text file: export it as CSV (UTF-8).")
    text = _decode(content, name)
    if "\0" in text:
        raise MarketplaceError(f"{name} is not a text file: it has bytes of value 0. Export it as CSV (UTF-8).")
    return text.replace("\r", "\n") if _ends_with_cr(text) else text.replace("\r\n", "\n")


def _decode(content: bytes, name: str) -> str:
    for mark, encoding in _BYTE_ORDER_MARKS:
        if content.startswith(mark) and encoding != "utf-8":
            return _decode_strictly(content[len(mark) :], encoding, name)
    encoding_without_mark = _detect_utf16(content)
    if encoding_without_mark is not None:
        return _decode_strictly(content, encoding_without_mark, name)
    content = content.removeprefix(codecs.BOM_UTF8)
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        encoding = "mac-roman" if _ends_with_cr(content.decode("latin-1")) else "windows-1252"
        text = content.decode(errors=f"as-{encoding}")
        position = len(content[: error.start].decode())
        log.warning(
            "%s is not UTF-8 throughout: the other bytes were read as %s, such as in %r. If that is wrong, export the "
            "table as CSV (UTF-8).",
            name,
            encoding.title(),
            text[max(0, position - 12) :][:24],
        )
        return text


def _decode_strictly(content: bytes, encoding: str, name: str) -> str:
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise MarketplaceError(
            f"{name} is not {encoding.upper()}, as its first bytes say: byte {error.start} is not. "
            "Export it as CSV (UTF-8)."
        ) from None


def _detect_utf16(content: bytes) -> str | None:
    """The encoding of UTF-16 without a byte order mark: in English text, every other byte is 0."""
    start = content[:20]
    if len(start) < 2:
        return None
    if set(start[1::2]) == {0} and 0 not in start[0::2]:
        return "utf-16-le"
    if set(start[0::2]) == {0} and 0 not in start[1::2]:
        return "utf-16-be"
    return None


def _ends_with_cr(text: str) -> bool:
    """True if the first line ends with a `\\r` alone."""
    line_end = re.search("\r\n|\r|\n", text)
    return line_end is not None and line_end[0] == "\r"


def _register_fallback(encoding: str) -> None:
    """Register an error handler that reads single bytes in another encoding: a file may be a mixture."""

    def decode_bytes(error: UnicodeError) -> tuple[str, int]:
        assert isinstance(error, UnicodeDecodeError)
        return error.object[error.start : error.end].decode(encoding, errors="replace"), error.end

    codecs.register_error(f"as-{encoding}", decode_bytes)


for _encoding in ("windows-1252", "mac-roman"):
    _register_fallback(_encoding)
