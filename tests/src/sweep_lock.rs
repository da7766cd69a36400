use std::fs::File;

/// Locks out other tests that sweep the machine or look at objects that a sweep removes, in this process or others, until
/// the result is dropped.
///
/// The lock is on the directory for temporary files itself, so that no lock file remains.
pub fn lock_out_sweeps() -> File {
    let place = File::open(std::env::temp_dir()).expect("there is a directory for temporary files");
    place.lock().expect("a directory can be locked");
    place
}
