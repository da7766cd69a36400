//! The errors that system calls return.

use std::borrow::Cow;

use syscalls::Errno;

/// The greatest error number (`MAX_ERRNO` in include/linux/err.h).
const MAX_ERRNO: i64 = 4095;

/// The error number in the raw result of a system call, if it failed: `-2` is error 2.
pub fn error_of(result: i64) -> Option<i64> {
    (-MAX_ERRNO..0).contains(&result).then(|| -result)
}

/// The name of an error, such as `ENOENT`, or `ERESTARTSYS`, which only the kernel uses; the number if it has no name.
pub fn error_name(error: i64) -> Cow<'static, str> {
    let name = i32::try_from(error).ok().and_then(|error| Errno::new(error).name());
    name.map_or_else(|| error.to_string().into(), Cow::Borrowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_names() {
        assert_eq!(error_name(2), "ENOENT");
        // The call is restarted after a signal handler.
        assert_eq!(error_name(512), "ERESTARTSYS");
        assert_eq!(error_name(524), "ENOTSUPP");
        assert_eq!(error_name(4000), "4000");
        assert_eq!(error_name(1 << 40), "1099511627776");
    }

    #[test]
    fn results_down_to_minus_4095_are_errors() {
        assert_eq!(error_of(-2), Some(2));
        assert_eq!(error_of(-4095), Some(4095));
        for result in [0, 3, -4096, i64::MIN, i64::MAX] {
            assert_eq!(error_of(result), None);
        }
    }
}
