"""A script that takes everything from wandb.config, as users write it; the second seed of a small step size fails."""

import os

import wandb

run = wandb.init(config={"epochs": 3})
for epoch in range(run.config["epochs"]):
    if epoch == 1 and os.environ["SWEEPLINE_SEED"] == "1" and run.config["lr"] < 0.5:
        raise RuntimeError("an accident")
    run.log({"loss": run.config["lr"] * (epoch + 1)})
