//! `--device cpu|cuda[:n]|metal`.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use candle_core::Device;

/// Where to compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceArg {
    Cpu,
    Cuda(usize),
    Metal,
}

impl DeviceArg {
    /// Opens the device.
    pub fn open(self) -> Result<Device> {
        match self {
            Self::Cpu => Ok(Device::Cpu),
            Self::Cuda(_) if !cfg!(feature = "cuda") => {
                bail!("--device {self}: this program was built without CUDA; build it with `--features cuda`")
            }
            Self::Metal if !cfg!(feature = "metal") => {
                bail!("--device {self}: this program was built without Metal; build it with `--features metal`")
            }
            Self::Cuda(index) => {
                let device = Device::new_cuda(index).with_context(|| format!("--device {self}"))?;
                #[cfg(feature = "cuda")]
                if let Device::Cuda(cuda) = &device {
                    // A device without such a pool computes the same.
                    let _ = mobilenet_cuda::cuda::keep_freed_memory(&cuda.cuda_stream());
                }
                Ok(device)
            }
            Self::Metal => Device::new_metal(0).with_context(|| format!("--device {self}")),
        }
    }
}

impl FromStr for DeviceArg {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        match s.split_once(':') {
            None if s == "cpu" => Ok(Self::Cpu),
            None if s == "metal" => Ok(Self::Metal),
            None if s == "cuda" => Ok(Self::Cuda(0)),
            Some(("cuda", index)) => index.parse().map(Self::Cuda).map_err(|_| unknown(s)),
            _ => Err(unknown(s)),
        }
    }
}

fn unknown(s: &str) -> String {
    format!("unknown device \"{s}\", expected cpu, cuda, cuda:N or metal")
}

impl fmt::Display for DeviceArg {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
            Self::Metal => f.write_str("metal"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (text, device) in [
            ("cpu", DeviceArg::Cpu),
            ("cuda", DeviceArg::Cuda(0)),
            ("cuda:3", DeviceArg::Cuda(3)),
            ("metal", DeviceArg::Metal),
        ] {
            assert_eq!(text.parse(), Ok(device));
            assert_eq!(device.to_string().parse(), Ok(device));
        }
        for text in ["", "gpu", "cuda:", "cuda:-1", "cpu:0", "metal:1"] {
            assert!(text.parse::<DeviceArg>().is_err(), "{text}");
        }
    }
}
