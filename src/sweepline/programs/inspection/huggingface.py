"""The flags of transformers' TrainingArguments that are likely to be swept, with the defaults of versions 4 and 5."""

from __future__ import annotations

from collections.abc import Iterator

from sweepline.programs.inspection.facts import Flag

TRAINING_ARGUMENTS = frozenset(
    {"TrainingArguments", "Seq2SeqTrainingArguments", "SFTConfig", "DPOConfig", "GRPOConfig"}
)
"""Classes that have them; trl's change some defaults."""

_FLAGS: tuple[tuple[str, str, object], ...] = (
    ("learning_rate", "float", 5e-5),
    ("per_device_train_batch_size", "int", 8),
    ("gradient_accumulation_steps", "int", 1),
    ("weight_decay", "float", 0.0),
    ("num_train_epochs", "float", 3.0),
    ("max_steps", "int", -1),
    ("lr_scheduler_type", "str", "linear"),
    ("warmup_steps", "int", 0),
    ("adam_beta1", "float", 0.9),
    ("adam_beta2", "float", 0.999),
    ("adam_epsilon", "float", 1e-8),
    ("max_grad_norm", "float", 1.0),
    ("label_smoothing_factor", "float", 0.0),
    ("seed", "int", 42),
    ("bf16", "bool", False),
    ("do_train", "bool", False),
    ("do_eval", "bool", False),
)


def training_flags() -> Iterator[Flag]:
    """Yield them."""
    for name, kind, default in _FLAGS:
        boolean = "text" if kind == "bool" else ""
        yield Flag(name=name, kind=kind, default=default, boolean=boolean, where="transformers' TrainingArguments")
