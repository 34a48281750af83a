//! What is known of a network beside its layers: names, color, published figures, and how its plan is made.

use std::fmt;
use std::hash::{Hash, Hasher};

use crate::BatchNormConfig;
use crate::plan::{Options, Plan};

/// One network. Every place that names, draws, counts or times networks asks this.
#[derive(Debug)]
pub struct Description {
    /// The short name: on the command line, in files, and in the names of files. Lower case and dashes.
    pub name: &'static str,
    /// The name the papers use, and what was added to it, in ASCII: `MobileNetV2 + h-swish + SE + 5x5`.
    pub title: &'static str,
    /// The same as reports print it: `MobileNetV2 + h-swish + SE + 5×5`.
    pub label: &'static str,
    /// For labels in plots and narrow columns: `V3-Large`.
    pub short: &'static str,
    /// What the network has that the one before it on the ladder has not.
    pub adds: &'static str,
    /// In plots.
    pub hue: Hue,
    /// The first guess of how fast it is.
    pub rate: Rate,
    /// What was published of it; `None` for this project's own networks.
    pub published: Option<Published>,
    /// The same network in Python, for comparisons.
    pub peer: Option<Peer>,
    /// Batch norm's numbers.
    pub norm: BatchNormConfig,
    /// Whether the word `widths` names it, at each of [`Width::PUBLISHED`](crate::Width::PUBLISHED).
    pub in_widths: bool,
    /// Whether there is a reduced tail and a dilated form, the options of the V3 paper.
    pub has_tail_options: bool,
    /// The strides of the stem and of each stage's first block for 224×224 images.
    pub stage_strides: fn() -> Vec<usize>,
    /// The plan of the network with these options, which are valid.
    pub plan: fn(&Options) -> Plan,
}

/// A color for each background, as CSS writes it: `#2868b8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hue {
    /// On white.
    pub light: &'static str,
    /// On black.
    pub dark: &'static str,
}

/// Images per second at width 1 and 32×32 pixels on two threads of a current server core.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// Of training.
    pub train: f64,
    /// Of evaluation.
    pub eval: f64,
}

/// Figures for ImageNet: 224×224 pixels, 1,000 classes, width 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Published {
    /// Trainable numbers.
    pub params: u64,
    /// Multiply-adds of one image.
    pub macs: u64,
    /// The paper's share of test images that are classified correctly, in percent.
    pub top1_percent: f64,
    /// The paper.
    pub source: &'static str,
}

/// The same network in a Python library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The library, a package of PyPI: `torchvision` or `timm`.
    pub library: &'static str,
    /// What the library calls the network.
    pub model: &'static str,
}

/// An architecture of the registry: a network but for its width, classes and strides.
///
/// Written as its [`name`](Self::name), in files too. Compared by it; ordered as reports list networks.
#[derive(Clone, Copy)]
pub struct Arch(&'static Description);

impl Arch {
    /// The architecture of a description, to be listed in the registry.
    pub(crate) const fn new(description: &'static Description) -> Self {
        Self(description)
    }

    /// All that is known of it.
    pub fn description(self) -> &'static Description {
        self.0
    }

    /// The short name that `FromStr` reads: `v2`, `v3-large`.
    pub fn name(self) -> &'static str {
        self.0.name
    }

    /// The name the papers use, and what was added to it, for headings: `MobileNetV3-Large`. ASCII.
    pub fn title(self) -> &'static str {
        self.0.title
    }

    /// The same as reports print it.
    pub fn label(self) -> &'static str {
        self.0.label
    }

    /// For labels in plots and narrow columns: `V3-Large`.
    pub fn short(self) -> &'static str {
        self.0.short
    }

    /// Whether the network is one of the V3 paper's, with its options.
    pub fn is_v3(self) -> bool {
        self.0.has_tail_options
    }

    /// Whether the network was published, and is not one of this project's steps between two that were.
    pub fn is_published(self) -> bool {
        self.0.published.is_some()
    }
}

impl PartialEq for Arch {
    fn eq(&self, other: &Self) -> bool {
        self.0.name == other.0.name
    }
}

impl Eq for Arch {}

impl Hash for Arch {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.name.hash(state);
    }
}

impl fmt::Debug for Arch {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.0.name)
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.pad(self.0.name)
    }
}
