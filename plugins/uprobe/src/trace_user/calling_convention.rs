//! Where the arguments of a function are.

/// How arguments are passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallingConvention {
    /// C, C++, Rust's `extern "C"`, and Rust itself for arguments that fit into registers (System V ABI, AAPCS64).
    C,
    /// Go since 1.17 (`ABIInternal`).
    Go,
    /// Not known: C or assembly in a Go program.
    Unknown,
}

impl CallingConvention {
    /// The convention of the function with these symbols.
    pub fn of(symbols: &[String], is_in_go_file: bool) -> Self {
        match is_in_go_file {
            false => Self::C,
            true if symbols.iter().all(|symbol| is_of_go(symbol)) => Self::Go,
            true => Self::Unknown,
        }
    }

    /// The fetch argument for the integer or pointer argument with this number, from 0 on, at the function's entry
    /// (Documentation/trace/uprobetracer.rst). `None`, where that is not known.
    pub fn argument(self, number: usize) -> Option<String> {
        if cfg!(target_arch = "aarch64") { self.on_aarch64(number) } else { self.on_x86_64(number) }
    }

    fn on_x86_64(self, number: usize) -> Option<String> {
        let registers: &[&str] = match self {
            Self::Unknown => return None,
            Self::C => &["di", "si", "dx", "cx", "r8", "r9"],
            Self::Go => &["ax", "bx", "cx", "di", "si", "r8", "r9", "r10", "r11"],
        };
        // The return address is on top of the stack.
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

/// Whether this function of a Go program was compiled by Go. Such functions have a package in their name, as in `main.f`. So
/// have most functions in assembly; the linker marks those that Go calls and that take arguments in another way
/// (`mangleABIName` in its cmd/link/internal/ld/symtab.go).
fn is_of_go(symbol: &str) -> bool {
    let mut parts = symbol.split('.').skip(1);
    let Some(name) = parts.next() else { return false };
    // Copies that C compilers make end in numbers: `f.0`, `f.part.0`, `f.llvm.123`. Of Go's functions, `main.init.0` does.
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let is_copy = is_number(name) || name != "init" && parts.next().is_some_and(is_number);
    // C++, and Rust names with dots.
    let is_mangled = symbol.starts_with("_Z");
    !is_copy && !is_mangled && !symbol.ends_with(".abi0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_functions_are_distinguished_from_others_in_a_go_program() {
        let of = |symbols: &[&str]| {
            let symbols: Vec<String> = symbols.iter().map(|symbol| (*symbol).to_owned()).collect();
            assert_eq!(CallingConvention::of(&symbols, false), CallingConvention::C);
            CallingConvention::of(&symbols, true)
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
            assert_eq!(of(&[own]), CallingConvention::Go, "{own}");
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
            assert_eq!(of(&[other]), CallingConvention::Unknown, "{other}");
            assert_eq!(of(&["main.main", other]), CallingConvention::Unknown, "{other}");
        }
        assert_eq!(
            (CallingConvention::Unknown.on_x86_64(0), CallingConvention::Unknown.on_aarch64(0)),
            (None, None)
        );
    }

    #[test]
    fn arguments_are_in_the_registers_of_the_machine() {
        let x86 = |calling_convention: CallingConvention, number| {
            calling_convention.on_x86_64(number).unwrap_or_default()
        };
        assert_eq!(
            [0, 3, 5, 6, 7].map(|n| x86(CallingConvention::C, n)),
            ["%di", "%cx", "%r9", "$stack1", "$stack2"]
        );
        assert_eq!([0, 1, 8, 9].map(|n| x86(CallingConvention::Go, n)), ["%ax", "%bx", "%r11", ""]);
        let arm = |calling_convention: CallingConvention, number| {
            calling_convention.on_aarch64(number).unwrap_or_default()
        };
        assert_eq!([0, 7, 8].map(|n| arm(CallingConvention::C, n)), ["%x0", "%x7", "$stack0"]);
        assert_eq!([0, 15, 16].map(|n| arm(CallingConvention::Go, n)), ["%x0", "%x15", ""]);
    }
}
