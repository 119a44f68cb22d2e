//! Received members that a signature does not cover, by JSON Pointer (RFC 6901; rules 47 and 48).
//! Every member is checked and counted, but few are kept: a sender chooses their number and the length of their names.

use crate::json::{Kind, Value};
use crate::limits::{UNCOVERED_LISTED, UNCOVERED_POINTER_BYTES};

/// A received member or element that is not part of the signed bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uncovered {
    pointer: String,
    class: ValueClass,
}

/// The class of a value, by how much it tells a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum ValueClass {
    Null,
    False,
    /// Nulls, empty strings, lists and objects, at any depth, and nothing else.
    Empty,
    Something,
}

impl ValueClass {
    pub(super) fn of(value: Value<'_>) -> Self {
        match value.kind() {
            Kind::Null => Self::Null,
            Kind::Bool if value.as_bool() == Some(false) => Self::False,
            _ if holds_nothing(value) => Self::Empty,
            _ => Self::Something,
        }
    }
}

fn holds_nothing(value: Value<'_>) -> bool {
    if let Some(object) = value.as_object() {
        object.iter().all(|(_, value)| holds_nothing(value))
    } else if let Some(array) = value.as_array() {
        array.iter().all(holds_nothing)
    } else {
        value.is_empty()
    }
}

impl Uncovered {
    /// The location in the received document, as a JSON Pointer of at most 1 KiB. A deeper member has the pointer of
    /// the value that contains it.
    pub fn pointer(&self) -> &str {
        &self.pointer
    }

    /// True if the member can decide who is called, how, or with which authentication (rule 47).
    ///
    /// Two cases are listed but do not count. An empty value inside the free-form `params` of an extension: stripping
    /// signers leave it out, and callers get the signed form without it. A null or false extended card: every reader
    /// takes either for absent.
    pub fn decides_security(&self) -> bool {
        decides_security(&self.pointer, self.class)
    }
}

/// The received members that a canonical form leaves out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UncoveredMembers {
    deciding: MemberList,
    other: MemberList,
}

/// The first [`UNCOVERED_LISTED`] members of one kind, and the number of all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct MemberList {
    members: Vec<Uncovered>,
    total: usize,
}

/// The numbers of noted members at one time, to which [`UncoveredMembers::note_whole`] returns.
#[derive(Clone, Copy)]
pub(super) struct Checkpoint {
    deciding: (usize, usize),
    other: (usize, usize),
}

impl UncoveredMembers {
    /// True if the form leaves out no member.
    pub const fn is_empty(&self) -> bool {
        self.total() == 0
    }

    /// Number of members that the form leaves out, listed or not.
    pub const fn total(&self) -> usize {
        self.deciding.total.saturating_add(self.other.total)
    }

    /// Number of left-out members that decide about security ([`Uncovered::decides_security`]).
    pub(crate) const fn deciding(&self) -> usize {
        self.deciding.total
    }

    /// The first [`UNCOVERED_LISTED`] members: those that decide about security first, each kind sorted.
    pub fn listed(&self) -> Vec<Uncovered> {
        let sorted = |kept: &MemberList| {
            let mut members = kept.members.clone();
            members.sort_unstable();
            members
        };
        let mut listed = sorted(&self.deciding);
        listed.extend(sorted(&self.other));
        listed.truncate(UNCOVERED_LISTED);
        listed
    }

    pub(super) fn note(&mut self, pointer: &str, class: ValueClass) {
        let kept = if decides_security(pointer, class) { &mut self.deciding } else { &mut self.other };
        kept.note(pointer, class);
    }

    pub(super) const fn checkpoint(&self) -> Checkpoint {
        Checkpoint { deciding: self.deciding.checkpoint(), other: self.other.checkpoint() }
    }

    /// Notes a member that is left out as a whole, instead of the members noted inside it since `checkpoint`. Inner
    /// members that decide about security stay noted unless the whole does, too: none may hide behind its container.
    pub(super) fn note_whole(&mut self, pointer: &str, class: ValueClass, checkpoint: Checkpoint) {
        self.other.forget(checkpoint.other);
        if decides_security(pointer, class) {
            self.deciding.forget(checkpoint.deciding);
        }
        self.note(pointer, class);
    }

    /// Adds the members of `more`, with their pointers mapped by `to`.
    pub(super) fn absorb(&mut self, more: Self, to: impl Fn(&str) -> String) {
        for (kept, more) in [(&mut self.deciding, more.deciding), (&mut self.other, more.other)] {
            let room = UNCOVERED_LISTED.saturating_sub(kept.members.len());
            let moved = more.members.into_iter().take(room);
            kept.members.extend(moved.map(|member| Uncovered { pointer: to(&member.pointer), ..member }));
            kept.total = kept.total.saturating_add(more.total);
        }
    }
}

impl MemberList {
    fn note(&mut self, pointer: &str, class: ValueClass) {
        self.total = self.total.saturating_add(1);
        // Members below a pointer that reached its limit share this pointer and are listed once.
        let again = self.members.last().is_some_and(|last| last.pointer == pointer);
        if !again && self.members.len() < UNCOVERED_LISTED {
            self.members.push(Uncovered { pointer: pointer.to_owned(), class });
        }
    }

    const fn checkpoint(&self) -> (usize, usize) {
        (self.members.len(), self.total)
    }

    fn forget(&mut self, (kept, total): (usize, usize)) {
        self.members.truncate(kept);
        self.total = total;
    }
}

/// A JSON Pointer to the current value that never exceeds [`UNCOVERED_POINTER_BYTES`].
#[derive(Debug, Default)]
pub(super) struct BoundedPointer {
    pointer: String,
    /// Number of tokens entered beyond the limit.
    beyond: usize,
}

/// The length of the pointer before a token was entered; `None` if the token was beyond the limit.
#[derive(Clone, Copy)]
pub(super) struct Undo(Option<usize>);

impl BoundedPointer {
    pub(super) fn as_str(&self) -> &str {
        &self.pointer
    }

    pub(super) fn enter(&mut self, token: &str) -> Undo {
        let before = self.pointer.len();
        if self.beyond == 0 {
            push_token(&mut self.pointer, token);
            if self.pointer.len() <= UNCOVERED_POINTER_BYTES {
                return Undo(Some(before));
            }
            self.pointer.truncate(before);
        }
        self.beyond = self.beyond.saturating_add(1);
        Undo(None)
    }

    pub(super) fn leave(&mut self, step: Undo) {
        match step.0 {
            Some(before) => self.pointer.truncate(before),
            None => self.beyond = self.beyond.saturating_sub(1),
        }
    }
}

fn decides_security(pointer: &str, class: ValueClass) -> bool {
    let mut segments = pointer.split('/').skip(1);
    match (segments.next(), segments.next(), segments.next()) {
        (Some("supportsAuthenticatedExtendedCard"), None, _)
        | (Some("capabilities"), Some("extendedAgentCard"), None)
            if matches!(class, ValueClass::Null | ValueClass::False) =>
        {
            false
        }
        (
            Some(
                "url"
                | "supportedInterfaces"
                | "additionalInterfaces"
                | "preferredTransport"
                | "protocolVersion"
                | "tenant"
                | "security"
                | "securityRequirements"
                | "securitySchemes"
                | "supportsAuthenticatedExtendedCard",
            ),
            _,
            _,
        )
        | (Some("capabilities"), Some("extendedAgentCard"), _)
        | (Some("skills"), Some(_), Some("security" | "securityRequirements")) => true,
        (Some("capabilities"), Some("extensions"), _) => {
            !(matches!(class, ValueClass::Null | ValueClass::Empty) && segments.next() == Some("params"))
        }
        _ => false,
    }
}

/// Appends one reference token, escaped as in RFC 6901 §3.
pub(super) fn push_token(pointer: &mut String, token: &str) {
    pointer.push('/');
    for c in token.chars() {
        match c {
            '~' => pointer.push_str("~0"),
            '/' => pointer.push_str("~1"),
            c => pointer.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_47_members_that_decide_about_security_are_known() {
        use ValueClass::{Empty, False, Null, Something};
        for (pointer, class, expected) in [
            ("/url", Something, true),
            ("/supportedInterfaces/1", Something, true),
            ("/securitySchemes/a/apiKeySecurityScheme/extra", Something, true),
            ("/capabilities/extendedAgentCard", Something, true),
            ("/capabilities/extendedAgentCard", Empty, true),
            ("/capabilities/extendedAgentCard", Null, false),
            ("/capabilities/extendedAgentCard", False, false),
            ("/capabilities/extendedAgentCard/a", Null, true),
            ("/supportsAuthenticatedExtendedCard", Something, true),
            ("/supportsAuthenticatedExtendedCard", False, false),
            ("/capabilities", Something, false),
            ("/capabilities/extensions/0", Something, true),
            ("/capabilities/extensions/0/params/a", Something, true),
            ("/capabilities/extensions/0/params/a", False, true),
            ("/capabilities/extensions/0/params/a", Empty, false),
            ("/capabilities/extensions/0/params/a", Null, false),
            ("/skills/3/securityRequirements", Something, true),
            ("/skills/3/description", Something, false),
            ("/xVendor", Something, false),
            ("/urls", Something, false),
        ] {
            let member = Uncovered { pointer: pointer.to_owned(), class };
            assert_eq!(member.decides_security(), expected, "{pointer} {class:?}");
        }
    }

    fn pointers(members: &UncoveredMembers) -> Vec<String> {
        members.listed().iter().map(|member| member.pointer().to_owned()).collect()
    }

    #[test]
    fn members_that_decide_come_first_and_the_rest_is_counted() {
        let mut members = UncoveredMembers::default();
        for index in 0..1000 {
            members.note(&format!("/!{index:03}"), ValueClass::Something);
        }
        members.note("/url", ValueClass::Something);
        members.note("/security", ValueClass::Something);
        let listed = pointers(&members);
        assert_eq!(listed.len(), UNCOVERED_LISTED);
        assert_eq!(listed.get(..3).unwrap(), ["/security", "/url", "/!000"]);
        assert_eq!((members.total(), members.deciding()), (1002, 2));
    }

    #[test]
    fn what_is_left_out_as_a_whole_hides_no_member_that_decides() {
        let mut members = UncoveredMembers::default();
        members.note("/a", ValueClass::Something);
        let checkpoint = members.checkpoint();
        members.note("/capabilities/x", ValueClass::Something);
        members.note("/capabilities/extendedAgentCard", ValueClass::Something);
        members.note_whole("/capabilities", ValueClass::Something, checkpoint);
        assert_eq!(pointers(&members), ["/capabilities/extendedAgentCard", "/a", "/capabilities"]);
        let checkpoint = members.checkpoint();
        members.note("/security/0", ValueClass::Something);
        members.note_whole("/security", ValueClass::Something, checkpoint);
        assert_eq!((members.total(), members.deciding()), (4, 2));
    }

    #[test]
    fn a_way_stops_growing_and_comes_back() {
        let mut pointer = BoundedPointer::default();
        let long = "n".repeat(300);
        let steps: Vec<Undo> = (0..9).map(|_| pointer.enter(&long)).collect();
        let grown = pointer.as_str().to_owned();
        assert_eq!(grown, format!("/{long}").repeat(3));
        // A name that would fit is not appended behind one that was left out.
        let short = pointer.enter("x");
        assert_eq!(pointer.as_str(), grown);
        pointer.leave(short);
        steps.into_iter().rev().for_each(|step| pointer.leave(step));
        assert_eq!(pointer.as_str(), "");
        pointer.enter("x");
        assert_eq!(pointer.as_str(), "/x");
    }

    #[test]
    fn pointers_escape_as_in_rfc_6901() {
        let mut pointer = String::new();
        push_token(&mut pointer, "a/b~c");
        assert_eq!(pointer, "/a~1b~0c");
    }
}
