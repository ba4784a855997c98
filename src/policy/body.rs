//! Judges the JSON body of an inspected operation: strict JSON, admitted fields, admitted shapes.
//!
//! One pass, no tree. Strict means what two parsers cannot read differently: UTF-8 without a byte
//! order mark, no key twice in one object at any depth, bounded nesting, whole surrogate pairs.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use super::json_keys::{Key, Keys, bit};
use super::query_rule::ECHO_LENGTH_MAX;
use super::shape::{Field, Shape};
use super::{AgentId, Bounds};

/// The top-level fields an operation admits in its body, and the shape of each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BodyRule(
    /// By name, in order.
    Vec<(Box<str>, Shape)>,
);

/// What was learnt from a body that was judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct JudgedBody {
    /// The agent that the request is for.
    pub(super) agent: Option<AgentId>,
    /// Which of the rule's fields were there: a bit for each.
    pub(super) fields: u64,
}

/// Why a body was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum BodyRefusal {
    NotStrictJson(String),
    NotAdmitted { name: String, problem: String },
}

impl BodyRule {
    /// A rule of these fields.
    pub(super) fn new(fields: BTreeMap<Box<str>, Shape>) -> Self {
        Self(fields.into_iter().collect())
    }

    /// The admitted fields and the names of their shapes.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &'static str)> {
        self.0.iter().map(|(name, shape)| (&**name, shape.name()))
    }

    /// The names of the fields whose bits are set.
    pub(super) fn names_of(&self, fields: u64) -> impl Iterator<Item = &str> {
        let is_there = move |at: usize| bit(at).is_some_and(|bit| fields & bit != 0);
        self.0.iter().enumerate().filter(move |(at, _)| is_there(*at)).map(|(_, (name, _))| &**name)
    }

    /// Whether a value of `field` that `other` admits is admitted here: `None` when it depends on the
    /// value.
    #[must_use]
    pub fn admits_what(&self, other: Option<&Self>, field: &str) -> Option<bool> {
        let Some((_, here)) = self.find(field) else { return Some(false) };
        match other.and_then(|other| other.find(field)) {
            Some((_, there)) if here == there || *here == Shape::Any => Some(true),
            _ => None,
        }
    }

    /// The fields and their shapes, to make a larger rule of.
    pub(super) fn shapes(&self) -> BTreeMap<Box<str>, Shape> {
        self.0.iter().cloned().collect()
    }

    /// Whether the value of `field` is an agent's id.
    pub(super) fn names_agent_in(&self, field: &str) -> bool {
        self.find(field).is_some_and(|(_, shape)| *shape == Shape::Agent)
    }

    /// A field's place among the fields, and its shape.
    fn find(&self, field: &str) -> Option<(usize, &Shape)> {
        let at = self.0.binary_search_by(|(name, _)| (**name).cmp(field)).ok()?;
        self.0.get(at).map(|(_, shape)| (at, shape))
    }

    /// Judges a body for `agent`; `None`: the body itself names it.
    pub(super) fn judge(
        &self,
        body: &[u8],
        bounds: Bounds,
        agent: Option<AgentId>,
    ) -> Result<JudgedBody, BodyRefusal> {
        let text = std::str::from_utf8(body)
            .map_err(|_| BodyRefusal::NotStrictJson("it is not UTF-8".to_owned()))?;
        let walk = Walk {
            bounds,
            values_left: Cell::new(bounds.json_values_max),
            agent: Cell::new(agent),
            fields: Cell::new(0),
            refusal: RefCell::new(None),
        };
        let mut json = serde_json::Deserializer::from_str(text);
        let top =
            Value { walk: &walk, expected: Expected::Top(self), place: &Step::Root, depth: 0 };
        let end = top.deserialize(&mut json).and_then(|()| json.end());
        match (walk.refusal.into_inner(), end) {
            (Some(refusal), _) => Err(refusal),
            (None, Err(e)) => Err(BodyRefusal::NotStrictJson(e.to_string())),
            (None, Ok(())) => Ok(JudgedBody { agent: walk.agent.get(), fields: walk.fields.get() }),
        }
    }
}

/// What is shared by the whole pass.
struct Walk {
    bounds: Bounds,
    values_left: Cell<usize>,
    agent: Cell<Option<AgentId>>,
    /// The fields at the top.
    fields: Cell<u64>,
    refusal: RefCell<Option<BodyRefusal>>,
}

/// What a value is held against.
#[derive(Clone, Copy)]
enum Expected<'a> {
    Top(&'a BodyRule),
    Field(&'a Shape),
    /// Like `Field`, and `null` is as good as absent.
    Optional(&'a Shape),
}

/// Where a value stands, for the message.
enum Step<'a> {
    Root,
    Field(&'a Step<'a>, &'a str),
    Item(&'a Step<'a>, usize),
}

impl fmt::Display for Step<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Field(Step::Root, name) => echo(f, name),
            Self::Field(parent, name) => {
                write!(f, "{parent}.")?;
                echo(f, name)
            }
            Self::Item(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

fn echo(f: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
    name.chars().take(ECHO_LENGTH_MAX).try_for_each(|c| write!(f, "{}", c.escape_debug()))
}

#[derive(Clone, Copy)]
struct Value<'a> {
    walk: &'a Walk,
    expected: Expected<'a>,
    place: &'a Step<'a>,
    depth: usize,
}

impl Value<'_> {
    fn shape(&self) -> Option<&Shape> {
        match self.expected {
            Expected::Top(_) => None,
            Expected::Field(shape) | Expected::Optional(shape) => Some(shape),
        }
    }

    fn refuse<E: serde::de::Error>(&self, problem: impl Into<String>) -> E {
        self.refuse_at(self.place, problem)
    }

    fn refuse_at<E: serde::de::Error>(&self, place: &Step<'_>, problem: impl Into<String>) -> E {
        let problem = problem.into();
        let refusal = BodyRefusal::NotAdmitted { name: place.to_string(), problem };
        self.walk.refusal.borrow_mut().get_or_insert(refusal);
        E::custom("not admitted")
    }

    fn mismatch<E: serde::de::Error>(&self) -> E {
        match self.expected {
            Expected::Top(_) => E::custom("the body must be an object"),
            Expected::Field(shape) | Expected::Optional(shape) => {
                self.refuse(format!("must be {}", shape.description()))
            }
        }
    }

    fn scalar<E: serde::de::Error>(self, admitted: bool) -> Result<(), E> {
        if admitted { Ok(()) } else { Err(self.mismatch()) }
    }

    fn agent<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        let named = AgentId::parse(text).map_err(|_| self.mismatch())?;
        match self.walk.agent.get() {
            Some(agent) if agent != named => {
                Err(self.refuse("names another agent than the request is for"))
            }
            _ => {
                self.walk.agent.set(Some(named));
                Ok(())
            }
        }
    }

    fn below(&self) -> Result<usize, String> {
        let depth_max = self.walk.bounds.json_depth_max;
        if self.depth >= depth_max {
            Err(format!("it nests deeper than {depth_max}"))
        } else {
            Ok(self.depth + 1)
        }
    }
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let left = self.walk.values_left.get().checked_sub(1);
        let values_max = self.walk.bounds.json_values_max;
        let left =
            left.ok_or_else(|| D::Error::custom(format!("it has more than {values_max} values")))?;
        self.walk.values_left.set(left);
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        let absent = matches!(self.expected, Expected::Optional(_));
        let any = matches!(self.shape(), Some(Shape::Any));
        self.scalar(absent || any)
    }

    fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<(), E> {
        let admitted = matches!(self.shape(), Some(Shape::Any | Shape::Boolean | Shape::Scalar));
        self.scalar(admitted)
    }

    fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<(), E> {
        let admitted = matches!(self.shape(), Some(Shape::Any | Shape::Integer | Shape::Scalar));
        self.scalar(admitted)
    }

    fn visit_u64<E: serde::de::Error>(self, _: u64) -> Result<(), E> {
        let admitted = matches!(self.shape(), Some(Shape::Any | Shape::Integer | Shape::Scalar));
        self.scalar(admitted)
    }

    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<(), E> {
        let admitted = matches!(self.shape(), Some(Shape::Any | Shape::Scalar));
        self.scalar(admitted)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        let admitted = match self.shape() {
            Some(Shape::Any | Shape::String | Shape::Scalar | Shape::TextOr(_)) => true,
            Some(Shape::Agent) => return self.agent(text),
            Some(Shape::Word(words)) => words.contains(&text),
            _ => false,
        };
        self.scalar(admitted)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let item_shape = match self.shape() {
            Some(Shape::Any) => &Shape::Any,
            Some(Shape::ListOf(item) | Shape::TextOr(item)) => *item,
            _ => return Err(self.mismatch()),
        };
        let depth = self.below().map_err(A::Error::custom)?;
        let mut index = 0;
        loop {
            let place = Step::Item(self.place, index);
            let expected = Expected::Field(item_shape);
            let item = Value { walk: self.walk, expected, place: &place, depth };
            if items.next_element_seed(item)?.is_none() {
                return Ok(());
            }
            index += 1;
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        if !matches!(self.shape(), None | Some(Shape::Any | Shape::Object(_))) {
            return Err(self.mismatch());
        }
        let depth = self.below().map_err(A::Error::custom)?;
        let mut seen = Keys::default();
        while let Some(Key(key)) = fields.next_key()? {
            let place = Step::Field(self.place, &key);
            let Some((known, expected)) = self.expected_of(&key) else {
                return Err(self.refuse_at(&place, "is not admitted for this operation"));
            };
            if seen.contains(known, &key) {
                return Err(A::Error::custom(format!("the key `{place}` is there twice")));
            }
            fields.next_value_seed(Value { walk: self.walk, expected, place: &place, depth })?;
            seen.insert(known, key);
        }
        if let Expected::Top(_) = self.expected {
            self.walk.fields.set(seen.known);
        }
        if let Some(Shape::Object(fields)) = self.shape() {
            let missing = fields
                .iter()
                .enumerate()
                .find(|(at, field)| field.required && !seen.contains(Some(*at), field.name));
            if let Some((_, Field { name, .. })) = missing {
                return Err(self.refuse_at(&Step::Field(self.place, name), "is missing"));
            }
        }
        Ok(())
    }
}

impl<'a> Value<'a> {
    /// What the object's field `key` is held against, and its place among the fields that are
    /// known; `None` when it is not admitted.
    fn expected_of(&self, key: &str) -> Option<(Option<usize>, Expected<'a>)> {
        match self.expected {
            Expected::Top(rule) => {
                let (at, shape) = rule.find(key)?;
                Some((Some(at), Expected::Optional(shape)))
            }
            Expected::Field(Shape::Object(fields)) | Expected::Optional(Shape::Object(fields)) => {
                let at = fields.iter().position(|field| field.name == key)?;
                Some((Some(at), Expected::Field(&fields.get(at)?.shape)))
            }
            Expected::Field(_) | Expected::Optional(_) => {
                Some((None, Expected::Field(&Shape::Any)))
            }
        }
    }
}
