"""Holds ONNX files to other programs: the checker of `onnx`, ONNX Runtime with and without optimizations, and OpenVINO
if it is installed. Run by hand on the folder that the example `onnx_cases` wrote: `python check_onnx.py OUT`."""

import sys
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort

try:
    import openvino
except ImportError:
    openvino = None


def run_onnxruntime(path, images, level, optimized=None):
    options = ort.SessionOptions()
    options.graph_optimization_level = level
    options.log_severity_level = 3
    if optimized:
        options.optimized_model_filepath = str(optimized)
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, {"images": part})[0] for part in batches(images)])


def run_openvino(path, images):
    # Without this OpenVINO may compute in bf16.
    model = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return np.concatenate([model([part])[0] for part in batches(images)])


def batches(images):
    return [images[i : i + 100] for i in range(0, len(images), 100)]


def describe(expected, found):
    difference = np.abs(expected - found).max() / np.abs(expected).max()
    same = (expected.argmax(1) == found.argmax(1)).mean()
    return f"{difference:.2e} of the largest logit, same class {same:.2%}"


def main(folder):
    for path in sorted(Path(folder).glob("*.onnx")):
        if path.name.endswith(".optimized.onnx"):
            continue
        onnx.checker.check_model(str(path), full_check=True)
        model = onnx.load(path)
        size = [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim[1:]]
        classes = model.graph.output[0].type.tensor_type.shape.dim[1].dim_value
        images = np.fromfile(path.with_suffix(".images"), np.float32).reshape(-1, *size)
        expected = np.fromfile(path.with_suffix(".logits"), np.float32).reshape(-1, classes)
        optimized = path.with_suffix(".optimized.onnx")
        results = {
            "ORT plain": run_onnxruntime(path, images, ort.GraphOptimizationLevel.ORT_DISABLE_ALL),
            "ORT optimized": run_onnxruntime(path, images, ort.GraphOptimizationLevel.ORT_ENABLE_ALL, optimized),
        }
        if openvino:
            results["OpenVINO"] = run_openvino(path, images)
        print(f"{path.name}: {path.stat().st_size / 1e6:.2f} MB, opset {model.opset_import[0].version}")
        for name, found in results.items():
            print(f"  {name:14} {describe(expected, found)}")
        labels = Path(folder, "labels.u8")
        if "trained" in path.name and labels.exists():
            labels = np.fromfile(labels, np.uint8)[: len(expected)]
            for name, found in {"expected": expected, **results}.items():
                print(f"  {name:14} top-1 {(found.argmax(1) == labels).mean():.2%}")
        kinds = Counter(node.op_type for node in onnx.load(optimized, load_external_data=False).graph.node)
        print("  ORT's nodes:", ", ".join(f"{count} {kind}" for kind, count in kinds.most_common()))


if __name__ == "__main__":
    main(sys.argv[1])
