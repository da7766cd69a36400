//! What the number stands for that a program passes as an argument.

use crate::constants::Constants;

/// The type of an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ArgumentType {
    /// A signed number of 32 bits.
    Int,
    /// An unsigned number of 32 bits.
    Unsigned,
    /// A user or group id, or -1 for "leave it unchanged".
    Owner,
    /// A signed number of 64 bits.
    Long,
    /// An unsigned number of 64 bits.
    UnsignedLong,
    /// An address.
    Address,
    /// An argument the call ignores.
    Unused,
    /// A file mode, printed in octal.
    Octal,
    /// A file descriptor of a directory, or `AT_FDCWD`.
    DirectoryFd,
    /// The number of a signal.
    Signal,
    /// The flags of open(2), access mode included.
    OpenFlags,
    /// One of these constants.
    Constant(Constants),
    /// A set of these flags. A flag whose bits are a subset of another's comes after it.
    Flags(Constants),
    /// One of `constants` in the bits of `mask`, and a set of `flags` in the others.
    ConstantAndFlags {
        /// The bits that hold the constant.
        mask: u64,
        /// What these bits may be.
        constants: Constants,
        /// The flags in the other bits.
        flags: Constants,
    },
    /// One constant in the bits of `mask`, and another in the others.
    TwoConstants {
        /// The bits that hold the first constant.
        mask: u64,
        /// What these bits may be.
        first: Constants,
        /// What the other bits may be.
        second: Constants,
    },
    /// A set of flags, and permissions in octal.
    FlagsAndMode(Constants),
    /// The type depends on another argument of the same call.
    DependsOn {
        /// The index of the other argument.
        parameter: usize,
        /// The type for each of its values.
        types: &'static [(i32, ArgumentType)],
        /// The type for all other values.
        otherwise: &'static ArgumentType,
    },
}

impl ArgumentType {
    /// The type that follows from the parameter's C type alone, such as `unsigned int` or `const char *`.
    pub fn of_c_type(name: &str) -> Self {
        match name.strip_prefix("const ").unwrap_or(name) {
            _ if name.contains('*') || name.ends_with("handler_t") => Self::Address,
            "umode_t" | "mode_t" => Self::Octal,
            "int" | "pid_t" | "qid_t" | "key_t" | "clockid_t" | "timer_t" | "mqd_t" | "key_serial_t"
            | "rwf_t" | "__s32" => Self::Int,
            "unsigned int" | "unsigned" | "u32" | "__u32" => Self::Unsigned,
            "uid_t" | "gid_t" => Self::Owner,
            "unsigned long" | "size_t" | "__u64" => Self::UnsignedLong,
            _ => Self::Long,
        }
    }
}

/// Whether a parameter of this C type has 32 bits: the kernel ignores the upper half of its register.
pub fn is_32_bit(c_type: &str) -> bool {
    matches!(
        ArgumentType::of_c_type(c_type),
        ArgumentType::Int | ArgumentType::Unsigned | ArgumentType::Owner
    )
}
