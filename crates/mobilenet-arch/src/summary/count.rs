//! A model's layers, counted from its plan.

use super::{FLOAT_BYTES, LayerKind, LayerSummary, Summary, elements};
use crate::error::check;
use crate::plan::{BlockConfig, ClassifierPlan, Plan};
use crate::{Activation, BottleneckConfig, ConvBnActConfig, Error, InvertedResidualConfig, ModelConfig};

/// The largest height or width a summary is made for, in pixels.
const MAX_IMAGE_SIZE: usize = 16_384;

/// Counts a model's layers for images of `(height, width)` pixels, without making the model.
///
/// # Errors
/// Those of [`ModelConfig::validate`], and a height or width that is 0 or above 16,384.
pub fn summary(config: &ModelConfig, image_size: (usize, usize)) -> Result<Summary, Error> {
    let plan = Plan::new(config)?;
    let (h, w) = image_size;
    let allowed = 1..=MAX_IMAGE_SIZE;
    let found = format!("{h}x{w}");
    check("image_size", allowed.contains(&h) && allowed.contains(&w), format!("1 to {MAX_IMAGE_SIZE}"), found)?;

    let mut rows = Rows { layers: Vec::new(), block: Some(0), shape: vec![3, h, w] };
    let conv_names = |i: usize| (format!("features.{i}.0"), format!("features.{i}.1"));
    rows.conv_bn_act(conv_names(0), plan.stem.c_out, &plan.stem.config);
    for (i, block) in plan.blocks.iter().enumerate() {
        rows.block = Some(i + 1);
        match &block.config {
            BlockConfig::V2(config) => rows.v2(i + 1, config),
            BlockConfig::V3(config) => rows.v3(i + 1, config),
        }
        if block.residual {
            rows.push(format!("features.{}", i + 1), LayerKind::Add, "", 0, 0);
        }
    }
    let head = plan.blocks.len() + 1;
    rows.block = Some(head);
    rows.conv_bn_act(conv_names(head), plan.head.c_out, &plan.head.config);
    rows.block = None;
    rows.classifier(&plan.classifier);

    let layers = rows.layers;
    Ok(Summary {
        model: config.arch,
        preset: config.preset,
        input: [3, h, w],
        num_classes: config.num_classes,
        width_mult: config.width_mult,
        params: layers.iter().map(|layer| layer.params).sum(),
        macs: layers.iter().map(|layer| layer.macs).sum(),
        activation_bytes: layers.iter().map(|layer| layer.activation_bytes).sum(),
        layers,
    })
}

/// The layers so far, and the shape of the last one's output.
struct Rows {
    layers: Vec<LayerSummary>,
    block: Option<usize>,
    shape: Vec<usize>,
}

impl Rows {
    fn push(&mut self, name: impl Into<String>, kind: LayerKind, detail: impl Into<String>, params: u64, macs: u64) {
        self.layers.push(LayerSummary {
            name: name.into(),
            kind,
            detail: detail.into(),
            block: self.block,
            output: self.shape.clone(),
            params,
            macs,
            activation_bytes: FLOAT_BYTES * elements(&self.shape),
        });
    }

    fn conv_bn_act(&mut self, (conv, bn): (String, String), c_out: usize, config: &ConvBnActConfig) {
        let &ConvBnActConfig { kernel, stride, dilation, depthwise, activation, .. } = config;
        let c_in = if depthwise { 1 } else { self.shape[0] };
        let size = |length: usize| (length - 1) / stride + 1;
        self.shape = vec![c_out, size(self.shape[1]), size(self.shape[2])];
        let per_output = (c_in * kernel * kernel) as u64;
        let mut detail = format!("{kernel}x{kernel}");
        if stride != 1 {
            detail += &format!(" /{stride}");
        }
        if dilation != 1 {
            detail += &format!(" dilation {dilation}");
        }
        let kind = if depthwise { LayerKind::Depthwise } else { LayerKind::Conv };
        self.push(conv, kind, detail, per_output * c_out as u64, per_output * elements(&self.shape));
        self.push(bn.clone(), LayerKind::BatchNorm, "", 2 * c_out as u64, 0);
        if activation != Activation::Identity {
            self.activation(bn, activation);
        }
    }

    fn activation(&mut self, after: impl Into<String>, activation: Activation) {
        self.push(after, LayerKind::Activation, activation.name(), 0, 0);
    }

    fn v2(&mut self, i: usize, config: &InvertedResidualConfig) {
        let &InvertedResidualConfig { c_out, stride, norm, .. } = config;
        let expanded = config.expanded();
        let path = format!("features.{i}.conv");
        let unit = |j: usize| (format!("{path}.{j}.0"), format!("{path}.{j}.1"));
        let mut next = 0;
        if config.expand_ratio != 1 {
            self.conv_bn_act(unit(0), expanded, &ConvBnActConfig::pointwise(norm, Activation::Relu6));
            next = 1;
        }
        let depthwise = ConvBnActConfig::depthwise(3, stride, 1, norm, Activation::Relu6);
        self.conv_bn_act(unit(next), expanded, &depthwise);
        let project = (format!("{path}.{}", next + 1), format!("{path}.{}", next + 2));
        self.conv_bn_act(project, c_out, &ConvBnActConfig::pointwise(norm, Activation::Identity));
    }

    fn v3(&mut self, i: usize, config: &BottleneckConfig) {
        let &BottleneckConfig { kernel, c_in, expanded, c_out, activation, stride, dilation, norm, .. } = config;
        let path = format!("features.{i}.block");
        let unit = |j: usize| (format!("{path}.{j}.0"), format!("{path}.{j}.1"));
        let mut next = 0;
        if expanded != c_in {
            self.conv_bn_act(unit(next), expanded, &ConvBnActConfig::pointwise(norm, activation));
            next += 1;
        }
        let depthwise = ConvBnActConfig::depthwise(kernel, stride, dilation, norm, activation);
        self.conv_bn_act(unit(next), expanded, &depthwise);
        next += 1;
        if let Some(squeeze) = config.squeeze {
            let (c, s) = (expanded as u64, squeeze as u64);
            let detail = format!("squeeze {squeeze}");
            self.push(format!("{path}.{next}"), LayerKind::SqueezeExcite, detail, 2 * c * s + c + s, 2 * c * s);
            next += 1;
        }
        self.conv_bn_act(unit(next), c_out, &ConvBnActConfig::pointwise(norm, Activation::Identity));
    }

    fn classifier(&mut self, plan: &ClassifierPlan) {
        self.shape.truncate(1);
        self.push("avgpool", LayerKind::Pool, "mean", 0, 0);
        if let Some(units) = plan.hidden {
            self.linear(ClassifierPlan::HIDDEN_PATH, units);
            self.activation(ClassifierPlan::HIDDEN_PATH, Activation::HSwish);
        }
        self.push("classifier", LayerKind::Dropout, format!("p {}", plan.dropout), 0, 0);
        self.linear(plan.last_path(), plan.num_classes);
    }

    fn linear(&mut self, name: &str, c_out: usize) {
        let macs = (self.shape[0] * c_out) as u64;
        self.shape = vec![c_out];
        self.push(name, LayerKind::Linear, "", macs + c_out as u64, macs);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Arch, Preset};

    #[test]
    fn refuses_images_without_pixels() {
        let config = ModelConfig::new(Arch::V2, 10, Preset::Cifar);
        for size in [(0, 32), (32, 0), (32, usize::MAX)] {
            let error = summary(&config, size).unwrap_err().to_string();
            assert!(error.starts_with("image_size: expected 1 to 16384, found "), "{error}");
        }
    }
}
