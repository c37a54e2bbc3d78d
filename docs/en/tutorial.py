# %% [markdown]
# # Tutorial: a network for handwritten digits
#
# Fifteen minutes: a search, its report, the network trained, and a file for other programs. It
# needs no GPU and no download of data.
#
# As a notebook: `jupytext --to ipynb docs/en/tutorial.py`, or the `tutorial.ipynb` that the site
# has beside this page. As a script: `python docs/en/tutorial.py`.
#
# ## Images
#
# The digits of scikit-learn are 1,797 images of 8 x 8 pixels. The last 397 are for the test, and
# no step below learns from them.

# %%
import torch
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

digits = load_digits()
images = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 8 - 1
labels = torch.tensor(digits.target)
train = TensorDataset(images[:1400], labels[:1400])

# %% [markdown]
# ## Search
#
# The space is that of NAS-Bench-201: a cell of six edges, each with five candidate operations.
# The supernet holds all of them. Half of the images train its weights, the other half trains
# alpha, which says how much each candidate weighs. The method is r-DARTS.

# %%
from rdarts.apis import build_net, search

found = search(
    'nas_bench_201', train, epochs=3, cells_per_stage=1, channels=8, work_dir='work_dirs/tutorial'
)
print(found.genotype.to_string())

# %% [markdown]
# One row an epoch: the accuracy of the supernet on alpha's half of the images, and the mean
# entropy of the edges in nats. It is log 5 = 1.609 at the start, when all candidates weigh the
# same, and 0 when each edge has decided. In three epochs it hardly moves; a real search takes more.

# %%
for row in found.history:
    print(row['epoch'], f'{row["accuracy/top1"]:.1f} %', f'{row["mean_entropy"]:.4f} nats')

# %% [markdown]
# ## The cell
#
# Blue operations are convolutions, orange ones have no parameters.

# %%
from IPython.display import SVG, IFrame, display

from rdarts.visualization.drawing.layout import lay_out
from rdarts.visualization.drawing.svg_text import svg_text

display(SVG(svg_text(lay_out(found.genotype))))

# %% [markdown]
# ## The report
#
# The whole search in one page: move the slider through the epochs.

# %%
from pathlib import Path

from rdarts.results.search_run import find_runs
from rdarts.visualization.report import write_report

report = Path('work_dirs/tutorial/report.html')
write_report(find_runs([report.parent]), report)
display(IFrame(str(report), width='100%', height=700))

# %% [markdown]
# ![The report of a search](figures/report.png)
#
# ## Train the network
#
# The derived network has only the operations of the genotype. It is a plain module of PyTorch and
# is trained from the start, on all 1,400 images.

# %%
torch.manual_seed(0)
net = build_net(found.genotype, num_classes=10, in_channels=1, channels=8, cells_per_stage=1)
optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 15)
for _ in range(15):
    net.train()
    for batch, target in DataLoader(train, batch_size=64, shuffle=True):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(net(batch), target).backward()
        optimizer.step()
    schedule.step()

net.eval()
with torch.no_grad():
    accuracy = (net(images[1400:]).argmax(1) == labels[1400:]).float().mean().item()
print(f'{100 * accuracy:.2f} % of the test images')

# %% [markdown]
# `rdarts retrain` does this from a config, with augmentation, checkpoints and schedules:
# [retraining](retrain.md).
#
# ## Export
#
# A program that has PyTorch and no rdarts can load this file:

# %%
program = torch.export.export(net, (images[1400:1402],))
torch.export.save(program, 'work_dirs/tutorial/net.pt2')

# %% [markdown]
# ONNX and safetensors are one command, `rdarts export`, after a retraining by config:
# [export](export.md).
#
# ## Go on
#
# - Another method: `search(..., method='gdas')`; [all of them](methods.md).
# - Your own images, longer searches, many processes: [searching](search.md).
# - Methods beside each other, over seeds: [comparing](compare.md).
