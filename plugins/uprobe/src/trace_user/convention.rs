//! Where a function finds its arguments.

/// Who passes arguments where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Convention {
    /// C, C++, Rust's `extern "C"` and, for all that fits into registers, Rust itself (System V ABI, AAPCS64).
    C,
    /// Go since 1.17 (its "internal ABI").
    Go,
    /// Nobody tells: C or assembly in a Go program.
    Unknown,
}

impl Convention {
    /// That of the function with these symbols, of a file that Go's toolchain has made, or of another.
    pub fn of(symbols: &[String], is_in_go_file: bool) -> Self {
        match is_in_go_file {
            false => Self::C,
            true if symbols.iter().all(|symbol| is_of_go(symbol)) => Self::Go,
            true => Self::Unknown,
        }
    }

    /// How the kernel fetches the integer or pointer argument with this number, from 0 on, when the function is called
    /// (Documentation/trace/uprobetracer.rst). Nothing, where that cannot be told.
    pub fn argument(self, number: usize) -> Option<String> {
        if cfg!(target_arch = "aarch64") { self.on_aarch64(number) } else { self.on_x86_64(number) }
    }

    fn on_x86_64(self, number: usize) -> Option<String> {
        let registers: &[&str] = match self {
            Self::Unknown => return None,
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
            Self::Unknown => return None,
            Self::C => 8,
            Self::Go => 16,
        };
        match number < registers {
            true => Some(format!("%x{number}")),
            false => (self == Self::C).then(|| format!("$stack{}", number - registers)),
        }
    }
}

/// Whether Go's compiler has made this function of a file that its linker has made. All of its own bear a package, such as
/// `main.f`; so does most assembly, but where that does not take arguments as Go does and Go calls it, the linker marks it
/// (`mangleABIName` in its cmd/link/internal/ld/symtab.go).
fn is_of_go(symbol: &str) -> bool {
    let mut parts = symbol.split('.').skip(1);
    let Some(name) = parts.next() else { return false };
    // Copies that C compilers make have numbers: `f.0`, `f.part.0`, `f.llvm.123`. Of Go's, `main.init.0` has one.
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let is_copy = is_number(name) || name != "init" && parts.next().is_some_and(is_number);
    // C++, and the Rust that has dots.
    let is_encoded = symbol.starts_with("_Z");
    !is_copy && !is_encoded && !symbol.ends_with(".abi0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_go_program_has_functions_of_others() {
        let of = |symbols: &[&str]| {
            let symbols: Vec<String> = symbols.iter().map(|symbol| (*symbol).to_owned()).collect();
            assert_eq!(Convention::of(&symbols, false), Convention::C);
            Convention::of(&symbols, true)
        };
        for own in [
            "main.main",
            "main.part",
            "main.init.0",
            "main.main.func1.1",
            "main.(*T[go.shape.string]).Get",
            "github.com/a/b%2ev3.F",
            "runtime.memmove",
            "type:.eq.main.T",
            "type..eq.[2]main.T",
            "main._Cfunc_my_c_func",
            "glob..func1",
        ] {
            assert_eq!(of(&[own]), Convention::Go, "{own}");
        }
        for other in [
            "main",
            "my_c_func",
            "my_c_func.part.0",
            "my_c_func.0",
            "my_c_func.llvm.123",
            "_cgo_0123_Cfunc_my_c_func",
            "_cgoexp_0123_callback",
            "crosscall2",
            "cmpbody",
            "runtime.asmcgocall.abi0",
            "_ZN3std2io5Write3fmt17h0123456789abcdefE",
            "_ZN4core3ptr8drop$LT$std..io..Error$GT$17h0123456789abcdefE",
            "_ZN2ns1fEv.constprop.0",
        ] {
            assert_eq!(of(&[other]), Convention::Unknown, "{other}");
            assert_eq!(of(&["main.main", other]), Convention::Unknown, "{other}");
        }
        assert_eq!((Convention::Unknown.on_x86_64(0), Convention::Unknown.on_aarch64(0)), (None, None));
    }

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
