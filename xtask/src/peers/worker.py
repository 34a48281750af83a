"""One measurement of a peer, in a process of its own; started by `cargo xtask peers`.

    python worker.py export --library torchvision --model mobilenet_v2 --batch 128 --file v2-b128.onnx
    python worker.py training --program torch-nchw --library torchvision --model mobilenet_v2 --batch 128 --threads 2

    python worker.py serve --program openvino --file v2-32.int8.onnx --size 32 --batch 1 --threads 2

A measurement prints one JSON object: the milliseconds of each timed pass, the peak memory of the process, the versions.
`serve` prints one when it is ready, with what it finds for the first image; then, for each line with a number on its
input, it does so many passes and answers with their milliseconds. With --sessions N a pass is one of N sessions each, at
the same time, and all the passes of a line are timed as one.
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
    """The library's network; for 32x32 images its stem and its first strided depthwise convolution get stride 1."""
    import torch

    torch.manual_seed(1)
    if args.library == "timm":
        import timm

        model = timm.create_model(args.model, num_classes=CLASSES)
    else:
        import torchvision

        model = torchvision.models.get_model(args.model, num_classes=CLASSES)
    if args.size != SIZE:
        return model
    convolutions = [m for m in model.modules() if isinstance(m, torch.nn.Conv2d)]
    stem, first = [m for m in convolutions if m.stride == (2, 2)][:2]
    assert stem is convolutions[0] and first.groups == first.in_channels, "not the network that was expected"
    stem.stride = first.stride = (1, 1)
    return model


def export(args):
    import torch

    model = network(args).eval()
    images = torch.randn(args.batch, 3, args.size, args.size)
    # The newer exporter needs one more package and gives the same graph.
    torch.onnx.export(model, (images,), args.file, input_names=["images"], output_names=["logits"], dynamo=False)


def torch_pass(args):
    """A function that does one pass: a training step, or an evaluation of the batch."""
    import torch

    torch.set_num_threads(args.threads)
    layout = torch.contiguous_format if args.program == "torch-nchw" else torch.channels_last
    bf16 = args.program == "torch-bf16"
    model = network(args).to(memory_format=layout)
    images = torch.randn(args.batch, 3, args.size, args.size).contiguous(memory_format=layout)

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
    images = numpy.random.default_rng(1).standard_normal((args.batch, 3, args.size, args.size), dtype=numpy.float32)
    return lambda: session.run(None, {"images": images})


def made_up(args):
    """A batch of images; the Rust side makes the same."""
    import numpy

    values = numpy.arange(args.batch * args.size * args.size * 3) * 7919 % 1000 / 250 - 2
    images = values.astype(numpy.float32).reshape(args.batch, args.size, args.size, 3)
    return numpy.ascontiguousarray(images.transpose(0, 3, 1, 2))


def onnx_serving(args):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = args.threads
    options.inter_op_num_threads = 1
    images = made_up(args)

    def session():
        session = onnxruntime.InferenceSession(args.file, options, providers=["CPUExecutionProvider"])
        return lambda: session.run(None, {"images": images})[0]

    return [session() for _ in range(args.sessions)]


def openvino_serving(args):
    import openvino

    core = openvino.Core()
    network = core.read_model(args.file)
    network.reshape([args.batch, 3, args.size, args.size])
    options = {
        # float32 on processors that have bf16, too.
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": args.threads * args.sessions,
        "NUM_STREAMS": args.sessions,
    }
    compiled = core.compile_model(network, "CPU", options)
    images = openvino.Tensor(made_up(args))

    def session():
        request = compiled.create_infer_request()
        request.set_input_tensor(images)
        return lambda: list(request.infer().values())[0]

    return [session() for _ in range(args.sessions)]


def torch_serving(args):
    """Compiled, of fresh weights: what it finds is its own."""
    import torch
    import torchvision

    torch.set_num_threads(args.threads)
    # Of larger images there are networks with all of ImageNet's classes.
    model = network(args) if args.size == SIZE else torchvision.models.get_model(args.model)
    model = model.eval().to(memory_format=torch.channels_last)
    images = torch.from_numpy(made_up(args)).contiguous(memory_format=torch.channels_last)
    compiled = torch.compile(model)

    def evaluate():
        with torch.inference_mode():
            compiled(images)

    return [evaluate]


def together(passes, count):
    """`count` passes of each, at the same time: milliseconds of a pass of all."""
    import threading

    barrier = threading.Barrier(len(passes) + 1)

    def work(one_pass):
        barrier.wait()
        for _ in range(count):
            one_pass()

    threads = [threading.Thread(target=work, args=(one_pass,)) for one_pass in passes]
    for thread in threads:
        thread.start()
    barrier.wait()
    begun = time.perf_counter()
    for thread in threads:
        thread.join()
    return 1e3 * (time.perf_counter() - begun) / count


def serve(args):
    serving = {"onnxruntime": onnx_serving, "openvino": openvino_serving, "torch-compiled": torch_serving}
    passes = serving[args.program](args)
    found = passes[0]()
    logits = None if found is None else [float(value) for value in found[0]]
    names = {"onnxruntime": ["onnxruntime"], "openvino": ["openvino"], "torch-compiled": ["torch", "torchvision"]}
    versions = {name: version(name) for name in names[args.program]}
    versions["python"] = platform.python_version()
    print(json.dumps({"level": "its own", "logits": logits, "versions": versions}), flush=True)
    for line in sys.stdin:
        count = int(line)
        milliseconds = []
        if len(passes) > 1:
            milliseconds.append(together(passes, count))
        else:
            for _ in range(count):
                begun = time.perf_counter()
                passes[0]()
                milliseconds.append(1e3 * (time.perf_counter() - begun))
        print(json.dumps({"milliseconds": milliseconds}), flush=True)


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
    parser.add_argument("task", choices=["export", "training", "evaluation", "latency", "serve"])
    programs = ["torch-nchw", "torch-channels-last", "torch-bf16", "torch-compiled", "onnxruntime", "openvino"]
    parser.add_argument("--program", choices=programs)
    parser.add_argument("--library", choices=["torchvision", "timm"], help="of the network; unless it is in --file")
    parser.add_argument("--model", help="as the library calls it; unless it is in --file")
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--warmup", type=int, default=0)
    parser.add_argument("--iterations", type=int, default=1)
    parser.add_argument("--file", help="the exported network")
    parser.add_argument("--size", type=int, default=SIZE, help="height and width of the images")
    parser.add_argument("--sessions", type=int, default=1, help="sessions at the same time, of `serve`")
    args = parser.parse_args()
    {"export": export, "serve": serve}.get(args.task, measure)(args)


if __name__ == "__main__":
    main()
