//! What a kernel is made of, and how it is asked.

use super::operator::{Comparison, Sum, compare, compute, equal};
use crate::domain::subject::Subject;
use crate::rules::host::answer::{self, Answer, Owned};

/// One step of a condition.
#[derive(Debug)]
pub(super) enum Node {
    Constant(Answer<'static>),
    /// What was named so many names ago from the outermost: `let`s and parameters, in the order in which they came.
    Local(usize),
    Owned(&'static Owned),
    Trait(String),
    Since {
        event: String,
        unit: i64,
    },
    Count {
        event: String,
        window_days: Option<i32>,
    },
    Sum {
        event: String,
        window_days: Option<i32>,
    },
    HasDone(String),
    InSegment(String),
    EventName,
    EventProperty(String),
    /// `&&`
    All(Vec<Node>),
    /// `||`
    Any(Vec<Node>),
    /// `??`
    FirstKnown(Vec<Node>),
    Not(Box<Node>),
    Minus(Box<Node>),
    Compare(Comparison, Box<[Node; 2]>),
    Compute(Sum, Box<[Node; 2]>),
    /// `x in [a, b]`
    OneOf(Box<Node>, Vec<Node>),
    /// Condition, then, else.
    Choose(Box<[Node; 3]>),
    /// A value that gets a name, and what is asked under it.
    Let(Box<[Node; 2]>),
}

impl Node {
    /// `None`: only Rhai knows.
    pub(super) fn answer<'a>(&'a self, subject: &'a Subject, named: &mut Vec<Answer<'a>>) -> Option<Answer<'a>> {
        Some(match self {
            Node::Constant(value) => value.by_ref(),
            Node::Local(n) => named.get(*n)?.clone(),
            Node::Owned(owned) => (owned.read)(subject),
            Node::Trait(name) => answer::trait_value(subject, name),
            Node::Since { event, unit } => answer::since(subject, event, *unit),
            Node::Count { event, window_days } => answer::count(subject, event, *window_days),
            Node::Sum { event, window_days } => answer::sum(subject, event, *window_days),
            Node::HasDone(event) => answer::has_done(subject, event),
            Node::InSegment(segment) => answer::in_segment(subject, segment),
            Node::EventName => Answer::Text(subject.event.as_ref()?.name.as_str().into()),
            Node::EventProperty(name) => {
                subject.event.as_ref()?;
                answer::event_property(subject, name)
            }
            Node::All(parts) => {
                for part in parts {
                    if !part.flag(subject, named)? {
                        return Some(Answer::Flag(false));
                    }
                }
                Answer::Flag(true)
            }
            Node::Any(parts) => {
                for part in parts {
                    if part.flag(subject, named)? {
                        return Some(Answer::Flag(true));
                    }
                }
                Answer::Flag(false)
            }
            Node::FirstKnown(parts) => {
                for part in parts {
                    let value = part.answer(subject, named)?;
                    if value != Answer::Missing {
                        return Some(value);
                    }
                }
                Answer::Missing
            }
            Node::Not(part) => Answer::Flag(!part.flag(subject, named)?),
            Node::Minus(part) => match part.answer(subject, named)? {
                Answer::Whole(n) => Answer::Whole(n.checked_neg()?),
                Answer::Number(x) => Answer::Number(-x),
                _ => return None,
            },
            Node::Compare(comparison, sides) => {
                let [left, right] = sides.each_ref().map(|side| side.answer(subject, named));
                Answer::Flag(compare(*comparison, &left?, &right?)?)
            }
            Node::Compute(sum, sides) => {
                let [left, right] = sides.each_ref().map(|side| side.answer(subject, named));
                compute(*sum, &left?, &right?)?
            }
            Node::OneOf(part, list) => {
                let value = part.answer(subject, named)?;
                for one in list {
                    if equal(&one.answer(subject, named)?, &value)? {
                        return Some(Answer::Flag(true));
                    }
                }
                Answer::Flag(false)
            }
            Node::Choose(parts) => {
                let [condition, then, otherwise] = &**parts;
                if condition.flag(subject, named)? { then } else { otherwise }.answer(subject, named)?
            }
            Node::Let(parts) => {
                let [value, under] = &**parts;
                let value = value.answer(subject, named)?;
                named.push(value);
                let answer = under.answer(subject, named);
                named.pop();
                answer?
            }
        })
    }

    fn flag<'a>(&'a self, subject: &'a Subject, named: &mut Vec<Answer<'a>>) -> Option<bool> {
        match self.answer(subject, named)? {
            Answer::Flag(flag) => Some(flag),
            _ => None,
        }
    }
}
