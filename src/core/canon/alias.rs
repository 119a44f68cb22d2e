//! Refuses members that lenient readers take for known ones (rule 6).
//! Go ignores case, generated TypeScript and protobuf readers accept `snake_case`.

use super::schema::{Message, Shape};
use super::{kagenti, v1, v03};
use crate::core::json::{Object, Value};
use crate::core::refusal::{Reason, Refusal};
use crate::core::text::Quoted;

/// Checks the card and every known object in it, under all three schemas at once.
pub(in crate::core) fn refuse_aliases(card: Object<'_>) -> Result<(), Refusal> {
    let signatures = card.iter().map(|(name, _)| name).find(|name| {
        *name != "signatures"
            && name.replace('_', "").replace('\u{17f}', "s").eq_ignore_ascii_case("signatures")
    });
    if let Some(name) = signatures {
        return Err(alias(name, "signatures"));
    }
    check(card, &Shapes::collect([&v1::CARD, &v03::CARD, &kagenti::CARD].into_iter().map(Shape::Object)))
}

/// The shapes that the schemas give to one place: at most one of 1.0, one of kagenti and the five typed
/// alternatives of 0.3. A fixed array, because this runs over every object of every card.
#[derive(Clone, Copy)]
struct Shapes([Option<Shape>; 8]);

impl Shapes {
    fn collect(found: impl Iterator<Item = Shape>) -> Self {
        let mut shapes = [None; 8];
        shapes.iter_mut().zip(found).for_each(|(place, shape)| *place = Some(shape));
        Self(shapes)
    }

    fn iter(&self) -> impl Iterator<Item = Shape> + '_ {
        self.0.iter().flatten().copied()
    }

    fn messages(&self) -> impl Iterator<Item = &'static Message> + '_ {
        self.iter().flat_map(|shape| {
            let (one, kinds) = match shape {
                Shape::Object(message) => (Some(message), [].as_slice()),
                Shape::Typed(kinds) => (None, kinds),
                _ => (None, [].as_slice()),
            };
            one.into_iter().chain(kinds.iter().map(|kind| kind.message))
        })
    }
}

fn check(object: Object<'_>, here: &Shapes) -> Result<(), Refusal> {
    for (name, value) in object.iter() {
        let known = Shapes::collect(
            here.messages().filter_map(|message| message.field(name)).map(|field| field.shape),
        );
        if known.iter().next().is_some() {
            descend(value, &known)?;
        } else if let Some(known) = here.messages().find_map(|message| message.aliased_by(name)) {
            return Err(alias(name, known));
        }
    }
    Ok(())
}

/// Follows the shapes of one value down to the known objects inside it.
fn descend(value: Value<'_>, shapes: &Shapes) -> Result<(), Refusal> {
    let inner =
        |pick: fn(Shape) -> Option<&'static Shape>| Shapes::collect(shapes.iter().filter_map(pick).copied());
    if let Some(array) = value.as_array() {
        let items = inner(|shape| if let Shape::List(item) = shape { Some(item) } else { None });
        return array.iter().try_for_each(|item| descend(item, &items));
    }
    if let Some(object) = value.as_object() {
        let values = inner(|shape| if let Shape::Map(item) = shape { Some(item) } else { None });
        if values.iter().next().is_some() {
            object.iter().try_for_each(|(_, value)| descend(value, &values))?;
        }
        if shapes.messages().next().is_some() {
            check(object, shapes)?;
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
