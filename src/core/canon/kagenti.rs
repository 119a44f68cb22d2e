//! The schema of kagenti's signer and verifier: a part of A2A 0.3 plus `skills[].parameters`.
//! The schema has no security members and no 1.0 interfaces, so kagenti's signatures cover neither.

use super::schema::{FLAG, Message, Shape, TEXT, TEXTS, tracked};
use super::v03::{EXTENSION, PROVIDER};

pub(super) static CARD: Message = Message {
    fields: &[
        tracked("capabilities", Shape::Object(&CAPABILITIES)),
        tracked("defaultInputModes", TEXTS),
        tracked("defaultOutputModes", TEXTS),
        tracked("description", TEXT),
        tracked("documentationUrl", TEXT),
        tracked("iconUrl", TEXT),
        tracked("name", TEXT),
        tracked("provider", Shape::Object(&PROVIDER)),
        tracked("skills", Shape::List(&Shape::Object(&SKILL))),
        tracked("supportsAuthenticatedExtendedCard", FLAG),
        tracked("url", TEXT),
        tracked("version", TEXT),
    ],
};

static CAPABILITIES: Message = Message {
    fields: &[
        tracked("extensions", Shape::List(&Shape::Object(&EXTENSION))),
        tracked("pushNotifications", FLAG),
        tracked("streaming", FLAG),
    ],
};

static SKILL: Message = Message {
    fields: &[
        tracked("description", TEXT),
        tracked("examples", TEXTS),
        tracked("id", TEXT),
        tracked("inputModes", TEXTS),
        tracked("name", TEXT),
        tracked("outputModes", TEXTS),
        tracked("parameters", Shape::List(&Shape::Object(&PARAMETER))),
        tracked("tags", TEXTS),
    ],
};

static PARAMETER: Message = Message {
    fields: &[
        tracked("default", TEXT),
        tracked("description", TEXT),
        tracked("name", TEXT),
        tracked("required", FLAG),
        tracked("type", TEXT),
    ],
};
