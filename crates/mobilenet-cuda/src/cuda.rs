//! The kernels on an NVIDIA GPU, over Candle's own cudarc: compiled by NVRTC when they are first launched, products by
//! cuBLAS. All work goes to the stream of a Candle device; what is repeated goes there as one graph.

mod compile;
mod staging;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ffi::c_void;
use std::path::PathBuf;
use std::sync::Arc;

use candle_core::cuda_backend::cudarc::cublas::{CudaBlas, result, sys};
use candle_core::cuda_backend::cudarc::driver::result::device::get_default_mem_pool;
use candle_core::cuda_backend::cudarc::driver::result::mem_pool;
use candle_core::cuda_backend::cudarc::driver::sys::{
    CUgraphInstantiate_flags, CUmemPool_attribute, CUstreamCaptureMode,
};
use candle_core::cuda_backend::cudarc::driver::{
    CudaFunction, CudaGraph, CudaModule, CudaSlice, CudaStream, CudaView, CudaViewMut, DevicePtr, LaunchConfig,
    PushKernelArg,
};
use candle_core::cuda_backend::cudarc::nvrtc::Ptx;

use crate::backend::{Arg, Backend, Kind, Launch, Matrix, Product, Repeated, View};
use crate::error::{Error, Result};
use crate::program::Program;
use compile::compiled;
use staging::Staging;

/// A GPU and what was made on it.
pub struct Cuda {
    stream: Arc<CudaStream>,
    blas: CudaBlas,
    /// Memory and where it is.
    memories: Vec<(CudaSlice<u8>, u64)>,
    modules: HashMap<Program, Arc<CudaModule>>,
    functions: HashMap<(Program, &'static str, usize), CudaFunction>,
    /// `sm_90`, without the `sm_`.
    architecture: String,
    /// Where compiled programs are kept.
    cache: Option<PathBuf>,
    tf32: bool,
    /// Where copies to a place in memory start, by its allocation, its beginning and its bytes.
    staging: HashMap<(usize, usize, usize), Staging>,
    /// Work that was done, by its number.
    repeated: HashMap<u64, Repetition>,
}

/// Work that may be done again.
enum Repetition {
    /// Done once: all programs are compiled, and libraries have their memory.
    Once,
    /// As one launch.
    Graph(CudaGraph),
    /// It cannot be captured.
    Never,
}

/// What a driver, a library or the compiler says.
fn failed(what: &str, error: impl std::fmt::Debug) -> Error {
    Error::Device(format!("CUDA, {what}: {error:?}"))
}

impl Cuda {
    /// On the stream of a device. Compiled programs are kept in `cache`, if it is given: a folder.
    ///
    /// # Errors
    /// [`Error::Capability`], and what the driver says.
    pub fn new(stream: Arc<CudaStream>, cache: Option<PathBuf>) -> Result<Self> {
        let capability = stream.context().compute_capability();
        let (major, minor) = capability.map_err(|error| failed("compute capability", error))?;
        if major < 8 {
            return Err(Error::Capability { found: format!("{major}.{minor}") });
        }
        Ok(Self {
            blas: CudaBlas::new(stream.clone()).map_err(|error| failed("cuBLAS", error))?,
            stream,
            memories: Vec::new(),
            modules: HashMap::new(),
            functions: HashMap::new(),
            architecture: format!("{major}{minor}"),
            cache,
            tf32: false,
            staging: HashMap::new(),
            repeated: HashMap::new(),
        })
    }

    /// The same, with all float32 products' operands rounded to TF32, those of a float32 network too.
    #[must_use]
    pub fn with_tf32(self) -> Self {
        Self { tf32: true, ..self }
    }

    /// The launches of `work` as a graph, none of which is executed; `None` if they cannot be one.
    fn capture(&mut self, work: &mut dyn FnMut(&mut Self) -> Result<()>) -> Option<CudaGraph> {
        let mode = CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        self.stream.begin_capture(mode).ok()?;
        let launched = work(self);
        let graph = self.stream.end_capture(CUgraphInstantiate_flags(0));
        launched.ok()?;
        graph.ok()?
    }

    fn pointer(&self, view: View) -> Result<u64> {
        match self.memories.get(view.memory) {
            Some((memory, start)) if view.at + view.bytes() <= memory.len() => Ok(start + view.at as u64),
            _ => Err(Error::Device(format!("no such memory: {view:?}"))),
        }
    }

    fn function(&mut self, launch: &Launch) -> Result<CudaFunction> {
        let key = (launch.program, launch.kernel, launch.width);
        if let Some(function) = self.functions.get(&key) {
            return Ok(function.clone());
        }
        let module = match self.modules.entry(launch.program) {
            Entry::Occupied(module) => module.get().clone(),
            Entry::Vacant(place) => {
                let cubin = compiled(launch.program, &self.architecture, self.cache.as_ref())?;
                let module = self.stream.context().load_module(Ptx::from_binary(cubin));
                place.insert(module.map_err(|error| failed(&launch.program.key(), error))?).clone()
            }
        };
        let name = launch.name();
        let function = module.load_function(&name).map_err(|error| failed(&name, error))?;
        self.functions.insert(key, function.clone());
        Ok(function)
    }
}

/// Has a device keep the memory that is freed there for what is asked for next, as long as the process lives: Candle asks
/// for memory in every operation.
///
/// # Errors
/// What the driver says.
pub fn keep_freed_memory(stream: &CudaStream) -> Result<()> {
    let mut kept = u64::MAX;
    // SAFETY: the device is the context's, the pool is that device's, and the attribute is a 64-bit number that is read before
    // the call returns.
    let set = unsafe {
        get_default_mem_pool(stream.context().cu_device()).and_then(|pool| {
            let attribute = CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
            mem_pool::set_attribute(pool, attribute, (&raw mut kept).cast())
        })
    };
    set.map_err(|error| failed("the memory pool", error))
}

/// An argument as a kernel takes it.
enum Value {
    Wide(u64),
    Int(i32),
    Float(f32),
}

impl Backend for Cuda {
    fn alloc(&mut self, bytes: usize) -> Result<usize> {
        // SAFETY: the memory's values are undefined until they are written, as the trait says, and bytes of any value are
        // valid.
        let memory = unsafe { self.stream.alloc::<u8>(bytes.max(1)) };
        let memory = memory.map_err(|error| failed(&format!("{bytes} bytes of memory"), error))?;
        let start = memory.device_ptr(&self.stream).0;
        self.memories.push((memory, start));
        Ok(self.memories.len() - 1)
    }

    fn write(&mut self, to: View, bytes: &[u8]) -> Result<()> {
        self.pointer(to)?;
        if bytes.len() != to.bytes() {
            return Err(Error::Length {
                what: "a copy to the device".into(),
                expected: to.bytes(),
                found: bytes.len(),
            });
        }
        let memory = &mut self.memories[to.memory].0;
        let mut view: CudaViewMut<u8> = memory.slice_mut(to.at..to.at + to.bytes());
        let staging = self.staging.entry((to.memory, to.at, bytes.len())).or_default();
        staging.copy(&self.stream, bytes, &mut view).map_err(|error| failed("a copy to the device", error))
    }

    fn read(&mut self, from: View, bytes: &mut [u8]) -> Result<()> {
        self.pointer(from)?;
        if bytes.len() != from.bytes() {
            return Err(Error::Length {
                what: "a copy to the host".into(),
                expected: from.bytes(),
                found: bytes.len(),
            });
        }
        let view: CudaView<u8> = self.memories[from.memory].0.slice(from.at..from.at + from.bytes());
        let copied = self.stream.memcpy_dtoh(&view, bytes).and_then(|()| self.stream.synchronize());
        copied.map_err(|error| failed("a copy to the host", error))
    }

    fn address(&self, of: View) -> u64 {
        self.pointer(of).unwrap_or(0)
    }

    fn launch(&mut self, launch: &Launch) -> Result<()> {
        let mut values = Vec::with_capacity(launch.args.len());
        for arg in launch.args {
            values.push(match *arg {
                Arg::In(view) | Arg::Out(view) | Arg::InOut(view) => Value::Wide(self.pointer(view)?),
                Arg::Null => Value::Wide(0),
                Arg::Long(value) => Value::Wide(value as u64),
                Arg::Int(value) => match i32::try_from(value) {
                    Ok(value) => Value::Int(value),
                    Err(_) => return Err(Error::Size { kernel: launch.name(), found: value }),
                },
                Arg::Float(value) => Value::Float(value),
            });
        }
        let function = self.function(launch)?;
        let mut builder = self.stream.launch_builder(&function);
        for value in &values {
            match value {
                Value::Wide(value) => builder.arg(value),
                Value::Int(value) => builder.arg(value),
                Value::Float(value) => builder.arg(value),
            };
        }
        let [grid_x, grid_y] = launch.grid.map(|size| size as u32);
        let [block_x, block_y] = launch.block.map(|size| size as u32);
        let config =
            LaunchConfig { grid_dim: (grid_x, grid_y, 1), block_dim: (block_x, block_y, 1), shared_mem_bytes: 0 };
        // SAFETY: the emulation compares every launch of these stages with the kernel's parameters, and its tests run them
        // under the address sanitizer; the pointers are of memory that lives as long as this back end, in stream order.
        let launched = unsafe { builder.launch(config) };
        launched.map(drop).map_err(|error| failed(&launch.name(), error))
    }

    fn gemm(&mut self, product: &Product) -> Result<()> {
        // Row by row, cuBLAS sees transposed matrices: cᵀ = bᵀ · aᵀ.
        let Product { rows, columns, inner, a, b, c, accumulate, count, tf32 } = *product;
        let size = |found: usize| i32::try_from(found).map_err(|_| Error::Size { kernel: "a product".into(), found });
        let operation = |matrix: &Matrix| match matrix.transposed {
            false => sys::cublasOperation_t::CUBLAS_OP_N,
            true => sys::cublasOperation_t::CUBLAS_OP_T,
        };
        let kind = |matrix: &Matrix| match matrix.view.kind {
            Kind::Bf16 => sys::cudaDataType_t::CUDA_R_16BF,
            _ => sys::cudaDataType_t::CUDA_R_32F,
        };
        let compute = match (a.view.kind, tf32 || self.tf32) {
            (Kind::F32, true) => sys::cublasComputeType_t::CUBLAS_COMPUTE_32F_FAST_TF32,
            _ => sys::cublasComputeType_t::CUBLAS_COMPUTE_32F,
        };
        let (alpha, beta) = (1f32, if accumulate { 1f32 } else { 0. });
        let place = |view: View| self.pointer(view).map(|pointer| pointer as *mut c_void);
        let (to_a, to_b, to_c) = (place(a.view)?, place(b.view)?, place(c.view)?);
        // SAFETY: the views were checked to be inside their memories, which live as long as this back end, and the sizes to
        // fit; `alpha` and `beta` are read on the host before the call returns.
        let multiplied = unsafe {
            result::gemm_strided_batched_ex(
                *self.blas.handle(),
                operation(&b),
                operation(&a),
                size(columns)?,
                size(rows)?,
                size(inner)?,
                (&raw const alpha).cast(),
                to_b,
                kind(&b),
                size(b.stride)?,
                (inner * columns) as i64,
                to_a,
                kind(&a),
                size(a.stride)?,
                (rows * inner) as i64,
                (&raw const beta).cast(),
                to_c,
                kind(&c),
                size(c.stride)?,
                (rows * columns) as i64,
                size(count)?,
                compute,
                sys::cublasGemmAlgo_t::CUBLAS_GEMM_DEFAULT,
            )
        };
        multiplied.map_err(|error| failed("a product", error))
    }

    fn enter(&mut self, _: &str) {}

    fn repeat(&mut self, name: &Repeated, work: &mut dyn FnMut(&mut Self) -> Result<()>) -> Result<()> {
        match self.repeated.get(&name.number()) {
            None => {
                self.repeated.insert(name.number(), Repetition::Once);
                return work(self);
            }
            Some(Repetition::Graph(graph)) => {
                return graph.launch().map_err(|error| failed("a graph", error));
            }
            Some(Repetition::Never) => return work(self),
            Some(Repetition::Once) => {}
        }
        let graph = self.capture(work);
        let launched = graph.as_ref().map(CudaGraph::launch);
        self.repeated.insert(name.number(), graph.map_or(Repetition::Never, Repetition::Graph));
        match launched {
            Some(launched) => launched.map_err(|error| failed("a graph", error)),
            None => work(self),
        }
    }
}
