//! Refusal of members that lenient readers take for known ones (rule 6).
//! Go ignores case; generated TypeScript and protobuf readers accept `snake_case`.

use super::schema::{Message, Shape, is_spelled_like};
use super::{kagenti, v1, v03};
use crate::json::{Object, Value};
use crate::refusal::{Reason, Refusal};
use crate::text::Quoted;
use std::collections::BTreeSet;
use std::sync::LazyLock;

/// The merged root of the 1.0, 0.3 and kagenti schemas: a caller may read a card under any of them.
static CARD: LazyLock<SchemaNode> = LazyLock::new(|| {
    let roots = [&v1::CARD, &v03::CARD, &kagenti::CARD];
    SchemaNode::merge(&roots.map(Shape::Object))
});

/// The members that any schema knows at one location of a card.
struct SchemaNode {
    /// Known members of an object at this location.
    members: Vec<(&'static str, SchemaNode)>,
    /// The messages that declare the members, which are searched for other spellings.
    messages: Vec<&'static Message>,
    /// The node of each element of a list at this location.
    items: Option<Box<SchemaNode>>,
    /// The node of each value of a map, whose names are free.
    values: Option<Box<SchemaNode>>,
}

impl SchemaNode {
    fn merge(shapes: &[Shape]) -> Self {
        let messages: Vec<&'static Message> = shapes
            .iter()
            .flat_map(|shape| match shape {
                Shape::Object(message) => vec![*message],
                Shape::Typed(kinds) => kinds.iter().map(|kind| kind.message).collect(),
                _ => Vec::new(),
            })
            .collect();
        let names: BTreeSet<_> =
            messages.iter().flat_map(|message| message.fields).map(|field| field.name).collect();
        let member = |name| {
            let shapes = messages.iter().filter_map(|message| message.field(name)).map(|field| field.shape);
            (name, Self::merge(&shapes.collect::<Vec<_>>()))
        };
        let inside = |pick: fn(Shape) -> Option<Shape>| {
            let inner: Vec<_> = shapes.iter().copied().filter_map(pick).collect();
            let node = (!inner.is_empty()).then(|| Self::merge(&inner))?;
            (!node.is_opaque()).then(|| Box::new(node))
        };
        Self {
            members: names.into_iter().map(member).collect(),
            items: inside(|shape| if let Shape::List(item) = shape { Some(*item) } else { None }),
            values: inside(|shape| if let Shape::Map(item) = shape { Some(*item) } else { None }),
            messages,
        }
    }

    fn member(&self, name: &str) -> Option<&Self> {
        self.members.iter().find(|(known, _)| *known == name).map(|(_, node)| node)
    }

    /// True if no schema knows an object at this location or below, so that the search ends here.
    const fn is_opaque(&self) -> bool {
        self.members.is_empty() && self.items.is_none() && self.values.is_none()
    }
}

/// Refuses aliases in the card and in every known object below, under all three schemas at once (rule 6).
pub(crate) fn refuse_aliases(card: Object<'_>) -> Result<(), Refusal> {
    let mut names = card.iter().map(|(name, _)| name);
    if let Some(name) = names.find(|name| *name != "signatures" && is_spelled_like(name, "signatures")) {
        return Err(alias(name, "signatures"));
    }
    check(card, &CARD)
}

fn check(object: Object<'_>, here: &SchemaNode) -> Result<(), Refusal> {
    for (name, value) in object.iter() {
        if let Some(member) = here.member(name) {
            descend(value, member)?;
        } else if let Some(known) = here.messages.iter().find_map(|message| message.aliased_by(name)) {
            return Err(alias(name, known));
        }
    }
    Ok(())
}

/// Checks every known object inside `value`.
fn descend(value: Value<'_>, node: &SchemaNode) -> Result<(), Refusal> {
    if node.is_opaque() {
        return Ok(());
    }
    if let Some(array) = value.as_array() {
        let Some(items) = &node.items else { return Ok(()) };
        return array.iter().try_for_each(|item| descend(item, items));
    }
    if let Some(object) = value.as_object() {
        if let Some(values) = &node.values {
            object.iter().try_for_each(|(_, value)| descend(value, values))?;
        }
        if !node.messages.is_empty() {
            check(object, node)?;
        }
    }
    Ok(())
}

fn alias(found: &str, known: &str) -> Refusal {
    Refusal::new(
        Reason::CardMemberAlias,
        format!("the member {} can be read as `{known}` by readers that are less strict", Quoted(found)),
    )
}
