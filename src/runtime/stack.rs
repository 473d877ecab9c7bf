//! Work that recurses deeply, on a thread with a stack of its own size.
//!
//! A stack that overflows takes the whole process down and cannot be caught, so recursion over what others wrote needs
//! a bound on its depth, and a stack that is large enough for this bound. The kernel hands out the pages of a stack as
//! they are touched: a large one costs nothing until it is used.

use std::io;

use super::workers::panic_message;

/// Why work on a stack of its own has no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StackError {
    /// Nothing ran.
    #[error("no thread with a stack of {bytes} bytes can be started")]
    NotStarted {
        /// How large it should have been.
        bytes: usize,
        /// What the system said.
        source: io::Error,
    },
    /// The work panicked; its message is known, and nothing else was harmed.
    #[error("{0}")]
    Panicked(String),
}

/// Runs `work` on a thread with a stack of `bytes`, and waits for it. A panic in it becomes an error where the program
/// is built to unwind.
pub fn on_stack<T: Send>(bytes: usize, work: impl FnOnce() -> T + Send) -> Result<T, StackError> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("deep".to_owned()).stack_size(bytes);
        let running = thread.spawn_scoped(scope, work).map_err(|source| StackError::NotStarted { bytes, source })?;
        running.join().map_err(|panic| StackError::Panicked(panic_message(panic.as_ref())))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Needs more than the two megabytes of an ordinary thread.
    fn deep(levels: usize) -> usize {
        let room = std::hint::black_box([levels; 1024]);
        if levels == 0 { room[0] } else { 1 + deep(room[1023] - 1) }
    }

    #[test]
    fn the_stack_is_as_large_as_was_asked_for() {
        assert_eq!(on_stack(64 << 20, || deep(2000)).unwrap(), 2000);
    }

    #[test]
    fn a_panic_is_an_error() {
        let error = on_stack::<()>(1 << 20, || panic!("too deep")).unwrap_err();
        assert_eq!(error.to_string(), "panicked: too deep");
    }
}
