//! A summary as text.

use std::fmt;

use mobilenet_common::numbers::thousands;

use super::{FLOAT_BYTES, LayerSummary, Summary};
use crate::graph::elements;

impl fmt::Display for Summary {
    /// The layers as an aligned table, then the totals.
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let header = ["Layer", "Kind", "Output", "Params", "MACs", "Bytes"].map(String::from);
        let rows: Vec<[String; 6]> = self.layers.iter().map(cells).collect();
        let mut widths = [0; 6];
        for row in std::iter::once(&header).chain(&rows) {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.len().max(*width);
            }
        }
        let rule = "-".repeat(widths.iter().sum::<usize>() + 2 * (widths.len() - 1));
        let [c, h, w] = self.input;
        let title = self.model.title();
        writeln!(f, "{title}, width {}, {} classes, input {c}x{h}x{w}", self.width_mult, self.num_classes)?;
        writeln!(f, "{rule}")?;
        write_row(f, &header, &widths)?;
        writeln!(f, "{rule}")?;
        for row in &rows {
            write_row(f, row, &widths)?;
        }
        writeln!(f, "{rule}")?;
        let input_bytes = FLOAT_BYTES * elements(&self.input);
        let param_bytes = FLOAT_BYTES * self.params;
        let total_bytes = input_bytes + self.activation_bytes + param_bytes;
        writeln!(f, "Total params            {} ({})", thousands(self.params), millions(self.params))?;
        writeln!(f, "Total MACs              {} ({})", thousands(self.macs), millions(self.macs))?;
        writeln!(f, "Input size              {}", megabytes(input_bytes))?;
        writeln!(f, "Activations, all layers {}", megabytes(self.activation_bytes))?;
        writeln!(f, "Params size             {}", megabytes(param_bytes))?;
        write!(f, "Estimated total size    {} (one image, float32)", megabytes(total_bytes))
    }
}

fn cells(layer: &LayerSummary) -> [String; 6] {
    let count = |n: u64| if n == 0 { "-".to_string() } else { thousands(n) };
    [
        layer.name.clone(),
        format!("{} {}", layer.kind.name(), layer.detail).trim_end().to_string(),
        layer.output.iter().map(usize::to_string).collect::<Vec<_>>().join("x"),
        count(layer.params),
        count(layer.macs),
        count(layer.activation_bytes),
    ]
}

/// Names to the left, numbers to the right.
fn write_row(f: &mut fmt::Formatter, cells: &[String; 6], widths: &[usize; 6]) -> fmt::Result {
    let ([name, kind, output, params, macs, bytes], w) = (cells, widths);
    writeln!(
        f,
        "{name:<w0$}  {kind:<w1$}  {output:>w2$}  {params:>w3$}  {macs:>w4$}  {bytes:>w5$}",
        w0 = w[0],
        w1 = w[1],
        w2 = w[2],
        w3 = w[3],
        w4 = w[4],
        w5 = w[5],
    )
}

fn millions(n: u64) -> String {
    format!("{:.2} M", n as f64 / 1e6)
}

fn megabytes(bytes: u64) -> String {
    format!("{:.2} MB", bytes as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::super::summary;
    use crate::{Arch, ModelConfig, Preset};

    #[test]
    fn the_table_is_aligned_and_ends_in_the_totals() {
        let config = ModelConfig::new(Arch::V3Small, 10, Preset::Cifar);
        let summary = summary(&config, (32, 32)).unwrap();
        let text = summary.to_string();
        let rows: Vec<&str> = text.lines().skip(2).take_while(|line| !line.starts_with("Total")).collect();
        assert_eq!(rows.len(), summary.layers.len() + 3, "header and two rules");
        assert!(rows.iter().all(|row| row.len() == rows[0].len()), "{text}");
        assert!(text.contains("Total params            1,528,106 (1.53 M)"), "{text}");
        assert!(text.contains("Total MACs              17,507,328 (17.51 M)"), "{text}");
    }
}
