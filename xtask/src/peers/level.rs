//! Instruction sets that programs are held to.

/// Levels that `--level` takes: our own names.
pub const LEVELS: [&str; 5] = ["avx2", "avxvnni", "avx512", "avx512vnni", "avx512bf16"];

/// The environment variable that holds us to one.
pub const OURS: &str = "MOBILENET_SIMD";

/// Environment variables that hold the other programs to a level. ONNX Runtime has none.
pub fn of_others(level: &str) -> Vec<(&'static str, &'static str)> {
    let (one_dnn, torch) = match level {
        "avx2" => ("AVX2", "avx2"),
        "avxvnni" => ("AVX2_VNNI", "avx2"),
        "avx512" => ("AVX512_CORE", "avx512"),
        "avx512vnni" => ("AVX512_CORE_VNNI", "avx512"),
        _ => ("AVX512_CORE_BF16", "avx512"),
    };
    vec![("ONEDNN_MAX_CPU_ISA", one_dnn), ("ATEN_CPU_CAPABILITY", torch)]
}
