use super::field::read_number;
use super::types::Scalar;

/// An expression of a print format whose value is a number. Signed values are kept sign-extended to 64 bits.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Expr {
    Constant(u64),
    Field {
        offset: usize,
        scalar: Scalar,
    },
    /// Element `index` of an array of numbers: `array[i]`, `*pointer`.
    Load {
        place: Place,
        index: Box<Expr>,
        scalar: Scalar,
    },
    /// The size of a dynamic array in bytes: `__get_dynamic_array_len`.
    Length(Place),
    Cast {
        value: Box<Expr>,
        to: Scalar,
    },
    Not(Box<Expr>),
    Negate {
        value: Box<Expr>,
        to: Scalar,
    },
    Complement {
        value: Box<Expr>,
        to: Scalar,
    },
    /// Both sides are converted to `common` first; the result of arithmetic is of that type too.
    Binary {
        operator: Operator,
        left: Box<Expr>,
        right: Box<Expr>,
        common: Scalar,
    },
    And(Box<Expr>, Box<Expr>),
    Or(Box<Expr>, Box<Expr>),
    Choose {
        condition: Box<Expr>,
        yes: Box<Expr>,
        no: Box<Expr>,
    },
    /// `__builtin_bswap16` and similar, for numbers in network byte order.
    Swap {
        value: Box<Expr>,
        size: u8,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    ShiftLeft,
    ShiftRight,
    BitAnd,
    BitOr,
    BitXor,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    Equal,
    NotEqual,
}

/// A range of bytes in the record.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Place {
    Fixed {
        offset: usize,
        size: usize,
    },
    /// From `offset` to the end of the record.
    Rest {
        offset: usize,
    },
    /// The range in the word at `word`, relative to `base`.
    Located {
        word: usize,
        base: usize,
    },
    /// `place` without its first `bytes` bytes.
    After {
        place: Box<Place>,
        bytes: Box<Expr>,
    },
}

impl Place {
    fn weight(&self) -> usize {
        match self {
            Self::After { place, bytes } => 1 + place.weight() + bytes.weight(),
            _ => 1,
        }
    }

    #[inline]
    pub(super) fn bytes<'a>(&self, record: &'a [u8]) -> Option<&'a [u8]> {
        match self {
            Self::Fixed { offset, size } => record.get(*offset..offset.checked_add(*size)?),
            Self::Rest { offset } => record.get(*offset..),
            Self::Located { word, base } => {
                let location = read_number(record, *word, 4, false)? as usize;
                let start = base.checked_add(location & 0xffff)?;
                record.get(start..start.checked_add(location >> 16)?)
            }
            Self::After { place, bytes } => {
                let skipped = usize::try_from(bytes.number(record)).ok()?;
                place.bytes(record)?.get(skipped..)
            }
        }
    }
}

impl Expr {
    /// The value for `record`. A field beyond the end of the record is 0, and so is a division by 0.
    pub(super) fn number(&self, record: &[u8]) -> u64 {
        match self {
            Self::Constant(value) => *value,
            Self::Field { offset, scalar } => {
                read_number(record, *offset, usize::from(scalar.size), scalar.signed).unwrap_or(0)
            }
            Self::Load { place, index, scalar } => load(place, index, *scalar, record).unwrap_or(0),
            Self::Length(place) => place.bytes(record).map_or(0, |bytes| bytes.len() as u64),
            Self::Cast { value, to } => to.fit(value.number(record)),
            Self::Not(value) => u64::from(value.number(record) == 0),
            Self::Negate { value, to } => to.fit(value.number(record).wrapping_neg()),
            Self::Complement { value, to } => to.fit(!value.number(record)),
            Self::Binary { operator, left, right, common } => {
                operator.apply(left.number(record), right.number(record), *common)
            }
            Self::And(left, right) => u64::from(left.number(record) != 0 && right.number(record) != 0),
            Self::Or(left, right) => u64::from(left.number(record) != 0 || right.number(record) != 0),
            Self::Choose { condition, yes, no } => {
                if condition.number(record) != 0 {
                    yes.number(record)
                } else {
                    no.number(record)
                }
            }
            Self::Swap { value, size } => swap(value.number(record), *size),
        }
    }

    /// The same expression, as a constant if it does not depend on the record.
    pub(super) fn folded(self) -> Self {
        if self.is_constant() { Self::Constant(self.number(&[])) } else { self }
    }

    /// The number of nodes of the expression.
    pub(super) fn weight(&self) -> usize {
        1 + match self {
            Self::Constant(_) | Self::Field { .. } => 0,
            Self::Length(place) => place.weight(),
            Self::Load { place, index, .. } => place.weight() + index.weight(),
            Self::Cast { value, .. }
            | Self::Not(value)
            | Self::Negate { value, .. }
            | Self::Complement { value, .. }
            | Self::Swap { value, .. } => value.weight(),
            Self::Binary { left, right, .. } | Self::And(left, right) | Self::Or(left, right) => {
                left.weight() + right.weight()
            }
            Self::Choose { condition, yes, no } => condition.weight() + yes.weight() + no.weight(),
        }
    }

    fn is_constant(&self) -> bool {
        match self {
            Self::Constant(_) => true,
            Self::Field { .. } | Self::Load { .. } | Self::Length(_) => false,
            Self::Cast { value, .. }
            | Self::Not(value)
            | Self::Negate { value, .. }
            | Self::Complement { value, .. }
            | Self::Swap { value, .. } => value.is_constant(),
            Self::Binary { left, right, .. } | Self::And(left, right) | Self::Or(left, right) => {
                left.is_constant() && right.is_constant()
            }
            Self::Choose { condition, yes, no } => {
                condition.is_constant() && yes.is_constant() && no.is_constant()
            }
        }
    }
}

fn load(place: &Place, index: &Expr, scalar: Scalar, record: &[u8]) -> Option<u64> {
    let index = usize::try_from(index.number(record)).ok()?;
    let offset = index.checked_mul(usize::from(scalar.size))?;
    read_number(place.bytes(record)?, offset, usize::from(scalar.size), scalar.signed)
}

fn swap(value: u64, size: u8) -> u64 {
    match size {
        2 => u64::from((value as u16).swap_bytes()),
        4 => u64::from((value as u32).swap_bytes()),
        _ => value.swap_bytes(),
    }
}

impl Operator {
    #[inline]
    fn apply(self, left: u64, right: u64, common: Scalar) -> u64 {
        let shift = (right & (u64::from(common.size) * 8).wrapping_sub(1)) as u32;
        let (left, right) = (common.fit(left), common.fit(right));
        let (signed_left, signed_right) = (left as i64, right as i64);
        let order = if common.signed { signed_left.cmp(&signed_right) } else { left.cmp(&right) };
        let value = match self {
            Self::Add => left.wrapping_add(right),
            Self::Subtract => left.wrapping_sub(right),
            Self::Multiply => left.wrapping_mul(right),
            Self::Divide if common.signed => signed_left.checked_div(signed_right).unwrap_or(0) as u64,
            Self::Divide => left.checked_div(right).unwrap_or(0),
            Self::Remainder if common.signed => signed_left.checked_rem(signed_right).unwrap_or(0) as u64,
            Self::Remainder => left.checked_rem(right).unwrap_or(0),
            Self::ShiftLeft => left.wrapping_shl(shift),
            Self::ShiftRight if common.signed => signed_left.wrapping_shr(shift) as u64,
            Self::ShiftRight => left.wrapping_shr(shift),
            Self::BitAnd => left & right,
            Self::BitOr => left | right,
            Self::BitXor => left ^ right,
            Self::Less => return u64::from(order.is_lt()),
            Self::LessEqual => return u64::from(order.is_le()),
            Self::Greater => return u64::from(order.is_gt()),
            Self::GreaterEqual => return u64::from(order.is_ge()),
            Self::Equal => return u64::from(order.is_eq()),
            Self::NotEqual => return u64::from(order.is_ne()),
        };
        common.fit(value)
    }
}
