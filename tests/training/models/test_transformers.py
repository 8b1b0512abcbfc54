"""The transformers: their shapes, where a patch lies, and that the causal one sees no later patch."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sweepline.training.building import build_model
from sweepline.training.config.schema import ModelConfig
from sweepline.training.models.transformers import DecoderOnly, grid_encoding

ROWS, COLUMNS, WIDTH, PATCH = 2, 3, 16, 4


def build(name: str, *, channels: int = 1) -> nn.Module:
    """Return a network for images of 2 x 3 patches, with 7 outputs."""
    torch.manual_seed(0)
    config = ModelConfig(name=name, width=WIDTH, depth=2, heads=4, patch=PATCH)
    return build_model(config, input_shape=(channels, ROWS * PATCH, COLUMNS * PATCH), n_outputs=7).eval()


def images(channels: int = 1) -> torch.Tensor:
    """Return (5, C, 8, 12) normal noise, the same each time."""
    generator = torch.Generator().manual_seed(1)
    return torch.randn(5, channels, ROWS * PATCH, COLUMNS * PATCH, generator=generator)


def with_another_patch(inputs: torch.Tensor, place: int) -> torch.Tensor:
    """Return images with other pixels in the patch of a place, counted row by row."""
    row, column = (PATCH * at for at in divmod(place, COLUMNS))
    changed = inputs.clone()
    changed[:, :, row : row + PATCH, column : column + PATCH] += 1.0
    return changed


@torch.no_grad()
def features(model: DecoderOnly, inputs: torch.Tensor) -> torch.Tensor:
    """Return what the last block makes of patches and class token, (B, P + 1, F)."""
    found: list[torch.Tensor] = []
    hook = model.blocks[-1].register_forward_hook(lambda _model, _inputs, output: found.append(output))
    model(inputs)
    hook.remove()
    return found[0]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", ["encoder_decoder", "decoder_only"])
def test_images_become_scores(name: str, channels: int) -> None:
    model = build(name, channels=channels)
    assert model(images(channels)).shape == (5, 7)
    assert model.patches(images(channels)).shape == (5, ROWS * COLUMNS, WIDTH)  # type: ignore[operator]


@pytest.mark.parametrize("place", range(ROWS * COLUMNS))
def test_a_patch_changes_no_place_before_it_and_every_one_from_it_on(place: int) -> None:
    model = build("decoder_only")
    assert isinstance(model, DecoderOnly)
    difference = (features(model, with_another_patch(images(), place)) - features(model, images())).abs().amax((0, 2))
    assert difference.shape == (ROWS * COLUMNS + 1,)
    assert difference[:place].tolist() == pytest.approx([0.0] * place, abs=1e-6)
    assert bool((difference[place:] > 1e-3).all())


@pytest.mark.parametrize("place", range(ROWS * COLUMNS))
@pytest.mark.parametrize("name", ["encoder_decoder", "decoder_only"])
def test_every_patch_reaches_the_scores(name: str, place: int) -> None:
    model = build(name)
    with torch.no_grad():
        difference = (model(with_another_patch(images(), place)) - model(images())).abs()
    assert bool((difference.amax(1) > 1e-4).all())


@pytest.mark.parametrize("name", ["encoder_decoder", "decoder_only"])
def test_where_a_patch_lies_counts(name: str) -> None:
    model, inputs = build(name), images()
    with torch.no_grad():
        swapped = model(inputs.roll(PATCH, dims=3))
        assert not torch.allclose(swapped, model(inputs), atol=1e-4)


def test_one_half_of_an_encoding_tells_the_row_and_the_other_the_column() -> None:
    encoding = grid_encoding(ROWS, COLUMNS, WIDTH)
    assert encoding.shape == (ROWS * COLUMNS, WIDTH)
    grid = encoding.reshape(ROWS, COLUMNS, WIDTH)
    of_rows, of_columns = grid[..., : WIDTH // 2], grid[..., WIDTH // 2 :]
    assert torch.equal(of_rows, of_rows[:, :1].expand_as(of_rows))
    assert torch.equal(of_columns, of_columns[:1].expand_as(of_columns))
    assert torch.equal(of_rows[:, 0], of_columns[0, :ROWS])  # the same numbers, of a row and of a column
    assert not torch.equal(grid[0, 1], grid[1, 0])
    assert torch.cdist(encoding, encoding).fill_diagonal_(1.0).min() > 0.1


def test_an_encoding_is_of_sines_and_cosines_of_falling_rates() -> None:
    place = grid_encoding(1, 6, 8)[5, 4:]
    angles = torch.tensor([5.0, 5.0 / 100])
    assert torch.allclose(place, torch.cat([angles.sin(), angles.cos()]), atol=1e-6)
