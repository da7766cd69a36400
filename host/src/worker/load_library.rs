//! Loads the shared library of a plugin into this process.

use std::mem::ManuallyDrop;
use std::path::Path;

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use trace_hook_api::HookError;
use trace_hook_api::abi::{LoadedPlugin, SYMBOL};

use super::PluginCode;
use super::plugin_code::path_in_process;

/// Loads the library, after those that it brings along.
///
/// # Errors
///
/// A library or symbol that it needs is missing, or it was built against another interface.
pub fn load_library(code: &PluginCode<'_>) -> Result<LoadedPlugin, HookError> {
    for library in code.libraries.iter().filter(|library| !library.is_loaded_by_path) {
        load(&path_in_process(library.file), library.path)?;
    }
    let path = path_in_process(code.file);
    let library = load(&path, code.path)?;
    // SAFETY: the symbol is only used as an address here.
    let header = unsafe { library.get::<*const ()>(SYMBOL) };
    let header = header.map_err(|error| not_loaded(error, &path, code.path))?.into_raw();
    // SAFETY: `header` is the address of that symbol, in a library that is never unloaded.
    let loaded = unsafe { LoadedPlugin::from_header(header.cast_const().cast()) };
    let loaded = loaded.map_err(|error| {
        error.details.lines().for_each(|line| log::info!("{line}"));
        HookError::new(error)
    })?;
    loaded.attach();
    Ok(loaded)
}

/// Loads a library by this path. It stays loaded until this process ends: values that a plugin returns point into it.
fn load(path: &Path, original: &Path) -> Result<ManuallyDrop<Library>, HookError> {
    // RTLD_NOW: a missing symbol is an error here, rather than a crash in the middle of a session.
    // SAFETY: running the code of a plugin is the purpose of this process, which holds nothing that the plugin could
    // damage.
    let library = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_LOCAL) };
    library.map(ManuallyDrop::new).map_err(|error| not_loaded(error, path, original))
}

fn not_loaded(error: libloading::Error, path: &Path, original: &Path) -> HookError {
    let cause =
        HookError::from(error).message().replace(&*path.to_string_lossy(), &original.to_string_lossy());
    HookError::new(format!(
        "it cannot be loaded: {cause}; install what it needs, or rebuild it for this machine"
    ))
}
