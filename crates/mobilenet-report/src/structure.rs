//! Block by block: what V3 does differently from V2, read from the layers of the two summaries.

use mobilenet_schema::{LayerKind, Summary};

use super::text::millions;

/// One block of a network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Block {
    /// 0 is the stem
    pub index: usize,
    /// Channels inside
    pub expanded: u64,
    /// `[c, h, w]`
    pub output: [u64; 3],
    /// Window of the depthwise convolution, such as `3x3`; of the only convolution in stem and head
    pub window: String,
    /// Hidden width of squeeze-and-excite
    pub squeeze: Option<u64>,
    /// Activation function
    pub activation: String,
    /// Whether the input is added to the output
    pub residual: bool,
    pub params: u64,
    pub macs: u64,
}

/// Two blocks in the same place: the same resolution, the same position within it.
#[derive(Clone, Debug)]
pub struct Pair {
    /// Height of the output in pixels
    pub resolution: u64,
    pub first: Option<Block>,
    pub second: Option<Block>,
}

/// The blocks between stem and head.
pub fn blocks(summary: &Summary) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    for layer in &summary.layers {
        let Some(index) = layer.block else { continue };
        if blocks.last().is_none_or(|block| block.index != index) {
            blocks.push(Block { index, ..Block::default() });
        }
        let Some(block) = blocks.last_mut() else { continue };
        block.params += layer.params;
        block.macs += layer.macs;
        if let [c, h, w] = layer.output[..] {
            block.output = [c, h, w].map(|extent| extent as u64);
        }
        match layer.kind {
            LayerKind::Depthwise => {
                block.expanded = layer.output.first().map_or(0, |&channels| channels as u64);
                block.window = first_word(&layer.detail);
            }
            LayerKind::SqueezeExcite => {
                block.squeeze = layer.detail.rsplit(' ').next().and_then(|n| n.parse().ok());
            }
            LayerKind::Activation => block.activation = layer.detail.clone(),
            LayerKind::Add => block.residual = true,
            _ => {}
        }
    }
    blocks.retain(|block| block.expanded > 0);
    blocks
}

/// Parameters and multiply-adds outside the blocks: stem, head and classifier.
pub fn around(summary: &Summary, blocks: &[Block]) -> (u64, u64) {
    let params: u64 = blocks.iter().map(|block| block.params).sum();
    let macs: u64 = blocks.iter().map(|block| block.macs).sum();
    (summary.params - params.min(summary.params), summary.macs - macs.min(summary.macs))
}

/// Puts blocks of the same resolution next to each other.
pub fn align(first: &[Block], second: &[Block]) -> Vec<Pair> {
    let mut resolutions: Vec<u64> = first.iter().chain(second).map(|b| b.output[1]).collect();
    resolutions.sort_unstable_by(|a, b| b.cmp(a));
    resolutions.dedup();
    let mut pairs = Vec::new();
    for resolution in resolutions {
        let at =
            |blocks: &[Block]| -> Vec<Block> { blocks.iter().filter(|b| b.output[1] == resolution).cloned().collect() };
        let (a, b) = (at(first), at(second));
        for i in 0..a.len().max(b.len()) {
            pairs.push(Pair { resolution, first: a.get(i).cloned(), second: b.get(i).cloned() });
        }
    }
    pairs
}

impl Block {
    /// `3×3, 144 → 24`.
    pub fn describe(&self) -> String {
        format!("{}, {} → {}", self.window.replace('x', "×"), self.expanded, self.output[0])
    }

    /// Multiply-adds in millions.
    pub fn cost(&self) -> String {
        millions(self.macs)
    }
}

impl Pair {
    /// What the second block does that the first does not, in words; the names are those of the two networks.
    pub fn differences(&self, first: &str, second: &str) -> String {
        let (Some(a), Some(b)) = (&self.first, &self.second) else {
            let only = if self.first.is_some() { first } else { second };
            return format!("only {only} has it");
        };
        let mut found = Vec::new();
        if a.window != b.window {
            found.push(format!("{} window", b.window.replace('x', "×")));
        }
        if let Some(squeeze) = b.squeeze {
            found.push(format!("SE, {squeeze} wide"));
        }
        if a.activation != b.activation {
            found.push(b.activation.replace("relu", "ReLU"));
        }
        if b.expanded < a.expanded {
            found.push("narrower inside".to_owned());
        } else if b.expanded > a.expanded {
            found.push("wider inside".to_owned());
        }
        if b.output[0] != a.output[0] {
            let word = if b.output[0] > a.output[0] { "more" } else { "fewer" };
            found.push(format!("{word} channels out"));
        }
        if a.residual != b.residual {
            found.push(if b.residual { "shortcut" } else { "no shortcut" }.to_owned());
        }
        if found.is_empty() { "the same".to_owned() } else { found.join("; ") }
    }
}

fn first_word(text: &str) -> String {
    text.split(' ').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn summary(layers: serde_json::Value) -> Summary {
        let summary = json!({"model": "v3-large", "preset": "cifar", "input": [3, 32, 32], "num_classes": 10,
                             "width_mult": 1.0, "params": 100, "macs": 1000, "activation_bytes": 1, "layers": layers});
        serde_json::from_value(summary).unwrap()
    }

    fn layer(block: usize, kind: &str, detail: &str, output: [u64; 3]) -> serde_json::Value {
        json!({"name": "", "kind": kind, "detail": detail, "block": block, "output": output, "params": 10, "macs": 100,
               "activation_bytes": 4 * output.iter().product::<u64>()})
    }

    #[test]
    fn a_block_is_read_from_its_layers() {
        let summary = summary(json!([
            layer(0, "conv", "3x3", [16, 32, 32]),
            layer(1, "conv", "1x1", [72, 32, 32]),
            layer(1, "activation", "relu", [72, 32, 32]),
            layer(1, "depthwise", "5x5 /2", [72, 16, 16]),
            layer(1, "squeeze-excite", "squeeze 24", [72, 16, 16]),
            layer(1, "conv", "1x1", [40, 16, 16]),
        ]));
        let blocks = blocks(&summary);
        assert_eq!(blocks.len(), 1, "stem and head are no blocks");
        assert_eq!(blocks[0].describe(), "5×5, 72 → 40");
        assert_eq!((blocks[0].squeeze, blocks[0].output), (Some(24), [40, 16, 16]));
        assert_eq!(around(&summary, &blocks), (50, 500));
    }

    #[test]
    fn pairs_meet_at_the_same_resolution_and_name_what_differs() {
        let block = |side, window: &str, squeeze| Block {
            expanded: 144,
            output: [24, side, side],
            window: window.to_owned(),
            squeeze,
            ..Block::default()
        };
        let first = [block(32, "3x3", None), block(32, "3x3", None), block(16, "3x3", None)];
        let second = [block(32, "3x3", None), block(16, "5x5", Some(40))];
        let words: Vec<_> = align(&first, &second).iter().map(|pair| pair.differences("A", "B")).collect();
        assert_eq!(words, ["the same", "only A has it", "5×5 window; SE, 40 wide"]);
    }
}
