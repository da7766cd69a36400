//! The machines that guests emulate.

use crate::release::Architecture;

/// An emulated machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Machine {
    X86_64,
    Aarch64,
}

impl Machine {
    /// What a release is built for.
    pub fn architecture(self) -> Architecture {
        match self {
            Self::X86_64 => Architecture::X86_64,
            Self::Aarch64 => Architecture::Aarch64,
        }
    }

    /// Debian's name of the architecture.
    pub fn debian(self) -> &'static str {
        self.architecture().debian_name()
    }

    pub fn emulator(self) -> &'static str {
        match self {
            Self::X86_64 => "qemu-system-x86_64",
            Self::Aarch64 => "qemu-system-aarch64",
        }
    }

    /// Debian's package that has the emulator.
    pub fn emulator_package(self) -> &'static str {
        match self {
            Self::X86_64 => "qemu-system-x86",
            Self::Aarch64 => "qemu-system-arm",
        }
    }

    /// The emulator's arguments for a machine of this kind.
    pub fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::X86_64 => &["-cpu", "max"],
            // The architecture's own algorithm for pointer authentication takes half of the emulator's time.
            Self::Aarch64 => &["-M", "virt", "-cpu", "max,pauth-impdef=on"],
        }
    }

    /// The serial port that the kernel prints to.
    pub fn console(self) -> &'static str {
        match self {
            Self::X86_64 => "ttyS0",
            Self::Aarch64 => "ttyAMA0",
        }
    }
}
