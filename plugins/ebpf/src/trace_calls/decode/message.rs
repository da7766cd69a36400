//! Messages, and the buffers of several calls: `struct msghdr` and `struct iovec`.

use std::borrow::Cow;

use nix::libc;
use trace_hook_api::Composite;
use trace_syscalls::{MESSAGE_FLAGS, flag_names};

use super::super::record::{Part, Piece, State};
use super::bytes::{bytes, is_partial, unsigned};
use super::{socket_address, unread};

/// The most buffers of which the programs read (`MOST_VECTORS`).
const MOST_BUFFERS: usize = 32;

/// Buffers: `[{iov_base="abc", iov_len=3}]`.
pub fn buffers<'a>(pieces: &[Piece<'a>]) -> Composite<'a> {
    let of_buffers = |piece: &&Piece<'_>| matches!(piece.part, Part::Vector | Part::Data);
    let pieces: Vec<&Piece<'a>> = pieces.iter().filter(of_buffers).collect();
    let items =
        pieces.iter().enumerate().filter(|(_, piece)| piece.part == Part::Vector).map(|(at, vector)| {
            if vector.state == State::Unread {
                return unread(vector.extra);
            }
            let data = pieces.get(at + 1).filter(|piece| piece.part == Part::Data);
            let fields = vec![
                ("iov_base".into(), data.map_or(Composite::Address(0), |data| base(data))),
                ("iov_len".into(), Composite::Number(vector.extra.into())),
            ];
            Composite::Fields { fields, is_cut: false }
        });
    let items: Vec<_> = items.collect();
    let is_cut = items.len() >= MOST_BUFFERS;
    Composite::List { items, is_cut }
}

/// The data of a buffer. Of one without data, the programs report its address.
fn base<'a>(data: &Piece<'a>) -> Composite<'a> {
    match data.state {
        State::Unread => unread(data.extra),
        State::Whole if data.bytes.is_empty() && data.extra != 0 => Composite::text(&b""[..]),
        State::Whole if data.bytes.is_empty() => Composite::Address(0),
        _ => bytes(data),
    }
}

/// A message, with its address, its buffers and its control data.
pub fn message<'a>(pieces: &[Piece<'a>], is_compat: bool) -> Composite<'a> {
    let find = |part: Part| pieces.iter().find(|piece| piece.part == part);
    let Some(header) = find(Part::Itself) else { return Composite::list([]) };
    let word = if is_compat { 4 } else { 8 };
    let field = |index: usize, size: usize| {
        header.bytes.get(index * word..).map_or(0, |rest| unsigned(&rest[..rest.len().min(size)]))
    };
    let name = match find(Part::Name) {
        Some(name) if name.state == State::Unread => unread(field(0, word)),
        Some(name) => socket_address::of(name.bytes),
        None => Composite::Address(field(0, word)),
    };
    let mut fields: Vec<(Cow<'a, str>, Composite<'a>)> = vec![
        ("msg_name".into(), name),
        ("msg_namelen".into(), Composite::Number(field(1, 4).into())),
        ("msg_iov".into(), buffers(pieces)),
        ("msg_iovlen".into(), Composite::Number(field(3, word).into())),
    ];
    if let Some(control) = find(Part::Control) {
        fields.push(("msg_control".into(), control_messages(control, word)));
    }
    fields.push(("msg_controllen".into(), Composite::Number(field(5, word).into())));
    fields.push(("msg_flags".into(), Composite::word(flag_names(field(6, 4), MESSAGE_FLAGS))));
    Composite::Fields { fields, is_cut: false }
}

/// The messages in control data: `struct cmsghdr`.
fn control_messages<'a>(control: &Piece<'a>, word: usize) -> Composite<'a> {
    let mut rest = control.bytes;
    let mut items = Vec::new();
    while let Some((item, after)) = control_message(rest, word) {
        items.push(item);
        rest = after;
    }
    Composite::List { items, is_cut: is_partial(control) }
}

fn control_message(bytes: &[u8], word: usize) -> Option<(Composite<'_>, &[u8])> {
    let header = word + 8;
    let length = unsigned(bytes.get(..word)?) as usize;
    let level = unsigned(bytes.get(word..word + 4)?) as i32;
    let kind = unsigned(bytes.get(word + 4..header)?) as i32;
    let data = bytes.get(header..length.min(bytes.len()))?;
    let (level_name, kind_name) = match (level, kind) {
        (libc::SOL_SOCKET, libc::SCM_RIGHTS) => ("SOL_SOCKET", Cow::Borrowed("SCM_RIGHTS")),
        (libc::SOL_SOCKET, libc::SCM_CREDENTIALS) => ("SOL_SOCKET", Cow::Borrowed("SCM_CREDENTIALS")),
        (libc::SOL_SOCKET, libc::SO_TIMESTAMP) => ("SOL_SOCKET", Cow::Borrowed("SO_TIMESTAMP_OLD")),
        _ => ("", Cow::Owned(format!("{kind:#x}"))),
    };
    let level_name =
        if level_name.is_empty() { Cow::Owned(format!("{level:#x}")) } else { level_name.into() };
    let data = match kind_name.as_ref() {
        "SCM_RIGHTS" => {
            Composite::list(data.chunks_exact(4).map(|bytes| Composite::Number(unsigned(bytes).into())))
        }
        "SCM_CREDENTIALS" if data.len() >= 12 => credentials(data),
        _ => Composite::text(data),
    };
    let fields = vec![
        ("cmsg_len".into(), Composite::Number(length as i128)),
        ("cmsg_level".into(), Composite::Word(level_name)),
        ("cmsg_type".into(), Composite::Word(kind_name)),
        ("cmsg_data".into(), data),
    ];
    let next = bytes.get(length.next_multiple_of(word)..).unwrap_or_default();
    Some((Composite::Fields { fields, is_cut: false }, next))
}

fn credentials(data: &[u8]) -> Composite<'static> {
    let number = |index: usize| Composite::Number(unsigned(&data[4 * index..4 * index + 4]).into());
    let fields =
        ["pid", "uid", "gid"].into_iter().enumerate().map(|(index, name)| (name.into(), number(index)));
    Composite::Fields { fields: fields.collect(), is_cut: false }
}
