//! Programs as machine code: by NVRTC, which assembles too, or from the folder where they are kept. Machine code, and not
//! PTX, runs with every driver of the same major version as the compiler's, and needs no assembler when it is loaded.

use std::ffi::{CStr, CString};
use std::fs;
use std::path::PathBuf;

use candle_core::cuda_backend::cudarc::nvrtc::result::{
    NvrtcError, compile_program, create_program, destroy_program, get_program_log,
};
use candle_core::cuda_backend::cudarc::nvrtc::sys;
use mobilenet_common::files;

use crate::error::{Error, Result};
use crate::program::Program;

/// A program for GPUs of an architecture, `90` for `sm_90`, as a CUBIN; from the folder `cache` where it is there.
pub fn compiled(program: Program, architecture: &str, cache: Option<&PathBuf>) -> Result<Vec<u8>> {
    let (key, source) = (program.key(), program.source());
    let file = cache.map(|folder| {
        let hash = fnv1a(&[key.as_bytes(), architecture.as_bytes(), source.as_bytes()]);
        folder.join(format!("{}-sm{architecture}-{hash:016x}.cubin", program.file))
    });
    if let Some(cubin) = file.as_ref().and_then(|file| fs::read(file).ok()) {
        return Ok(cubin);
    }
    let mut options = vec![format!("--gpu-architecture=sm_{architecture}"), String::from("--std=c++17")];
    options.extend(program.defines().map(|define| format!("-D{define}")));
    let cubin = compile(&source, &format!("{}.cu", program.file), &options)
        .map_err(|problem| Error::Device(format!("CUDA, {key}: {problem}")))?;
    if let (Some(folder), Some(file)) = (cache, file) {
        // A program that cannot be kept is compiled again.
        let _ = fs::create_dir_all(folder).and_then(|()| files::write(&file, &cubin));
    }
    Ok(cubin)
}

fn compile(source: &str, name: &str, options: &[String]) -> std::result::Result<Vec<u8>, String> {
    let text = |text: &str| CString::new(text).map_err(|error| error.to_string());
    let (source, name) = (text(source)?, text(name)?);
    let program = create_program(&source, Some(&name)).map_err(|error| error.to_string())?;
    // SAFETY: the program was created above, and is destroyed below; its text outlives it.
    let compiled = unsafe { compile_program(program, options) };
    let cubin = match compiled {
        // SAFETY: as above, and it was compiled for an architecture, so that there is a CUBIN.
        Ok(()) => unsafe { cubin(program) }.map_err(|error| error.to_string()),
        // SAFETY: as above.
        Err(error) => Err(format!("{error}\n{}", unsafe { log(program) })),
    };
    // SAFETY: as above, and nothing uses it any more.
    let _ = unsafe { destroy_program(program) };
    cubin
}

/// # Safety
/// The program was compiled for an architecture, and is not destroyed.
unsafe fn cubin(program: sys::nvrtcProgram) -> std::result::Result<Vec<u8>, NvrtcError> {
    let mut size = 0;
    // SAFETY: the caller's; `size` is written before the call returns.
    unsafe { sys::nvrtcGetCUBINSize(program, &raw mut size) }.result()?;
    let mut bytes = vec![0u8; size];
    // SAFETY: the caller's; as many bytes are written as were asked for.
    unsafe { sys::nvrtcGetCUBIN(program, bytes.as_mut_ptr().cast()) }.result()?;
    Ok(bytes)
}

/// What the compiler says.
///
/// # Safety
/// The program is not destroyed.
unsafe fn log(program: sys::nvrtcProgram) -> String {
    // SAFETY: the caller's.
    let log = unsafe { get_program_log(program) }.unwrap_or_default();
    let bytes: Vec<u8> = log.iter().map(|byte| byte.cast_unsigned()).collect();
    CStr::from_bytes_until_nul(&bytes).map(|log| log.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The 64-bit FNV-1a hash of texts, one after the other.
fn fnv1a(texts: &[&[u8]]) -> u64 {
    let bytes = texts.iter().flat_map(|text| text.iter().chain(&[0]));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use mobilenet_arch::Activation;

    use super::*;
    use crate::backend::Kind::{Bf16, F32};
    use crate::program::PROGRAMS;

    fn programs() -> Vec<Program> {
        let acts = [None, Some(Activation::Relu), Some(Activation::Relu6), Some(Activation::HSwish)];
        let mut all = vec![Program::norm(F32, F32), Program::norm(F32, Bf16), Program::norm(Bf16, Bf16)];
        all.extend(["classifier", "optimizer", "augment"].map(Program::new));
        for kind in [F32, Bf16] {
            all.extend(["finish", "depthwise_any", "conv", "fold"].map(|file| Program::new(file).t(kind)));
            all.push(Program::new("squeeze_excite").x(kind));
            all.extend(acts.iter().filter_map(|act| Program::depthwise(kind, *act)));
        }
        all
    }

    #[test]
    fn every_program_compiles_without_a_gpu_and_is_kept() {
        let folder = std::env::temp_dir().join("mobilenet-cuda-tests");
        let programs = programs();
        assert_eq!(programs.len(), PROGRAMS.lines().count());
        for program in programs {
            assert!(PROGRAMS.lines().any(|line| line == program.key()), "{}", program.key());
            let cubin = compiled(program, "90", Some(&folder)).unwrap();
            assert!(cubin.starts_with(b"\x7fELF"), "{}", program.key());
            assert_eq!(compiled(program, "90", Some(&folder)).unwrap(), cubin);
        }
    }

    #[test]
    fn what_does_not_compile_says_why() {
        let problem = compile("int f() { return g(); }", "f.cu", &["--gpu-architecture=sm_90".into()]).unwrap_err();
        assert!(problem.contains("f.cu") && problem.contains('g'), "{problem}");
    }
}
