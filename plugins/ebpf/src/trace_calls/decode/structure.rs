//! Structures.

use std::borrow::Cow;

use trace_hook_api::Composite;
use trace_syscalls::layouts::{Field, FieldKind, Layout};
use trace_syscalls::{ArgumentType, file_type};

use super::super::record::Piece;
use super::bytes::{is_partial, unsigned};
use super::descriptor::{Description, numbered};
use super::{plain, signals};
use trace_ebpf::until_nul;

/// A structure.
pub fn one<'a>(layout: &Layout, piece: &Piece<'a>) -> Composite<'a> {
    fields(layout, piece.bytes, &[])
}

/// An array of structures, in which descriptors are shown with what they are.
pub fn several<'a>(layout: &Layout, piece: &Piece<'a>, descriptions: &[Description<'_>]) -> Composite<'a> {
    let items = piece.bytes.chunks_exact(layout.size.into()).map(|bytes| fields(layout, bytes, descriptions));
    let has_something = |item: &Composite<'_>| match item {
        // All that would be shown is 0.
        Composite::Fields { fields, .. } => !is_all_optional(layout) || fields.len() > 1,
        _ => true,
    };
    Composite::List { items: items.filter(has_something).collect(), is_cut: is_partial(piece) }
}

/// Whether an element has nothing to show but its first field if the others are 0, as the results of poll(2).
fn is_all_optional(layout: &Layout) -> bool {
    layout.fields.len() > 1
        && layout.fields[1..].iter().all(|field| matches!(field.kind, FieldKind::NonZero(_)))
}

fn fields<'a>(layout: &Layout, bytes: &'a [u8], descriptions: &[Description<'_>]) -> Composite<'a> {
    let mode = layout.fields.iter().find(|field| field.kind == FieldKind::FileMode);
    let is_device =
        mode.and_then(|field| of_field(field, bytes)).is_some_and(|mode| is_device(unsigned(mode)));
    let shown = layout.fields.iter().filter(|field| match field.kind {
        FieldKind::Device => is_device,
        FieldKind::FileSize => !is_device,
        _ => true,
    });
    let mut all = Vec::new();
    let mut is_cut = layout.has_more;
    let mut closed = false;
    for field in shown {
        let Some(bytes) = of_field(field, bytes) else {
            is_cut = true;
            continue;
        };
        if closed {
            continue;
        }
        let Some(value) = value(field, bytes, descriptions) else { continue };
        // A negative descriptor makes the others of no effect.
        closed = field.kind == FieldKind::Descriptor && value_is_negative(&value);
        all.push((Cow::Borrowed(field.name), value));
    }
    Composite::Fields { fields: all, is_cut }
}

fn value_is_negative(value: &Composite<'_>) -> bool {
    matches!(value, Composite::Number(number) if *number < 0)
}

fn of_field<'a>(field: &Field, bytes: &'a [u8]) -> Option<&'a [u8]> {
    bytes.get(usize::from(field.offset)..)?.get(..usize::from(field.size))
}

/// The value of a field; `None` if it is not shown.
fn value<'a>(field: &Field, bytes: &'a [u8], descriptions: &[Description<'_>]) -> Option<Composite<'a>> {
    let number = unsigned(bytes);
    Some(match field.kind {
        FieldKind::NonZero(_) if number == 0 => return None,
        FieldKind::Number(argument_type) | FieldKind::NonZero(argument_type) => {
            of_type(argument_type, number)
        }
        FieldKind::Hexadecimal => Composite::Address(number),
        FieldKind::Descriptor => numbered((number as u32).cast_signed(), descriptions),
        FieldKind::Text => Composite::text(until_nul(bytes)),
        FieldKind::FileMode => Composite::word(file_mode(number)),
        FieldKind::Device => Composite::word(device(number)),
        FieldKind::FileSize => Composite::Number(number.into()),
        FieldKind::Signals => Composite::word(signals::set(bytes)),
        FieldKind::Limit => limit(number, bytes.len()),
        FieldKind::Numbers(argument_type) => {
            let size = if argument_type == ArgumentType::Address { 4 } else { 8 };
            Composite::list(bytes.chunks_exact(size).map(|bytes| of_type(argument_type, unsigned(bytes))))
        }
        FieldKind::Structure(layout) => fields(layout, bytes, descriptions),
        _ => Composite::Address(number),
    })
}

fn of_type<'a>(argument_type: ArgumentType, number: u64) -> Composite<'a> {
    plain(&argument_type.value(number, &[]))
}

/// `S_IFREG|0644`.
fn file_mode(mode: u64) -> String {
    let permissions = mode & 0o7777;
    match file_type(mode) {
        Some(name) => format!("{name}|0{permissions:03o}"),
        None => format!("{mode:#o}").replacen("0o", "0", 1),
    }
}

fn is_device(mode: u64) -> bool {
    matches!(file_type(mode), Some("S_IFCHR" | "S_IFBLK"))
}

/// `makedev(0x1, 0x3)`, of a number as programs see it.
fn device(number: u64) -> String {
    format!("makedev({:#x}, {:#x})", nix::libc::major(number), nix::libc::minor(number))
}

/// A limit in units of 1024, if that is whole, as strace prints it.
fn limit(number: u64, size: usize) -> Composite<'static> {
    match number {
        u64::MAX => Composite::word("RLIM64_INFINITY"),
        0xffff_ffff if size == 4 => Composite::word("RLIM_INFINITY"),
        _ => Composite::Number(number.into()),
    }
}
