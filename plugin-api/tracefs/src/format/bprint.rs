//! `trace_printk` with its arguments in binary (`vbin_printf` and `bstr_printf` in `lib/vsprintf.c`).

use super::conversion::{Amount, Conversion, Kind, Piece, Radix, WIDEST, pieces};
use super::environment::Environment;
use super::field::read_number;
use super::pointer::Pointer;
use super::types::{LONG, Scalar};
use super::write::{self, Spec};

/// Appends `format` with the arguments packed in `bytes`. A missing argument is taken to be 0 or the empty string.
pub(super) fn write(format: &[u8], bytes: &[u8], environment: &Environment, out: &mut Vec<u8>) {
    let mut arguments = Arguments { bytes, at: 0 };
    let Ok(pieces) = pieces(format) else { return out.extend_from_slice(format) };
    for piece in pieces {
        match piece {
            Piece::Text(text) => out.extend_from_slice(&text),
            Piece::Conversion(conversion) => arguments.convert(&conversion, environment, out),
        }
    }
}

struct Arguments<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Arguments<'_> {
    fn convert(&mut self, conversion: &Conversion, environment: &Environment, out: &mut Vec<u8>) {
        let width = self.amount(conversion.width).unwrap_or(0);
        let precision = self.amount(conversion.precision).map(|value| value.min(WIDEST));
        let precision = precision.and_then(|value| usize::try_from(value).ok());
        let mut flags = conversion.flags;
        flags.left |= width < 0;
        let spec = Spec { flags, width: width.unsigned_abs().min(WIDEST as u32) as usize, precision };
        let start = out.len();
        match &conversion.kind {
            Kind::Number(radix) => {
                let scalar = Scalar { size: conversion.length, signed: *radix == Radix::Signed };
                let value = scalar.fit(self.number(usize::from(conversion.length)));
                write::number(out, value, *radix, spec);
            }
            Kind::Character => {
                write::untrusted_text(out, &[self.number(1) as u8]);
                write::fit(out, start, spec);
            }
            Kind::Text => {
                write::untrusted_text(out, self.text());
                write::fit(out, start, spec);
            }
            Kind::Pointer(extension) => match Pointer::parse(extension) {
                Ok(Pointer::Symbol { offset, backtrace }) => {
                    environment.symbols().write(self.number(usize::from(LONG)), offset, backtrace, out);
                }
                Ok(Pointer::Address) => {
                    write::hex_padded(out, self.number(usize::from(LONG)), 2 * usize::from(LONG))
                }
                Ok(Pointer::Hidden) => {
                    self.number(usize::from(LONG));
                    out.push(b'?');
                }
                // The kernel formatted it as text when it was recorded.
                _ => write::untrusted_text(out, self.text()),
            },
        }
    }

    fn amount(&mut self, amount: Amount) -> Option<i32> {
        match amount {
            Amount::None => None,
            Amount::Fixed(value) => Some(value),
            Amount::Argument => Some(self.number(4) as i32),
        }
    }

    /// Numbers are aligned to their size, but to at most four bytes.
    fn number(&mut self, size: usize) -> u64 {
        self.at = self.at.next_multiple_of(size.clamp(1, 4));
        let value = read_number(self.bytes, self.at, size, false).unwrap_or(0);
        self.at += size;
        value
    }

    fn text(&mut self) -> &[u8] {
        let text = write::until_nul(self.bytes.get(self.at..).unwrap_or_default());
        self.at += text.len() + 1;
        text
    }
}
