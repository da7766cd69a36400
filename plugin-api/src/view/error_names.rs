//! The names of errors, as lines have them.

use nix::errno::Errno;

use crate::did_you_mean;

/// The field with the name of an error.
const FIELD: &str = "error";

/// Other names for some numbers (errno(3)).
const ALIASES: [(&str, &str); 3] =
    [("EWOULDBLOCK", "EAGAIN"), ("ENOTSUP", "EOPNOTSUPP"), ("EDEADLOCK", "EDEADLK")];

/// What only the kernel uses, and a trace of system calls can show (include/linux/errno.h).
const IN_KERNEL: [&str; 6] =
    ["ERESTARTSYS", "ERESTARTNOINTR", "ERESTARTNOHAND", "ERESTART_RESTARTBLOCK", "ENOIOCTLCMD", "ENOTSUPP"];

/// The greatest number of an error that programs see.
const GREATEST: i32 = 133;

/// The name in lines for a word that a field is compared with.
///
/// # Errors
///
/// It is written as the name of an error, and there is none.
pub fn name_in_lines(field: &str, word: String) -> Result<String, String> {
    if field != FIELD || !is_written_as_error(&word) {
        return Ok(word);
    }
    if let Some((_, name)) = ALIASES.iter().find(|(alias, _)| *alias == word) {
        return Ok((*name).to_owned());
    }
    let of_programs = (1..=GREATEST).map(Errno::from_raw).filter(|errno| *errno != Errno::UnknownErrno);
    let names: Vec<String> =
        of_programs.map(|errno| format!("{errno:?}")).chain(IN_KERNEL.map(str::to_owned)).collect();
    match names.contains(&word) {
        true => Ok(word),
        false => Err(format!("there is no error '{word}'{}", did_you_mean(&word, &names))),
    }
}

fn is_written_as_error(word: &str) -> bool {
    let is_letter = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    word.len() > 2 && word.starts_with('E') && word.chars().all(is_letter)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(field: &str, word: &str) -> Result<String, String> {
        name_in_lines(field, word.to_owned())
    }

    #[test]
    fn only_names_of_errors_are_taken_for_some() {
        for name in ["ENOENT", "E2BIG", "EHWPOISON", "ERESTARTSYS", "EOPNOTSUPP", "timeout", "E", "Early"] {
            assert_eq!(checked("error", name).as_deref(), Ok(name));
        }
        assert_eq!(checked("error", "EWOULDBLOCK").as_deref(), Ok("EAGAIN"));
        assert_eq!(checked("comm", "ENOENTT").as_deref(), Ok("ENOENTT"));
        assert_eq!(
            checked("error", "ENOENTT").unwrap_err(),
            "there is no error 'ENOENTT'; did you mean 'ENOENT' or 'ENONET' or 'ENOTTY'?"
        );
    }
}
