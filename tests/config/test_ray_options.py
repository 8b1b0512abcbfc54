"""What a sweep file says of Ray."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from sweepline.config.placemodels import RayModel


@pytest.mark.parametrize("address", [None, "auto", "head:6379", "10.0.0.1:6379", "[fe80::1]:6379"])
def test_the_address_of_a_cluster_is_taken(address: str | None) -> None:
    assert RayModel(address=address).address == address


@pytest.mark.parametrize("address", ["ray://head:10001", "head", ":6379", "head:port", "local", ""])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ValidationError, match="needs auto or HOST:PORT"):
        RayModel(address=address)


@pytest.mark.parametrize("asked", [{"num_cpus": 0}, {"num_gpus": -1}])
def test_a_run_asks_for_what_there_can_be(asked: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        RayModel.model_validate(asked)
