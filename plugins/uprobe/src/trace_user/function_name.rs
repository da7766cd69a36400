//! Names of functions, as users write and read them.

/// The longest name that is demangled, in characters. A longer one is cut: demangling a name of a hostile file could take
/// long.
pub const MAX_NAME: usize = 4096;

/// The name of the function of this symbol, to show.
pub fn display_name(symbol: &str) -> String {
    trace_symbols::display_name(symbol, MAX_NAME)
}
