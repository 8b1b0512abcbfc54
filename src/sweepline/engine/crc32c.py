"""The checksum of TFRecord files: CRC-32C (Castagnoli; RFC 3720, appendix B.4) under TensorFlow's mask.

``zlib`` has another polynomial. Pure Python; of many records of one length the checksums are compared column by column,
in a hundredth of the time that one by one would take.
"""

from __future__ import annotations

from functools import cache

_POLYNOMIAL = 0x82F63B78  # reflected
_MASK_DELTA = 0xA282EAD8  # tensorflow/core/lib/hash/crc32c.h
_ALL = 0xFFFFFFFF
_LANE_BYTES = 8  # of which a checksum takes four: there is room for what is carried over
CHECKSUM_BYTES = 4


def masked_crc(data: bytes) -> int:
    """Return the checksum of data as it stands in a TFRecord file."""
    table, state = _table(0), _ALL
    for byte in data:
        state = state >> 8 ^ table[(state ^ byte) & 0xFF]
    crc = state ^ _ALL
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & _ALL


def find_damaged(records: bytes, length: int) -> int | None:
    """Return the index of the first record whose data do not lead to its checksum; None where all do.

    The checksum is linear: it is the exclusive or of what each byte of the data adds by its value and its place. What a
    column of bytes adds to all records is looked up at once.

    Args:
        records: ``length`` bytes of data and then their masked checksum, again and again.
        length: of the data of each.
    """
    whole = length + CHECKSUM_BYTES
    n = len(records) // whole
    same = _after_zeros(_ALL, length)
    sums = [0, 0, 0, 0]
    for i in range(length):
        column = records[i::whole]
        if column.count(column[0]) == n:
            same ^= _table(length - 1 - i)[column[0]]
            continue
        for byte, table in enumerate(_byte_tables(length - 1 - i)):
            sums[byte] ^= int.from_bytes(column.translate(table), "little")
    ones = int.from_bytes((b"\1" + bytes(_LANE_BYTES - 1)) * n, "little")
    crc = _to_lanes([part.to_bytes(n, "little") for part in sums], n) ^ ones * (same ^ _ALL)
    rotated = crc >> 15 & ones * (_ALL >> 15) | crc << 17 & ones * (_ALL << 17 & _ALL)
    asked = (rotated + ones * _MASK_DELTA) & ones * _ALL
    differing = asked ^ _to_lanes([records[length + byte :: whole] for byte in range(CHECKSUM_BYTES)], n)
    return None if differing == 0 else (differing & -differing).bit_length() // (8 * _LANE_BYTES)


def _to_lanes(columns: list[bytes], n: int) -> int:
    """Return the numbers that four columns of bytes make, the lowest first, as one number of ``n`` lanes."""
    lanes = bytearray(_LANE_BYTES * n)
    for byte, column in enumerate(columns):
        lanes[byte::_LANE_BYTES] = column
    return int.from_bytes(lanes, "little")


@cache
def _table(n_after: int) -> tuple[int, ...]:
    """Return what each value of a byte adds to the state when ``n_after`` more bytes follow it."""
    if n_after == 0:
        return tuple(_reduce(value) for value in range(256))
    return tuple(_after_zeros(state, 1) for state in _table(n_after - 1))


@cache
def _byte_tables(n_after: int) -> tuple[bytes, ...]:
    """Return :func:`_table` for each byte of the state, the lowest first."""
    return tuple(bytes(state >> shift & 0xFF for state in _table(n_after)) for shift in (0, 8, 16, 24))


def _reduce(value: int) -> int:
    for _ in range(8):
        value = value >> 1 ^ (_POLYNOMIAL if value & 1 else 0)
    return value


def _after_zeros(state: int, n: int) -> int:
    table = _table(0)
    for _ in range(n):
        state = state >> 8 ^ table[state & 0xFF]
    return state
