//! Where a function finds its arguments.

/// Who passes arguments where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Convention {
    /// C, C++, Rust's `extern "C"` and, for all that fits into registers, Rust itself (System V ABI, AAPCS64).
    C,
    /// Go since 1.17 (its "internal ABI").
    Go,
}

impl Convention {
    /// How the kernel fetches the integer or pointer argument with this number, from 0 on, when the function is called
    /// (Documentation/trace/uprobetracer.rst). Nothing, where that cannot be told.
    pub fn argument(self, number: usize) -> Option<String> {
        if cfg!(target_arch = "aarch64") { self.on_aarch64(number) } else { self.on_x86_64(number) }
    }

    fn on_x86_64(self, number: usize) -> Option<String> {
        let registers: &[&str] = match self {
            Self::C => &["di", "si", "dx", "cx", "r8", "r9"],
            Self::Go => &["ax", "bx", "cx", "di", "si", "r8", "r9", "r10", "r11"],
        };
        // The stack begins with the return address.
        let on_stack = |number: usize| format!("$stack{}", number - registers.len() + 1);
        match registers.get(number) {
            Some(register) => Some(format!("%{register}")),
            None => (self == Self::C).then(|| on_stack(number)),
        }
    }

    fn on_aarch64(self, number: usize) -> Option<String> {
        let registers = match self {
            Self::C => 8,
            Self::Go => 16,
        };
        match number < registers {
            true => Some(format!("%x{number}")),
            false => (self == Self::C).then(|| format!("$stack{}", number - registers)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_where_the_machine_has_them() {
        let x86 = |convention: Convention, number| convention.on_x86_64(number).unwrap_or_default();
        assert_eq!(
            [0, 3, 5, 6, 7].map(|n| x86(Convention::C, n)),
            ["%di", "%cx", "%r9", "$stack1", "$stack2"]
        );
        assert_eq!([0, 1, 8, 9].map(|n| x86(Convention::Go, n)), ["%ax", "%bx", "%r11", ""]);
        let arm = |convention: Convention, number| convention.on_aarch64(number).unwrap_or_default();
        assert_eq!([0, 7, 8].map(|n| arm(Convention::C, n)), ["%x0", "%x7", "$stack0"]);
        assert_eq!([0, 15, 16].map(|n| arm(Convention::Go, n)), ["%x0", "%x15", ""]);
    }
}
