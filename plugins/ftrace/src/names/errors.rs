use nix::errno::Errno;

/// The kernel's own errors, which no program sees: a call that a signal has broken off is begun again
/// (include/linux/errno.h).
const RESTARTS: [(i64, &str); 4] =
    [(512, "ERESTARTSYS"), (513, "ERESTARTNOINTR"), (514, "ERESTARTNOHAND"), (516, "ERESTART_RESTARTBLOCK")];

/// The name of an error; its number where it has none.
pub fn error_name(errno: i64) -> String {
    match RESTARTS.iter().find(|(number, _)| *number == errno) {
        Some((_, name)) => (*name).to_owned(),
        None => match Errno::from_raw(errno as i32) {
            Errno::UnknownErrno => errno.to_string(),
            // Its name: ENOENT.
            known => format!("{known:?}"),
        },
    }
}
