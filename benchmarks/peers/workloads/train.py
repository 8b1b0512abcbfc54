"""A small CNN, one epoch over the first 5,000 images of MNIST, batches of 64, one thread.

``train_s`` is what the run is for: reading its data and training. Everything else is the price of starting it.
"""

import hashlib
import os
import sys
import time

import torch
from record import read_arguments, record
from torch import nn
from torch.nn import functional as F
from torchvision.datasets import MNIST

N_IMAGES, BATCH = int(os.environ.get("BENCH_IMAGES", "5000")), 64


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 16, 3, padding=1), nn.Conv2d(16, 32, 3, padding=1)
        self.fc1, self.fc2 = nn.Linear(32 * 7 * 7, 128), nn.Linear(128, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return self.fc2(F.relu(self.fc1(x.flatten(1))))


def run(lr, decay, momentum):
    torch.set_num_threads(1)
    began = time.perf_counter()
    data = MNIST(os.environ["SWEEPLINE_DATA"], train=True)
    images = data.data[:N_IMAGES].float().div_(255).sub_(0.1307).div_(0.3081).unsqueeze(1)
    labels = data.targets[:N_IMAGES].clone()
    read_s = time.perf_counter() - began
    torch.manual_seed(0)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, weight_decay=decay, momentum=momentum)
    began, total = time.perf_counter(), 0.0
    for index in torch.randperm(N_IMAGES, generator=torch.Generator().manual_seed(0)).split(BATCH):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(images[index]), labels[index])
        loss.backward()
        optimizer.step()
        total += loss.item() * len(index)
    took_s = read_s + time.perf_counter() - began
    print(f"METRIC loss={total / N_IMAGES!r}", flush=True)
    weights = b"".join(parameter.detach().numpy().tobytes() for parameter in model.parameters())
    config = {"lr": lr, "decay": decay, "momentum": momentum}
    record(config=config, train_s=took_s, digest=hashlib.sha256(weights).hexdigest()[:16])
    return total / N_IMAGES


if __name__ == "__main__":
    run(**read_arguments(sys.argv[1:]))
