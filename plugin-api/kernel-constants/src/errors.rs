use std::borrow::Cow;

use syscalls::Errno;

/// The greatest number that is an error (`MAX_ERRNO` in include/linux/err.h).
const MAX_ERRNO: i64 = 4095;

/// The number of the error that a system call has returned, if it has: `-2` is error 2.
pub fn error_of(returned: i64) -> Option<i64> {
    (-MAX_ERRNO..0).contains(&returned).then(|| -returned)
}

/// The name of an error, also of the kernel's own, which no program sees: `ENOENT`, `ERESTARTSYS`. Its number, where it has
/// none.
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
        // A call that a signal has broken off is begun again.
        assert_eq!(error_name(512), "ERESTARTSYS");
        assert_eq!(error_name(524), "ENOTSUPP");
        assert_eq!(error_name(4000), "4000");
        assert_eq!(error_name(1 << 40), "1099511627776");
    }

    #[test]
    fn results_are_errors_up_to_a_number() {
        assert_eq!(error_of(-2), Some(2));
        assert_eq!(error_of(-4095), Some(4095));
        for result in [0, 3, -4096, i64::MIN, i64::MAX] {
            assert_eq!(error_of(result), None);
        }
    }
}
