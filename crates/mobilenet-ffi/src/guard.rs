//! No panic leaves this library.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Calls `f`; a panic is an error too, where panics unwind. No value that `f` leaves half done is read afterwards: a
/// session writes what it computes before it reads it.
pub(crate) fn guard<T>(f: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(f)).unwrap_or_else(|panic| Err(format!("a mistake in mobilenet: {}", said(&*panic))))
}

fn said(panic: &(dyn Any + Send)) -> &str {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (_, Some(text)) => text,
        _ => "it does not say what",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error() {
        assert_eq!(guard(|| Ok(7)), Ok(7));
        assert_eq!(guard::<()>(|| Err("no".to_owned())), Err("no".to_owned()));
        assert_eq!(guard::<()>(|| panic!("text")), Err("a mistake in mobilenet: text".to_owned()));
        assert_eq!(guard::<()>(|| panic!("number {}", 7)), Err("a mistake in mobilenet: number 7".to_owned()));
        let silent = guard::<()>(|| std::panic::panic_any(7));
        assert_eq!(silent, Err("a mistake in mobilenet: it does not say what".to_owned()));
    }
}
