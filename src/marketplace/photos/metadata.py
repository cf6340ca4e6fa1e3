"""JPEG and PNG files reduced to the parts that their pixels need: sound photos are full of broken metadata."""

PNG = b"\x89PNG\r\n\x1a\n"
JPEG = b"\xff\xd8"
# https://www.w3.org/TR/png/#4Concepts.FormatTypes: chunks with a capital first letter, and transparency
PNG_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
# JFIF and Adobe say how colours are coded: https://www.w3.org/Graphics/JPEG/itu-t81.pdf, table B.1
JPEG_APPLICATIONS = range(0xE1, 0xF0)
ADOBE = 0xEE
COMMENT = 0xFE
START_OF_SCAN = 0xDA
FILL_BYTE = 0xFF


def without_metadata(content: bytes) -> bytes:
    """Return a file without its metadata; unchanged if it is neither a JPEG nor a PNG."""
    if content.startswith(PNG):
        return _strip_png(content)
    return _strip_jpeg(content) if content.startswith(JPEG) else content


def _strip_png(content: bytes) -> bytes:
    parts = [PNG]
    position = len(PNG)
    while position + 8 <= len(content):
        length = int.from_bytes(content[position : position + 4])
        chunk_type = content[position + 4 : position + 8]
        end = position + 12 + length  # length, type, data, checksum
        if chunk_type in PNG_CHUNKS:
            parts.append(content[position:end])
        position = end
    return b"".join(parts)


def _strip_jpeg(content: bytes) -> bytes:
    parts = [JPEG]
    position = len(JPEG)
    while position + 4 <= len(content) and content[position] == 0xFF:
        marker = content[position + 1]
        if marker == FILL_BYTE:
            position += 1
            continue
        if marker == START_OF_SCAN:
            break
        end = position + 2 + int.from_bytes(content[position + 2 : position + 4])
        if marker == ADOBE or (marker not in JPEG_APPLICATIONS and marker != COMMENT):
            parts.append(content[position:end])
        position = end
    parts.append(content[position:])  # the pixels
    return b"".join(parts)
