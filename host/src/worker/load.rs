//! Loads a plugin into this process.

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use trace_hook_api::HookError;
use trace_hook_api::abi::{LoadedPlugin, SYMBOL};

use crate::plugins::PluginFile;

/// Loads the plugin's private copy.
///
/// # Errors
///
/// It needs what is not there, or speaks another interface.
pub fn load(plugin: &PluginFile) -> Result<LoadedPlugin, HookError> {
    let path = plugin.code_path();
    let about_copy = |error: libloading::Error| {
        let copy = path.to_string_lossy();
        let cause = HookError::from(error).message().replace(&*copy, &plugin.path.to_string_lossy());
        HookError::new(format!(
            "it cannot be loaded: {cause}; install what it needs, or rebuild it for this machine"
        ))
    };
    // RTLD_NOW: what is missing shows now, and not as a crash in the middle of a session.
    // SAFETY: running a plugin's code is what this process is for; it holds nothing that the plugin could spoil.
    let library = unsafe { Library::open(Some(&path), RTLD_NOW | RTLD_LOCAL) }.map_err(about_copy)?;
    // SAFETY: the symbol is only taken for an address here.
    let header = unsafe { library.get::<*const ()>(SYMBOL) }.map_err(about_copy)?.into_raw();
    // What the plugin hands out lives in the library: it stays for as long as this process does.
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
