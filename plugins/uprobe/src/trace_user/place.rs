use std::rc::Rc;

use super::binary::Binary;
use super::convention::Convention;

/// Linkers that fold identical functions give one hundreds of names, and whoever makes a file up any number.
const MOST_SYMBOLS: usize = 100;

/// A function to be traced.
pub struct Place {
    pub binary: Rc<Binary>,
    /// Where in the file it begins.
    pub offset: u64,
    /// Whether the file was made by the Go toolchain.
    pub is_in_go_file: bool,
    /// All symbols that led to it; the one to show comes first.
    pub symbols: Vec<String>,
}

impl Place {
    /// Where the function finds its arguments.
    pub fn convention(&self) -> Convention {
        Convention::of(&self.symbols, self.is_in_go_file)
    }

    /// Adds another name for the same function.
    pub fn is_also(&mut self, symbol: String) {
        if self.symbols.len() < MOST_SYMBOLS && !self.symbols.contains(&symbol) {
            self.symbols.push(symbol);
            self.symbols.sort_by(|a, b| plainness(a).cmp(&plainness(b)));
        }
    }
}

/// Of `__open64`, `open64` and `open`, `open` is what a person means.
fn plainness(symbol: &str) -> (usize, usize, &str) {
    let underscores = symbol.len() - symbol.trim_start_matches('_').len();
    (underscores, symbol.len(), symbol)
}
