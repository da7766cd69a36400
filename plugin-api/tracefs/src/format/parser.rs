use super::btf::Btf;
use super::expr::{Expr, Operator, Place};
use super::lexer::Token;
use super::text::{Names, Text};
use super::types::{self, LONG, Scalar, Type};
use super::{EventFormat, Field, Shape, Unprintable};

/// An expression with its C type.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) kind: Type,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Number(Expr),
    /// A pointer into the record.
    Memory(Place),
    Text(Text),
    /// `REC` itself.
    Record,
}

type Result<T> = std::result::Result<T, Unprintable>;

/// The limit of nesting. Current print formats nest about 30 deep; the stack has room for a multiple of this.
const DEEPEST: usize = 96;

/// The limit of consecutive operators, not counting those of folded constants.
const LONGEST: usize = 256;

/// The limit of nodes copied by all uses of variables.
const MOST_COPIED: usize = 2048;

/// Parses the arguments of a print format: comma-separated C expressions over the fields of one event.
pub(super) struct Parser<'a> {
    tokens: &'a [Token<'a>],
    at: usize,
    format: &'a EventFormat,
    btf: &'a Btf,
    /// The variables of statement expressions, such as those in the kernel's `min()`.
    variables: Vec<(&'a str, Node)>,
    depth: usize,
    copied: usize,
}

impl Node {
    pub(super) fn number(self) -> Result<Expr> {
        match self.value {
            Value::Number(expr) => Ok(expr),
            // The address of the record in kernel memory is not recorded.
            Value::Memory(_) => Err(Unprintable::Syntax("the address of a field".to_owned())),
            Value::Text(_) => Err(Unprintable::Syntax("text as a number".to_owned())),
            Value::Record => Err(Unprintable::Name("REC".to_owned())),
        }
    }

    pub(super) fn memory(self) -> Result<Place> {
        match self.value {
            Value::Memory(place) => Ok(place),
            Value::Text(Text::Place(place)) => Ok(place),
            _ => Err(Unprintable::Syntax("a pointer to outside the record".to_owned())),
        }
    }

    pub(super) fn text(self) -> Result<Text> {
        match self.value {
            Value::Text(text) => Ok(text),
            Value::Memory(place) => Ok(Text::Place(place)),
            Value::Number(expr) if self.kind.target.is_some() || expr == Expr::Constant(0) => {
                Ok(Text::Kernel(expr))
            }
            _ => Err(Unprintable::Syntax("a number as text".to_owned())),
        }
    }

    fn new(expr: Expr, scalar: Scalar) -> Self {
        Self { value: Value::Number(expr.folded()), kind: Type::number(scalar) }
    }

    fn truth(expr: Expr) -> Self {
        Self::new(expr, Scalar::INT)
    }

    fn of_text(text: Text) -> Self {
        Self { value: Value::Text(text), kind: Type::pointer(Scalar { size: 1, signed: true }) }
    }
}

impl<'a> Parser<'a> {
    pub(super) fn new(tokens: &'a [Token<'a>], format: &'a EventFormat, btf: &'a Btf) -> Self {
        Self { tokens, at: 0, format, btf, variables: Vec::new(), depth: 0, copied: 0 }
    }

    /// The string literals that a print format starts with, joined.
    pub(super) fn format_string(&mut self) -> Result<Vec<u8>> {
        match self.peek() {
            Some(Token::Text(_)) => Ok(self.literal()),
            _ => Err(self.unexpected()),
        }
    }

    /// The next argument; `None` at the end.
    pub(super) fn argument(&mut self) -> Result<Option<Node>> {
        if self.peek().is_none() {
            return Ok(None);
        }
        self.expect(",")?;
        self.expression().map(Some)
    }

    /// The current position, for [`Parser::skip_argument`].
    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// Skips the argument at `position`, which could not be parsed.
    pub(super) fn skip_argument(&mut self, position: usize) {
        self.depth = 0;
        self.variables.clear();
        // The position is that of the comma before the argument.
        self.at = position + 1;
        let mut open = 0;
        while let Some(token) = self.peek() {
            match token {
                Token::Mark("(" | "[" | "{") => open += 1,
                Token::Mark(")" | "]" | "}") => open -= 1,
                Token::Mark(",") if open <= 0 => return,
                _ => {}
            }
            self.at += 1;
        }
    }

    /// The next expression.
    pub(super) fn expression(&mut self) -> Result<Node> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(Unprintable::Depth);
        }
        let condition = self.binary(0)?;
        let node = if self.accept("?") { self.choice(condition)? } else { condition };
        self.depth -= 1;
        Ok(node)
    }

    fn choice(&mut self, condition: Node) -> Result<Node> {
        let condition = condition.number()?;
        let yes = self.expression()?;
        self.expect(":")?;
        let no = self.expression()?;
        if let (Value::Number(_), Value::Number(_)) = (&yes.value, &no.value) {
            let target = yes.kind.target.or(no.kind.target);
            let scalar = yes.kind.scalar.common(no.kind.scalar);
            let (yes, no) = (Box::new(cast(yes.number()?, scalar)), Box::new(cast(no.number()?, scalar)));
            let expr = Expr::Choose { condition: Box::new(condition), yes, no };
            return Ok(Node { value: Value::Number(expr.folded()), kind: Type { scalar, target } });
        }
        let (yes, no) = (Box::new(yes.text()?), Box::new(no.text()?));
        Ok(Node::of_text(Text::Choose { condition, yes, no }))
    }

    fn binary(&mut self, lowest: u8) -> Result<Node> {
        let mut left = self.unary()?;
        let mut consecutive = 0;
        while let Some((mark, precedence)) = self.binary_operator().filter(|(_, level)| *level >= lowest) {
            self.at += 1;
            self.depth += 1;
            if self.depth > DEEPEST || consecutive > LONGEST {
                return Err(Unprintable::Depth);
            }
            let right = self.binary(precedence + 1)?;
            self.depth -= 1;
            left = combine(mark, left, right)?;
            let is_constant = matches!(left.value, Value::Number(Expr::Constant(_)));
            consecutive = if is_constant { 0 } else { consecutive + 1 };
        }
        Ok(left)
    }

    fn binary_operator(&self) -> Option<(&'static str, u8)> {
        let Some(Token::Mark(mark)) = self.peek() else { return None };
        let precedence = match *mark {
            "||" => 1,
            "&&" => 2,
            "|" => 3,
            "^" => 4,
            "&" => 5,
            "==" | "!=" => 6,
            "<" | ">" | "<=" | ">=" => 7,
            "<<" | ">>" => 8,
            "+" | "-" => 9,
            "*" | "/" | "%" => 10,
            _ => return None,
        };
        Some((mark, precedence))
    }

    fn unary(&mut self) -> Result<Node> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(Unprintable::Depth);
        }
        let node = self.unary_inner()?;
        self.depth -= 1;
        Ok(node)
    }

    fn unary_inner(&mut self) -> Result<Node> {
        if self.accept("!") {
            return Ok(Node::truth(Expr::Not(Box::new(self.unary()?.number()?))));
        }
        if self.accept("~") {
            let node = self.unary()?;
            let to = node.kind.scalar.promoted();
            return Ok(Node::new(Expr::Complement { value: Box::new(node.number()?), to }, to));
        }
        if self.accept("-") {
            let node = self.unary()?;
            let to = node.kind.scalar.promoted();
            return Ok(Node::new(Expr::Negate { value: Box::new(node.number()?), to }, to));
        }
        if self.accept("+") {
            return self.unary();
        }
        if self.accept("&") {
            return address_of(self.unary()?);
        }
        if self.accept("*") {
            let node = self.unary()?;
            return element(node, Expr::Constant(0));
        }
        if self.peek_is("(")
            && let Some(kind) = self.cast_type()?
        {
            let node = self.unary()?;
            return convert(node, kind);
        }
        self.postfix()
    }

    /// A type in parentheses, if one is next.
    fn cast_type(&mut self) -> Result<Option<Type>> {
        let start = self.at;
        self.at += 1;
        let mut words = Vec::new();
        while let Some(Token::Name(word)) = self.peek() {
            words.push(*word);
            self.at += 1;
        }
        let mut stars = 0;
        while self.accept("*") {
            stars += 1;
            while matches!(self.peek(), Some(Token::Name(word)) if types::is_qualifier(word)) {
                self.at += 1;
            }
        }
        if words.is_empty() || words.contains(&"REC") || !self.accept(")") {
            self.at = start;
            return Ok(None);
        }
        let scalar = self.named(&words);
        if stars > 0 {
            let target = if stars == 1 { scalar.unwrap_or(Scalar::UNKNOWN) } else { Scalar::UNSIGNED_LONG };
            return Ok(Some(Type::pointer(target)));
        }
        if let Some(scalar) = scalar {
            return Ok(Some(Type::number(scalar)));
        }
        let variable = self.variables.iter().any(|(name, _)| words == [*name]);
        // `(NAME) - 1` is a constant in parentheses, `(NAME) x` is a cast to an unknown type.
        let operand =
            matches!(self.peek(), Some(Token::Name(_) | Token::Number(..) | Token::Mark("(" | "~" | "!")));
        if operand && !variable {
            return Err(Unprintable::Type(words.join(" ")));
        }
        self.at = start;
        Ok(None)
    }

    /// The size of a type: a standard type, or that of a field of this event.
    fn named(&self, words: &[&str]) -> Option<Scalar> {
        types::named(words).or_else(|| {
            let name = words.join(" ");
            let same = |field: &&Field| field.type_name == name && field.shape == Shape::Scalar;
            let of_field = self.format.fields.iter().find(same).and_then(scalar_of);
            of_field.or_else(|| self.btf.typedef(&name))
        })
    }

    fn postfix(&mut self) -> Result<Node> {
        let mut node = self.primary()?;
        loop {
            if self.accept("[") {
                let index = self.expression()?.number()?;
                self.expect("]")?;
                node = element(node, index)?;
            } else if self.accept("->") {
                let name = self.name()?;
                if node.value != Value::Record {
                    return Err(Unprintable::Syntax("->".to_owned()));
                }
                node = self.field(name)?;
            } else {
                return Ok(node);
            }
        }
    }

    fn primary(&mut self) -> Result<Node> {
        match self.peek() {
            Some(Token::Number(value, scalar)) => {
                let node = Node::new(Expr::Constant(*value), *scalar);
                self.at += 1;
                Ok(node)
            }
            Some(Token::Text(_)) => Ok(Node::of_text(Text::Literal(self.literal().into_boxed_slice()))),
            Some(Token::Name(name)) => {
                let name = *name;
                self.at += 1;
                if self.accept("(") { self.call(name) } else { self.named_value(name) }
            }
            Some(Token::Mark("(")) => {
                self.at += 1;
                let node = if self.accept("{") { self.statements()? } else { self.expression()? };
                self.expect(")")?;
                Ok(node)
            }
            _ => Err(self.unexpected()),
        }
    }

    fn named_value(&mut self, name: &str) -> Result<Node> {
        if let Some((_, node)) = self.variables.iter().rev().find(|(known, _)| *known == name) {
            if let Value::Number(expr) = &node.value {
                self.copied += expr.weight();
            }
            return if self.copied > MOST_COPIED { Err(Unprintable::Depth) } else { Ok(node.clone()) };
        }
        match name {
            "REC" => Ok(Node { value: Value::Record, kind: Type::pointer(Scalar::UNKNOWN) }),
            "true" => Ok(Node::truth(Expr::Constant(1))),
            "false" => Ok(Node::truth(Expr::Constant(0))),
            "NULL" => {
                Ok(Node { value: Value::Number(Expr::Constant(0)), kind: Type::pointer(Scalar::UNKNOWN) })
            }
            _ => match self.btf.enumerator(name) {
                Some(value) => Ok(Node::new(Expr::Constant(value as u64), enumerator_type(value))),
                None => Err(Unprintable::Name(name.to_owned())),
            },
        }
    }

    /// `({ int x = …; int y = …; x < y ? x : y; })`
    fn statements(&mut self) -> Result<Node> {
        let outer = self.variables.len();
        let node = loop {
            if let Some((name, kind)) = self.declaration() {
                let value = self.expression()?;
                let value = convert(value, kind)?;
                self.variables.push((name, value));
                self.expect(";")?;
                continue;
            }
            let node = self.expression()?;
            self.accept(";");
            if self.accept("}") {
                break node;
            }
        };
        self.variables.truncate(outer);
        Ok(node)
    }

    /// `TYPE NAME =`
    fn declaration(&mut self) -> Option<(&'a str, Type)> {
        let start = self.at;
        let mut words = Vec::new();
        while let Some(Token::Name(word)) = self.peek() {
            words.push(*word);
            self.at += 1;
        }
        let name = words.pop();
        if let (Some(name), Some(scalar)) = (name, self.named(&words))
            && self.accept("=")
        {
            return Some((name, Type::number(scalar)));
        }
        self.at = start;
        None
    }

    fn field(&self, name: &str) -> Result<Node> {
        if let Some(field) = self.format.field(name) {
            return Ok(match place_of(field) {
                Some(place) => Node { value: Value::Memory(place), kind: Type::pointer(element_of(field)) },
                None => scalar_node(field),
            });
        }
        // The word of a dynamic array itself.
        let bare = name.strip_prefix("__data_loc_").or_else(|| name.strip_prefix("__rel_loc_"));
        let field = bare.and_then(|name| self.format.field(name));
        let field = field.ok_or_else(|| Unprintable::Name(format!("REC->{name}")))?;
        let scalar = Scalar { size: 4, signed: false };
        Ok(Node::new(Expr::Field { offset: field.offset, scalar }, scalar))
    }

    fn call(&mut self, name: &str) -> Result<Node> {
        let node = match name {
            "__get_str" | "__get_rel_str" => Node::of_text(Text::Place(self.dynamic()?)),
            "__get_bitmask" | "__get_rel_bitmask" | "__get_cpumask" | "__get_rel_cpumask" => {
                Node::of_text(Text::Bitmask(self.dynamic()?))
            }
            "__get_dynamic_array" | "__get_rel_dynamic_array" | "__get_sockaddr" | "__get_rel_sockaddr" => {
                Node { value: Value::Memory(self.dynamic()?), kind: Type::pointer(Scalar::UNKNOWN) }
            }
            "__get_dynamic_array_len" | "__get_rel_dynamic_array_len" => {
                Node::new(Expr::Length(self.dynamic()?), Scalar::INT)
            }
            "__print_flags" | "__print_flags_u64" => {
                let value = cast(self.expression()?.number()?, Scalar { size: 8, signed: false });
                self.expect(",")?;
                let delimiter = self.delimiter()?;
                Node::of_text(Text::Flags { value, delimiter, names: self.table()? })
            }
            "__print_symbolic" | "__print_symbolic_u64" => {
                let value = cast(self.expression()?.number()?, Scalar { size: 8, signed: false });
                Node::of_text(Text::Symbolic { value, names: self.table()? })
            }
            "__print_hex" | "__print_hex_str" => {
                let place = self.expression()?.memory()?;
                self.expect(",")?;
                let length = self.expression()?.number()?;
                Node::of_text(Text::Hex { place, length, joined: name == "__print_hex_str" })
            }
            "__print_array" => {
                let place = self.expression()?.memory()?;
                self.expect(",")?;
                let count = self.expression()?.number()?;
                self.expect(",")?;
                Node::of_text(Text::Array { place, count, size: self.constant()? })
            }
            "__print_dynamic_array" => {
                let field = self.name()?;
                self.expect(",")?;
                Node::of_text(Text::Whole { place: self.dynamic_field(field)?, size: self.constant()? })
            }
            "__print_ns_to_secs" => self.nanoseconds(Operator::Divide, Scalar { size: 8, signed: false })?,
            "__print_ns_without_secs" => {
                self.nanoseconds(Operator::Remainder, Scalar { size: 4, signed: false })?
            }
            "sizeof" => self.size_of()?,
            "__builtin_expect" => {
                let node = self.expression()?;
                self.expect(",")?;
                self.expression()?;
                node
            }
            "__builtin_bswap16" | "__fswab16" | "ntohs" | "htons" => self.swapped(2)?,
            "__builtin_bswap32" | "__fswab32" | "ntohl" | "htonl" => self.swapped(4)?,
            "__builtin_bswap64" | "__fswab64" => self.swapped(8)?,
            _ => return Err(Unprintable::Function(name.to_owned())),
        };
        self.expect(")")?;
        Ok(node)
    }

    fn nanoseconds(&mut self, operator: Operator, result: Scalar) -> Result<Node> {
        let common = Scalar { size: 8, signed: false };
        let left = Box::new(cast(self.expression()?.number()?, common));
        let right = Box::new(Expr::Constant(1_000_000_000));
        Ok(Node::new(cast(Expr::Binary { operator, left, right, common }, result), result))
    }

    fn swapped(&mut self, size: u8) -> Result<Node> {
        let value = Box::new(self.expression()?.number()?);
        Ok(Node::new(Expr::Swap { value, size }, Scalar { size, signed: false }))
    }

    fn size_of(&mut self) -> Result<Node> {
        let start = self.at;
        let mut words = Vec::new();
        while let Some(Token::Name(word)) = self.peek() {
            words.push(*word);
            self.at += 1;
        }
        let size = if self.accept("*") {
            u64::from(LONG)
        } else if self.peek_is(")") && !words.is_empty() && !words.contains(&"REC") {
            let scalar = self.named(&words).ok_or_else(|| Unprintable::Type(words.join(" ")))?;
            u64::from(scalar.size)
        } else {
            self.at = start;
            let node = self.expression()?;
            match node.value {
                Value::Memory(Place::Fixed { size, .. }) => size as u64,
                _ => u64::from(node.kind.scalar.size),
            }
        };
        Ok(Node::new(Expr::Constant(size), Scalar::UNSIGNED_LONG))
    }

    /// Parses the name of a dynamic array, and the index of an array of strings.
    fn dynamic(&mut self) -> Result<Place> {
        let name = self.name()?;
        let place = self.dynamic_field(name)?;
        if !self.accept("[") {
            return Ok(place);
        }
        // Probes have arrays of strings: `__get_str(names[1])`.
        let index = usize::try_from(self.constant()?).ok().and_then(|index| index.checked_mul(4));
        self.expect("]")?;
        match (place, index) {
            (Place::Located { word, base }, Some(skip)) => {
                let word = word.checked_add(skip).ok_or(Unprintable::Depth)?;
                Ok(Place::Located { word, base: if base == 0 { 0 } else { word + 4 } })
            }
            _ => Err(Unprintable::Syntax("[".to_owned())),
        }
    }

    fn dynamic_field(&self, name: &str) -> Result<Place> {
        let field = self.format.field(name);
        field.and_then(place_of).ok_or_else(|| Unprintable::Name(format!("REC->{name}")))
    }

    fn delimiter(&mut self) -> Result<Box<[u8]>> {
        match self.peek() {
            Some(Token::Text(_)) => Ok(self.literal().into_boxed_slice()),
            Some(Token::Name("NULL")) => {
                self.at += 1;
                Ok(Box::default())
            }
            _ => Err(self.unexpected()),
        }
    }

    /// Parses `, { 1, "ONE" }, { 2, "TWO" }` up to the closing parenthesis. Some tables end with
    /// `{ 0, ((void *)0) }`, and an empty one is `, { }`.
    fn table(&mut self) -> Result<Names> {
        let mut names = Vec::new();
        while self.accept(",") {
            self.expect("{")?;
            if self.accept("}") {
                continue;
            }
            let value = self.constant()?;
            self.expect(",")?;
            match self.expression()?.value {
                Value::Text(Text::Literal(name)) => names.push((value, name)),
                Value::Number(Expr::Constant(0)) => {}
                _ => return Err(self.unexpected()),
            }
            self.accept(",");
            self.expect("}")?;
        }
        Ok(names.into_boxed_slice())
    }

    fn constant(&mut self) -> Result<u64> {
        match self.expression()?.number()? {
            Expr::Constant(value) => Ok(value),
            _ => Err(Unprintable::Syntax("a variable".to_owned())),
        }
    }

    fn literal(&mut self) -> Vec<u8> {
        let mut text = Vec::new();
        while let Some(Token::Text(part)) = self.peek() {
            text.extend_from_slice(part);
            self.at += 1;
        }
        text
    }

    fn name(&mut self) -> Result<&'a str> {
        match self.peek() {
            Some(Token::Name(name)) => {
                let name = *name;
                self.at += 1;
                Ok(name)
            }
            _ => Err(self.unexpected()),
        }
    }

    fn peek(&self) -> Option<&'a Token<'a>> {
        self.tokens.get(self.at)
    }

    fn peek_is(&self, mark: &str) -> bool {
        matches!(self.peek(), Some(Token::Mark(found)) if *found == mark)
    }

    fn accept(&mut self, mark: &str) -> bool {
        let found = self.peek_is(mark);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, mark: &str) -> Result<()> {
        if self.accept(mark) { Ok(()) } else { Err(self.unexpected()) }
    }

    fn unexpected(&self) -> Unprintable {
        Unprintable::Syntax(match self.peek() {
            None => "end".to_owned(),
            Some(Token::Name(name)) => (*name).to_owned(),
            Some(Token::Number(value, _)) => value.to_string(),
            Some(Token::Text(text)) => String::from_utf8_lossy(text).into_owned(),
            Some(Token::Mark(mark)) => (*mark).to_owned(),
        })
    }
}

fn enumerator_type(value: i64) -> Scalar {
    if i32::try_from(value).is_ok() { Scalar::INT } else { Scalar { size: 8, signed: value < 0 } }
}

fn scalar_of(field: &Field) -> Option<Scalar> {
    let size = u8::try_from(field.size).ok()?;
    Some(Scalar { size, signed: field.signed })
}

fn scalar_node(field: &Field) -> Node {
    let scalar = scalar_of(field).unwrap_or(Scalar::INT);
    let expr = Expr::Field { offset: field.offset, scalar };
    let target = field.type_name.ends_with('*').then_some(Scalar::UNKNOWN);
    Node { value: Value::Number(expr), kind: Type { scalar, target } }
}

/// The location of an array; `None` for a number.
pub(super) fn place_of(field: &Field) -> Option<Place> {
    let (offset, size) = (field.offset, field.size);
    match field.shape {
        Shape::Scalar => None,
        Shape::Array { .. } if size == 0 => Some(Place::Rest { offset }),
        Shape::Array { .. } => Some(Place::Fixed { offset, size }),
        Shape::DataLoc => Some(Place::Located { word: offset, base: 0 }),
        Shape::RelLoc => Some(Place::Located { word: offset, base: offset + 4 }),
    }
}

fn element_of(field: &Field) -> Scalar {
    let Shape::Array { element } = field.shape else { return Scalar::UNKNOWN };
    let size = if matches!(element, 1 | 2 | 4 | 8) { element as u8 } else { 0 };
    Scalar { size, signed: field.signed }
}

fn cast(value: Expr, to: Scalar) -> Expr {
    Expr::Cast { value: Box::new(value), to }.folded()
}

fn convert(node: Node, kind: Type) -> Result<Node> {
    Ok(match (node.value, kind.target) {
        (Value::Number(expr), _) => Node { value: Value::Number(cast(expr, kind.scalar)), kind },
        // A cast to another pointer type keeps the location. A cast to a number is not possible: the address is unknown.
        (value @ (Value::Memory(_) | Value::Text(_)), Some(_)) => Node { value, kind },
        (Value::Record, _) => return Err(Unprintable::Name("REC".to_owned())),
        _ => return Err(Unprintable::Syntax("a pointer as a number".to_owned())),
    })
}

fn address_of(node: Node) -> Result<Node> {
    let (place, target) = match node.value {
        Value::Memory(place) => (place, node.kind.target.unwrap_or(Scalar::UNKNOWN)),
        Value::Number(Expr::Field { offset, scalar }) => {
            (Place::Fixed { offset, size: usize::from(scalar.size) }, scalar)
        }
        Value::Number(Expr::Load { place, index, scalar }) => {
            (Place::After { place: Box::new(place), bytes: Box::new(scaled(*index, scalar)) }, scalar)
        }
        _ => return Err(Unprintable::Syntax("&".to_owned())),
    };
    Ok(Node { value: Value::Memory(place), kind: Type::pointer(target) })
}

/// `node[index]`
fn element(node: Node, index: Expr) -> Result<Node> {
    let scalar = node.kind.target.filter(|target| target.size > 0);
    let scalar = scalar.ok_or_else(|| Unprintable::Syntax("[".to_owned()))?;
    let place = node.memory()?;
    Ok(Node::new(Expr::Load { place, index: Box::new(index), scalar }, scalar))
}

fn scaled(index: Expr, scalar: Scalar) -> Expr {
    let (left, right) = (Box::new(index), Box::new(Expr::Constant(u64::from(scalar.size.max(1)))));
    let common = Scalar { size: 8, signed: false };
    Expr::Binary { operator: Operator::Multiply, left, right, common }.folded()
}

fn combine(mark: &str, left: Node, right: Node) -> Result<Node> {
    if let (Value::Memory(_), "+") = (&left.value, mark) {
        let target = left.kind.target.unwrap_or(Scalar::BYTE);
        let bytes = Box::new(scaled(right.number()?, target));
        let place = Place::After { place: Box::new(left.memory()?), bytes };
        return Ok(Node { value: Value::Memory(place), kind: Type::pointer(target) });
    }
    let (left_type, right_type) = (left.kind.scalar, right.kind.scalar);
    let (left, right) = (Box::new(left.number()?), Box::new(right.number()?));
    let operator = match mark {
        "&&" => return Ok(Node::truth(Expr::And(left, right))),
        "||" => return Ok(Node::truth(Expr::Or(left, right))),
        "+" => Operator::Add,
        "-" => Operator::Subtract,
        "*" => Operator::Multiply,
        "/" => Operator::Divide,
        "%" => Operator::Remainder,
        "<<" => Operator::ShiftLeft,
        ">>" => Operator::ShiftRight,
        "&" => Operator::BitAnd,
        "|" => Operator::BitOr,
        "^" => Operator::BitXor,
        "<" => Operator::Less,
        "<=" => Operator::LessEqual,
        ">" => Operator::Greater,
        ">=" => Operator::GreaterEqual,
        "==" => Operator::Equal,
        "!=" => Operator::NotEqual,
        _ => return Err(Unprintable::Syntax(mark.to_owned())),
    };
    let shift = matches!(operator, Operator::ShiftLeft | Operator::ShiftRight);
    let common = if shift { left_type.promoted() } else { left_type.common(right_type) };
    let compares = matches!(mark, "<" | "<=" | ">" | ">=" | "==" | "!=");
    let result = if compares { Scalar::INT } else { common };
    Ok(Node::new(Expr::Binary { operator, left, right, common }, result))
}
