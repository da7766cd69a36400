//! What the arguments of a call are, and what they lead to.

mod bytes;
mod child_status;
mod descriptor;
mod message;
mod signals;
mod socket_address;
mod structure;

use std::borrow::Cow;

use trace_hook_api::Composite;
use trace_syscalls::pointees::{Content, NumberKind, applies, is_ignored, returns_descriptor};
use trace_syscalls::{Parameter, Value};

use super::plan::{Call, Read};
use super::record::{CallRecord, Part, Piece, State};
use descriptor::Description;

/// A value with its name.
pub type Named<'a> = (Cow<'static, str>, Composite<'a>);

/// Decodes the values of a call.
pub struct Decoder<'r, 'a> {
    record: &'r CallRecord<'a>,
    call: &'r Call,
    /// The arguments, as wide as the kernel reads them.
    arguments: [u64; 6],
    /// The most bytes of a text that are shown.
    string_size: usize,
}

impl<'r, 'a> Decoder<'r, 'a> {
    pub fn new(record: &'r CallRecord<'a>, call: &'r Call, string_size: usize) -> Self {
        let mut arguments = record.arguments;
        for (argument, parameter) in arguments.iter_mut().zip(call.parameters) {
            if parameter.is_32_bit {
                *argument = u64::from(*argument as u32);
            }
        }
        Self { record, call, arguments, string_size }
    }

    /// The arguments, and behind each what has become of it if the call has changed what it leads to.
    pub fn arguments(&self) -> Vec<Named<'a>> {
        if self.call.name.is_none() {
            return (1..).zip(self.arguments).map(raw_argument).collect();
        }
        let parameters = self.call.parameters.iter().enumerate();
        parameters.flat_map(|(index, parameter)| self.argument(index, parameter)).collect()
    }

    /// The descriptor that the call returned.
    pub fn returned_descriptor(&self) -> Option<Composite<'static>> {
        let step = self.call.reads.iter().position(|read| read.parameter.is_none())?;
        let piece = self.pieces(step).next()?;
        let is_one = returns_descriptor(self.call.name?, &self.arguments);
        is_one.then(|| Description::of(piece.bytes)).flatten().map(|description| description.name())
    }

    fn argument(&self, index: usize, parameter: &Parameter) -> Vec<Named<'a>> {
        let number = self.arguments[index];
        if self.call.name.is_some_and(|call| is_ignored(call, index, &self.arguments)) {
            return Vec::new();
        }
        let plain = match parameter.argument_type.value(number, &self.arguments) {
            Value::Unused => return Vec::new(),
            value => plain(&value),
        };
        let name = Cow::Borrowed(parameter.name);
        if !self.call.name.is_some_and(|call| applies(call, parameter.name, &self.arguments)) {
            return vec![(name, plain)];
        }
        let reads = self.call.reads.iter().enumerate();
        let of_it = reads.filter(|(_, read)| read.parameter == Some(index) && !read.is_descriptors);
        let mut all: Vec<Named<'a>> = Vec::new();
        for (step, read) in of_it {
            let value = self.value(step, read, parameter, &plain);
            let name = match (read.pointee.content, all.is_empty()) {
                (Content::TextCount, _) if value.is_some() => format!("{}_count", parameter.name).into(),
                (_, true) => name.clone(),
                (_, false) => format!("{}_after", parameter.name).into(),
            };
            match value {
                Some(value) if all.first().is_none_or(|(_, first)| *first != value) => {
                    all.push((name, value))
                }
                // Only what the call writes is missing.
                None if all.is_empty() => all.push((name, plain.clone())),
                _ => {}
            }
        }
        if all.is_empty() { vec![(name, plain)] } else { all }
    }

    /// What was read by a step; `None` if nothing was.
    fn value(
        &self,
        step: usize,
        read: &Read,
        parameter: &Parameter,
        plain: &Composite<'a>,
    ) -> Option<Composite<'a>> {
        let last = self.pieces(step).last()?;
        let all = || self.pieces(step).collect::<Vec<Piece<'a>>>();
        if last.state == State::Unread && self.pieces(step).count() == 1 {
            return Some(unread(self.arguments[read.parameter?]));
        }
        Some(match read.pointee.content {
            Content::Path => bytes::text(&last, PATH_MAX),
            Content::Text => bytes::text(&last, self.string_size),
            Content::Bytes if is_option(parameter) && last.bytes.len() == 4 => {
                bytes::numbers(&last, 4, NumberKind::Signed)
            }
            Content::Bytes => bytes::bytes(&last),
            Content::Texts => self.texts(&all()),
            Content::TextCount => count(&last),
            Content::Structure(layout) => structure::one(layout, &last),
            Content::Structures(layout) => structure::several(layout, &last, &self.descriptions(read)),
            Content::Buffers => message::buffers(&all()),
            Content::Message => message::message(&all(), self.record.is_compat),
            Content::SocketAddress => socket_address::of(last.bytes),
            Content::Numbers(size, kind) => bytes::numbers(&last, size.into(), kind),
            Content::Descriptors => Composite::list(all().iter().filter_map(descriptor::reference)),
            Content::DescriptorSet => {
                descriptor::set(&last, self.arguments[0] as usize, &self.descriptions(read))
            }
            Content::Cpus => bytes::bits(&last, usize::MAX),
            Content::Signals => Composite::word(signals::set(last.bytes)),
            Content::ChildStatus => child_status::of(last.bytes)?,
            Content::Descriptor => Composite::Reference {
                number: Box::new(plain.clone()),
                is: Box::new(Description::of(last.bytes)?.name()),
            },
            _ => bytes::bytes(&last),
        })
    }

    /// What descriptors in the memory of this parameter are.
    fn descriptions(&self, read: &Read) -> Vec<Description<'a>> {
        let is_it = |other: &Read| other.is_descriptors && other.parameter == read.parameter;
        let Some(step) = self.call.reads.iter().position(is_it) else { return Vec::new() };
        self.pieces(step).filter_map(|piece| Description::of(piece.bytes)).collect()
    }

    fn texts(&self, pieces: &[Piece<'a>]) -> Composite<'a> {
        let is_end = |piece: &Piece<'_>| piece.state == State::Short && piece.bytes.is_empty();
        let items = pieces.iter().filter(|piece| piece.part == Part::Data && !is_end(piece));
        let items = items.map(|piece| match piece.state {
            State::Unread => unread(piece.extra),
            _ => bytes::text(piece, self.string_size),
        });
        Composite::List { items: items.collect(), is_cut: pieces.iter().any(is_end) }
    }

    /// The pieces of a step. If not all of it could be read at first, it was read again when the call returned.
    fn pieces(&self, step: usize) -> impl Iterator<Item = Piece<'a>> + '_ {
        let all = move || self.record.pieces.iter().filter(move |piece| piece.step == step);
        let is_late = all().any(|piece| piece.is_late);
        all().filter(move |piece| piece.is_late == is_late).copied()
    }
}

/// The longest path, without its NUL (linux/limits.h).
const PATH_MAX: usize = 4095;

fn raw_argument((position, number): (u32, u64)) -> Named<'static> {
    (format!("argument_{position}").into(), Composite::Address(number))
}

/// Whether it is the value of a socket option, which is a number mostly.
fn is_option(parameter: &Parameter) -> bool {
    parameter.name == "optval"
}

fn count(piece: &Piece<'_>) -> Composite<'static> {
    let count = Composite::Number(piece.extra.into());
    match piece.state {
        State::Short => {
            Composite::Reference { number: Box::new(count), is: Box::new(Composite::word("or more")) }
        }
        _ => count,
    }
}

/// An address whose memory could not be read.
fn unread(address: u64) -> Composite<'static> {
    Composite::word(format!("{address:#x}?"))
}

fn plain<'a>(value: &Value) -> Composite<'a> {
    match value {
        Value::Signed(number) => Composite::Number((*number).into()),
        Value::Unsigned(number) => Composite::Number((*number).into()),
        Value::Address(address) => Composite::Address(*address),
        other => Composite::word(other.to_string()),
    }
}
