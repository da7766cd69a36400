//! Texts, buffers, and arrays of numbers.

use std::borrow::Cow;

use trace_hook_api::Composite;
use trace_syscalls::pointees::NumberKind;

use super::super::record::{Piece, State};
use trace_ebpf::until_nul;

/// Text that a NUL ends, of which at most this many bytes are shown.
pub fn text<'a>(piece: &Piece<'a>, most: usize) -> Composite<'a> {
    let text = until_nul(piece.bytes);
    let is_cut = text.len() > most || piece.state == State::CutOff;
    Composite::Text { bytes: Cow::Borrowed(&text[..text.len().min(most)]), is_cut }
}

/// Bytes as they are.
pub fn bytes<'a>(piece: &Piece<'a>) -> Composite<'a> {
    Composite::Text { bytes: Cow::Borrowed(piece.bytes), is_cut: is_partial(piece) }
}

/// Numbers of this many bytes each.
pub fn numbers(piece: &Piece<'_>, size: usize, kind: NumberKind) -> Composite<'static> {
    let items = piece.bytes.chunks_exact(size).map(|bytes| match kind {
        NumberKind::Signed => Composite::Number(signed(bytes).into()),
        NumberKind::Unsigned => Composite::Number(unsigned(bytes).into()),
        NumberKind::Hexadecimal => Composite::Address(unsigned(bytes)),
    });
    Composite::List { items: items.collect(), is_cut: is_partial(piece) }
}

/// The positions of the bits that are set, below the limit.
pub fn bits(piece: &Piece<'_>, limit: usize) -> Composite<'static> {
    let items = set_bits(piece, limit).map(|bit| Composite::Number(bit as i128)).collect();
    Composite::List { items, is_cut: is_partial(piece) }
}

pub fn set_bits<'a>(piece: &Piece<'a>, limit: usize) -> impl Iterator<Item = usize> + use<'a> {
    let bytes = piece.bytes;
    (0..(bytes.len() * 8).min(limit)).filter(move |bit| bytes[bit / 8] >> (bit % 8) & 1 == 1)
}

pub fn is_partial(piece: &Piece<'_>) -> bool {
    matches!(piece.state, State::Short | State::CutOff)
}

/// A number of up to 8 bytes, extended by zeros.
pub fn unsigned(bytes: &[u8]) -> u64 {
    let mut wide = [0; 8];
    for (to, from) in wide.iter_mut().zip(bytes) {
        *to = *from;
    }
    u64::from_le_bytes(wide)
}

/// The same, extended by its sign.
fn signed(bytes: &[u8]) -> i64 {
    let unused = 64 - 8 * bytes.len().clamp(1, 8) as u32;
    (unsigned(bytes) << unused).cast_signed() >> unused
}

#[cfg(test)]
mod tests {
    use super::super::super::record::Part;
    use super::*;

    fn piece(bytes: &[u8], state: State) -> Piece<'_> {
        Piece { step: 0, part: Part::Itself, state, is_late: false, extra: 0, bytes }
    }

    #[test]
    fn text_ends_at_its_nul_or_limit() {
        assert_eq!(text(&piece(b"abc\0", State::Whole), 3), Composite::text(&b"abc"[..]));
        let cut = Composite::Text { bytes: Cow::Borrowed(b"abc"), is_cut: true };
        assert_eq!(text(&piece(b"abcd\0", State::Short), 3), cut);
    }

    #[test]
    fn numbers_are_extended_by_their_sign() {
        let four = piece(&[0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0], State::Whole);
        let list = |first: i128| Composite::list([Composite::Number(first), Composite::Number(1)]);
        assert_eq!(numbers(&four, 4, NumberKind::Signed), list(-1));
        assert_eq!(numbers(&four, 4, NumberKind::Unsigned), list(0xffff_ffff));
    }

    #[test]
    fn bits_are_numbers() {
        let numbers = Composite::list([0, 9].map(Composite::Number));
        assert_eq!(bits(&piece(&[1, 2, 0xff], State::Whole), 16), numbers);
    }
}
