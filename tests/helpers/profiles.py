"""ICC profiles, written byte by byte (https://www.color.org/specification/ICC.1-2001-04.pdf)."""

import struct

import numpy as np

# The X, Y and Z of red, green and blue, adapted to D50, and the exponent of the values; None: sRGB's curve.
SRGB = ([[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]], None)
ADOBE_RGB = ([[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322], [0.01947, 0.06087, 0.74457]], 563 / 256)
DISPLAY_P3 = ([[0.51512, 0.29198, 0.15710], [0.24120, 0.69225, 0.06657], [-0.00105, 0.04189, 0.78407]], None)
PROPHOTO = ([[0.79767, 0.13519, 0.03134], [0.28804, 0.71188, 0.00009], [0.0, 0.0, 0.82491]], 1.8)
Space = tuple[list[list[float]], float | None]


def linear(values: np.ndarray, exponent: float | None) -> np.ndarray:
    """Return amounts of light from values, both from 0 to 1."""
    if exponent is not None:
        return values**exponent
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def expected_srgb(pixels: np.ndarray, space: Space) -> np.ndarray:
    """Return the pixels `(H, W, 3) uint8` of a colour space in sRGB: `(H, W, 3)`."""
    matrix, exponent = space
    light = linear(pixels / 255, exponent) @ np.array(matrix).T @ np.linalg.inv(SRGB[0]).T
    light = light.clip(0, 1)
    return 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def rgb_profile(space: Space) -> bytes:
    matrix, exponent = space
    colours = {name: _xyz([row[column] for row in matrix]) for column, name in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))}
    return _profile(b"RGB ", b"XYZ ", colours | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), _curve(exponent)))


def grey_profile(exponent: float) -> bytes:
    return _profile(b"GRAY", b"XYZ ", {b"kTRC": _curve(exponent)})


def cmyk_profile(corners: np.ndarray) -> bytes:
    """`corners` `(2, 2, 2, 2, 3) uint8`: the Lab values without and with cyan, magenta, yellow and black."""
    identity = bytes(range(256))
    matrix = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    table = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + matrix + 4 * identity + corners.tobytes() + 3 * identity
    return _profile(b"CMYK", b"Lab ", {b"A2B0": table}, device_class=b"prtr")


def _xyz(values: list[float]) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(65536 * value) for value in values))


def _curve(exponent: float | None) -> bytes:
    if exponent is not None:
        return b"curv" + bytes(4) + struct.pack(">IH", 1, round(256 * exponent)) + bytes(2)
    table = np.rint(65535 * linear(np.linspace(0, 1, 1024), None)).astype(">u2")
    return b"curv" + bytes(4) + struct.pack(">I", len(table)) + table.tobytes()


def _profile(space: bytes, pcs: bytes, tags: dict[bytes, bytes], device_class: bytes = b"mntr") -> bytes:
    name = b"Test\0"
    tags |= {
        b"wtpt": _xyz([0.9642, 1.0, 0.8249]),
        b"cprt": b"text" + bytes(4) + b"None\0",
        b"desc": b"desc" + bytes(4) + struct.pack(">I", len(name)) + name + bytes(78),
    }
    directory = struct.pack(">I", len(tags))
    data = b""
    for tag, content in tags.items():
        directory += tag + struct.pack(">II", 128 + 4 + 12 * len(tags) + len(data), len(content))
        data += content + bytes(-len(content) % 4)
    header = bytes(4) + bytes(4) + struct.pack(">I", 0x02400000) + device_class + space + pcs + bytes(12) + b"acsp"
    header += bytes(28) + struct.pack(">3i", 63190, 65536, 54061) + bytes(48)
    assert len(header) == 128
    content = header + directory + data
    return struct.pack(">I", len(content)) + content[4:]
