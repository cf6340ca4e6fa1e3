"""The frames of a GIF before any is decoded: Pillow makes room for frames that are larger than the picture."""

import struct

EXTENSION = 0x21
FRAME = 0x2C


def frames_fit(content: bytes, size: tuple[int, int]) -> bool:
    """Return whether no frame reaches beyond `size` (width, height), as far as the blocks of the file can be read.

    The format is https://www.w3.org/Graphics/GIF/spec-gif89a.txt.
    """
    position = 13 + _table_length(content, 10)
    while position + 10 < len(content):
        if content[position] == FRAME:
            left, top, width, height = struct.unpack_from("<4H", content, position + 1)
            if left + width > size[0] or top + height > size[1]:
                return False
            position = _end_of_blocks(content, position + 11 + _table_length(content, position + 9))
        elif content[position] == EXTENSION:
            position = _end_of_blocks(content, position + 2)
        else:
            position += 1  # Pillow skips such bytes as well
    return True


def _table_length(content: bytes, position: int) -> int:
    """Return the length of the table of colours that a byte of flags announces."""
    flags = content[position] if position < len(content) else 0
    return 3 << ((flags & 7) + 1) if flags & 128 else 0


def _end_of_blocks(content: bytes, position: int) -> int:
    """Return where a series of data blocks ends, each of which begins with its length; the last has none."""
    while position < len(content) and content[position]:
        position += 1 + content[position]
    return position + 1
