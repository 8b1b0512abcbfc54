"""A script as people have them: argparse flags, a DataLoader loop, results in prose. It knows nothing of sweepline.

Trains on a slice of MNIST when MNIST_ROOT is set; on scikit-learn's digits otherwise.
"""

import argparse
import os

import torch
import torch.nn.functional as F
from torch import nn, optim
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import DataLoader, TensorDataset


class Net(nn.Module):
    def __init__(self, n_pixels):
        super().__init__()
        self.fc1 = nn.Linear(n_pixels, 64)
        self.fc2 = nn.Linear(64, 10)

    def forward(self, x):
        return F.log_softmax(self.fc2(F.relu(self.fc1(x))), dim=1)


def load():
    root = os.environ.get("MNIST_ROOT")
    if root:
        from torchvision import datasets

        data = datasets.MNIST(root, train=False)
        return data.data[:2000].float().flatten(1) / 255, data.targets[:2000]
    from sklearn.datasets import load_digits

    digits = load_digits()
    return torch.tensor(digits.data, dtype=torch.float32) / 16, torch.tensor(digits.target)


def main():
    parser = argparse.ArgumentParser(description="PyTorch MNIST example")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--lr", type=float, default=1.0)
    parser.add_argument("--gamma", type=float, default=0.7)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    x, y = load()
    n = len(y) * 4 // 5
    train = DataLoader(TensorDataset(x[:n], y[:n]), batch_size=args.batch_size, shuffle=True)
    model = Net(x.shape[1])
    optimizer = optim.Adadelta(model.parameters(), lr=args.lr)
    scheduler = StepLR(optimizer, step_size=1, gamma=args.gamma)
    for epoch in range(1, args.epochs + 1):
        model.train()
        for i, (data, target) in enumerate(train):
            optimizer.zero_grad()
            loss = F.nll_loss(model(data), target)
            loss.backward()
            optimizer.step()
            if i % 10 == 0:
                print(f"Train Epoch: {epoch} [{i * len(data)}/{n}]\tLoss: {loss.item():.6f}")
        model.eval()
        with torch.no_grad():
            output = model(x[n:])
            test_loss = F.nll_loss(output, y[n:]).item()
            correct = (output.argmax(1) == y[n:]).sum().item()
        total = len(y) - n
        print(
            f"\nTest set: Average loss: {test_loss:.4f}, Accuracy: {correct}/{total} ({100.0 * correct / total:.0f}%)\n"
        )
        scheduler.step()


if __name__ == "__main__":
    main()
