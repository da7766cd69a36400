//! The machines that guests emulate.

/// An architecture, as Debian, Rust and QEMU name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Machine {
    X86_64,
}

impl Machine {
    /// Debian's name.
    pub fn debian(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
        }
    }

    pub fn emulator(self) -> &'static str {
        match self {
            Self::X86_64 => "qemu-system-x86_64",
        }
    }

    /// Debian's package that has the emulator.
    pub fn emulator_package(self) -> &'static str {
        match self {
            Self::X86_64 => "qemu-system-x86",
        }
    }

    /// The emulator's arguments for a machine of this kind.
    pub fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::X86_64 => &["-cpu", "max"],
        }
    }

    /// The serial port that the kernel prints to.
    pub fn console(self) -> &'static str {
        match self {
            Self::X86_64 => "ttyS0",
        }
    }
}
