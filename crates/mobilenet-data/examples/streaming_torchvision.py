"""What streaming.rs measures, with torchvision's ImageFolder and PyTorch's DataLoader.

    python streaming_torchvision.py DIR WORKERS [BATCHES]        (needs torch and torchvision)
"""

import resource
import sys
import time

import torch
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

BATCH = 64
LAST = [transforms.ToTensor(), transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))]
CROP = [transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip()]
WAYS = {
    "RandomResizedCrop, flip": CROP,
    "the same, TrivialAugmentWide": [*CROP, transforms.TrivialAugmentWide()],
    "Resize(256), CenterCrop(224)": [transforms.Resize(256), transforms.CenterCrop(224)],
}


def cpu_seconds():
    own, workers = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + workers.ru_utime + workers.ru_stime


def resident(pid):
    with open(f"/proc/{pid}/smaps_rollup") as lines:
        return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def main(folder, workers, batches=20):
    torch.set_num_threads(1)
    for name, steps in WAYS.items():
        data = datasets.ImageFolder(f"{folder}/train", transforms.Compose([*steps, *LAST]))
        # As many pictures as are to be counted, so that no worker makes others.
        chosen = torch.randperm(len(data))[: batches * BATCH].tolist()
        loader = DataLoader(torch.utils.data.Subset(data, chosen), BATCH, num_workers=workers)
        start, cpu, pictures, memory = time.perf_counter(), cpu_seconds(), 0, 0
        iterator = iter(loader)  # starts the workers
        for step, (images, _) in enumerate(iterator):
            pictures += len(images)
            if step == batches // 2:
                # With the workers, whose memory is shared with this process in part.
                pids = ["self", *(worker.pid for worker in iterator._workers)] if workers else ["self"]
                memory = sum(resident(pid) for pid in pids)
        seconds = time.perf_counter() - start
        del iterator
        cpu = cpu_seconds() - cpu
        print(f"{name:30} {pictures / seconds:7.1f} pictures/s, {pictures / cpu:7.1f} pictures per core and second, "
              f"memory {memory / 1e6:.0f} MB")


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
