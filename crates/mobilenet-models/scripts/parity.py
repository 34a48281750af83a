"""Compares this crate with torchvision, tensor by tensor.

    python scripts/parity.py [--seed N] [--batch-cifar N] [--batch-imagenet N]       (needs torch and torchvision, and cargo)

For MobileNetV2, V3-Large and V3-Small at both presets it makes a torchvision model with random weights, saves it (.pth for
evaluation, .safetensors for training), runs `examples/forward_backward.rs` on the same images and compares

* the logits in evaluation and in training: largest difference over the largest absolute logit, at most 1e-4;
* every parameter's gradient of the cross-entropy loss: norm of the difference over the norm, at most 1e-3;
* every batch norm's running statistics after the step: norm of the difference over the norm, at most 1e-5.

The columns "ours" are this crate's float32 against torchvision in float64, the columns "torch" torchvision's own float32
against the same: how far float32 can be trusted at all. Gradients have a jump in each activation, and a value within
rounding of it gets one side's gradient or the other's. With torchvision's initial weights so many values lie there that
torchvision's own float32 gradients of V2 are some 1 % off. So the weights for training are drawn with batch norms of gain
about 0.45 and biases about 1.5 or 4.5, which cut off thousands of values but hardly any so close. A case whose gradients
are off nevertheless is drawn again, twice at most: chance does not strike three times, a mistake does. `--default-init`
keeps torchvision's own weights, for which gradients must be within ten times torchvision's own error where that is above
1e-3.

Gradients that are zero but for rounding (a bias before a batch norm) must be below 1e-5 of the largest gradient.
"""

import argparse
import copy
import json
import pathlib
import struct
import subprocess
import sys
import tempfile

import numpy as np
import torch

CRATE = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(CRATE / "tests" / "fixtures"))
from torchvision_models import IMAGE_SIZE, model  # noqa: E402

LOGITS, GRADIENTS, STATISTICS, ZERO = 1e-4, 1e-3, 1e-5, 1e-5
DTYPES = {"F32": np.float32, "U32": np.uint32}


def save(path, tensors):
    """The safetensors format: length of the header, header, bytes."""
    header, data = {}, b""
    for name, a in tensors.items():
        a = np.ascontiguousarray(a)
        dtype = next(key for key, value in DTYPES.items() if value == a.dtype)
        header[name] = dict(dtype=dtype, shape=list(a.shape), data_offsets=[len(data), len(data) + a.nbytes])
        data += a.tobytes()
    text = json.dumps(header).encode()
    pathlib.Path(path).write_bytes(struct.pack("<Q", len(text)) + text + data)


def load(path):
    raw = pathlib.Path(path).read_bytes()
    (n,) = struct.unpack("<Q", raw[:8])
    out = {}
    for name, info in json.loads(raw[8 : 8 + n]).items():
        if name != "__metadata__":
            start, end = info["data_offsets"]
            a = np.frombuffer(raw[8 + n + start : 8 + n + end], DTYPES[info["dtype"]])
            out[name] = torch.from_numpy(a.reshape(info["shape"]).astype(np.float64))
    return out


def shift_batch_norms(net):
    for m in net.modules():
        if isinstance(m, torch.nn.BatchNorm2d):
            m.weight.data.uniform_(0.4, 0.5)
            m.bias.data = torch.where(torch.rand_like(m.bias) < 0.5, 1.5, 4.5) + 0.1 * torch.rand_like(m.bias)


def randomize_statistics(net):
    for m in net.modules():
        if isinstance(m, torch.nn.BatchNorm2d):
            m.running_mean.normal_(0, 0.1)
            m.running_var.uniform_(0.8, 1.2)


def torch_step(net, images, labels, train):
    net.train(train)
    logits = net(images)
    loss = torch.nn.functional.cross_entropy(logits, labels)
    out = {"logits": logits.detach().double()}
    if train:
        loss.backward()
        out |= {"grad." + name: p.grad.double() for name, p in net.named_parameters()}
        out |= {name: b.double() for name, b in net.named_buffers() if "running" in name}
    return out


def errors(found, exact):
    """Per kind the largest error, and the tensor that has it."""
    worst = {}

    def add(kind, value, name):
        if value >= worst.get(kind, (-1,))[0]:
            worst[kind] = (value, name)

    largest = max((t.norm().item() for name, t in exact.items() if name.startswith("grad.")), default=0)
    for name, t in exact.items():
        difference = found[name] - t
        if name == "logits":
            add("logits", (difference.abs().max() / t.abs().max()).item(), name)
        elif not name.startswith("grad."):
            add("statistics", (difference.norm() / t.norm()).item(), name)
        elif t.norm().item() < 1e-9 * largest:
            add("zero gradients", difference.norm().item() / largest, name)
        else:
            add("gradients", (difference.norm() / t.norm()).item(), name)
    return worst


def compare(args, binary, arch, preset, train):
    """The largest errors of the crate's and of torchvision's float32, for a new model and new images."""
    size = IMAGE_SIZE[preset]
    classes, batch = (10, args.batch_cifar) if preset == "cifar" else (1000, args.batch_imagenet)
    net = model(arch, preset, classes, dropout=0.0)
    randomize_statistics(net)
    if train and not args.default_init:
        shift_batch_norms(net)
    images, labels = torch.randn(batch, 3, size, size), torch.randint(classes, (batch,))
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        if train:
            weights = folder / "weights.safetensors"
            state = net.state_dict()
            save(weights, {k: v.numpy() for k, v in state.items() if not k.endswith("num_batches_tracked")})
        else:
            weights = folder / "weights.pth"
            torch.save(net.state_dict(), weights)
        save(folder / "in", {"images": images.numpy(), "labels": labels.numpy().astype(np.uint32)})
        mode = "train" if train else "eval"
        command = [binary, arch, preset, str(classes), "1", mode, weights, folder / "in", folder / "out"]
        subprocess.run(command, check=True)
        ours = load(folder / "out")
    exact = torch_step(copy.deepcopy(net).double(), images.double(), labels, train)
    return errors(ours, exact), errors(torch_step(net, images, labels, train), exact)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch-cifar", type=int, default=4)
    parser.add_argument("--batch-imagenet", type=int, default=2)
    parser.add_argument("--default-init", action="store_true")
    args = parser.parse_args()
    torch.manual_seed(args.seed)

    build = ["cargo", "build", "--release", "-p", "mobilenet-models", "--example", "forward_backward", "--message-format=json"]
    lines = subprocess.run(build, cwd=CRATE, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    binary = next(e for e in (json.loads(line).get("executable") for line in lines) if e and "forward_backward" in e)

    limits = {"logits": LOGITS, "gradients": GRADIENTS, "zero gradients": ZERO, "statistics": STATISTICS}
    failed = False
    print(f"{'model':9} {'preset':9} {'mode':6} {'draw':4} {'what':15} {'ours':>8} {'torch':>8} {'limit':>8}  worst tensor")
    for arch in ("v2", "v3-large", "v3-small"):
        for preset in IMAGE_SIZE:
            for train in (False, True):
                for draw in range(1, 4):
                    ours, torchs = compare(args, binary, arch, preset, train)
                    off = set()
                    for kind, (value, name) in ours.items():
                        limit = limits[kind]
                        if args.default_init and kind == "gradients":
                            limit = max(limit, 10 * torchs[kind][0])
                        if not value <= limit:
                            off.add(kind)
                        case = f"{arch:9} {preset:9} {'train' if train else 'eval':6} {draw:<4} {kind:15}"
                        mark = "  <-- TOO FAR" if kind in off else ""
                        print(f"{case} {value:8.1e} {torchs[kind][0]:8.1e} {limit:8.1e}  {name}{mark}")
                    if off != {"gradients"}:
                        break
                failed |= bool(off)
    sys.exit(1 if failed else 0)


main()
