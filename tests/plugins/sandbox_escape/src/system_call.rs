//! System calls by their numbers.

use std::ffi::CStr;

use nix::errno::Errno;
use nix::libc::{c_long, syscall};

/// An argument of a system call.
pub enum Argument<'a> {
    Number(i64),
    Text(&'a CStr),
    Memory(&'a mut [u8]),
}

impl From<i32> for Argument<'_> {
    fn from(number: i32) -> Self {
        Self::Number(number.into())
    }
}

impl From<u32> for Argument<'_> {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

impl From<u64> for Argument<'_> {
    fn from(number: u64) -> Self {
        Self::Number(number.cast_signed())
    }
}

impl<'a> From<&'a CStr> for Argument<'a> {
    fn from(text: &'a CStr) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<&'a mut [u8]> for Argument<'a> {
    fn from(memory: &'a mut [u8]) -> Self {
        Self::Memory(memory)
    }
}

/// Makes a system call, and returns its result. Missing arguments are 0.
pub fn system_call<const N: usize>(number: c_long, arguments: [Argument<'_>; N]) -> Result<i32, Errno> {
    let mut words = [0; 6];
    for (word, argument) in words.iter_mut().zip(arguments) {
        *word = match argument {
            Argument::Number(number) => number,
            Argument::Text(text) => text.as_ptr() as i64,
            Argument::Memory(memory) => memory.as_mut_ptr() as i64,
        };
    }
    let [a, b, c, d, e, f] = words;
    // SAFETY: the addresses among the arguments are those of memory that is borrowed for the call, and long enough for
    // what each attempt passes.
    Errno::result(unsafe { syscall(number, a, b, c, d, e, f) }).map(|result| result as i32)
}

/// `call!(number, argument…)`, with arguments of any kind.
macro_rules! call {
    ($number:ident $(, $argument:expr)* $(,)?) => {
        $crate::system_call::system_call(nix::libc::$number, [$($crate::system_call::Argument::from($argument)),*])
    };
}
pub(crate) use call;
