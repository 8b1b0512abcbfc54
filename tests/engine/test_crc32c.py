"""CRC-32C against published values and TensorBoard's own, and damage found among many records at once."""

from __future__ import annotations

import random

import pytest
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c

from sweepline.engine.crc32c import find_damaged, masked_crc


def unmasked(data: bytes) -> int:
    rotated = (masked_crc(data) - 0xA282EAD8) & 0xFFFFFFFF
    return (rotated >> 17 | rotated << 15) & 0xFFFFFFFF


@pytest.mark.parametrize(
    ("data", "crc"),
    [(b"123456789", 0xE3069283), (bytes(32), 0x8A9136AA), (b"\xff" * 32, 0x62A8AB43), (bytes(range(32)), 0x46DD794E)],
)
def test_the_values_of_rfc_3720_are_met(data: bytes, crc: int) -> None:
    assert unmasked(data) == crc


def test_the_mask_is_tensorboards() -> None:
    assert masked_crc(b"an event") == masked_crc32c(b"an event")


def records(n: int, length: int) -> list[bytearray]:
    draw = random.Random(0)
    found = []
    for _ in range(n):
        data = b"same" + draw.randbytes(length - 4)
        found.append(bytearray(data + masked_crc(data).to_bytes(4, "little")))
    return found


def test_whole_records_have_no_damage() -> None:
    assert find_damaged(b"".join(records(50, 37)), 37) is None


@pytest.mark.parametrize("place", [0, 3, 4, 36, 37, 40])
def test_a_single_bit_is_found_wherever_it_is(place: int) -> None:
    found = records(50, 37)
    found[17][place] ^= 1 << 5
    assert find_damaged(b"".join(found), 37) == 17
