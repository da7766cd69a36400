//! Tables of named constants, and numbers printed by them.

use std::borrow::Cow;
use std::fmt::Write;

/// Constants, each with its value and its name.
pub type Constants = &'static [(u64, &'static str)];

/// A table of constants of the C library, and of others that it does not define: `constants![O_APPEND; O_NEW = 0x77]`.
macro_rules! constants {
    ($($name:ident)* $(; $($other:ident = $number:tt)*)?) => {
        &[$((nix::libc::$name as u64, stringify!($name)),)* $($(($number as u64, stringify!($other)),)*)?]
    };
}
pub(crate) use constants;

/// The name of the constant with this value; the value in hexadecimal if there is none.
pub fn constant_name(number: u64, constants: Constants) -> Cow<'static, str> {
    // The upper half of a register that holds an `int` is undefined.
    let is_named = |value: u64| value == number || (value as u32 == number as u32 && number >> 32 == 0);
    match constants.iter().find(|(value, _)| is_named(*value)) {
        Some((_, name)) => Cow::Borrowed(name),
        None => format!("{number:#x}").into(),
    }
}

/// The names of the flags that are set, joined by `|`, and the remaining bits in hexadecimal: `A|B|0x40`. A flag whose bits
/// are a subset of another's comes after it in the table.
pub fn flag_names(mut number: u64, flags: Constants) -> String {
    let mut text = String::new();
    let join = |text: &mut String| {
        if !text.is_empty() {
            text.push('|');
        }
    };
    // A flag that is a negative `int` is sign-extended in the table, while an `int` argument is not.
    let bits = if number >> 32 == 0 { u64::from(u32::MAX) } else { u64::MAX };
    for (value, name) in flags {
        let value = value & bits;
        if value != 0 && number & value == value {
            join(&mut text);
            text.push_str(name);
            number &= !value;
        }
    }
    if number != 0 || text.is_empty() {
        if let (0, Some((_, none))) = (number, flags.iter().find(|(value, _)| *value == 0)) {
            return (*none).to_owned();
        }
        join(&mut text);
        let _ = match number {
            0 => write!(text, "0"),
            number => write!(text, "{number:#x}"),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unnamed_flags_are_printed_in_hexadecimal() {
        let flags = &[(1, "ONE"), (4, "FOUR")];
        assert_eq!(flag_names(0, flags), "0");
        assert_eq!(flag_names(5, flags), "ONE|FOUR");
        assert_eq!(flag_names(0x46, flags), "FOUR|0x42");
        assert_eq!(flag_names(0x8000_0002, &[(i32::MIN as u64, "SIGN")]), "SIGN|0x2");
    }
}
