"""One MNIST epoch of our trainer beside the classic loop: DataLoader, ToTensor, Normalize, same network, one thread.

Both are timed inside a process of their own, without start-up. Needs the real MNIST ($SWEEPLINE_DATA).
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import Figure, run_json

CLASSIC = """
import json, sys, time
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 32, 3, padding=1), nn.Conv2d(32, 64, 3, padding=1)
        self.fc1, self.fc2 = nn.Linear(3136, 128), nn.Linear(128, 10)
    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return self.fc2(F.relu(self.fc1(torch.flatten(x, 1))))

torch.set_num_threads(1)
torch.manual_seed(int(sys.argv[1]))
steps = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))])
loader = DataLoader(datasets.MNIST(sys.argv[2], train=True, transform=steps), batch_size=64, shuffle=True)
model = Net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
begin, total, right = time.perf_counter(), 0.0, 0
for data, target in loader:
    optimizer.zero_grad()
    output = model(data)
    loss = F.cross_entropy(output, target)
    loss.backward()
    optimizer.step()
    total += loss.item() * len(data)
    right += (output.argmax(1) == target).sum().item()
print(json.dumps({"wall_s": time.perf_counter() - begin, "loss": total / 60000, "accuracy": right / 60000}))
"""
OURS = """
import json, sys, time
import torch
from sweepline.training.building import build_training
from sweepline.training.config.loading import load_config
from sweepline.training.datasets.splits import load_data
from sweepline.training.loop import train
from sweepline.training.seeding import set_up_process
from sweepline.training.tasks.supervised import Classify

config = load_config(None, [f"seed={sys.argv[1]}", f"data.root={sys.argv[2]}", "learner.momentum=0.9", "device=cpu"])
set_up_process(config)
examples, _, _ = load_data(config)
model, optimization, _ = build_training(config, examples)
begin = time.perf_counter()
(result,) = train(Classify(model, examples, None, seed=config.seed), optimization, config)
metrics = result.metrics
print(json.dumps({"wall_s": time.perf_counter() - begin, "loss": metrics["epoch_loss"],
                  "accuracy": metrics["epoch_accuracy"]}))
"""
FLOOR = OURS.replace(
    "(result,) = train(Classify(model, examples, None, seed=config.seed), optimization, config)\n"
    "metrics = result.metrics\n",
    """
from torch.nn import functional as F
inputs, labels = examples.batch(torch.arange(64))
for _ in range(938):
    F.cross_entropy(model(inputs), labels).backward()
metrics = {"epoch_loss": 0.0, "epoch_accuracy": 0.0}
""",
)


def figures(n: int) -> Iterator[Figure]:
    """Yield what is measured."""
    root = os.environ.get("SWEEPLINE_DATA", "")
    if not (Path(root) / "MNIST" / "raw").is_dir():
        yield Figure("one MNIST epoch", note="not measured: SWEEPLINE_DATA names no folder with MNIST/raw")
        return
    results: dict[str, list[dict[str, float]]] = {"classic": [], "ours": [], "floor": []}
    for seed in range(n):
        for name, script in (("classic", CLASSIC), ("ours", OURS), ("floor", FLOOR)):
            results[name].append(run_json(script, str(seed), str(Path(root).resolve())))
    walls = {name: [result["wall_s"] for result in found] for name, found in results.items()}
    yield Figure("one MNIST epoch, classic DataLoader loop", walls["classic"])
    yield Figure("the same network in our loop", walls["ours"], key="epoch_ours")
    yield Figure("forward and backward alone (the floor)", walls["floor"], key="epoch_floor")
    ratios = [a / b for a, b in zip(walls["classic"], walls["ours"], strict=True)]
    yield Figure("classic / ours, pair by pair", ratios, "x", key="epoch")
    for name in ("loss", "accuracy"):
        values = {k: statistics.fmean(r[name] for r in results[k]) for k in ("classic", "ours")}
        yield Figure(f"mean {name}, classic and ours", note=f"{values['classic']:.4f} and {values['ours']:.4f}")
