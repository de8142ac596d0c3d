//! Operators as Rhai has them, to the last bit (`func/builtin.rs` of 1.27): numbers are compared with a relative epsilon as
//! soon as one of them is a float, a missing value is equal to nothing but itself and neither more nor less than anything.

use std::cmp::Ordering;

use rhai::Token;

use crate::rules::host::answer::Answer;

/// What two values are compared by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    Unequal,
    More,
    AtLeast,
    Less,
    AtMost,
}

impl Comparison {
    pub(super) fn of(token: &Token) -> Option<Self> {
        Some(match token {
            Token::EqualsTo => Comparison::Equal,
            Token::NotEqualsTo => Comparison::Unequal,
            Token::GreaterThan => Comparison::More,
            Token::GreaterThanEqualsTo => Comparison::AtLeast,
            Token::LessThan => Comparison::Less,
            Token::LessThanEqualsTo => Comparison::AtMost,
            _ => return None,
        })
    }

    fn holds(self, ordering: Ordering) -> bool {
        match self {
            Comparison::Equal => ordering.is_eq(),
            Comparison::Unequal => ordering.is_ne(),
            Comparison::More => ordering.is_gt(),
            Comparison::AtLeast => ordering.is_ge(),
            Comparison::Less => ordering.is_lt(),
            Comparison::AtMost => ordering.is_le(),
        }
    }
}

/// What two numbers are computed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sum {
    Plus,
    Minus,
    Times,
    DividedBy,
    Remainder,
}

impl Sum {
    pub(super) fn of(token: &Token) -> Option<Self> {
        Some(match token {
            Token::Plus => Sum::Plus,
            Token::Minus => Sum::Minus,
            Token::Multiply => Sum::Times,
            Token::Divide => Sum::DividedBy,
            Token::Modulo => Sum::Remainder,
            _ => return None,
        })
    }
}

/// `None` for lists and maps, and for what Rhai has no answer to.
pub(super) fn compare(by: Comparison, left: &Answer<'_>, right: &Answer<'_>) -> Option<bool> {
    Some(match (left, right) {
        (Answer::Data(_), _) | (_, Answer::Data(_)) => return None,
        (Answer::Whole(a), Answer::Whole(b)) => by.holds(a.cmp(b)),
        (Answer::Text(a), Answer::Text(b)) => by.holds(a.cmp(b)),
        (Answer::Flag(a), Answer::Flag(b)) => match by {
            Comparison::Equal => a == b,
            Comparison::Unequal => a != b,
            _ => return None,
        },
        (Answer::Missing, Answer::Missing) => by == Comparison::Equal,
        _ => match (number(left), number(right)) {
            (Some(a), Some(b)) => compare_numbers(by, a, b),
            _ => by == Comparison::Unequal,
        },
    })
}

/// `==`
pub(super) fn equal(left: &Answer<'_>, right: &Answer<'_>) -> Option<bool> {
    compare(Comparison::Equal, left, right)
}

/// `None` where Rhai raises an error or joins texts.
pub(super) fn compute<'a>(by: Sum, left: &Answer<'_>, right: &Answer<'_>) -> Option<Answer<'a>> {
    if let (Answer::Whole(a), Answer::Whole(b)) = (left, right) {
        let whole = match by {
            Sum::Plus => a.checked_add(*b),
            Sum::Minus => a.checked_sub(*b),
            Sum::Times => a.checked_mul(*b),
            Sum::DividedBy => a.checked_div(*b),
            Sum::Remainder => a.checked_rem(*b),
        };
        return whole.map(Answer::Whole);
    }
    let (a, b) = (number(left)?, number(right)?);
    Some(Answer::Number(match by {
        Sum::Plus => a + b,
        Sum::Minus => a - b,
        Sum::Times => a * b,
        Sum::DividedBy => a / b,
        Sum::Remainder => a % b,
    }))
}

#[expect(clippy::cast_precision_loss, reason = "so does Rhai")]
fn number(value: &Answer<'_>) -> Option<f64> {
    match value {
        Answer::Whole(n) => Some(*n as f64),
        Answer::Number(x) => Some(*x),
        _ => None,
    }
}

fn compare_numbers(by: Comparison, x: f64, y: f64) -> bool {
    let scale = if x * y == 0.0 { 1.0 } else { x.abs().max(y.abs()) };
    if scale == 0.0 {
        return matches!(by, Comparison::Equal | Comparison::AtLeast | Comparison::AtMost);
    }
    match by {
        Comparison::Equal => (x - y).abs() / scale <= f64::EPSILON,
        Comparison::Unequal => (x - y).abs() / scale > f64::EPSILON,
        Comparison::More => (x - y) / scale > f64::EPSILON,
        Comparison::AtLeast => (x - y) / scale > -f64::EPSILON,
        Comparison::Less => (y - x) / scale > f64::EPSILON,
        Comparison::AtMost => (y - x) / scale > -f64::EPSILON,
    }
}
