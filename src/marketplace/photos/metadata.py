"""JPEG and PNG files without what is not needed for their pixels: sound photos are full of broken metadata."""

PNG = b"\x89PNG\r\n\x1a\n"
JPEG = b"\xff\xd8"
# https://www.w3.org/TR/png/#4Concepts.FormatTypes: chunks with a capital first letter, and transparency
PNG_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
# JFIF and Adobe say how colours are coded: https://www.w3.org/Graphics/JPEG/itu-t81.pdf, table B.1
JPEG_APPLICATIONS = range(0xE1, 0xF0)
ADOBE, COMMENT, START_OF_SCAN = 0xEE, 0xFE, 0xDA


def without_metadata(content: bytes) -> bytes:
    """The file without its metadata; as it is if it is neither a JPEG nor a PNG, or cannot be followed."""
    if content.startswith(PNG):
        return _png(content)
    return _jpeg(content) if content.startswith(JPEG) else content


def _png(content: bytes) -> bytes:
    kept, position = [PNG], len(PNG)
    while position + 8 <= len(content):
        length = int.from_bytes(content[position : position + 4])
        kind = content[position + 4 : position + 8]
        end = position + 12 + length  # length, kind, data, checksum
        if kind in PNG_CHUNKS:
            kept.append(content[position:end])
        position = end
    return b"".join(kept)


def _jpeg(content: bytes) -> bytes:
    kept, position = [JPEG], len(JPEG)
    while position + 4 <= len(content) and content[position] == 0xFF:
        marker = content[position + 1]
        if marker == 0xFF:  # fill bytes
            position += 1
            continue
        if marker == START_OF_SCAN:
            break
        end = position + 2 + int.from_bytes(content[position + 2 : position + 4])
        if marker == ADOBE or (marker not in JPEG_APPLICATIONS and marker != COMMENT):
            kept.append(content[position:end])
        position = end
    return b"".join([*kept, content[position:]])
