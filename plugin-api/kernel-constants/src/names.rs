use std::fmt::Write;

/// Numbers and their names.
pub type Names = &'static [(u64, &'static str)];

/// Names of constants of the C library, and of others, whose numbers it does not have: `names![O_APPEND; O_NEW = 0x77]`.
#[macro_export]
macro_rules! names {
    ($($name:ident)* $(; $($other:ident = $number:tt)*)?) => {
        &[$(($crate::libc::$name as u64, stringify!($name)),)* $($(($number as u64, stringify!($other)),)*)?]
    };
}

/// One of several constants; in hex, where it is none of them.
pub fn one(number: u64, names: Names) -> String {
    // An `int` may come with any upper half.
    match names
        .iter()
        .find(|(value, _)| *value == number || (*value as u32 == number as u32 && number >> 32 == 0))
    {
        Some((_, name)) => (*name).to_owned(),
        None => format!("{number:#x}"),
    }
}

/// Constants joined by `|`, and what is left in hex: `A|B|0x40`. One whose bits are part of another's comes after it.
pub fn flags(mut number: u64, names: Names) -> String {
    let mut text = String::new();
    let join = |text: &mut String| {
        if !text.is_empty() {
            text.push('|');
        }
    };
    // A constant that is an `int` below zero has its sign in the upper half, and a number that is an `int` has nothing there.
    let bits = if number >> 32 == 0 { u64::from(u32::MAX) } else { u64::MAX };
    for (value, name) in names {
        let value = value & bits;
        if value != 0 && number & value == value {
            join(&mut text);
            text.push_str(name);
            number &= !value;
        }
    }
    if number != 0 || text.is_empty() {
        if let (0, Some((_, none))) = (number, names.iter().find(|(value, _)| *value == 0)) {
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
    fn flags_without_a_name_are_numbers() {
        let names = &[(1, "ONE"), (4, "FOUR")];
        assert_eq!(flags(0, names), "0");
        assert_eq!(flags(5, names), "ONE|FOUR");
        assert_eq!(flags(0x46, names), "FOUR|0x42");
        assert_eq!(flags(0x8000_0002, &[(i32::MIN as u64, "SIGN")]), "SIGN|0x2");
    }
}
