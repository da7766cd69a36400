//! Loads the shared library of a plugin into this process.

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use trace_hook_api::HookError;
use trace_hook_api::abi::{LoadedPlugin, SYMBOL};

use super::PluginCode;

/// Loads the library.
///
/// # Errors
///
/// A library or symbol that it needs is missing, or it was built against another interface.
pub fn load_library(code: PluginCode<'_>) -> Result<LoadedPlugin, HookError> {
    let path = code.path_in_process();
    let with_original_path = |error: libloading::Error| {
        let copy = path.to_string_lossy();
        let cause = HookError::from(error).message().replace(&*copy, &code.path.to_string_lossy());
        HookError::new(format!(
            "it cannot be loaded: {cause}; install what it needs, or rebuild it for this machine"
        ))
    };
    // RTLD_NOW: a missing symbol is an error here, rather than a crash in the middle of a session.
    // SAFETY: running the code of a plugin is the purpose of this process, which holds nothing that the plugin could
    // damage.
    let library = unsafe { Library::open(Some(&path), RTLD_NOW | RTLD_LOCAL) }.map_err(with_original_path)?;
    // SAFETY: the symbol is only used as an address here.
    let header = unsafe { library.get::<*const ()>(SYMBOL) }.map_err(with_original_path)?.into_raw();
    // The library stays loaded until this process ends: values that the plugin returns point into it.
    std::mem::forget(library);
    // SAFETY: `header` is the address of that symbol, in a library that is never unloaded.
    let loaded = unsafe { LoadedPlugin::from_header(header.cast_const().cast()) };
    let loaded = loaded.map_err(|error| {
        error.details.lines().for_each(|line| log::info!("{line}"));
        HookError::new(error)
    })?;
    loaded.attach();
    Ok(loaded)
}
