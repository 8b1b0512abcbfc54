"""A script in the style of nanoGPT: key=value configuration, a causal transformer over characters, iter lines."""

import math
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F

batch_size, block_size, n_embd, n_head, n_layer, max_iters = 12, 64, 64, 4, 2, 100000
for arg in sys.argv[1:]:
    key, value = arg.removeprefix("--").split("=")
    assert key in globals(), f"Unknown config key: {key}"
    globals()[key] = type(globals()[key])(value)
text = "the quick brown fox jumps over the lazy dog. " * 500
vocabulary = sorted(set(text))
data = torch.tensor([vocabulary.index(c) for c in text])


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(n_embd), nn.LayerNorm(n_embd)
        self.attn, self.proj = nn.Linear(n_embd, 3 * n_embd), nn.Linear(n_embd, n_embd)
        self.mlp = nn.Sequential(nn.Linear(n_embd, 4 * n_embd), nn.GELU(), nn.Linear(4 * n_embd, n_embd))

    def forward(self, x):
        b, t, c = x.shape
        q, k, v = (y.view(b, t, n_head, c // n_head).transpose(1, 2) for y in self.attn(self.ln_1(x)).split(c, dim=2))
        weights = (q @ k.transpose(-2, -1)) / math.sqrt(c // n_head)
        mask = torch.tril(torch.ones(t, t)) == 0
        y = F.softmax(weights.masked_fill(mask, float("-inf")), dim=-1) @ v
        x = x + self.proj(y.transpose(1, 2).reshape(b, t, c))
        return x + self.mlp(self.ln_2(x))


torch.manual_seed(1337)
torch.set_num_threads(1)
wte, wpe = nn.Embedding(len(vocabulary), n_embd), nn.Embedding(block_size, n_embd)
blocks, head = nn.Sequential(*(Block() for _ in range(n_layer))), nn.Linear(n_embd, len(vocabulary))
modules = nn.ModuleList([wte, wpe, blocks, head])
print(f"number of parameters: {sum(p.numel() for p in modules.parameters()) / 1e6:.2f}M")
optimizer = torch.optim.AdamW(modules.parameters(), lr=1e-3)
for it in range(max_iters):
    t0 = time.time()
    ix = torch.randint(len(data) - block_size - 1, (batch_size,))
    x, y = (torch.stack([data[i + d : i + d + block_size] for i in ix]) for d in (0, 1))
    logits = head(blocks(wte(x) + wpe(torch.arange(block_size))))
    loss = F.cross_entropy(logits.view(-1, len(vocabulary)), y.view(-1))
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    print(f"iter {it}: loss {loss.item():.4f}, time {(time.time() - t0) * 1000:.2f}ms", flush=True)
