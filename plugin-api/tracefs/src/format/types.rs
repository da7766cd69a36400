/// A C integer type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scalar {
    pub(super) size: u8,
    pub(super) signed: bool,
}

/// The type of an expression: a number, or a pointer to numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Type {
    pub(super) scalar: Scalar,
    /// The type that a pointer points to. Its size is 0 if unknown (`void *`, `struct x *`).
    pub(super) target: Option<Scalar>,
}

/// The size of `long` and of pointers. It is the same in the kernel, except for a 32-bit program on a 64-bit kernel.
pub(super) const LONG: u8 = size_of::<usize>() as u8;

impl Scalar {
    pub(super) const INT: Self = Self { size: 4, signed: true };
    pub(super) const UNSIGNED_LONG: Self = Self { size: LONG, signed: false };
    pub(super) const UNKNOWN: Self = Self { size: 0, signed: false };
    pub(super) const BYTE: Self = Self { size: 1, signed: false };

    /// The integer promotions (C11 6.3.1.1).
    pub(super) fn promoted(self) -> Self {
        if self.size < 4 { Self::INT } else { self }
    }

    /// The usual arithmetic conversions (C11 6.3.1.8).
    pub(super) fn common(self, other: Self) -> Self {
        let (left, right) = (self.promoted(), other.promoted());
        let size = left.size.max(right.size);
        let signed = [left, right].iter().all(|side| side.signed || side.size < size);
        Self { size, signed }
    }

    /// Truncates `value` to the size of this type and extends it to 64 bits.
    #[inline]
    pub(super) fn fit(self, value: u64) -> u64 {
        match (self.size, self.signed) {
            (1, false) => u64::from(value as u8),
            (1, true) => value as i8 as u64,
            (2, false) => u64::from(value as u16),
            (2, true) => value as i16 as u64,
            (4, false) => u64::from(value as u32),
            (4, true) => value as i32 as u64,
            _ => value,
        }
    }
}

impl Type {
    pub(super) fn number(scalar: Scalar) -> Self {
        Self { scalar, target: None }
    }

    pub(super) fn pointer(target: Scalar) -> Self {
        Self { scalar: Scalar::UNSIGNED_LONG, target: Some(target) }
    }
}

/// The type with this name, given in words and without `*`. `None` if its size is not known.
pub(super) fn named(words: &[&str]) -> Option<Scalar> {
    let words: Vec<&str> = words.iter().copied().filter(|word| !is_qualifier(word)).collect();
    let signed = |size| Some(Scalar { size, signed: true });
    let unsigned = |size| Some(Scalar { size, signed: false });
    match *words.as_slice() {
        ["enum", _] => unsigned(4),
        [] | ["struct" | "union", ..] => None,
        [word] => match word {
            "char" | "s8" | "__s8" | "int8_t" => signed(1),
            "bool" | "_Bool" | "u8" | "__u8" | "uint8_t" | "u_char" | "uchar" | "blk_status_t" => unsigned(1),
            "short" | "s16" | "__s16" | "int16_t" => signed(2),
            "u16" | "__u16" | "uint16_t" | "__le16" | "__be16" | "umode_t" | "__poll_t16" => unsigned(2),
            "int" | "signed" | "s32" | "__s32" | "int32_t" | "pid_t" | "clockid_t" | "key_t" => signed(4),
            "unsigned" | "u32" | "__u32" | "uint32_t" | "uint" | "u_int" | "__le32" | "__be32" | "dev_t"
            | "gfp_t" | "uid_t" | "gid_t" | "blk_opf_t" | "fmode_t" | "vm_fault_t" | "isolate_mode_t"
            | "slab_flags_t" | "__poll_t" => unsigned(4),
            "long" | "ssize_t" | "ptrdiff_t" | "time_t" => signed(LONG),
            "ulong" | "size_t" | "uintptr_t" | "pgoff_t" | "ino_t" | "vm_flags_t" => unsigned(LONG),
            "s64" | "__s64" | "int64_t" | "loff_t" | "ktime_t" | "time64_t" => signed(8),
            "u64" | "__u64" | "uint64_t" | "__le64" | "__be64" | "sector_t" | "blkcnt_t" | "dma_addr_t"
            | "phys_addr_t" | "resource_size_t" => unsigned(8),
            _ => None,
        },
        _ => combined(&words),
    }
}

/// Types of several words: `unsigned long long int` in any order.
fn combined(words: &[&str]) -> Option<Scalar> {
    let count = |name: &str| words.iter().filter(|word| **word == name).count();
    let known = ["unsigned", "signed", "long", "int", "short", "char"];
    if !words.iter().all(|word| known.contains(word)) {
        return None;
    }
    let size = match (count("char"), count("short"), count("long")) {
        (1, 0, 0) => 1,
        (0, 1, 0) => 2,
        (0, 0, 0) => 4,
        (0, 0, 1) => LONG,
        (0, 0, 2) => 8,
        _ => return None,
    };
    Some(Scalar { size, signed: count("unsigned") == 0 })
}

pub(super) fn is_qualifier(word: &str) -> bool {
    matches!(word, "const" | "volatile" | "__user" | "__force" | "__iomem" | "__rcu" | "__percpu")
}
