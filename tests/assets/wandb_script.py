"""A script that takes everything from wandb.config and logs to W&B alone: no flags, no METRIC lines."""

import wandb

run = wandb.init(config={"lr": 0.5, "optimizer": {"name": "none", "momentum": 0.0}, "untouched": 7})
config = wandb.config
for step in range(3):
    run.log({"loss": config["lr"] * (step + 1), "momentum": config["optimizer"]["momentum"]})
run.finish()
