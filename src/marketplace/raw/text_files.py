"""Text files as spreadsheets write them: any of their encodings and line ends."""

import codecs
import logging

from marketplace.common.errors import MarketplaceError

log = logging.getLogger(__name__)

_BYTE_ORDER_MARKS = [
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
]
_NOT_TEXT = {
    b"PK\x03\x04": "an Excel or OpenDocument workbook, or another zip file",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
    b"\x1f\x8b": "a gzip file",
    b"%PDF": "a PDF",
}


def decoded(content: bytes, name: str) -> str:
    """The text of a file, with `\\n` for every line end; a bare `\\r` stays where `\\n` ends the lines.

    UTF-8, UTF-16 and UTF-32 are recognised. Bytes that are not UTF-8 are read as Windows-1252, which Excel writes (as
    Mac OS Roman, if `\\r` ends the lines), with a warning.

    Raises MarketplaceError if the file is not text.
    """
    for beginning, kind in _NOT_TEXT.items():
        if content.startswith(beginning):
            raise MarketplaceError(f"{name} is {kind}, not a text file: export it as CSV (UTF-8).")
    text = _decoded(content, name)
    if "\0" in text:
        raise MarketplaceError(f"{name} is not a text file: it has bytes of value 0. Export it as CSV (UTF-8).")
    return text.replace("\r", "\n") if _ends_with_cr(text) else text.replace("\r\n", "\n")


def _decoded(content: bytes, name: str) -> str:
    for mark, encoding in _BYTE_ORDER_MARKS:
        if content.startswith(mark) and encoding != "utf-8":
            return _strictly(content[len(mark) :], encoding, name)
    without_mark = _without_mark(content)
    if without_mark:
        return _strictly(content, without_mark, name)
    content = content.removeprefix(codecs.BOM_UTF8)
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        other = "mac-roman" if _ends_with_cr(content.decode("latin-1")) else "windows-1252"
        text = content.decode(errors=f"as-{other}")
        around = text[max(0, len(content[: error.start].decode()) - 12) :][:24]
        log.warning(
            "%s is not UTF-8 throughout: the other bytes were read as %s, such as in %r. If that is wrong, export the "
            "table as CSV (UTF-8).",
            name,
            other.title(),
            around,
        )
        return text


def _strictly(content: bytes, encoding: str, name: str) -> str:
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise MarketplaceError(
            f"{name} is not {encoding.upper()}, as its first bytes say: byte {error.start} is not. "
            "Export it as CSV (UTF-8)."
        ) from None


def _without_mark(content: bytes) -> str | None:
    """UTF-16 without a byte order mark: every other byte of what is mostly English is 0."""
    start = content[:1000]
    for offset, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
        if len(start) >= 2 and set(start[offset:20:2]) == {0} and 0 not in start[1 - offset : 20 : 2]:
            return encoding
    return None


def _ends_with_cr(text: str) -> bool:
    """True if the first line ends with a `\\r` alone."""
    end = min((position for position in (text.find("\r"), text.find("\n")) if position >= 0), default=-1)
    return end >= 0 and text[end] == "\r" and text[end : end + 2] != "\r\n"


def _reader_of(encoding: str) -> None:
    """Register an error handler that reads single bytes in another encoding; a file may be a mixture."""

    def read(error: UnicodeError) -> tuple[str, int]:
        assert isinstance(error, UnicodeDecodeError)
        return error.object[error.start : error.end].decode(encoding, errors="replace"), error.end

    codecs.register_error(f"as-{encoding}", read)


for _encoding in ("windows-1252", "mac-roman"):
    _reader_of(_encoding)
