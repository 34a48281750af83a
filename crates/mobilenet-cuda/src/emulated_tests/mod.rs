//! The kernels against the CPU's: emulated, or with the feature `cuda` alone on a GPU.

mod chained;
mod compare;
mod networks;
mod odd;
mod reference;
mod stages;
mod training;
mod values;

#[cfg(feature = "emulate")]
mod subject {
    pub type Subject = crate::emulated::Emulated;

    /// What runs the kernels; the seed picks the order of threads.
    pub fn subject(seed: u32) -> Subject {
        Subject::new(seed)
    }

    /// Whether there is nothing to run them.
    pub fn missing() -> bool {
        false
    }
}

#[cfg(not(feature = "emulate"))]
mod subject {
    use std::path::Path;

    use candle_core::cuda_backend::cudarc::driver::CudaContext;

    pub type Subject = crate::cuda::Cuda;

    /// What runs the kernels: the first GPU.
    pub fn subject(_: u32) -> Subject {
        // As Candle's devices have it.
        let stream = CudaContext::new(0).unwrap().per_thread_stream();
        Subject::new(stream, Some(std::env::temp_dir().join("mobilenet-cuda-tests"))).unwrap()
    }

    /// Whether there is no GPU, and says that the test is skipped. One that is there but does not work is no reason to.
    #[expect(clippy::print_stderr, reason = "who runs the tests must know what was not tested")]
    pub fn missing() -> bool {
        let Err(error) = CudaContext::new(0) else { return false };
        assert!(!Path::new("/dev/nvidiactl").exists(), "a GPU is there, but: {error:?}");
        eprintln!("skipped, for there is no GPU: {error:?}");
        true
    }
}

use subject::Subject;
pub(crate) use subject::{missing, subject};
