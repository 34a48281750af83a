"""Training steps and inferences on an NVIDIA GPU: this workspace's kernels beside PyTorch, in one run and in turns.

    python3 cuda.py --mobilenet target/release/mobilenet --out cuda.json

`mobilenet` must be built with `--features cuda`; PyTorch and torchvision must be there. PyTorch computes channels-last
under autocast to bf16, with cuDNN's search for the fastest convolutions and the fused AdamW, in three ways: `eager`;
`graph`, the whole eager step captured as a CUDA graph; and `compiled`, by torch.compile with CUDA graphs. Images and labels
are on the device. A sample of PyTorch's is the time of 10 passes that are waited for once; of ours, passes that are
waited for one by one. A table of medians is printed, and everything goes to a file.
"""

import argparse
import json
import multiprocessing
import statistics
import subprocess
import sys
import time

CLASSES = 10
PASSES = 10
TORCH = {"v2": "mobilenet_v2", "v3-large": "mobilenet_v3_large"}
PRESETS = {32: "cifar", 224: "imagenet"}


def network(name, size):
    """torchvision's; for 32x32 images its stem and its first strided depthwise convolution get stride 1."""
    import torch
    import torchvision

    model = torchvision.models.get_model(TORCH[name], num_classes=CLASSES)
    if size == 32:
        convolutions = [m for m in model.modules() if isinstance(m, torch.nn.Conv2d)]
        for convolution in [m for m in convolutions if m.stride == (2, 2)][:2]:
            convolution.stride = (1, 1)
    return model.cuda().to(memory_format=torch.channels_last)


def captured(run):
    """`run` as a CUDA graph."""
    import torch

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            run()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph.replay


def step(program, name, size, batch, training):
    """A function that does one pass."""
    import torch

    torch.manual_seed(1)
    torch.backends.cudnn.benchmark = True
    model = network(name, size).train(training)
    images = torch.randn(batch, 3, size, size, device="cuda").contiguous(memory_format=torch.channels_last)
    labels = torch.arange(batch, device="cuda") % CLASSES
    forward = torch.compile(model, mode="reduce-overhead") if program == "compiled" else model

    def logits():
        with torch.autocast("cuda", dtype=torch.bfloat16, cache_enabled=program != "graph"):
            return forward(images)

    if not training:

        def infer():
            with torch.no_grad():
                return logits()

        return captured(infer) if program == "graph" else infer
    criterion = torch.nn.CrossEntropyLoss()
    capturable = {"capturable": True} if program == "graph" else {}
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01, fused=True, **capturable)

    def train():
        optimizer.zero_grad(set_to_none=True)
        criterion(logits().float(), labels).backward()
        optimizer.step()

    return captured(train) if program == "graph" else train


def serve(pipe, program, cell):
    """Answers each word on the pipe with the milliseconds of a pass."""
    try:
        import torch

        run = step(program, *cell)
        for _ in range(12):
            run()
        torch.cuda.synchronize()
        pipe.send("ready")
        while pipe.recv():
            begin = time.perf_counter()
            for _ in range(PASSES):
                run()
            torch.cuda.synchronize()
            pipe.send((time.perf_counter() - begin) * 1e3 / PASSES)
    except EOFError:
        pass
    except Exception as problem:  # What one program cannot do is no reason to lose the others.
        pipe.send(f"{type(problem).__name__}: {problem}")


def ours(args, name, size, batch, training, precision):
    """Milliseconds of a pass by this workspace's kernels."""
    command = [args.mobilenet, "bench", "--model", name, "--preset", PRESETS[size], "--batch", str(batch)]
    command += ["--precision", precision, "--device", "cuda", "--json", "--warmup", "5", "--iterations", "30"]
    found = subprocess.run(command + ["--train"] * training, capture_output=True, text=True)
    if found.returncode:
        return found.stderr.strip()[-200:]
    return json.loads(found.stdout)["latency_ms"]["p50"]


def race(args, cells):
    """The medians of every program in every cell, and the samples."""
    context, workers = multiprocessing.get_context("spawn"), {}
    for cell in cells:
        for program in args.programs.split(","):
            if program == "compiled" and not (cell[3] and cell[1] == 32):
                continue
            here, there = context.Pipe()
            process = context.Process(target=serve, args=(there, program, cell), daemon=True)
            process.start()
            there.close()
            workers[cell, program] = (process, here)
    results = {}
    for key, (_, pipe) in list(workers.items()):
        try:
            said = pipe.recv() if pipe.poll(args.patience) else "not ready in time"
        except EOFError:
            said = "ended"
        if said != "ready":
            print(*key, said, file=sys.stderr, flush=True)
            workers.pop(key)[0].kill()
    for _ in range(args.rounds):
        for cell in cells:
            for precision in args.precisions.split(","):
                results.setdefault((cell, precision), []).append(ours(args, *cell, precision))
            for program in args.programs.split(","):
                if (cell, program) in workers:
                    _, pipe = workers[cell, program]
                    pipe.send(True)
                    results.setdefault((cell, program), []).append(pipe.recv())
    for process, _ in workers.values():
        process.kill()
    return results


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--mobilenet", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--programs", default="eager,graph,compiled")
    parser.add_argument("--precisions", default="bf16,f32", help="of ours")
    parser.add_argument("--sizes", default="32:128,32:1024,224:256")
    parser.add_argument("--networks", default="v2,v3-large")
    parser.add_argument("--patience", type=float, default=300)
    args = parser.parse_args()
    rows = []
    for size in args.sizes.split(","):
        size, batch = map(int, size.split(":"))
        cells = [(name, size, batch, training) for name in args.networks.split(",") for training in (True, False)]
        for ((name, *_, training), program), samples in race(args, cells).items():
            numbers = [sample for sample in samples if isinstance(sample, float)]
            row = {"network": name, "size": size, "batch": batch, "task": "training" if training else "inference"}
            row |= {"program": program, "ms": samples}
            if numbers:
                row["images_per_second"] = batch * 1e3 / statistics.median(numbers)
            rows.append(row)
            speed = f"{row['images_per_second']:10.0f} images/s" if numbers else samples[-1]
            print(f"{name:9} {size:3} {batch:5} {row['task']:9} {program:9} {speed}", flush=True)
    with open(args.out, "w") as file:
        json.dump(rows, file, indent=1)


if __name__ == "__main__":
    main()
