use std::sync::Arc;

use super::binary::Binary;
use super::calling_convention::CallingConvention;
use super::function_name::display_name;

/// Linkers that fold identical functions give one of them hundreds of names, and a hostile file can have any number.
const MAX_SYMBOLS: usize = 100;

/// A function to put probes at.
pub struct ProbeTarget {
    pub binary: Arc<Binary>,
    /// Where in the file it begins.
    pub offset: u64,
    /// Whether the Go toolchain made the file.
    pub is_in_go_file: bool,
    /// Whether it is a label of assembly, which may be jumped to instead of called.
    pub is_label: bool,
    /// All matching symbols; the one to show is the first.
    pub symbols: Vec<String>,
}

impl ProbeTarget {
    /// The name to show.
    pub fn name(&self) -> String {
        self.symbols.first().map(|symbol| display_name(symbol)).unwrap_or_default()
    }

    /// Where the arguments of the function are.
    pub fn calling_convention(&self) -> CallingConvention {
        CallingConvention::of(&self.symbols, self.is_in_go_file)
    }

    /// Its file and where in it the function begins.
    pub fn place(&self) -> ((u64, u64), u64) {
        (self.binary.identity, self.offset)
    }

    /// Adds another symbol of the same function.
    pub fn add_symbol(&mut self, symbol: String) {
        if self.symbols.len() < MAX_SYMBOLS && !self.symbols.contains(&symbol) {
            self.symbols.push(symbol);
            self.symbols.sort_by(|a, b| order(a).cmp(&order(b)));
        }
    }
}

/// The order of symbols: of `__open64`, `open64` and `open`, `open` is the first.
fn order(symbol: &str) -> (usize, usize, &str) {
    let underscores = symbol.len() - symbol.trim_start_matches('_').len();
    (underscores, symbol.len(), symbol)
}
