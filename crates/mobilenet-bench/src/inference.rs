//! Latency and throughput of a model's forward pass in evaluation mode.

use candle_core::{Device, Tensor};
use candle_nn::ModuleT;
use mobilenet_schema::Throughput;

use crate::{Error, Protocol, Result, Timing, peak_rss_bytes, time_steps};

/// A made-up but reproducible batch of normalized pictures: `[n, c, h, w]`, channels-last in memory.
///
/// # Errors
/// [`Error::Nothing`] where an extent is 0, [`Error::Candle`] where the device refuses.
pub fn input(n: usize, (c, h, w): (usize, usize, usize), device: &Device) -> Result<Tensor> {
    for (extent, what) in [(n, "batch"), (c, "channels"), (h, "height"), (w, "width")] {
        if extent == 0 {
            return Err(Error::Nothing { what });
        }
    }
    let values: Vec<f32> = (0..n * h * w * c).map(|i| (i as f32 * 0.61).sin() * 1.5).collect();
    Ok(Tensor::from_vec(values, (n, h, w, c), device)?.permute((0, 3, 1, 2))?)
}

/// Times forward passes of `model` over `xs: [n, c, h, w]`, each read back to the host.
///
/// # Errors
/// The errors of [`time_steps`].
pub fn inference<M: ModuleT + ?Sized>(model: &M, xs: &Tensor, protocol: Protocol) -> Result<Timing> {
    let n = xs.dims().first().copied().unwrap_or(0);
    time_steps(protocol, n, || {
        // Copying every output back is what a caller does with them, and it waits for the device.
        let outputs = model.forward_t(xs, false)?.flatten_all()?.to_vec1::<f32>()?;
        outputs.last().copied().ok_or_else(|| "the model's output is empty".into())
    })
}

/// Times `model` at each of `batches` in turn, for pictures of shape `(c, h, w)`.
///
/// Pass the sizes in ascending order: the peak memory of a process never falls.
///
/// # Errors
/// The errors of [`inference`] and [`input`].
pub fn throughput<M: ModuleT + ?Sized>(
    model: &M,
    picture: (usize, usize, usize),
    batches: &[usize],
    protocol: Protocol,
    device: &Device,
) -> Result<Vec<Throughput>> {
    let at = |&batch: &usize| {
        let timing = inference(model, &input(batch, picture, device)?, protocol)?;
        Ok(Throughput { batch, images_per_second: timing.images_per_second, peak_rss_bytes: peak_rss_bytes() })
    };
    batches.iter().map(at).collect()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// Counts its calls and insists on evaluation mode.
    struct Probe(Cell<usize>);

    impl ModuleT for Probe {
        fn forward_t(&self, xs: &Tensor, train: bool) -> candle_core::Result<Tensor> {
            assert!(!train);
            self.0.set(self.0.get() + 1);
            xs.mean((2, 3))
        }
    }

    #[test]
    fn input_is_channels_last_and_finite() {
        let xs = input(2, (3, 4, 5), &Device::Cpu).unwrap();
        assert_eq!(xs.dims(), [2, 3, 4, 5]);
        assert_eq!(xs.stride(), [60, 1, 15, 3]);
        let values = xs.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert!(values.iter().all(|v| v.abs() <= 1.5));
        assert!(input(1, (3, 0, 5), &Device::Cpu).is_err());
    }

    #[test]
    fn times_every_batch_size() {
        let probe = Probe(Cell::new(0));
        let protocol = Protocol { warmup: 1, iterations: 2 };
        let found = throughput(&probe, (3, 8, 8), &[1, 4], protocol, &Device::Cpu).unwrap();
        assert_eq!(found.iter().map(|t| t.batch).collect::<Vec<_>>(), [1, 4]);
        assert!(found.iter().all(|t| t.images_per_second > 0.0));
        assert_eq!(probe.0.get(), 2 * 3);
        assert!(throughput(&probe, (3, 8, 8), &[0], protocol, &Device::Cpu).is_err());
    }
}
