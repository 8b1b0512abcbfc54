"""Data sets that users bring: a function from a portion's name to inputs and targets, checked and made examples of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sweepline.errors import ConfigError
from sweepline.training import calling
from sweepline.training.datasets.examples import Examples, Split

if TYPE_CHECKING:
    import torch

_WANTED = "return arrays or tensors of all inputs and of all targets"
_CHANNELS, _SMALLEST_SIDE, _LONGEST_RATIO = (1, 3, 4), 8, 4  # of what looks like an image with its channels last
_N_NAMED = 5  # classes that a remark names
_MOST_CLASSES = 100  # that whole numbers in floats may stand for, else they are counts


@dataclass(frozen=True)
class BroughtDataset:
    """What a user's function returns for ``split="train"`` and ``"test"``; see :class:`Dataset`."""

    what: str
    function: Callable[..., Any]
    offered: Mapping[str, Any]
    args: Mapping[str, Any]

    def prepare(self) -> None:
        """Check the arguments; what has to be downloaded is when it is loaded."""
        if "split" not in calling.parameters_of(self.function):
            raise ConfigError(f"{self.what}: must take split, which is 'train' or 'test'")
        calling.check_arguments(self.function, self.what, {**self.offered, "split": "train"}, self.args)

    def load(self, split: Split) -> Examples:
        """Return one of its portions.

        Raises:
            ConfigError: the function fails, or returns no examples.
        """
        import torch

        from sweepline.training.seeding import seed_everything, unchanged_randomness

        with unchanged_randomness(torch.device("cpu")):
            seed_everything(0)  # the same for both portions and every run, so that a split at random stays one
            found = calling.call(self.function, self.what, {**self.offered, "split": split}, self.args)
        needed = _WITHOUT_TEST if split == "test" else ""
        if found is None:
            raise ConfigError(f"{self.what}: returns None for split {split}; {_WANTED}{needed}")
        if isinstance(found, Examples):
            examples = _checked_examples(self.what, found)
        elif not isinstance(found, (tuple, list)) or len(found) != 2:
            raise ConfigError(f"{self.what}: returns a {type(found).__name__}, not (inputs, targets); {_WANTED}")
        else:
            inputs, targets = (_as_tensor(self.what, name, value) for name, value in zip(_NAMES, found, strict=True))
            examples = _checked(self.what, split, inputs, targets, needed)
        _check_finite(self.what, split, examples)
        if split == "train":
            _check_classes(self.what, examples)
        return examples


_NAMES = ("inputs", "targets")
_WITHOUT_TEST = (
    ", or have nothing measured on it: evaluate.every=0, or evaluate.split=valid with data.valid_fraction, and "
    "evaluate.final_test=never"
)


def _as_tensor(what: str, name: str, value: Any) -> torch.Tensor:
    import numpy as np
    import torch

    if torch.is_tensor(value):
        return value.detach().cpu()
    try:
        array = np.asarray(value)
        text = _text_in(array)
        if text is None:
            return torch.as_tensor(array)
    except (TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(f"{what}: its {name} are no array: {reason}; {_WANTED}") from None
    wanted = "whole numbers from 0 on, one for each class" if name == "targets" else "numbers"
    raise ConfigError(f"{what}: its {name} hold text, as {text!r}; make them {wanted}")


def _text_in(array: Any) -> str | None:
    """Return a text that an array holds; None where it holds none."""
    if array.dtype.kind not in "USO":
        return None
    return next((str(value) for value in array.flat if isinstance(value, (str, bytes))), None)


def _checked(what: str, split: Split, inputs: torch.Tensor, targets: torch.Tensor, needed: str) -> Examples:
    """Return examples: inputs of pixels or numbers, targets of classes or numbers."""
    import torch

    shapes = f"inputs {tuple(inputs.shape)}, targets {tuple(targets.shape)} for split {split}"
    if not inputs.numel() and not targets.numel():
        raise ConfigError(f"{what}: split {split} is empty; {_WANTED}{needed}")
    if inputs.ndim < 2 or not targets.ndim or len(inputs) != len(targets):
        raise ConfigError(f"{what}: needs inputs (N, ...) and as many targets, got {shapes}")
    if inputs.is_complex() or inputs.layout != torch.strided or targets.layout != torch.strided:
        raise ConfigError(f"{what}: inputs are real numbers, and arrays are dense; got {inputs.dtype}, {inputs.layout}")
    _check_channels(what, inputs)
    is_pixels = inputs.dtype == torch.uint8 and inputs.ndim in (3, 4)
    inputs, scale = (inputs, 1 / 255) if is_pixels else (inputs.to(torch.float32), 1.0)
    if not targets.is_floating_point():
        classes = targets.to(torch.int64)
        if targets.ndim != 1:
            taken = "targets[:, 0]" if targets[0].numel() == 1 else "targets.argmax(1)"
            hint = f"; return {taken}, or floats for numbers" if targets.ndim == 2 else ""
            raise ConfigError(f"{what}: classes are (N,) whole numbers from 0 on, got {shapes}{hint}")
        if (least := int(classes.min())) < 0:
            raise ConfigError(f"{what}: classes are whole numbers from 0 on, the least of split {split} is {least}")
        return Examples(inputs, classes, scale=scale, n_classes=int(classes.max()) + 1)
    numbers = targets.to(torch.float32)
    if numbers.ndim > 2:
        raise ConfigError(f"{what}: targets are classes (N,) or numbers (N, K), got {shapes}")
    return Examples(inputs, numbers if numbers.ndim == 2 else numbers.unsqueeze(1), scale=scale)


def _checked_examples(what: str, examples: Examples) -> Examples:
    """Return what was made examples of already; bytes that are no images become numbers."""
    import torch

    inputs = examples.inputs
    if inputs.dtype == torch.uint8 and inputs.ndim not in (3, 4):
        return replace(examples, inputs=inputs.to(torch.float32))
    if inputs.dtype not in (torch.uint8, torch.float32):
        raise ConfigError(f"{what}: Examples hold inputs of uint8 (images) or float32, got {inputs.dtype}")
    return examples


def _check_channels(what: str, inputs: torch.Tensor) -> None:
    """Refuse what looks like images with their channels last: both sides far longer than the last axis."""
    if inputs.ndim != 4 or inputs.shape[3] not in _CHANNELS:
        return
    short, long = sorted(inputs.shape[1:3])
    if short >= _SMALLEST_SIDE and long <= _LONGEST_RATIO * short and inputs.shape[1] not in _CHANNELS:
        raise ConfigError(
            f"{what}: inputs {tuple(inputs.shape)} look like (N, H, W, C); transpose them to (N, C, H, W), as "
            "x.transpose(0, 3, 1, 2) does of an array; where they are (N, C, H, W), return sweepline.training.Examples"
        )


def _check_finite(what: str, split: Split, examples: Examples) -> None:
    """Refuse NaN and infinity. A sum tells whether to look: it is finite of finite numbers, unless they are huge."""
    for name, values in zip(_NAMES, (examples.inputs, examples.targets), strict=True):
        if not values.is_floating_point() or bool(values.sum().isfinite()):
            continue
        n_nan, n_infinite = int(values.isnan().sum()), int(values.isinf().sum())
        if n_nan or n_infinite:
            first = int((~values.isfinite()).reshape(len(values), -1).any(1).nonzero()[0])
            counts = {"NaN": n_nan, "infinite (as float32)": n_infinite}
            found = " and ".join(f"{n:,} {kind}" for kind, n in counts.items() if n)
            raise ConfigError(
                f"{what}: {name} have {found}, first at example {first}, split {split}; mend or drop them"
            )


def _check_classes(what: str, examples: Examples) -> None:
    """Refuse classes that leave gaps and go beyond the examples: the network's outputs are as many as their numbers."""
    n = len(examples)
    if examples.n_classes <= n:
        return
    n_met = len({*examples.targets.tolist()})
    if n_met < examples.n_classes:
        raise ConfigError(
            f"{what}: classes go up to {examples.n_classes - 1:,}, but {n:,} examples have {n_met:,} of them; number "
            "them from 0 on, without gaps"
        )


def remarks_on(what: str, training: Examples, *, is_error_squared: bool) -> Iterator[str]:
    """Yield what of the targets may be meant otherwise: classes that never occur, numbers that look like classes."""
    targets = training.targets
    if training.n_classes:
        counts = targets.bincount(minlength=training.n_classes)
        if n_missing := int((counts == 0).sum()):
            n_met = training.n_classes - n_missing
            named = ", ".join(str(int(i)) for i in (counts == 0).nonzero()[:_N_NAMED, 0])
            more = ", ..." if n_missing > _N_NAMED else ""
            yield f"{what}: {n_met:,} of {training.n_classes:,} classes occur in training; not {named}{more}"
    elif is_error_squared and (kind := _kind_of_classes(targets)):
        yield f"{what}: targets are numbers ({kind}), trained with the squared error; make them integers for classes"


def _kind_of_classes(targets: torch.Tensor) -> str:
    """Return what numbers (N, K) look like if they look like classes, else nothing."""
    if targets.shape[1] > 1:
        is_one_hot = bool(((targets == 0) | (targets == 1)).all()) and bool((targets.sum(1) == 1).all())
        return "one-hot rows" if is_one_hot else ""
    if not bool((targets == targets.round()).all()):
        return ""
    met = sorted({*targets.flatten().tolist()})
    return f"{len(met)} whole ones" if len(met) <= _MOST_CLASSES and met[0] >= 0 else ""
