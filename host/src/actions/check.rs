//! `check`

use std::path::{Path, PathBuf};

use super::Context;
use crate::checks::{self, Report};
use crate::error::{Error, Result};

/// Checks plugins and prints the findings.
///
/// # Errors
///
/// A check failed or could not be performed.
pub fn check(context: &Context<'_>, files: &[PathBuf], as_json: bool) -> Result<()> {
    Error::all(files.iter().filter_map(|file| check_file(context, file, as_json).err()).collect())
}

fn check_file(context: &Context<'_>, file: &Path, as_json: bool) -> Result<()> {
    let mut report = Report::new(as_json);
    checks::check(file, context.trust, &context.environment, context.interrupts, &mut report)?;
    match report.finish()? {
        None => Ok(()),
        Some((first, failed)) => Err(Error::Unfit { file: file.to_owned(), first, failed }),
    }
}
