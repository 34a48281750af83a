//! The few names the command line, the artefacts and the report share.

pub use mobilenet_arch::Arch;
pub use mobilenet_schema::{Precision, Profile, RecipeName, Source};

/// Where the networks run; handed on to `mobilenet --device`.
pub fn parse_device(text: &str) -> Result<String, String> {
    let known = match text.split_once(':') {
        Some(("cuda", ordinal)) => ordinal.parse::<usize>().is_ok(),
        Some(_) => false,
        None => matches!(text, "cpu" | "cuda" | "metal"),
    };
    if known { Ok(text.to_owned()) } else { Err("expected cpu, cuda, cuda:N or metal".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices() {
        for good in ["cpu", "cuda", "cuda:1", "metal"] {
            assert!(parse_device(good).is_ok(), "{good}");
        }
        for bad in ["gpu", "cuda:x", "metal:0", ""] {
            assert!(parse_device(bad).is_err(), "{bad}");
        }
    }
}
