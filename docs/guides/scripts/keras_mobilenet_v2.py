"""A Keras MobileNetV2 under torchvision's names: `keras_mobilenet_v2.py MODEL.h5 OUT.safetensors`.

Keras pads the input of a convolution with stride 2 by a row below and a column to the right; torchvision, and this
project, by one on every side. Where every such input has an even number of rows and columns (at 160 and 224 pixels,
that is), the one is the other turned by 180 degrees: the kernels are turned here, and pictures must be turned, too.
Then the logits agree to rounding. They are normalized by mean and standard deviation 0.5. Needs h5py and safetensors.
"""

import sys

import h5py
import numpy as np
from safetensors.numpy import save_file

# Batch norm's eps in Keras's network and in torchvision's.
KERAS_EPS, TORCH_EPS = 1e-3, 1e-5


def main():
    file = h5py.File(sys.argv[1])["model_weights"]
    (body,) = [file[name] for name in file if name.startswith("mobilenetv2")]
    weights = {}

    def convolution(name, layer, axes):
        kernel = np.array(body[layer]["kernel"]).transpose(axes)
        weights[f"{name}.weight"] = np.ascontiguousarray(kernel[:, :, ::-1, ::-1])

    def dense(name, layer):
        convolution(name, layer, (3, 2, 0, 1))

    def depthwise(name, layer):
        convolution(name, layer, (2, 3, 0, 1))

    def norm(name, layer):
        for ours, keras in [("weight", "gamma"), ("bias", "beta"), ("running_mean", "moving_mean")]:
            weights[f"{name}.{ours}"] = np.array(body[layer][keras])
        variance = np.array(body[layer]["moving_variance"])
        weights[f"{name}.running_var"] = variance + np.float32(KERAS_EPS - TORCH_EPS)

    dense("features.0.0", "Conv1")
    norm("features.0.1", "bn_Conv1")
    for at in range(17):
        keras, ours = (f"block_{at}", f"features.{at + 1}.conv") if at else ("expanded_conv", "features.1.conv")
        # The first block has no expansion.
        first = 1 if at else 0
        if at:
            dense(f"{ours}.0.0", f"{keras}_expand")
            norm(f"{ours}.0.1", f"{keras}_expand_BN")
        depthwise(f"{ours}.{first}.0", f"{keras}_depthwise")
        norm(f"{ours}.{first}.1", f"{keras}_depthwise_BN")
        dense(f"{ours}.{first + 1}", f"{keras}_project")
        norm(f"{ours}.{first + 2}", f"{keras}_project_BN")
    dense("features.18.0", "Conv_1")
    norm("features.18.1", "Conv_1_bn")
    save_file(weights, sys.argv[2])


main()
