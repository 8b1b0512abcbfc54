"""Small transformers over the patches of an image. B: batch, P: patches, F: features, p: pixels of a patch's side.

Where a patch lies in the grid is told by sines and cosines, of its row in one half of the features and of its column in
the other; the encoding of Vaswani et al. 2017, "Attention Is All You Need", in two dimensions.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

from sweepline.errors import ConfigError
from sweepline.training.models.settings import Shape, TransformerSettings, image_shape


def grid_encoding(rows: int, columns: int, n_features: int) -> torch.Tensor:
    """Return the encoding of a grid's places, row by row, (rows * columns, F); F is a multiple of 4."""
    n = n_features // 4
    rates = torch.exp(-math.log(10_000.0) * torch.arange(n) / n)
    row, column = (torch.arange(size).unsqueeze(1) * rates for size in (rows, columns))
    of_rows = torch.cat([row.sin(), row.cos()], dim=1).repeat_interleave(columns, dim=0)
    of_columns = torch.cat([column.sin(), column.cos()], dim=1).repeat(rows, 1)
    return torch.cat([of_rows, of_columns], dim=1)


class Patches(nn.Module):
    """The patches of images as features, each with its place."""

    places: torch.Tensor

    def __init__(self, *, width: int, patch: int, input_shape: Shape) -> None:
        super().__init__()
        channels, height, wide = image_shape(input_shape)
        self.embed = nn.Conv2d(channels, width, patch, stride=patch)
        self.register_buffer("places", grid_encoding(height // patch, wide // patch, width), persistent=False)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return (B, P, F) for images (B, C, H, W)."""
        embedded: torch.Tensor = self.embed(inputs).flatten(2).transpose(1, 2)
        return embedded + self.places


class Attention(nn.Module):
    """Attention of queries (B, Q, F) over memories (B, M, F), in several heads."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.pair, self.out = nn.Linear(width, width), nn.Linear(width, 2 * width), nn.Linear(width, width)

    def forward(self, queries: torch.Tensor, memories: torch.Tensor, *, is_causal: bool = False) -> torch.Tensor:
        """Return (B, Q, F); causal: a query sees the memories up to its own place."""
        key, value = self.pair(memories).chunk(2, dim=-1)
        q, k, v = (x.reshape(*x.shape[:2], self.heads, -1).transpose(1, 2) for x in (self.query(queries), key, value))
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=is_causal)
        out: torch.Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return out


class Block(nn.Module):
    """Attention and a perceptron, each behind a normalization and added to what came in."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.attention = Attention(width, heads)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(
        self, hidden: torch.Tensor, memories: torch.Tensor | None = None, *, is_causal: bool = False
    ) -> torch.Tensor:
        """Return (B, Q, F); attention is over ``memories``, by default over what came in itself."""
        normed = self.norms[0](hidden)
        hidden = hidden + self.attention(normed, normed if memories is None else memories, is_causal=is_causal)
        out: torch.Tensor = hidden + self.mlp(self.norms[1](hidden))
        return out


class EncoderDecoder(nn.Module):
    """An encoder over all patches, and a decoder of one learned query, which becomes the scores."""

    def __init__(self, *, width: int, depth: int, heads: int, patch: int, input_shape: Shape, n_outputs: int) -> None:
        super().__init__()
        self.patches = Patches(width=width, patch=patch, input_shape=input_shape)
        self.encoder = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.decoder = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.query = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.head = nn.Linear(width, n_outputs)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return scores (B, n_outputs) for images (B, C, H, W)."""
        memories = self.patches(inputs)
        for block in self.encoder:
            memories = block(memories)
        memories = self.norms[0](memories)
        query = self.query.expand(len(inputs), -1, -1)
        for block in self.decoder:
            query = block(query, memories)
        scores: torch.Tensor = self.head(self.norms[1](query)[:, 0])
        return scores


class DecoderOnly(nn.Module):
    """Causal blocks over the patches in their order and a last token for the class, which becomes the scores."""

    def __init__(self, *, width: int, depth: int, heads: int, patch: int, input_shape: Shape, n_outputs: int) -> None:
        super().__init__()
        self.patches = Patches(width=width, patch=patch, input_shape=input_shape)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.token = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, n_outputs)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return scores (B, n_outputs) for images (B, C, H, W)."""
        hidden = torch.cat([self.patches(inputs), self.token.expand(len(inputs), -1, -1)], dim=1)
        for block in self.blocks:
            hidden = block(hidden, is_causal=True)
        scores: torch.Tensor = self.head(self.norm(hidden[:, -1]))
        return scores


def build_encoder_decoder(settings: TransformerSettings, *, input_shape: Shape, n_outputs: int) -> EncoderDecoder:
    """Return a fresh network, its weights drawn from torch's global generator.

    Raises:
        ConfigError: patches do not tile the image, or heads do not divide the features.
    """
    _check(settings, input_shape)
    return EncoderDecoder(**settings.model_dump(), input_shape=input_shape, n_outputs=n_outputs)


def build_decoder_only(settings: TransformerSettings, *, input_shape: Shape, n_outputs: int) -> DecoderOnly:
    """Return a fresh network, its weights drawn from torch's global generator.

    Raises:
        ConfigError: patches do not tile the image, or heads do not divide the features.
    """
    _check(settings, input_shape)
    return DecoderOnly(**settings.model_dump(), input_shape=input_shape, n_outputs=n_outputs)


def _check(settings: TransformerSettings, input_shape: Shape) -> None:
    _, height, wide = image_shape(input_shape)
    if height % settings.patch or wide % settings.patch:
        raise ConfigError(f"model.patch {settings.patch} does not divide images of {height} x {wide} pixels")
    if settings.width % 4 or settings.width % settings.heads:
        raise ConfigError(f"model.width {settings.width} must be a multiple of 4, and of model.heads {settings.heads}")
