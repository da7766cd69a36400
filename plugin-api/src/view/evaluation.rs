//! Evaluates a condition while the fields of an event arrive.

use super::condition::Condition;
use super::value::{Test, Value};

/// A condition, and what is known of it for the current event.
#[derive(Debug)]
pub struct Evaluation {
    condition: Node,
    comparisons: Vec<Compared>,
}

/// The condition, with the positions of its comparisons.
#[derive(Debug)]
enum Node {
    All(Vec<Node>),
    Any(Vec<Node>),
    Not(Box<Node>),
    Comparison(usize),
}

#[derive(Debug)]
struct Compared {
    field: String,
    test: Test,
    /// `None` until the event has the field.
    is_met: Option<bool>,
}

impl Evaluation {
    pub fn of(condition: &Condition) -> Self {
        let mut comparisons = Vec::new();
        let condition = node(condition, &mut comparisons);
        Self { condition, comparisons }
    }

    /// Forgets the fields of the last event.
    pub fn begin(&mut self) {
        self.comparisons.iter_mut().for_each(|comparison| comparison.is_met = None);
    }

    /// Notes a value of a field, and for a field of a group the group's name.
    pub fn note(&mut self, group: &str, name: &str, value: Value<'_>) {
        for comparison in &mut self.comparisons {
            if is_field(&comparison.field, group, name) && comparison.is_met != Some(true) {
                comparison.is_met = Some(comparison.test.is_met_by(value));
            }
        }
    }

    /// Whether the condition holds, as far as the fields so far decide that.
    pub fn so_far(&self) -> Option<bool> {
        self.decide(&self.condition, None)
    }

    /// Whether the condition holds for the event, all of whose fields were noted.
    pub fn outcome(&self) -> bool {
        self.decide(&self.condition, Some(false)).unwrap_or_default()
    }

    /// `missing` is what a comparison of a field is that was not noted.
    fn decide(&self, node: &Node, missing: Option<bool>) -> Option<bool> {
        match node {
            Node::Comparison(position) => self.comparisons[*position].is_met.or(missing),
            Node::Not(node) => self.decide(node, missing).map(|holds| !holds),
            Node::All(nodes) => self.first_or(nodes, false, missing),
            Node::Any(nodes) => self.first_or(nodes, true, missing),
        }
    }

    /// `decisive` if one of the nodes is; the opposite if all of them are the opposite.
    fn first_or(&self, nodes: &[Node], decisive: bool, missing: Option<bool>) -> Option<bool> {
        let mut all_known = true;
        for node in nodes {
            match self.decide(node, missing) {
                Some(holds) if holds == decisive => return Some(decisive),
                Some(_) => {}
                None => all_known = false,
            }
        }
        all_known.then_some(!decisive)
    }
}

fn node(condition: &Condition, comparisons: &mut Vec<Compared>) -> Node {
    match condition {
        Condition::All(parts) => Node::All(parts.iter().map(|part| node(part, comparisons)).collect()),
        Condition::Any(parts) => Node::Any(parts.iter().map(|part| node(part, comparisons)).collect()),
        Condition::Not(part) => Node::Not(Box::new(node(part, comparisons))),
        Condition::Field(comparison) => {
            comparisons.push(Compared {
                field: comparison.field.clone(),
                test: Test::new(comparison.operator, &comparison.literal),
                is_met: None,
            });
            Node::Comparison(comparisons.len() - 1)
        }
    }
}

/// Stands for the name of any group.
pub const ANY_GROUP: &str = "*";

/// Whether `wanted` is the name of a field: its own name, or for one of a group `GROUP.FIELD`.
pub fn is_field(wanted: &str, group: &str, name: &str) -> bool {
    match wanted.split_once('.') {
        None => group.is_empty() && wanted == name,
        Some((of_group, own)) => {
            !group.is_empty() && own == name && (of_group == group || of_group == ANY_GROUP)
        }
    }
}
