//! What a handle leads to.

use std::ffi::{CStr, CString};

use mobilenet_runtime::{Class, Error, Model, Session};

/// The most threads that one model is given: more are a mistake, such as a -1.
const MOST_THREADS: usize = 1024;

/// A model that was opened, with the memory and the threads that run it. One thread uses it at a time.
pub struct Mobilenet {
    session: Session,
    names: Vec<CString>,
    error: CString,
}

impl Mobilenet {
    pub(crate) fn new(model: Result<Model, Error>, threads: usize) -> Result<Self, String> {
        if threads > MOST_THREADS {
            return Err(format!("{threads} threads were asked for, at most {MOST_THREADS} can be had"));
        }
        let model = model.map_err(|error| error.to_string())?;
        let session = Session::new(&model, threads).map_err(|error| error.to_string())?;
        let names = model.description().classes.iter().map(|name| text(name)).collect();
        Ok(Self { session, names, error: CString::default() })
    }

    pub(crate) fn names(&self) -> &[CString] {
        &self.names
    }

    pub(crate) fn classify(&mut self, picture: &[u8], height: usize, width: usize) -> Result<&[Class], String> {
        self.session.classify(picture, height, width).map_err(|error| error.to_string())
    }

    pub(crate) fn error(&self) -> &CStr {
        &self.error
    }

    /// Allocates nothing where there is nothing to say and nothing was said.
    pub(crate) fn set_error(&mut self, error: &str) {
        if !(error.is_empty() && self.error.is_empty()) {
            self.error = text(error);
        }
    }
}

/// A text as C has it. A zero inside would be its end; it becomes U+FFFD.
pub(crate) fn text(text: &str) -> CString {
    CString::new(text.replace('\0', "\u{FFFD}")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_whole() {
        assert_eq!(text("naïve"), CString::from(c"naïve"));
        assert_eq!(text("a\0b"), CString::from(c"a\u{FFFD}b"));
    }
}
