//! The schema of the A2A 0.3 card in a2a-python 0.3: its members, and the defaults that it leaves out.
//! Every member is tracked; the form strips empties afterwards.

use super::schema::{Alternative, FLAG, Message, Shape, TEXT, TEXT_MAP, TEXTS, default_text, tracked};

const fn object(message: &'static Message) -> Shape {
    Shape::Object(message)
}

const SECURITY: Shape = Shape::List(&Shape::Map(&TEXTS));

pub(super) static CARD: Message = Message {
    fields: &[
        tracked("additionalInterfaces", Shape::List(&object(&INTERFACE))),
        tracked("capabilities", object(&CAPABILITIES)),
        tracked("defaultInputModes", TEXTS),
        tracked("defaultOutputModes", TEXTS),
        tracked("description", TEXT),
        tracked("documentationUrl", TEXT),
        tracked("iconUrl", TEXT),
        tracked("name", TEXT),
        default_text("preferredTransport", "JSONRPC"),
        default_text("protocolVersion", "0.3.0"),
        tracked("provider", object(&PROVIDER)),
        tracked("security", SECURITY),
        tracked("securitySchemes", Shape::Map(&Shape::Typed(SECURITY_SCHEMES))),
        tracked("skills", Shape::List(&object(&SKILL))),
        tracked("supportsAuthenticatedExtendedCard", FLAG),
        tracked("url", TEXT),
        tracked("version", TEXT),
    ],
};

static INTERFACE: Message = Message { fields: &[tracked("transport", TEXT), tracked("url", TEXT)] };

pub(super) static PROVIDER: Message =
    Message { fields: &[tracked("organization", TEXT), tracked("url", TEXT)] };

static CAPABILITIES: Message = Message {
    fields: &[
        tracked("extensions", Shape::List(&object(&EXTENSION))),
        tracked("pushNotifications", FLAG),
        tracked("stateTransitionHistory", FLAG),
        tracked("streaming", FLAG),
    ],
};

pub(super) static EXTENSION: Message = Message {
    fields: &[
        tracked("description", TEXT),
        tracked("params", Shape::Free),
        tracked("required", FLAG),
        tracked("uri", TEXT),
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
        tracked("security", SECURITY),
        tracked("tags", TEXTS),
    ],
};

static SECURITY_SCHEMES: &[Alternative] = &[
    Alternative { name: "apiKey", mark: "in", message: &API_KEY },
    Alternative { name: "http", mark: "scheme", message: &HTTP_AUTH },
    Alternative { name: "oauth2", mark: "flows", message: &OAUTH2 },
    Alternative { name: "openIdConnect", mark: "openIdConnectUrl", message: &OPEN_ID_CONNECT },
    Alternative { name: "mutualTLS", mark: "", message: &MUTUAL_TLS },
];

static API_KEY: Message = Message {
    fields: &[
        tracked("description", TEXT),
        tracked("in", TEXT),
        tracked("name", TEXT),
        default_text("type", "apiKey"),
    ],
};

static HTTP_AUTH: Message = Message {
    fields: &[
        tracked("bearerFormat", TEXT),
        tracked("description", TEXT),
        tracked("scheme", TEXT),
        default_text("type", "http"),
    ],
};

static OAUTH2: Message = Message {
    fields: &[
        tracked("description", TEXT),
        tracked("flows", object(&OAUTH_FLOWS)),
        tracked("oauth2MetadataUrl", TEXT),
        default_text("type", "oauth2"),
    ],
};

static OPEN_ID_CONNECT: Message = Message {
    fields: &[
        tracked("description", TEXT),
        tracked("openIdConnectUrl", TEXT),
        default_text("type", "openIdConnect"),
    ],
};

static MUTUAL_TLS: Message =
    Message { fields: &[tracked("description", TEXT), default_text("type", "mutualTLS")] };

static OAUTH_FLOWS: Message = Message {
    fields: &[
        tracked("authorizationCode", object(&AUTHORIZATION_CODE)),
        tracked("clientCredentials", object(&TOKEN_FLOW)),
        tracked("implicit", object(&IMPLICIT)),
        tracked("password", object(&TOKEN_FLOW)),
    ],
};

static AUTHORIZATION_CODE: Message = Message {
    fields: &[
        tracked("authorizationUrl", TEXT),
        tracked("refreshUrl", TEXT),
        tracked("scopes", TEXT_MAP),
        tracked("tokenUrl", TEXT),
    ],
};

static TOKEN_FLOW: Message = Message {
    fields: &[tracked("refreshUrl", TEXT), tracked("scopes", TEXT_MAP), tracked("tokenUrl", TEXT)],
};

static IMPLICIT: Message = Message {
    fields: &[tracked("authorizationUrl", TEXT), tracked("refreshUrl", TEXT), tracked("scopes", TEXT_MAP)],
};
