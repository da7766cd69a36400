//! The architectures that releases are built for.

use std::env::consts::ARCH;

use crate::error::Result;

/// An architecture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    X86_64,
    Aarch64,
}

impl Architecture {
    pub const ALL: [Self; 2] = [Self::X86_64, Self::Aarch64];

    /// As Rust, the kernel and `uname -m` call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
        }
    }

    /// As Debian calls it.
    pub fn debian_name(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::Aarch64 => "arm64",
        }
    }

    /// Rust's name of the target.
    pub fn target(self) -> String {
        format!("{}-unknown-linux-gnu", self.name())
    }

    pub fn called(name: &str) -> Result<Self> {
        let all = Self::ALL.map(Self::name).join(", ");
        let found = Self::ALL.into_iter().find(|known| known.name() == name);
        found.ok_or_else(|| {
            format!("releases are not built for '{name}'; give some of {all}, or none for all").into()
        })
    }

    /// The one of this machine.
    pub fn ours() -> Result<Self> {
        Self::called(ARCH)
    }
}
