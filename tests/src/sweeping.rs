use std::fs::File;

/// Waits until no other test sweeps the machine or looks at what a sweep would take away, in whatever process that
/// test runs; keeps the others waiting until the result is dropped.
///
/// What is locked is the directory for temporary files itself, so that no lock file is left.
pub fn no_other_sweeps() -> File {
    let place = File::open(std::env::temp_dir()).expect("there is a directory for temporary files");
    place.lock().expect("a directory can be locked");
    place
}
