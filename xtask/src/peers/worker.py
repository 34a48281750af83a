"""One measurement of a peer, in a process of its own; started by `cargo xtask peers`.

    python worker.py export --library torchvision --model mobilenet_v2 --batch 128 --file v2-b128.onnx
    python worker.py training --program torch-nchw --library torchvision --model mobilenet_v2 --batch 128 --threads 2

A measurement prints one JSON object: the milliseconds of each timed pass, the peak memory of the process, the versions.
"""

import argparse
import json
import platform
import sys
import time
import warnings
from importlib.metadata import version

CLASSES = 10
SIZE = 32


def network(args):
    """The library's network for 32x32 images: its stem and its first strided depthwise convolution get stride 1."""
    import torch

    torch.manual_seed(1)
    if args.library == "timm":
        import timm

        model = timm.create_model(args.model, num_classes=CLASSES)
    else:
        import torchvision

        model = torchvision.models.get_model(args.model, num_classes=CLASSES)
    convolutions = [m for m in model.modules() if isinstance(m, torch.nn.Conv2d)]
    stem, first = [m for m in convolutions if m.stride == (2, 2)][:2]
    assert stem is convolutions[0] and first.groups == first.in_channels, "not the network that was expected"
    stem.stride = first.stride = (1, 1)
    return model


def export(args):
    import torch

    model = network(args).eval()
    images = torch.randn(args.batch, 3, SIZE, SIZE)
    # The newer exporter needs one more package and gives the same graph.
    torch.onnx.export(model, (images,), args.file, input_names=["images"], output_names=["logits"], dynamo=False)


def torch_pass(args):
    """A function that does one pass: a training step, or an evaluation of the batch."""
    import torch

    torch.set_num_threads(args.threads)
    layout = torch.contiguous_format if args.program == "torch-nchw" else torch.channels_last
    bf16 = args.program == "torch-bf16"
    model = network(args).to(memory_format=layout)
    images = torch.randn(args.batch, 3, SIZE, SIZE).contiguous(memory_format=layout)

    def forward():
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            return model(images)

    if args.task == "training":
        labels = torch.arange(args.batch) % CLASSES
        loss = torch.nn.CrossEntropyLoss()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-4, fused=True)
        model.train()

        def step():
            optimizer.zero_grad()
            loss(forward().float(), labels).backward()
            optimizer.step()

        return step

    model.eval()

    def evaluate():
        with torch.inference_mode():
            forward()

    return evaluate


def onnx_pass(args):
    import numpy
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = args.threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(args.file, options, providers=["CPUExecutionProvider"])
    images = numpy.random.default_rng(1).standard_normal((args.batch, 3, SIZE, SIZE), dtype=numpy.float32)
    return lambda: session.run(None, {"images": images})


def peak_rss_bytes():
    try:
        with open("/proc/self/status") as status:
            for line in status:
                if line.startswith("VmHWM:"):
                    return 1024 * int(line.split()[1])
    except OSError:
        pass
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def measure(args):
    one_pass = onnx_pass(args) if args.program == "onnxruntime" else torch_pass(args)
    for _ in range(args.warmup):
        one_pass()
    milliseconds = []
    for _ in range(args.iterations):
        begun = time.perf_counter()
        one_pass()
        milliseconds.append(1e3 * (time.perf_counter() - begun))
    versions = {name: version(name) for name in ["torch", "torchvision", "onnxruntime"]}
    versions["python"] = platform.python_version()
    print(json.dumps({"milliseconds": milliseconds, "peak_rss_bytes": peak_rss_bytes(), "versions": versions}))


def main():
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=["export", "training", "evaluation", "latency"])
    parser.add_argument("--program", choices=["torch-nchw", "torch-channels-last", "torch-bf16", "onnxruntime"])
    parser.add_argument("--library", choices=["torchvision", "timm"], help="of the network; unless it is in --file")
    parser.add_argument("--model", required=True, help="as the library calls it")
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--warmup", type=int, default=0)
    parser.add_argument("--iterations", type=int, default=1)
    parser.add_argument("--file", help="the exported network")
    args = parser.parse_args()
    export(args) if args.task == "export" else measure(args)


if __name__ == "__main__":
    main()
