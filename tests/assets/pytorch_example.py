"""A script in the style of pytorch/examples: argparse, a DataLoader, progress in its own words. Random images."""

import argparse

import torch
from torch import nn, optim
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3, 1)
        self.conv2 = nn.Conv2d(32, 64, 3, 1)
        self.fc1 = nn.Linear(9216, 128)
        self.fc2 = nn.Linear(128, 10)

    def forward(self, x):
        x = F.relu(self.conv2(F.relu(self.conv1(x))))
        x = torch.flatten(F.max_pool2d(x, 2), 1)
        return F.log_softmax(self.fc2(F.relu(self.fc1(x))), dim=1)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--lr", type=float, default=0.01)
    parser.add_argument("--n", type=int, default=20000)
    args = parser.parse_args()
    torch.manual_seed(1)
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, {args.n} examples")
    data = TensorDataset(torch.randint(0, 255, (args.n, 1, 28, 28), dtype=torch.uint8), torch.randint(0, 10, (args.n,)))
    loader = DataLoader(data, batch_size=args.batch_size, shuffle=True)
    model = Net()
    optimizer = optim.SGD(model.parameters(), lr=args.lr)
    for epoch in range(1, 100):
        for i, (images, target) in enumerate(loader):
            optimizer.zero_grad()
            loss = F.nll_loss(model(images.float() / 255), target)
            loss.backward()
            optimizer.step()
            done = i * len(images)
            print(f"Train Epoch: {epoch} [{done}/{args.n} ({100.0 * i / len(loader):.0f}%)]\tLoss: {loss.item():.6f}")


if __name__ == "__main__":
    main()
