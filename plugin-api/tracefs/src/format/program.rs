use super::btf::Btf;
use super::conversion::{Amount, Conversion, Flags, Kind, Piece, Radix, WIDEST, pieces};
use super::environment::Environment;
use super::expr::{Expr, Place};
use super::lexer::tokens;
use super::parser::{Node, Parser};
use super::pointer::{Memory, Pointer};
use super::probe::{self, ProbePoint};
use super::text::Text;
use super::types::{LONG, Scalar};
use super::write::{self, Spec};
use super::{EventFormat, Unprintable};

/// A compiled print format. Running it on a record appends the event's text.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Program {
    pub(super) steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Step {
    /// Written before the conversion.
    pub(super) before: Box<[u8]>,
    layout: Layout,
    pub(super) action: Action,
}

/// Flags, width and precision; the latter two may be arguments.
#[derive(Clone, Debug, PartialEq)]
enum Layout {
    Plain,
    Fixed(Spec),
    Variable { flags: Flags, width: Size, precision: Size },
}

#[derive(Clone, Debug, PartialEq)]
enum Size {
    None,
    Fixed(i32),
    Variable(Expr),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Action {
    /// Only the text before.
    None,
    Number {
        value: Expr,
        radix: Radix,
        scalar: Scalar,
    },
    Character(Expr),
    Text(Text),
    Address(Expr),
    Symbol {
        value: Expr,
        offset: bool,
        backtrace: bool,
    },
    Memory {
        memory: Memory,
        place: Place,
    },
    /// The location of a probe.
    Probe(ProbePoint),
    /// A quoted string that a probe fetched.
    Fetched(Place),
}

impl Program {
    /// Compiles the print format of `format`.
    pub(super) fn compile(format: &EventFormat, btf: &Btf) -> Result<Self, Unprintable> {
        let tokens = tokens(&format.print_fmt)?;
        let mut parser = Parser::new(&tokens, format, btf);
        let mut text = parser.format_string()?;
        // The kernel ends every line itself. Some formats end with a newline of their own, which makes an empty line.
        let end = text.iter().rposition(|byte| *byte != b'\n').map_or(0, |last| last + 1);
        text.truncate(end);
        let mut compiler = Compiler { parser, steps: Vec::new(), before: Vec::new() };
        for piece in pieces(&text)? {
            match piece {
                Piece::Text(text) => compiler.before.extend_from_slice(&text),
                Piece::Conversion(conversion) => compiler.conversion(conversion)?,
            }
        }
        compiler.step(Layout::Plain, Action::None);
        Ok(Self { steps: compiler.steps })
    }

    #[inline]
    pub(super) fn run(&self, record: &[u8], environment: &Environment, out: &mut Vec<u8>) {
        for step in &self.steps {
            out.extend_from_slice(&step.before);
            step.run(record, environment, out);
        }
    }
}

struct Compiler<'a> {
    parser: Parser<'a>,
    steps: Vec<Step>,
    before: Vec<u8>,
}

impl Compiler<'_> {
    fn conversion(&mut self, conversion: Conversion) -> Result<(), Unprintable> {
        let width = self.size(conversion.width)?;
        let precision = self.size(conversion.precision)?;
        let layout = Layout::new(conversion.flags, width, precision);
        let start = self.parser.position();
        let argument = self.argument();
        if let (Err(Unprintable::Name(_)), Kind::Pointer(extension)) = (&argument, &conversion.kind)
            && Pointer::parse(extension) == Ok(Pointer::Address)
        {
            // For example a `struct page`, whose address is computed from a variable of the kernel. By default the
            // kernel prints only a hash of it.
            self.parser.skip_argument(start);
            self.step(layout, Action::Text(unknown()));
            return Ok(());
        }
        let node = argument?;
        let action = match conversion.kind {
            Kind::Number(radix) => {
                let scalar = Scalar { size: conversion.length, signed: radix == Radix::Signed };
                Action::Number { value: node.number()?, radix, scalar }
            }
            Kind::Character => Action::Character(node.number()?),
            Kind::Text => Action::Text(node.text()?),
            Kind::Pointer(extension) => pointer(&extension, node)?,
        };
        self.step(layout, action);
        Ok(())
    }

    fn size(&mut self, amount: Amount) -> Result<Size, Unprintable> {
        Ok(match amount {
            Amount::None => Size::None,
            Amount::Fixed(value) => Size::Fixed(value),
            Amount::Argument => Size::Variable(self.argument()?.number()?),
        })
    }

    fn argument(&mut self) -> Result<Node, Unprintable> {
        self.parser.argument()?.ok_or(Unprintable::Argument)
    }

    fn step(&mut self, layout: Layout, action: Action) {
        let before = std::mem::take(&mut self.before).into_boxed_slice();
        self.steps.push(Step { before, layout, action });
    }
}

/// The placeholder for an address that is known only in the kernel.
fn unknown() -> Text {
    Text::Literal(Box::from(*b"?"))
}

fn pointer(extension: &str, node: Node) -> Result<Action, Unprintable> {
    Ok(match Pointer::parse(extension)? {
        Pointer::Address => Action::Address(node.number()?),
        Pointer::Hidden => Action::Text(unknown()),
        Pointer::Symbol { offset, backtrace } => Action::Symbol { value: node.number()?, offset, backtrace },
        Pointer::Memory(memory) => Action::Memory { memory, place: node.memory()? },
    })
}

impl Layout {
    fn new(flags: Flags, width: Size, precision: Size) -> Self {
        let spec = |width, precision| Spec { flags, width, precision };
        match (width, precision) {
            (Size::None, Size::None) if flags == Flags::default() => Self::Plain,
            (Size::None, Size::None) => Self::Fixed(spec(0, None)),
            (Size::Fixed(width), Size::None) => Self::Fixed(spec(width as usize, None)),
            (Size::None, Size::Fixed(precision)) => Self::Fixed(spec(0, Some(precision as usize))),
            (Size::Fixed(width), Size::Fixed(precision)) => {
                Self::Fixed(spec(width as usize, Some(precision as usize)))
            }
            (width, precision) => Self::Variable { flags, width, precision },
        }
    }

    #[inline]
    fn spec(&self, record: &[u8]) -> Spec {
        match self {
            Self::Plain => Spec::default(),
            Self::Fixed(spec) => *spec,
            Self::Variable { flags, width, precision } => variable(*flags, width, precision, record),
        }
    }
}

/// A negative width means left-aligned, a negative precision means none.
fn variable(mut flags: Flags, width: &Size, precision: &Size, record: &[u8]) -> Spec {
    let width = width.value(record).unwrap_or(0);
    flags.left |= width < 0;
    let precision = precision.value(record).and_then(|value| usize::try_from(value).ok());
    Spec { flags, width: width.unsigned_abs().min(WIDEST as u32) as usize, precision }
}

impl Size {
    fn value(&self, record: &[u8]) -> Option<i32> {
        match self {
            Self::None => None,
            Self::Fixed(value) => Some(*value),
            Self::Variable(expr) => Some(expr.number(record) as i32),
        }
    }
}

impl Step {
    #[inline]
    fn run(&self, record: &[u8], environment: &Environment, out: &mut Vec<u8>) {
        match &self.action {
            Action::None => {}
            Action::Number { value, radix, scalar } => {
                let value = scalar.fit(value.number(record));
                match (&self.layout, radix) {
                    (Layout::Plain, Radix::Signed) => write::signed(out, value as i64),
                    (Layout::Plain, Radix::Decimal) => write::decimal(out, value),
                    (Layout::Plain, Radix::Hex) => write::hex(out, value),
                    (layout, radix) => write::number(out, value, *radix, limited(layout.spec(record))),
                }
            }
            Action::Text(text) => {
                let start = out.len();
                let spec = self.layout.spec(record);
                text.write(record, spec.precision, environment, out);
                write::fit(out, start, spec);
            }
            Action::Character(value) => {
                let start = out.len();
                write::untrusted_text(out, &[value.number(record) as u8]);
                write::fit(out, start, Spec { precision: None, ..self.layout.spec(record) });
            }
            Action::Address(value) => address(value.number(record), self.layout.spec(record), out),
            Action::Symbol { value, offset, backtrace } => {
                let start = out.len();
                environment.symbols().write(value.number(record), *offset, *backtrace, out);
                write::fit(out, start, self.layout.spec(record));
            }
            Action::Probe(point) => point.write(record, environment, out),
            Action::Fetched(place) => probe::fetched(place.bytes(record).unwrap_or_default(), out),
            Action::Memory { memory, place } => {
                let (start, spec) = (out.len(), self.layout.spec(record));
                memory.write(place.bytes(record).unwrap_or_default(), spec.width, out);
                if !matches!(memory, Memory::Hex { .. } | Memory::Bitmap { .. }) {
                    write::fit(out, start, spec);
                }
            }
        }
    }
}

fn limited(spec: Spec) -> Spec {
    Spec { precision: spec.precision.map(|precision| precision.min(WIDEST as usize)), ..spec }
}

/// `pointer_string`: all digits, unless a width is given.
fn address(value: u64, spec: Spec, out: &mut Vec<u8>) {
    if spec.width > 0 {
        return write::number(out, value, Radix::Hex, limited(spec));
    }
    let flags = Flags { zero: true, ..spec.flags };
    write::number(out, value, Radix::Hex, limited(Spec { flags, width: 2 * usize::from(LONG), ..spec }));
}
